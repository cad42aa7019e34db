"""A process of one kind of engine, seen from the process that compares them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gliomart.bench.fresh import python
from gliomart.errors import GliomartError
from gliomart.printable import last_line

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from gliomart.bench.worker import Ready

# One run warms the caches up again, the median of the others is the turn's time.
_RUNS = 4
# Libraries of linear algebra read these when they are loaded.
_BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


class EngineProcess:
    """A process with engines of one kind (:mod:`gliomart.bench.worker`), and what it answers.

    Parameters
    ----------
    kind, model, threads
        Which engines, of which model file, with how many threads.
    folder
        Holds the image.
    """

    def __init__(self, kind: str, model: Path, threads: int, folder: Path) -> None:
        self.kind = kind
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed on leaving
        executable, environment = python()
        environment |= dict.fromkeys(_BLAS_THREADS, str(threads))
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own code
            [executable, "-m", "gliomart.bench.worker", kind, str(model), str(threads), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ready(self) -> Ready:
        """Wait for its engines; none, and why, where it has none."""
        answer: Ready | None = self._answer()
        return answer or {"engines": [], "missing": f"failed: {self._failure()}"}

    def turn(self, place: int) -> list[float]:
        """Let one of its engines run, and tell the milliseconds of each run but the first.

        Raises
        ------
        GliomartError
            The process has died.
        """
        assert self._process.stdin is not None  # noqa: S101  # it is a pipe
        answer: list[float] | None = None
        with suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(f"{place} {_RUNS}\n")
            self._process.stdin.flush()
            answer = self._answer()
        if answer is None:
            raise GliomartError(f"the process of {self.kind} died in the middle of a comparison")
        return answer[1:]

    def _answer(self) -> Any:  # noqa: ANN401  # one line of JSON, or None at the end
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def _failure(self) -> str:
        """Tell why it ended, as far as it said."""
        self._errors.seek(0)
        return last_line(self._errors.read().decode(errors="replace")) or "no message"
