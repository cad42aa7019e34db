"""How many processors this process may use, which all pools of threads are made for.

A machine has more than a process in it may use: a container has a share of them, a batch job those
it was given, and a service a largest number of tasks, each thread of a pool being one. Libraries
count the machine's; gliomart tells each of them what this module says.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PROC = Path("/proc/self")
# SLURM, sbatch(1), OUTPUT ENVIRONMENT VARIABLES: of the task, and of the job on this machine.
_SLURM = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
# Threads that are made for every processor: ONNX Runtime's, OpenCV's, and those that analyse and
# that write slices; and those beside, with the process that decodes and the one that may follow it.
_THREADS_EACH, _THREADS_BESIDE = 4, 8


@dataclass(frozen=True)
class Mount:
    """A hierarchy of control groups, as it is mounted.

    Attributes
    ----------
    controllers
        Of version 1, such as ``cpu``; empty for version 2, which has all of them in one.
    root
        The group that is seen at the mount point: not the first of all within a container.
    point
        Where it is seen.
    """

    controllers: frozenset[str]
    root: PurePosixPath
    point: Path


def usable() -> int:
    """Count the processors that this process may use, at least one.

    The smallest counts of: the processors it may be scheduled on, its share of their time (rounded
    up), what SLURM gave it, and what its largest number of tasks leaves room for.

    References
    ----------
    sched_setaffinity(2); Linux, *Control Group v2* (``cpu.max``, ``pids.max``), *CFS Bandwidth
    Control* (``cpu.cfs_quota_us``) and *Process Number Controller*; sbatch(1).
    """
    counts: list[int | None] = [scheduled(), *slurm(os.environ)]
    for folder in own_groups(_text(_PROC / "cgroup"), _text(_PROC / "mountinfo")):
        counts += [_share(folder), _room(folder)]
    return max(1, min(count for count in counts if count is not None))


def affordable(wanted: int) -> int:
    """Try how many threads each pool can have, at least one and at most as many as are wanted.

    As many as all pools would have are started, and end at once. ONNX Runtime hangs or crashes
    where it is refused a thread, and what refuses it cannot be read everywhere: a limit of the
    user's (``RLIMIT_NPROC``), of a group around the container, of address space.
    """
    if wanted == 1:
        return 1
    all_of_them = wanted * _THREADS_EACH + _THREADS_BESIDE
    started = startable(all_of_them)
    return wanted if started == all_of_them else max(1, _in_room_of(started))


def fewer_threads(wanted: int) -> None:
    """Log that the system refuses threads, so that work goes on in fewer."""
    import logging  # which commands that start no threads do without

    logger = logging.getLogger("gliomart")
    logger.warning("fewer threads can be started than the %d that were to be", wanted)


def is_refused_thread(error: BaseException) -> bool:
    """Tell whether an error is the system's refusal of a thread; CPython has no type for it."""
    return isinstance(error, RuntimeError) and "start new thread" in str(error)


def slurm(environment: Mapping[str, str]) -> Iterator[int]:
    """Read what SLURM gave; what is no whole number above zero says nothing."""
    for name in _SLURM:
        if re.fullmatch("[0-9]{1,9}", text := environment.get(name, "").strip()) and int(text):
            yield int(text)


def own_groups(groups: str, mounts: str) -> Iterator[Path]:
    """Find the folders of the control groups that this process is in, from each up to the first.

    Parameters
    ----------
    groups, mounts
        The content of ``/proc/self/cgroup`` and ``/proc/self/mountinfo``.

    References
    ----------
    cgroups(7), "/proc files"; proc_pid_mountinfo(5).
    """
    hierarchies = mounted(mounts)
    for line in groups.splitlines():
        _, _, controllers_and_path = line.partition(":")
        controllers, _, path = controllers_and_path.partition(":")
        for mount in hierarchies:
            if mount.controllers & set(controllers.split(",")) or not (
                controllers or mount.controllers
            ):
                yield from _up(mount, PurePosixPath(path))


def mounted(mounts: str) -> list[Mount]:
    """Read which hierarchies of control groups are mounted, out of ``/proc/self/mountinfo``."""
    found = []
    for line in mounts.splitlines():
        place, _, kind = line.partition(" - ")
        fields, (system, *rest) = place.split(" "), kind.split(" ") or [""]
        if len(fields) < 5 or system not in {"cgroup", "cgroup2"}:  # noqa: PLR2004
            continue
        options = rest[-1].split(",") if system == "cgroup" and rest else []
        root, point = map(_unescaped, fields[3:5])
        found.append(Mount(frozenset(options), PurePosixPath(root), Path(point)))
    return found


def quota(maximum: str) -> int | None:
    """Read a share of processors, such as ``150000 100000`` (µs of each period); None for no end.

    Examples
    --------
    >>> quota("150000 100000"), quota("max 100000"), quota("50000 100000")
    (2, None, 1)
    """
    numbers = re.fullmatch(r"([0-9]{1,18})\s+([0-9]{1,18})\s*", maximum)
    if numbers is None or not int(numbers[2]):
        return None
    return max(1, ceil(int(numbers[1]) / int(numbers[2])))


def scheduled() -> int:
    """Count the processors that this process may be scheduled on, which most libraries go by."""
    if hasattr(os, "sched_getaffinity"):
        try:
            return len(os.sched_getaffinity(0))
        except OSError:  # a sandbox may forbid to ask (seccomp)
            pass  # the number of all of them is the next best answer
    return os.cpu_count() or 1


def _up(mount: Mount, path: PurePosixPath) -> Iterator[Path]:
    """Give the folders of a group and of those around it, as far as they are mounted."""
    inside = path.relative_to(mount.root) if path.is_relative_to(mount.root) else PurePosixPath()
    if ".." in inside.parts:  # a group outside of the namespace
        inside = PurePosixPath()
    for folder in (inside, *inside.parents):
        yield mount.point / folder


def _share(folder: Path) -> int | None:
    if maximum := _text(folder / "cpu.max"):
        return quota(maximum)
    return quota(f"{_text(folder / 'cpu.cfs_quota_us')} {_text(folder / 'cpu.cfs_period_us')}")


def _room(folder: Path) -> int | None:
    """Count the processors whose pools find room in a group's largest number of tasks."""
    maximum, current = (_text(folder / f"pids.{name}") for name in ("max", "current"))
    if not (maximum.isdecimal() and current.isdecimal()):  # "max", or no such file
        return None
    return _in_room_of(int(maximum) - int(current))


def _in_room_of(tasks: int) -> int:
    return (tasks - _THREADS_BESIDE) // _THREADS_EACH


def startable(threads: int) -> int:
    """Start up to so many threads beside this one, end them, and tell how many there were."""
    over, started = Event(), list[Thread]()
    try:
        for _ in range(threads):
            thread = Thread(target=over.wait, name="gliomart-rehearsal", daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:  # CPython's _thread: "can't start new thread"
        pass  # their number says so
    finally:
        over.set()
        for thread in started:
            thread.join()
    return len(started)


def _text(path: Path) -> str:
    """Read what the system tells; nothing where it does not."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return ""


def _unescaped(field: str) -> str:
    r"""Read a field of mountinfo, where blanks and the like are written as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
