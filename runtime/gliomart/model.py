"""A model file, verified and ready to run: one ONNX graph with its card."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.card import METADATA_KEY, ModelCard
from gliomart.errors import ModelCardError, ModelError, ModelNotFoundError
from gliomart.providers import ProviderChoice, Requested, open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An autoencoder for a scanner is megabytes; what is larger is something else.
_LARGEST_FILE = 512 * 2**20
_INPUT = "image"
_OUTPUTS = ["reconstruction", "anomaly_map", "brain"]
_PONS = "pons"


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
        path = default_model() if path is None else Path(path)
        content = _read(path)
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
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
            raise type(error)(f"{path}: {error}") from error

    def run(self, image: NDArray[np.float32]) -> Outputs:
        """Run one slice.

        Parameters
        ----------
        image
            float32 (size, size, channels) in [0, 1], from :func:`gliomart.preprocess.prepare`.

        """
        outputs = self._session.run(self._outputs, {_INPUT: image[np.newaxis]})
        return Outputs(*(output[0, ..., 0] for output in outputs))


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ModelError(f"{path}: larger than any model of gliomart's")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{path}: no such model file") from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ModelError(f"{path}: cannot be read ({reason})") from error


def _check_signature(session: Any, card: ModelCard, names: list[str]) -> None:  # noqa: ANN401
    size, channels = card.preprocessing.size, len(card.preprocessing.channels)
    inputs = {value.name: value.shape[1:] for value in session.get_inputs()}
    outputs = {value.name: value.shape[1:] for value in session.get_outputs()}
    if inputs != {_INPUT: [size, size, channels]}:
        raise ModelError(f"the graph's inputs {inputs} are not what its card says")
    expected = {name: [size, size, 1] for name in names}
    expected["reconstruction"] = [size, size, channels]
    if outputs != expected:
        raise ModelError(f"the graph's outputs {outputs} are not what its card says")
