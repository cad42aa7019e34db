"""From paths to slices.

:func:`scan` walks the inputs once, reading no pixels, and groups what it finds into series;
:func:`read_series` turns a series into axial slices in anatomical order, and :func:`read` one file
into the slices that it holds. A file is what its content says, and a name that says something else
is a refusal, not a guess.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict, deque
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gliomart.errors import InputNotFoundError, InputRefusedError
from gliomart.printable import printable
from gliomart.slices import Refusal, Slice, checked
from gliomart.sources import dicom, images, media, nifti, wall
from gliomart.sources.budget import DEFAULT, Budget
from gliomart.sources.header import Header
from gliomart.sources.inventory import Inventory, Kind, SeriesFiles, SourceFile
from gliomart.sources.volumes import in_order, turn_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydicom import Dataset

    from gliomart.results import SliceResult

__all__ = [
    "DEFAULT", "Budget", "Inventory", "SeriesFiles", "SourceFile",
    "headers", "one_by_one", "read", "read_series", "scan",
]  # fmt: skip


_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
)
_KIND_OF_SUFFIX: dict[str, Kind] = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".dcm": "dicom",
    ".dicom": "dicom",
    ".ima": "dicom",
    ".nii": "nifti",
    ".nii.gz": "nifti",
}
# Images all the same, but of kinds that are not read: refused by name rather than ignored.
_UNSUPPORTED_SUFFIXES = (
    ".bmp", ".gif", ".webp", ".jp2", ".nrrd", ".mha", ".mhd", ".hdr",
)  # fmt: skip


def scan(paths: Iterable[Path | str], budget: Budget = DEFAULT) -> Inventory:
    """Walk files and folders (recursively) and group them into series.

    A DICOM series is its Series Instance UID, sorted by position along its normal; a series of
    image files is one folder, sorted by name with numbers as numbers; a NIfTI file is a series of
    its own. Of a DICOMDIR the files that it lists are taken. Hidden files are ignored.

    Parameters
    ----------
    paths
        Files and folders.
    budget
        What may be spent on reading one file.

    Raises
    ------
    InputNotFoundError
        A path does not exist. Everything else that is wrong becomes a refusal.
    """
    found: list[SourceFile] = []
    refused: list[Refusal] = []
    roots: list[str] = []
    ignored = 0
    for path in map(Path, paths):
        if not _exists(path):
            raise InputNotFoundError(f"{path}: no such file or folder")
        root = _unique_name(_printable(path.resolve().name) or "root", roots)
        roots.append(root)
        waiting = deque(_walk(path, root, refused))
        while waiting:
            file, source = waiting.popleft()
            try:
                entry = _identify(file, source, budget)
            except InputRefusedError as error:
                refused.append(Refusal(source, None, error.code, error.reason))
                continue
            except OSError as error:
                refused.append(Refusal(source, None, "unreadable", _reason(error)))
                continue
            if isinstance(entry, media.Directory):
                refused += entry.problems
                if not path.is_dir():  # in a folder, its files are met anyway
                    waiting.extend(entry.files)
                ignored += 1
            elif entry is None:
                ignored += 1
            else:
                found.append(entry)
    unique = list(_without_copies(found, refused))
    return Inventory(
        roots=tuple(roots),
        series=tuple(_group(unique)),
        refused=tuple(refused),
        files=len(unique) + len(refused),
        ignored=ignored,
    )


def read(file: SourceFile) -> Iterator[Slice | Refusal]:
    """Read the slices of one file; what cannot be analysed comes as a refusal in its place."""
    return map(checked, _read(file))


def read_series(files: Iterable[SourceFile], source: str) -> Iterator[Slice | Refusal]:
    """Read the files of one series as axial slices from feet to head, then what is refused.

    Parameters
    ----------
    files
        Of one series, in order.
    source
        What results call slices that are put together from several images.
    """
    items = [item for file in files for item in _read(file)]
    slices = [item for item in items if isinstance(item, Slice)]
    yield from map(checked, in_order(slices, source))
    yield from (item for item in items if isinstance(item, Refusal))


def one_by_one(files: Sequence[SourceFile]) -> bool:
    """Tell whether every file of a series holds one of its axial slices, all of them of one shape.

    Their headers say so; then :func:`read` gives, file by file, what :func:`read_series` gives,
    and the series need not be in memory as a whole.
    """
    shapes = {file.header.shape if file.header else None for file in files}
    turn = turn_of([file.planes[0] for file in files])
    return (
        len(shapes) == 1
        and None not in shapes
        and all(len(file.planes) == 1 for file in files)
        and (turn is None or turn.nothing)
    )


def headers(files: Iterable[SourceFile], results: Sequence[SliceResult]) -> list[Dataset]:
    """Read the headers that results come from: in the order of the results where they are images.

    Returns
    -------
    One for each slice, one for all frames of a file, or those of all images that a turned volume
    was put together from; none for files that are not DICOM.
    """
    of_dicom = [file for file in files if file.kind == "dicom"]
    analysed = dict.fromkeys(result.slice.source for result in results)
    by_source = {file.source: file for file in of_dicom if file.source in analysed}
    chosen = [by_source[source] for source in analysed if source in by_source] or of_dicom
    return [wall.parse(file.path, pixels=False, budget=file.budget) for file in chosen]


def _read(file: SourceFile) -> Iterator[Slice | Refusal]:
    try:
        match file.kind:
            case "dicom":
                yield from dicom.read(file)
            case "nifti":
                yield from nifti.read(file.path, file.source, file.series, file.budget)
            case _:
                yield from images.read(file.path, file.source, file.series)
    except InputRefusedError as error:
        yield Refusal(file.source, None, error.code, error.reason)
    except OSError as error:
        yield Refusal(file.source, None, "unreadable", _reason(error))


def _walk(path: Path, root: str, refused: list[Refusal]) -> Iterator[tuple[Path, str]]:
    if not path.is_dir():
        yield path, root
        return

    def refuse_folder(error: OSError) -> None:
        refused.append(Refusal(name_of(Path(error.filename)), None, "unreadable", _reason(error)))

    def name_of(file: Path) -> str:
        return str(PurePosixPath(root) / _printable(file.relative_to(path).as_posix()))

    for folder, folders, names in os.walk(path, onerror=refuse_folder):
        folders.sort(key=_natural)
        for link in (Path(folder, name) for name in folders):
            if link.is_symlink():  # it may lead anywhere, this folder included
                reason = "a link to a folder is not followed"
                refused.append(Refusal(name_of(link), None, "symbolic-link", reason))
        for name in sorted(names, key=_natural):
            file = Path(folder, name)
            yield file, name_of(file)


def _identify(path: Path, source: str, budget: Budget) -> SourceFile | media.Directory | None:
    """Tell what a file is; None where it is no image at all."""
    if path.name.startswith("."):
        return None
    kind = _kind(path, claimed=_claimed(path.name), budget=budget)
    if kind is None:
        return None
    if kind == "nifti":
        planes = nifti.read_planes(path, budget)
        return SourceFile(path, source, kind, series=source, planes=planes, budget=budget)
    if kind != "dicom":
        return SourceFile(path, source, kind, series=_folder(source), budget=budget)
    header = dicom.read_header(path, budget)
    if not isinstance(header, Header):
        return media.Directory.of(header, path, source)
    series = header.series or _folder(source)
    return SourceFile(path, source, kind, series, header, header.planes, budget)


def _claimed(name: str) -> Kind | None:
    """Tell what a file's name says that it is."""
    suffixes = (s for s in _KIND_OF_SUFFIX if name.lower().endswith(s))
    return next((_KIND_OF_SUFFIX[suffix] for suffix in suffixes), None)


def _kind(path: Path, claimed: Kind | None, budget: Budget) -> Kind | None:
    """Hold what a file's name claims against its content; None for no image at all."""
    head = _first_bytes(path)
    if not head and (claimed or not path.suffix):
        raise InputRefusedError("empty-file", "the file holds no bytes")
    if head and path.name.lower().endswith(_UNSUPPORTED_SUFFIXES):
        raise InputRefusedError("unsupported-format", "images of this kind are not read")
    if claimed == "nifti":  # told by its size field, which is compressed with the rest
        return claimed
    actual = _kind_of_content(head)
    if actual is None and claimed == "dicom" and dicom.readable_without_preamble(path, budget):
        actual = "dicom"
    if actual is None and claimed is not None:
        raise InputRefusedError(
            "unrecognised-format", f"named like {claimed.upper()} but its content is no known image"
        )
    if claimed not in (None, actual):
        raise InputRefusedError("mislabelled", f"named like {claimed} but its content is {actual}")
    return actual


def _first_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise InputRefusedError("not-a-file", "not a regular file")
    # Files that the kernel makes up, such as /proc/kmsg, may never have anything to read.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        return os.read(handle, dicom.MAGIC_END)
    finally:
        os.close(handle)


def _kind_of_content(head: bytes) -> Kind | None:
    if head[dicom.MAGIC_START : dicom.MAGIC_END] == b"DICM":
        return "dicom"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def _without_copies(found: Sequence[SourceFile], refused: list[Refusal]) -> Iterator[SourceFile]:
    """Leave out files that hold the same DICOM image as an earlier one."""
    known: dict[str, str] = {}
    for file in found:
        uid = file.header.sop_instance_uid if file.header else ""
        if uid and uid in known:
            reason = f"the same SOP instance as {known[uid]}"
            refused.append(Refusal(file.source, None, "duplicate", reason))
            continue
        if uid:
            known[uid] = file.source
        yield file


def _group(found: Sequence[SourceFile]) -> Iterator[SeriesFiles]:
    series: defaultdict[str, list[SourceFile]] = defaultdict(list)
    for file in found:
        series[file.series].append(file)
    for identity, files in series.items():
        ordered = sorted(files, key=lambda file: file.order)  # stable: ties stay in name order
        yield SeriesFiles(identity, _folder(files[0].source), tuple(ordered))


def _folder(source: str) -> str:
    parent = PurePosixPath(source).parent
    return source if str(parent) == "." else str(parent)


def _unique_name(name: str, taken: Sequence[str]) -> str:
    candidates = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long for any file
        return False


def _printable(name: str) -> str:
    r"""Write out what of a file name is no UTF-8 or cannot be shown, so that results can hold it.

    A backslash becomes two, and names that differ stay different.
    """
    return printable(os.fsencode(name.replace("\\", r"\\")).decode("utf-8", "backslashreplace"))


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
