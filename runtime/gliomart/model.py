"""A model file, verified and ready to run: one ONNX graph with its card."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gliomart import log, onnx_file
from gliomart.card import METADATA_KEY, ModelCard
from gliomart.errors import (
    GliomartError,
    ModelCardError,
    ModelError,
    ModelNotFoundError,
    ProviderError,
)
from gliomart.printable import printable
from gliomart.providers import (
    CPU,
    ProviderChoice,
    Requested,
    name_of,
    open_session,
    what_went_wrong,
    would_use_gpu,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An autoencoder for a scanner is megabytes; what is larger is something else.
_LARGEST_FILE = 128 * 2**20
# Without loops a graph takes about the same time on every slice, so the first one tells. It takes
# hundredths of a second; other providers than this may build an engine in it, for minutes.
_LONGEST_FIRST_RUN_S = {CPU: 10.0}
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
# How far a GPU may be from the CPU, in half precision: a twentieth of the brain's level.
PARITY = 2e-2


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


def default_model(provider: Requested = "cpu") -> Path:
    """Path of the model that comes with gliomart: in integers for CPUs, in floats for GPUs."""
    on_gpu = would_use_gpu() if provider == "auto" else provider != "cpu"
    name = "flair-dae-fp32.onnx" if on_gpu else "flair-dae.onnx"
    return Path(str(resources.files("gliomart") / "models" / name))


class Model:
    """An ONNX file on an execution provider.

    Parameters
    ----------
    path
        The file; None for the model that comes with gliomart, see :func:`default_model`.
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

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        provider: Requested = "auto",
        allow_fallback: bool = False,
        threads: int | None = None,
    ) -> None:
        self._path = default_model(provider) if path is None else Path(path)
        content = _read(self._path)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._content, self._threads = content, threads
        self._may_fall_back = allow_fallback or provider == "auto"
        self._has_run, self._was_rebuilt, self._recovering = False, False, Lock()
        try:
            onnx_file.check(content)
            metadata = onnx_file.metadata(content)
            if METADATA_KEY not in metadata:
                raise ModelCardError("the file carries no gliomart card")
            self.card = ModelCard.from_json(metadata[METADATA_KEY])
            self._running = self._open(provider, allow_fallback=allow_fallback)
            self._outputs = [*_OUTPUTS, _PONS] if self.card.pons else _OUTPUTS
            _check_signature(self._running.session, self.card, self._outputs)
        except ModelError as error:
            raise type(error)(printable(f"{self._path}: {error}")) from error
        except UnicodeDecodeError as error:  # of a name or the card
            raise ModelError(f"{self._path}: the file holds text that is not UTF-8") from error
        if self.provider.effective != CPU:
            self._hold_to_the_cpu()

    @property
    def provider(self) -> ProviderChoice:
        """What runs now."""
        return self._running.choice

    def _open(self, requested: Requested, *, allow_fallback: bool) -> _Running:
        """Open a session; of a graph in integers on the CPU, which they are made for."""
        for_cpus = self.card.network.get("precision") == "int8"
        needs_gpu = requested not in {"auto", "cpu"}
        if for_cpus and needs_gpu and not allow_fallback:
            raise ProviderError(
                f"{self._path}: its integers are for CPUs; on {requested} give a model that was"
                " exported with --precision fp32 or fp16"
            )
        session, choice = open_session(
            self._content,
            "cpu" if for_cpus else requested,
            allow_fallback=allow_fallback,
            threads=self._threads,
        )
        degraded = choice.degraded or (for_cpus and needs_gpu)
        return _Running(session, replace(choice, requested=requested, degraded=degraded))

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
        results: list[list[NDArray[np.float32]] | GliomartError] = []

        def first() -> None:
            try:
                results.append(self._run(inputs))
            except GliomartError as error:
                results.append(error)

        thread = Thread(target=first, daemon=True)
        thread.start()
        limit = _LONGEST_FIRST_RUN_S.get(self.provider.effective)
        thread.join(limit)
        if not results:
            raise ModelError(f"the graph takes more than {limit:g} s for one slice")
        (result,) = results
        if isinstance(result, GliomartError):
            raise result
        self._has_run = True
        return result

    def _run(self, inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Run where it runs; where a GPU fails, again where it runs then."""
        running = self._running
        try:
            return running.run(self._outputs, inputs)
        except ModelError as error:
            if running.choice.effective == CPU:
                raise
            with self._recovering:
                if self._running is running:  # of several threads one is the first
                    self._running = self._recovered(error)
        return self._run(inputs)

    def _recovered(self, failure: GliomartError) -> _Running:
        """Open the session anew, but once; after that go on with the CPU, where that is allowed."""
        choice = self.provider
        if not self._was_rebuilt:
            self._was_rebuilt = True
            try:
                session, _ = open_session(
                    self._content, name_of(choice), allow_fallback=False, threads=self._threads
                )
            except (ModelError, ProviderError) as error:
                failure = error
            else:
                return _Running(session, choice)
        if not self._may_fall_back:
            raise ProviderError(
                f"{choice.effective} failed ({failure}); with --allow-fallback the CPU would go on"
            )
        session, _ = open_session(self._content, "cpu", allow_fallback=False, threads=self._threads)
        choice = replace(choice, effective=CPU, degraded=True, parity=None)
        log.fallback(choice)
        return _Running(session, choice)

    def _hold_to_the_cpu(self) -> None:
        """Compare a GPU's outputs with the CPU's on a simulated slice, before any patient's."""
        from gliomart.rehearsal import simulated_image

        inputs = {_INPUT: simulated_image(self.card.preprocessing)[np.newaxis]}
        cpu = open_session(self._content, "cpu", allow_fallback=False, threads=self._threads)
        expected = _Running(*cpu).run(self._outputs, inputs)
        found = self._run(inputs)
        parity = {
            name: float(np.abs(ours - theirs).max())
            for name, ours, theirs in zip(self._outputs, found, expected, strict=True)
        }
        if self.provider.effective == CPU:
            return  # it failed already, and the CPU is what runs
        worst = max(parity, key=lambda name: np.nan_to_num(parity[name], nan=np.inf))
        if parity[worst] <= PARITY:
            choice = replace(self.provider, parity=parity)
            self._running = self._running._replace(choice=choice)
            return
        self._was_rebuilt = True  # it would give the same again
        self._running = self._recovered(
            ModelError(f"its {worst} differs from the CPU's by {parity[worst]:.2g}")
        )


class _Running(NamedTuple):
    """A session and what it runs on."""

    session: Any
    choice: ProviderChoice

    def run(
        self, names: list[str], inputs: dict[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        try:
            outputs: list[NDArray[np.float32]] = self.session.run(names, inputs)
        except Exception as error:  # ONNX Runtime's own errors share no base but Exception
            raise ModelError(f"the graph does not run ({what_went_wrong(error)})") from error
        return outputs


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
