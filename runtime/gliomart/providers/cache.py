"""Where providers keep what takes them long to build: engines, timings, compiled kernels.

An engine is code that runs in this process, so its folder is one that nobody else can write to, and
is never shared. Each combination of model, device and libraries has a folder of its own: what was
built for one is never looked at by another. Deleting any of it costs a build.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Counts up when what the key is made of, or what the folder holds, changes.
_VERSION = 1
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def folder(key: Mapping[str, str]) -> Path | None:
    """Make the private folder of one key.

    Parameters
    ----------
    key
        All that what is kept depends on.

    Returns
    -------
    The folder; None where there can be no such folder, and nothing is kept then.
    """
    digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
    try:
        place = _base().resolve()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("gliomart", f"engines-v{_VERSION}", digest[:32]):
            place /= name
            place.mkdir(mode=0o700, exist_ok=True)
    except (OSError, RuntimeError):  # a home that cannot be written to, or that nobody knows
        return None
    return place if _is_private(place) else None


def empty(place: Path) -> None:
    """Remove what a folder holds, such as an engine whose writing was interrupted."""
    for each in place.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def _base() -> Path:
    """Folder for caches, by the XDG Base Directory Specification."""
    asked = os.environ.get("XDG_CACHE_HOME", "")
    return Path(asked) if Path(asked).is_absolute() else Path.home() / ".cache"


def _is_private(place: Path) -> bool:
    """Tell whether none but this user and root can put a file here, or another folder in place."""
    if not hasattr(os, "geteuid"):  # permissions of this kind are POSIX's
        return False
    for each in (place, *place.parents):
        status = each.lstat()
        # In a folder such as /tmp only an entry's owner can replace it.
        shared = status.st_mode & _WRITABLE_BY_OTHERS and not status.st_mode & stat.S_ISVTX
        if not stat.S_ISDIR(status.st_mode) or shared or status.st_uid not in {0, os.geteuid()}:
            return False
    return place.lstat().st_uid == os.geteuid() and os.access(place, os.W_OK)
