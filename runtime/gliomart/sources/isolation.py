"""Compressed frames, decoded in a process of their own.

The decoders are native code, and hostile bytes can crash them, hang them or make them allocate
without limit. One process serves all frames, started when the first one is met; it is killed when
a frame takes too long, replaced when it dies, and ends with this one, whose pipe it reads from.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock, Timer
from typing import TYPE_CHECKING, cast

from gliomart.errors import InputRefusedError
from gliomart.printable import printable, without_folders
from gliomart.sources import decoder_process
from gliomart.sources.decoder_process import REPLY, REQUEST

if TYPE_CHECKING:
    from typing import BinaryIO

# What Python, NumPy and the decoders map before they decode, and what they need for each byte.
_BASE_BYTES = 384 << 20
_BYTES_PER_BYTE = 16
_LONGEST_REASON = 1024


class DecoderProcess:
    """A process that decodes frames, one at a time; safe to share among threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        atexit.register(self.stop)

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
        with self._lock:
            process = self._running()

            def give_up() -> None:
                expired.set()
                process.kill()

            watchdog = Timer(seconds, give_up)
            watchdog.start()
            try:
                decoded, reply = _ask(process, request + frame, size)
            finally:
                watchdog.cancel()
        if expired.is_set():
            raise InputRefusedError("too-slow", f"decoding a frame takes longer than {seconds:g} s")
        if not decoded:
            said = printable(without_folders(reply.decode("utf-8", "replace")))
            reason = said or "the decoder crashed"
            raise InputRefusedError("undecodable", f"the pixels cannot be decoded: {reason}")
        return reply

    def _running(self) -> subprocess.Popen[bytes]:
        """Start the process where there is none yet, none any more, or only that of a parent."""
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._process, self._owner = _start(), os.getpid()
        return self._process

    def kill(self) -> None:
        """End the process where it is, without waiting for the frame that it decodes."""
        process = self._process
        if process is not None and self._owner == os.getpid():
            process.kill()

    def stop(self) -> None:
        """End the process, where there is one; the next frame starts another."""
        with self._lock:
            if self._process is not None and self._owner == os.getpid():
                self._process.kill()
                self._process.communicate()
            self._process = None


def container(precision: int) -> int:
    """Bytes that a decoder gives to each value of so many bits."""
    return 1 if precision <= 8 else 2 if precision <= 16 else 4  # noqa: PLR2004


def _start() -> subprocess.Popen[bytes]:
    # Where the decoders are, and not the working directory: a folder "dl" there breaks GDCM.
    specs = map(find_spec, ("numpy", "jpeg_ls", "openjpeg", "gdcm"))
    places = {_place(spec.origin) for spec in specs if spec is not None and spec.origin}
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OPJ_NUM_THREADS"), "1")
    return subprocess.Popen(  # noqa: S603  # our own interpreter and our own script
        [sys.executable, "-P", decoder_process.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | single | {"PYTHONPATH": os.pathsep.join(sorted(places))},
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
