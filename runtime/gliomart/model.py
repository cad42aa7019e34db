"""A model file, verified and ready to run: one ONNX graph with its card."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart import onnx_file
from gliomart.card import METADATA_KEY, ModelCard
from gliomart.errors import ModelCardError, ModelError, ModelNotFoundError
from gliomart.printable import printable
from gliomart.providers import ProviderChoice, Requested, open_session, what_went_wrong

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An autoencoder for a scanner is megabytes; what is larger is something else.
_LARGEST_FILE = 128 * 2**20
# Without loops a graph takes about the same time on every slice, so the first one tells. It takes
# hundredths of a second; other providers than this may build an engine in it, for minutes.
_LONGEST_FIRST_RUN_S = {"CPUExecutionProvider": 10.0}
_FLOAT32 = "tensor(float)"
_INPUT = "image"
_OUTPUTS = ["reconstruction", "anomaly_map", "brain"]
_PONS = "pons"
_LARGEST = float(np.finfo(np.float32).max)
# What each output may be. A reconstruction is an image plus a correction, which has no bounds.
_RANGES = {
    "reconstruction": (-_LARGEST, _LARGEST),
    "anomaly_map": (0.0, _LARGEST),
    "brain": (0.0, 1.0),
    "pons": (0.0, 1.0),
}
_ROUNDING = 1e-3  # of half precision and of quantised graphs


@dataclass(frozen=True)
class Outputs:
    """What a model makes of one slice, on its own grid; float32 (size, size) each.

    Attributes
    ----------
    reconstruction
        First channel, in [0, 1].
    anomaly_map
        0 upwards.
    brain
        Probability, in [0, 1], that a pixel lies in the brain.
    pons
        Likewise in the pons; None where the model does not know.
    """

    reconstruction: NDArray[np.float32]
    anomaly_map: NDArray[np.float32]
    brain: NDArray[np.float32]
    pons: NDArray[np.float32] | None = None


def default_model() -> Path:
    """Path of the model that comes with gliomart."""
    return Path(str(resources.files("gliomart") / "models" / "flair-dae.onnx"))


class Model:
    """An ONNX file on an execution provider.

    Parameters
    ----------
    path
        The file; None for the model that comes with gliomart.
    provider, allow_fallback, threads
        As in :func:`gliomart.providers.open_session`.

    Attributes
    ----------
    card
        The file's card.
    sha256
        The file's identity.
    provider
        What runs.

    Raises
    ------
    ModelNotFoundError, ModelError, ModelCardError
        The file is not one of gliomart's models.
    ProviderError
        What was asked for by name does not run.
    """

    card: ModelCard
    sha256: str
    provider: ProviderChoice

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        provider: Requested = "auto",
        allow_fallback: bool = False,
        threads: int | None = None,
    ) -> None:
        self._path = default_model() if path is None else Path(path)
        content = _read(self._path)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._has_run = False
        try:
            onnx_file.check(content)
            self._session, self.provider = open_session(
                content, provider, allow_fallback=allow_fallback, threads=threads
            )
            metadata = self._session.get_modelmeta().custom_metadata_map
            if METADATA_KEY not in metadata:
                raise ModelCardError("the file carries no gliomart card")
            self.card = ModelCard.from_json(metadata[METADATA_KEY])
            self._outputs = [*_OUTPUTS, _PONS] if self.card.pons else _OUTPUTS
            _check_signature(self._session, self.card, self._outputs)
        except ModelError as error:
            raise type(error)(printable(f"{self._path}: {error}")) from error
        except UnicodeDecodeError as error:  # of a name or the card
            raise ModelError(f"{self._path}: the file holds text that is not UTF-8") from error

    def run(self, image: NDArray[np.float32]) -> Outputs:
        """Run one slice.

        Parameters
        ----------
        image
            float32 (size, size, channels) in [0, 1], from :func:`gliomart.preprocess.prepare`.

        Raises
        ------
        ModelError
            The graph fails, takes too much memory or time, or gives something that is none of
            its outputs.
        """
        try:
            outputs = self._run_in_time({_INPUT: image[np.newaxis]})
            _check_outputs(outputs, self._outputs, image.shape)
        except ModelError as error:
            raise ModelError(printable(f"{self._path}: {error}")) from error
        return Outputs(*(output[0, ..., 0] for output in outputs))

    def _run_in_time(self, inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        if self._has_run:
            return self._run(inputs)
        # ONNX Runtime cannot be stopped within an operator: a thread can be left behind.
        results: list[list[NDArray[np.float32]] | ModelError] = []

        def first() -> None:
            try:
                results.append(self._run(inputs))
            except ModelError as error:
                results.append(error)

        thread = Thread(target=first, daemon=True)
        thread.start()
        limit = _LONGEST_FIRST_RUN_S.get(self.provider.effective)
        thread.join(limit)
        if not results:
            raise ModelError(f"the graph takes more than {limit:g} s for one slice")
        (result,) = results
        if isinstance(result, ModelError):
            raise result
        self._has_run = True
        return result

    def _run(self, inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        try:
            return self._session.run(self._outputs, inputs)
        except Exception as error:  # ONNX Runtime's own errors share no base but Exception
            raise ModelError(f"the graph does not run ({what_went_wrong(error)})") from error


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
            raise ModelError(f"{path}: not a regular file")
        if status.st_size > _LARGEST_FILE:
            raise ModelError(f"{path}: larger than any model of gliomart's")
        with path.open("rb") as stream:
            return stream.read(status.st_size)
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{path}: no such model file") from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ModelError(f"{path}: cannot be read ({reason})") from error


def _check_signature(session: Any, card: ModelCard, names: list[str]) -> None:  # noqa: ANN401
    size, channels = card.preprocessing.size, len(card.preprocessing.channels)
    for value in (*session.get_inputs(), *session.get_outputs()):
        if value.type != _FLOAT32:
            raise ModelError(f"the graph's {value.name} is a {value.type}, not a {_FLOAT32}")
    inputs = {value.name: value.shape[1:] for value in session.get_inputs()}
    outputs = {value.name: value.shape[1:] for value in session.get_outputs()}
    if inputs != {_INPUT: [size, size, channels]}:
        raise ModelError(f"the graph's inputs {inputs} are not what its card says")
    expected = {name: [size, size, 1] for name in names}
    expected["reconstruction"] = [size, size, channels]
    if outputs != expected:
        raise ModelError(f"the graph's outputs {outputs} are not what its card says")


def _check_outputs(
    outputs: list[NDArray[np.float32]], names: list[str], shape: tuple[int, ...]
) -> None:
    """Hold what came out against what :class:`Outputs` promises; a graph may declare anything."""
    for name, output in zip(names, outputs, strict=True):
        depth = shape[-1] if name == "reconstruction" else 1
        if output.shape != (1, *shape[:-1], depth):
            raise ModelError(f"the graph's {name} came out in shape {output.shape}")
        low, high = float(output.min()), float(output.max())
        least, most = _RANGES[name]
        if not least - _ROUNDING <= low <= high <= most + _ROUNDING:  # NaN is in no range
            raise ModelError(
                f"the graph's {name} reaches from {low:g} to {high:g},"
                f" where {least:g} to {most:g} is possible"
            )
