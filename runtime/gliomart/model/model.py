"""A model file, verified and ready to run: one ONNX graph with its card."""

from __future__ import annotations

import hashlib
import stat
from collections import defaultdict
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import numpy as np

from gliomart.errors import (
    ModelCardError,
    ModelError,
    ModelNotFoundError,
    ProviderError,
    UsageError,
)
from gliomart.host.forking import at_work
from gliomart.model import built_in, onnx_file
from gliomart.model.card import METADATA_KEY, ModelCard
from gliomart.model.prediction import Prediction
from gliomart.model.signature import Signature
from gliomart.printable import printable, reason_of
from gliomart.providers.choice import largest_batch
from gliomart.providers.opening import open_on_cpu, open_session
from gliomart.providers.probe import would_use_gpu
from gliomart.providers.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import onnxruntime
    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart.model.contents import Slab
    from gliomart.providers import ProviderChoice, Requested
    from gliomart.providers.parity import Reference
    from gliomart.providers.session import Session

# An autoencoder for a scanner is megabytes; what is larger is something else.
_LARGEST_FILE = 128 * 2**20
_UNSUITED = "the model's integers are for CPUs"
Rehearsal: TypeAlias = "Callable[[Preprocessing], NDArray[np.float32]]"


def with_card(path: Path, card: ModelCard, sha256: str) -> bytes:
    """Put another card into a model file; all its other bytes stay as they are.

    Parameters
    ----------
    path
        The file, which has been opened as a :class:`Model`.
    card
        The new card, of this schema.
    sha256
        Of the file as it was opened.

    Returns
    -------
    The content of the new file.

    Raises
    ------
    ModelError
        The file is not what it was, the card cannot be read again, or is too large.
    """
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{path}: changed while it was in use")
    text = card.to_json()
    if ModelCard.from_json(text) != card:
        raise ModelCardError(f"{path}: the new card is not read as it was written")
    changed = onnx_file.with_metadata(content, METADATA_KEY, text)
    onnx_file.check(changed)
    return changed


class Model:
    """An ONNX file on an execution provider.

    Threads may share one.

    Parameters
    ----------
    path
        The file, or the name of a model that comes with gliomart; None for the default one.
    provider, allow_fallback, threads
        As in :func:`gliomart.providers.open_session`.
    rehearsal
        Makes the image that a GPU's results are held to the CPU's on, float32
        (size, size, channels); None for a ramp from black to white.

    Attributes
    ----------
    card
        The file's card.
    sha256
        The file's identity.

    Raises
    ------
    ModelNotFoundError, ModelError, ModelCardError
        The file is not one of gliomart's models.
    ProviderError
        What was asked for by name does not run, or not as the CPU does.
    """

    card: ModelCard
    sha256: str

    @at_work
    def __init__(
        self,
        path: Path | str | None = None,
        *,
        provider: Requested = "auto",
        allow_fallback: bool = False,
        threads: int | None = None,
        rehearsal: Rehearsal | None = None,
    ) -> None:
        asked = None if path is None else Path(path)
        name = built_in.name_of(asked)
        if name is None:
            (self._path,) = built_in.files_of(asked)
            content = _read(self._path)
        else:
            self._path = built_in.default_model(provider, name)
            content = built_in.content_of(self._path.name)
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            onnx_file.check(content)
            # Opened for its card on the CPU first: there it is held within bounds.
            cpu = open_on_cpu(content, threads)
            self.card = _card_of(cpu.onnx)
            self._signature = Signature.of(cpu.onnx, self.card)
            names = [output.name for output in self.card.outputs]
            self._rehearsal = partial(
                _everywhere, rehearsal or _ramp, self.card, self._signature.input
            )
            session, choice = open_session(
                content,
                _suited(provider, self.card, allow_fallback=allow_fallback),
                allow_fallback=allow_fallback,
                threads=threads,
                cpu=cpu,
                reference=_reference(cpu, names, self._rehearsal),
            )
        except ModelError as error:
            raise type(error)(printable(f"{self._path}: {error}")) from error
        except UnicodeDecodeError as error:  # of a name or the card
            raise ModelError(f"{self._path}: the file holds text that is not UTF-8") from error
        if name is not None and self.card.saw_masks:
            raise ModelError(
                f"{self._path.name}: tumour masks taught it; such a model is never built in"
            )
        self._runner = Runner(
            content,
            session,
            _as_asked(choice, provider),
            names=names,
            check=self._signature.check,
            may_fall_back=allow_fallback or provider == "auto",
            threads=threads,
        )

    @property
    def provider(self) -> ProviderChoice:
        """What runs now: the CPU, degraded, once a GPU was lost."""
        return self._runner.provider

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "a model is neither copied nor sent to another process; make one there, of its file"
        )

    @property
    def slab(self) -> Slab | None:
        """Neighbouring slices that it sees together; None where it sees each by itself."""
        return self._signature.slab

    def run(self, image: NDArray[np.float32]) -> Prediction:
        """Run one slice; a model that sees slabs, on one that goes on unchanged on both sides.

        Parameters
        ----------
        image
            float32 (size, size, channels) in [0, 1], from
            :func:`gliomart.image.preprocess.prepare`.

        Raises
        ------
        ModelError
            The graph fails, takes too much memory or time, or gives something that is none of
            its outputs.
        ProviderError
            The GPU asked for by name is lost, and no fallback is allowed.
        """
        predictions = self.run_batch(self.alone(image)[np.newaxis])
        return predictions[len(predictions) // 2]

    def alone(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Make what it is given at a time of one slice (size, size, channels) by itself.

        Returns
        -------
        The slice; or a slab (seen, size, size, channels) in which it stands for all.
        """
        return image if self.slab is None else np.stack([image] * self.slab.seen)

    def run_slab(self, images: NDArray[np.float32]) -> list[Prediction]:
        """Run neighbouring slices of a model that sees slabs.

        Parameters
        ----------
        images
            float32 (seen, size, size, channels), in order.

        Returns
        -------
        One for each of the ``given`` slices in the middle.

        Raises
        ------
        ModelError, ProviderError
            As :meth:`run`.
        """
        return self.run_batch(images[np.newaxis])

    def rehearse(self) -> None:
        """Run the image that a GPU's results are held to the CPU's on.

        Raises
        ------
        ModelError, ProviderError
            As :meth:`run`.
        """
        self.run_batch(self._rehearsal()[np.newaxis])

    def run_batch(self, images: NDArray[np.float32]) -> list[Prediction]:
        """Run up to 64 slices together, which a GPU gains from and a CPU does not.

        Parameters
        ----------
        images
            float32 (N, size, size, channels), as :meth:`run` takes one; or (N, seen, size, size,
            channels), as :meth:`run_slab` does, which gives one prediction after the other.

        Raises
        ------
        ModelError, ProviderError
            As :meth:`run`; the images are not of the model's shape, or more than 64.
        """
        shape = self._signature.input
        most = largest_batch(shape)
        if images.shape[1:] != shape or not 1 <= len(images) <= most:
            raise ModelError(
                f"{self._path}: takes 1 to {most} images of {shape}, and was given {images.shape}"
            )
        try:
            outputs = self._runner.run(images)
        except ModelError as error:
            raise ModelError(printable(f"{self._path}: {error}")) from error
        roles = [output.role for output in self.card.outputs]
        if self.slab is not None:
            outputs = [output.reshape(-1, *output.shape[2:]) for output in outputs]
        # Copies: who keeps results would else keep ONNX Runtime's memory, of which it has so much.
        return [
            _predicted(zip(roles, (output[n, ..., 0].copy() for output in outputs), strict=True))
            for n in range(len(outputs[0]))
        ]


def _predicted(outputs: Iterable[tuple[str, NDArray[np.float32]]]) -> Prediction:
    by_role: defaultdict[str, tuple[NDArray[np.float32], ...]] = defaultdict(tuple)
    for role, output in outputs:
        by_role[role] += (output,)
    return Prediction(dict(by_role))


def _card_of(session: onnxruntime.InferenceSession) -> ModelCard:
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ModelCardError("the file carries no gliomart card")
    return ModelCard.from_json(metadata[METADATA_KEY])


def _suited(provider: Requested, card: ModelCard, *, allow_fallback: bool) -> Requested:
    """Keep a graph in integers on the CPU: they have a zero point, which TensorRT does not take."""
    if card.network.get("precision") != "int8" or provider == "cpu":
        return provider
    if provider != "auto" and not allow_fallback:
        raise ProviderError(
            f"{_UNSUITED}: on {provider} give one that was exported with --precision fp32 or fp16"
        )
    return "cpu"


def _as_asked(choice: ProviderChoice, provider: Requested) -> ProviderChoice:
    """Say what was asked for, and why it is not what runs, where the model is unsuited for it."""
    if choice.requested == provider:
        return choice
    by_name = provider != "auto"
    reason = _UNSUITED if by_name or would_use_gpu() else None
    return replace(choice, requested=provider, degraded=by_name, reason=reason)


def _reference(
    cpu: Session, names: list[str], rehearsal: Callable[[], NDArray[np.float32]]
) -> Callable[[], Reference]:
    """Postpone what only a GPU's results are held to, and do it once."""

    @cache
    def run() -> Reference:
        from gliomart.providers import parity

        return parity.reference(cpu, names, rehearsal())

    return run


def _everywhere(
    rehearsal: Rehearsal, card: ModelCard, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Rehearse with one image in place of every image and slice that a model takes at a time."""
    return np.broadcast_to(np.tile(rehearsal(card.preprocessing), len(card.images)), shape).copy()


def _ramp(spec: Preprocessing) -> NDArray[np.float32]:
    ramp = np.linspace(0, 1, spec.size**2, dtype=np.float32).reshape(spec.size, spec.size, 1)
    return np.repeat(ramp, len(spec.channels), axis=-1)


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
        reason = reason_of(error)
        raise ModelError(f"{path}: cannot be read ({reason})") from error
