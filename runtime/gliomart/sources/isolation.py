"""Compressed frames, decoded in a process of their own.

The decoders are native code, and hostile bytes can crash them, hang them or make them allocate
without limit. One process serves all frames, started when the first one is met; it is killed when
a frame takes too long, replaced when it dies, and ends with this one, whose pipe it reads from. One
that does not even start is not tried again.
"""

from __future__ import annotations

import atexit
import marshal
import os
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock, Timer
from typing import TYPE_CHECKING, Any, cast

from gliomart.errors import InputRefusedError
from gliomart.host import forking, frozen
from gliomart.printable import last_line, printable, reason_of, without_folders
from gliomart.sources import decoder_process
from gliomart.sources.decoder_process import GREETING, REPLY, REQUEST, address_space

if TYPE_CHECKING:
    from typing import BinaryIO, NoReturn

# What Python, NumPy and the decoders map before they decode, and what they need for each byte.
_BASE_BYTES = 384 << 20
_BYTES_PER_BYTE = 16
_LONGEST_REASON = 1024
_LONGEST_TRACEBACK = 1 << 16


class DecoderProcess:
    """A process that decodes frames, one at a time; safe to share among threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._never: str | None = None
        atexit.register(self.stop)
        forking.inherited(self)

    def forked(self) -> None:
        """Leave the process to the parent: hold no end of its pipes, for it ends with them."""
        process, self._lock, self._process = self._process, Lock(), None
        if process is not None:
            streams: list[Any] = [process.stdin, process.stdout, process.stderr]
            for stream in streams:
                stream.raw.close()  # what another thread was about to write is not written twice
            process.returncode = 0  # it is not this process's to wait for

    def decode(
        self,
        decoder: str,
        frame: bytes,
        *,
        shape: tuple[int, int],
        precision: int,
        seconds: float,
    ) -> bytes:
        """Decode one greyscale frame.

        Parameters
        ----------
        decoder
            ``pyjpegls``, ``openjpeg`` or ``gdcm``.
        frame
            A codestream.
        shape, precision
            Rows and columns, and bits of a value, as the codestream says.
        seconds
            After which decoding is given up.

        Returns
        -------
        bytes
            The values, row by row, in 1, 2 or 4 bytes each as the precision asks for.

        Raises
        ------
        InputRefusedError
            ``undecodable`` or ``too-slow``.
        """
        size = shape[0] * shape[1] * container(precision)
        memory = _BASE_BYTES + _BYTES_PER_BYTE * size
        request = REQUEST.pack(
            decoder.encode(), *shape, precision, size, seconds, memory, len(frame)
        )
        expired = Event()
        forking.notice()
        with self._lock:
            process, greets = self._running()

            def give_up() -> None:
                expired.set()
                process.kill()

            watchdog = Timer(seconds, give_up)
            try:
                watchdog.start()
            except RuntimeError as error:  # the system gives no more threads
                process.kill()
                _undecodable(f"nobody can watch over the decoder ({error})")
            try:
                if greets:
                    self._greet(process, expired)
                decoded, reply = _ask(process, request + frame, size)
            finally:
                watchdog.cancel()
        if expired.is_set():
            raise InputRefusedError("too-slow", f"decoding a frame takes longer than {seconds:g} s")
        if not decoded:
            said = printable(without_folders(reply.decode("utf-8", "replace")))
            _undecodable((said or _crashed(process)) + _too_little(memory))
        return reply

    def _running(self) -> tuple[subprocess.Popen[bytes], bool]:
        """Start the process where there is none yet or none any more; then it has to greet."""
        if self._never is not None:
            _undecodable(self._never)
        if self._process is not None and self._process.poll() is None:
            return self._process, False
        command = frozen.command()
        if command is None:
            _undecodable(
                "there is no Python here to start a decoder with;"
                " multiprocessing.set_executable tells where one is"
            )
        try:
            self._process = _start(command)
        except OSError as error:
            _undecodable(f"the decoder's process cannot be started ({reason_of(error)})")
        return self._process, True

    def _greet(self, process: subprocess.Popen[bytes], expired: Event) -> None:
        """Send its program, and see that it runs; if it does not, never try again."""
        requests, replies, errors = cast(
            "list[BinaryIO]", [process.stdin, process.stdout, process.stderr]
        )
        try:
            requests.write(_program())
            requests.flush()
            greeting = replies.read(len(GREETING))
        except OSError:
            greeting = b""
        if greeting == GREETING:
            return
        process.kill()
        process.wait()
        if not expired.is_set():
            last = last_line(errors.read(_LONGEST_TRACEBACK).decode("utf-8", "replace"))
            said = printable(without_folders(last))[:_LONGEST_REASON]
            self._never = f"the decoder does not start ({said or _crashed(process)})"
            _undecodable(self._never)

    def kill(self) -> None:
        """End the process where it is, without waiting for the frame that it decodes."""
        process = self._process
        if process is not None:
            process.kill()

    def stop(self) -> None:
        """End the process, where there is one; the next frame starts another."""
        forking.notice()
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.communicate()
            self._process = None


def _undecodable(reason: str) -> NoReturn:
    raise InputRefusedError("undecodable", f"the pixels cannot be decoded: {reason}")


def _crashed(process: subprocess.Popen[bytes]) -> str:
    """Say how the process ended, as far as the system tells."""
    status = process.wait()
    if status >= 0:
        return "the decoder crashed"
    try:
        return f"the decoder crashed ({signal.Signals(-status).name})"
    except ValueError:  # a real-time signal, which has no name
        return f"the decoder crashed (signal {-status})"


def _too_little(memory: int) -> str:
    """Tell where a limit of the process leaves a decoder less than its frame may take."""
    given = address_space()
    if given is None or given >= memory:
        return ""
    return f"; it may take {memory >> 20} MiB, and this process is limited to {given >> 20} MiB"


def container(precision: int) -> int:
    """Bytes that a decoder gives to each value of so many bits."""
    return 1 if precision <= 8 else 2 if precision <= 16 else 4  # noqa: PLR2004


def _program() -> bytes:
    """Give the decoder's program as code, which needs no file of it."""
    spec = decoder_process.__spec__
    loader = cast("Any", spec.loader)
    return marshal.dumps(loader.get_code(spec.name))


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    specs = map(find_spec, ("numpy", "jpeg_ls", "openjpeg", "gdcm"))
    places = {_place(spec.origin) for spec in specs if spec is not None and spec.origin}
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OPJ_NUM_THREADS"), "1")
    ours = {frozen.MARK: "decoder", "PYTHONPATH": os.pathsep.join(sorted(places))}
    return subprocess.Popen(  # noqa: S603  # an interpreter, and our own program
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,  # until it greets
        env=os.environ | single | ours,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def _place(origin: str) -> str:
    """Return the folder on the path that holds a module or a package."""
    path = Path(origin)
    return str(path.parents[1] if path.stem == "__init__" else path.parent)


def _ask(process: subprocess.Popen[bytes], request: bytes, size: int) -> tuple[bool, bytes]:
    """Send a request and read the reply: whether it was decoded, and values or a reason.

    The process may have been taken over by the bytes it decodes, so its reply is not believed
    either; one that dies or replies nonsense comes out as no reason at all.
    """
    requests, replies = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)
    try:
        requests.write(request)
        requests.flush()
    except OSError:
        return False, b""
    header = replies.read(REPLY.size)
    if len(header) == REPLY.size:
        decoded, length = REPLY.unpack(header)
        if length == size if decoded else length <= _LONGEST_REASON:
            reply = replies.read(length)
            if len(reply) == length:
                return decoded, reply
    process.kill()
    process.wait()
    return False, b""
