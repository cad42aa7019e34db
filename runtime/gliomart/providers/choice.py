"""The providers that gliomart knows, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Slices that may be run at once on a GPU, and in slabs on the CPU.
LARGEST_BATCH = 64

_SLAB_AXES = 4


def largest_batch(shape: Sequence[int]) -> int:
    """Tell how many inputs of a shape may be run at once: slices, or slabs of as many in all."""
    return LARGEST_BATCH // shape[0] if len(shape) == _SLAB_AXES else LARGEST_BATCH


Requested = Literal["auto", "tensorrt", "tensorrt-rtx", "cuda", "cpu"]
PROVIDERS: tuple[Requested, ...] = get_args(Requested)


@dataclass(frozen=True)
class ProviderChoice:
    """What was asked for, and what runs.

    Attributes
    ----------
    requested
        As asked for.
    effective
        ONNX Runtime's own name of what runs.
    degraded
        A provider that was asked for by name does not run, or the one that ran at first was lost.
    parity
        Largest absolute difference of each output from the CPU's, on one slice of the simulated
        study when the model was loaded; None on the CPU.
    reason
        Why providers that were tried before this one do not run; None where there is none.
    """

    requested: Requested
    effective: str
    degraded: bool
    parity: Mapping[str, float] | None = None
    reason: str | None = None


class Provider(NamedTuple):
    """A provider of GPUs: its name in ONNX Runtime, and how exactly it computes.

    Attributes
    ----------
    onnx_name
        ONNX Runtime's own name.
    tolerance
        How far its outputs may be from the CPU's, see :mod:`gliomart.providers.parity`.
    half
        It may compute in half precision.
    """

    onnx_name: str
    tolerance: float
    half: bool = False


# Half precision alone changes the outputs of flair-dae by up to 0.0035 on the simulated study (the
# probability of brain; the others by 0.0014). Three times that leaves room for other roundings, and
# a fault changes far more. TensorRT-RTX rounds the inputs of convolutions to TF32, whose fraction
# has as many bits as that of half precision. In full precision only the order of sums differs.
HALF_TOLERANCE = 1e-2
FULL_TOLERANCE = 1e-3

# In the order that ``auto`` tries them; the CPU, which runs everything, comes after them.
GPU_PROVIDERS = {
    "tensorrt": Provider("TensorrtExecutionProvider", HALF_TOLERANCE, half=True),
    "tensorrt-rtx": Provider("NvTensorRTRTXExecutionProvider", HALF_TOLERANCE),
    "cuda": Provider("CUDAExecutionProvider", FULL_TOLERANCE),
}
