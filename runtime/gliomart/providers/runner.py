"""A session that outlives its device: opened again when it fails, on the CPU if it fails again."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import ModelError, ProviderError
from gliomart.host import forking
from gliomart.providers.choice import GPU_PROVIDERS, ProviderChoice
from gliomart.providers.opening import open_on_cpu, open_on_gpu
from gliomart.providers.probe import FORKED
from gliomart.providers.session import CPU

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from gliomart.providers.session import Session

_TRIES = 2
_logger = logging.getLogger("gliomart")


class Runner:
    """Runs images on a session, whatever becomes of the GPU under it.

    What fails on a GPU (memory is full, the device is lost, its values cannot be) is tried once
    more in a new session there, and then on the CPU if a fallback is allowed; what comes after it
    goes on from there. So no image is left out, and none comes out twice. Threads may share one: on
    a GPU they take turns. In the child of a fork the CPU's session is opened anew when it is first
    needed, and a GPU is lost: CUDA does not survive a fork.

    Parameters
    ----------
    model
        Content of the ONNX file.
    session, choice
        As they were opened.
    names
        Of the outputs that are wanted.
    check
        Raises ModelError about outputs that cannot be.
    may_fall_back
        Go on with the CPU when a GPU is lost.
    threads
        Of the CPU.

    Attributes
    ----------
    provider
        What runs now; never better than what any result so far was computed on.
    """

    provider: ProviderChoice

    def __init__(
        self,
        model: bytes,
        session: Session,
        choice: ProviderChoice,
        *,
        names: Sequence[str],
        check: Callable[[list[NDArray[np.float32]]], None],
        may_fall_back: bool,
        threads: int | None,
    ) -> None:
        self._model, self._threads = model, threads
        self._session: Session | None = session
        self.provider = choice
        self._names, self._check = list(names), check
        self._may_fall_back = may_fall_back
        self._turns = Lock()
        self._forked = False
        forking.inherited(self)

    def forked(self) -> None:
        """Let go of the parent's session, in the child of a fork."""
        self._turns = Lock()
        self._session = None
        self._forked = True

    def run(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run images.

        Parameters
        ----------
        images
            float32 (N, size, size, channels). On the CPU one runs after the other: together they
            would take N times the memory and no less time.

        Returns
        -------
        Each output, float32 (N, size, size, channels).

        Raises
        ------
        ModelError
            The graph fails, on the CPU as well, or what it gives cannot be.
        ProviderError
            A GPU fails, also in a new session, and no fallback is allowed.
        """
        with nullcontext() if self._is_on_cpu() else self._turns:
            # While waiting for its turn, another thread may have gone on to the CPU.
            return self._run_on_cpu(images) if self._is_on_cpu() else self._run_on_gpu(images)

    def _is_on_cpu(self) -> bool:
        return self.provider.effective == CPU

    def _run_on_gpu(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        onnx_name = self.provider.effective
        name, provider = next(p for p in GPU_PROVIDERS.items() if p[1].onnx_name == onnx_name)
        failures = [FORKED] if self._forked else []
        while len(failures) < _TRIES and not self._forked:
            try:
                if self._session is None:
                    self._session = open_on_gpu(name, provider, self._model, self._threads)
                return self._attempt(self._session, images)
            except (ModelError, ProviderError) as error:
                failures.append(str(error))
                self._session = None  # gives its memory back before another is opened
        reason = f"{name} was lost ({'; then '.join(failures)})"
        if not self._may_fall_back:
            raise ProviderError(reason)
        self._session = open_on_cpu(self._model, self._threads)
        self.provider = replace(
            self.provider, effective=CPU, degraded=True, parity=None, reason=reason
        )
        _logger.warning("%s failed; using %s from here on", self.provider.requested, CPU)
        return self._run_on_cpu(images)

    def _run_on_cpu(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        session = self._session or self._opened_anew()
        each = [self._attempt(session, image[np.newaxis]) for image in images]
        return each[0] if len(each) == 1 else list(map(np.concatenate, zip(*each, strict=True)))

    def _opened_anew(self) -> Session:
        """Open the CPU's session once more, which is lost in a fork alone."""
        with self._turns:
            if self._session is None:
                self._session = open_on_cpu(self._model, self._threads)
            return self._session

    def _attempt(self, session: Session, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        outputs = session.run(self._names, {"image": images})
        self._check(outputs)
        return outputs
