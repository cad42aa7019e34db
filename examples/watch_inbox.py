"""When what lies in an inbox is whole."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("watch_folder")

# What consoles and copying programs call a file until it is whole.
TEMPORARY = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", "~")
UNSETTLED_S = 600.0  # after which a folder that keeps changing is told of


class Inbox:
    """A folder, and since when each folder in it has been as it is."""

    def __init__(self, folder: Path, settle_s: float) -> None:
        self.folder = folder
        self._settle_s = settle_s
        self._since: dict[Path, tuple[object, float]] = {}
        self._unsettled: dict[Path, float] = {}  # since when; infinity once it was told

    def settled(self, now: float) -> dict[Path, object]:
        """Find folders whose files have had the same names, sizes and times for long enough.

        The clock is this machine's alone: times of files on a network share may be of another.

        Raises
        ------
        OSError
            The inbox itself cannot be listed. Other folders that cannot be are refused by the scan.
        """
        found = {Path(folder): _state(Path(folder), names) for folder, names in self.walk()}
        self._since = {
            folder: kept if (kept := self._since.get(folder)) and kept[0] == state else (state, now)
            for folder, state in found.items()
        }
        settled = {
            folder: state
            for folder, (state, since) in self._since.items()
            if state is not None and now - since >= self._settle_s
        }
        left = found.keys() - settled.keys()
        self._unsettled = {folder: self._unsettled.get(folder, now) for folder in left}
        for folder, since in self._unsettled.items():
            if now - since >= UNSETTLED_S + self._settle_s:
                self._unsettled[folder] = math.inf
                name = hashed(str(folder))
                log.warning("folder %s: still changes, or holds an unfinished file", name)
        return settled

    def walk(self) -> Iterator[tuple[str, list[str]]]:
        """List every folder with its files, but for what is hidden."""
        from gliomart.sources import is_hidden  # later than signals are listened to

        def missed(error: OSError) -> None:
            if error.filename == str(self.folder):
                raise error

        for folder, folders, names in os.walk(self.folder, onerror=missed):
            folders[:] = [name for name in folders if not is_hidden(name)]
            yield folder, [name for name in names if not is_hidden(name)]


def hashed(name: str) -> str:
    """Name what a log must not name."""
    return hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:12]


def _state(folder: Path, names: list[str]) -> object:
    """Names, sizes and times of files; None where one is being written or was just removed."""
    if any(name.lower().endswith(TEMPORARY) for name in names):
        return None
    try:
        status = {name: (folder / name).stat() for name in names}
    except OSError:
        return None
    return {name: (s.st_size, s.st_mtime_ns) for name, s in status.items()}
