"""What goes into a model's graph, and what has to come out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import ModelError
from gliomart.model.contents import RECONSTRUCTION, VOLUME, Slab

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnxruntime
    from numpy.typing import NDArray

    from gliomart.model.card import ModelCard
    from gliomart.model.contents import GraphOutput

_FLOAT32 = "tensor(float)"
_INPUT = "image"
_LARGEST = float(np.finfo(np.float32).max)
_ROUNDING = 1e-3  # of half precision and of quantised graphs
_MOST_SEEN = 64  # slices of a slab
_SLICE_AXES = 3  # height, width, channels


@dataclass(frozen=True)
class Signature:
    """Shapes of a graph's input and outputs, without the batch.

    Attributes
    ----------
    image
        Of one slice: (size, size, channels), the channels of every image that it takes.
    outputs
        As the card declares them.
    slab
        Neighbouring slices that it sees together; None where it sees each by itself.
    """

    image: tuple[int, int, int]
    outputs: tuple[GraphOutput, ...]
    slab: Slab | None

    @classmethod
    def of(cls, session: onnxruntime.InferenceSession, card: ModelCard) -> Signature:
        """Hold what a graph declares against its card.

        How many slices one of the family ``volume`` sees and gives stands in its shapes alone:
        ``image`` is (batch, seen, size, size, channels), and its outputs are (batch, given, size,
        size, 1).

        Raises
        ------
        ModelError
            They do not agree.
        """
        spec = card.preprocessing
        image = (spec.size, spec.size, len(spec.channels) * len(card.images))
        for value in (*session.get_inputs(), *session.get_outputs()):
            if value.type != _FLOAT32:
                raise ModelError(f"the graph's {value.name} is a {value.type}, not a {_FLOAT32}")
        inputs = {value.name: tuple(value.shape[1:]) for value in session.get_inputs()}
        outputs = {value.name: tuple(value.shape[1:]) for value in session.get_outputs()}
        slab = _slab(inputs, outputs) if card.family == VOLUME else None
        signature = cls(image, card.outputs, slab)
        if inputs != {_INPUT: signature.input}:
            raise ModelError(f"the graph's inputs {inputs} are not what its card says")
        if outputs != {output.name: signature.output(output) for output in card.outputs}:
            raise ModelError(f"the graph's outputs {outputs} are not what its card says")
        return signature

    @property
    def input(self) -> tuple[int, ...]:
        """Shape of what it is given at a time: a slice, or a slab of ``seen`` ones."""
        return self.image if self.slab is None else (self.slab.seen, *self.image)

    def output(self, output: GraphOutput) -> tuple[int, ...]:
        """Shape of one of its outputs: for a slice, or for the ``given`` ones of a slab."""
        height, width, channels = self.image
        one = (height, width, channels if output.role == RECONSTRUCTION else 1)
        return one if self.slab is None else (self.slab.given, *one)

    def check(self, found: Sequence[NDArray[np.float32]]) -> None:
        """Hold what came out against what the card promises; a graph may declare anything.

        Raises
        ------
        ModelError
            It is none of that.
        """
        for output, values in zip(self.outputs, found, strict=True):
            if values.shape != (len(found[0]), *self.output(output)):
                raise ModelError(f"the graph's {output.name} came out in shape {values.shape}")
            low, high = float(values.min()), float(values.max())
            least = -_LARGEST if output.minimum is None else output.minimum
            most = _LARGEST if output.maximum is None else output.maximum
            if not least - _ROUNDING <= low <= high <= most + _ROUNDING:  # NaN is in no range
                raise ModelError(
                    f"the graph's {output.name} reaches from {low:g} to {high:g},"
                    f" where {least:g} to {most:g} is possible"
                )


def _slab(inputs: dict[str, tuple[object, ...]], outputs: dict[str, tuple[object, ...]]) -> Slab:
    """Read off shapes how many slices a graph sees, and for how many it gives something."""
    shapes = (inputs.get(_INPUT, ()), *outputs.values())
    seen, *given = (shape[0] if len(shape) == 1 + _SLICE_AXES else None for shape in shapes)
    if not (isinstance(seen, int) and 1 <= seen <= _MOST_SEEN and len(set(given)) == 1):
        raise ModelError(f"the graph's input {shapes[0]} is no slab of 1 to {_MOST_SEEN} slices")
    if not (isinstance(given[0], int) and 1 <= given[0] <= seen and (seen - given[0]) % 2 == 0):
        raise ModelError(f"of {seen} slices the graph gives {given[0]}, which are not their middle")
    return Slab(seen, given[0])
