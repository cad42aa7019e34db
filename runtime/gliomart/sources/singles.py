"""A series taken apart into slices that can be read one by one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gliomart.errors import InputRefusedError
from gliomart.image.slices import Refusal, Slice
from gliomart.sources import changes, dicom, images, nifti, volumes
from gliomart.sources.reading import unchecked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gliomart.image.geometry import Turn
    from gliomart.sources.inventory import SourceFile

_PICTURES = ("png", "jpeg", "tiff")
# Pictures or frames of a series that are in memory together.
_MOST_TOGETHER = 512


class Single(NamedTuple):
    """One slice of a series that need not be in memory as a whole.

    Attributes
    ----------
    shape
        Of its pixels, or what stands for it.
    read
        Makes it, as often as it is asked; not checked yet (:func:`gliomart.image.slices.checked`).
    """

    shape: tuple[object, ...]
    read: Callable[[], Slice | Refusal]


def singles(files: Sequence[SourceFile], plane: str = "axial") -> list[Single] | None:
    """Take a series apart into slices that can be made one by one, in order.

    They are what :func:`read_series` gives. Of files of one slice each nothing is read yet but what
    describes it; others are in memory as they are stored. Pictures and frames are only taken apart
    where there are many: a few are in memory sooner than that is done.

    Returns
    -------
    None where the series has to be read as a whole.
    """
    planes = [each for file in files for each in file.planes]
    turn = volumes.turn_of(planes, plane)
    many = len(planes) > _MOST_TOGETHER
    found: list[Single] | None = None
    if turn is not None and not (turn.nothing or turn.within_images):
        pass  # slices are cut out of the whole
    elif all(file.kind in _PICTURES for file in files):
        found = _alone(files, images.shape_of) if many else None
    elif len(planes) == len(files):
        found = _alone(files, lambda file: file.header.shape if file.header else None)
    elif many:
        found = _apart(files)
    if found is None or turn is None:
        return found
    heights = [each.height for each in planes if each is not None]
    ordered = [found[place] for place in sorted(range(len(found)), key=heights.__getitem__)]
    if turn.nothing:
        return ordered
    return [each._replace(read=partial(_turned, each.read, turn)) for each in ordered]


def _alone(
    files: Sequence[SourceFile], shape_of: Callable[[SourceFile], tuple[object, ...] | None]
) -> list[Single] | None:
    """Take files of one slice each, if what describes them says so of all."""
    found = []
    for file in files:
        if (shape := shape_of(file)) is None:
            return None
        found.append(Single(shape, partial(_only_slice, file)))
    return found


def _apart(files: Sequence[SourceFile]) -> list[Single] | None:
    """Take files of many slices apart, where each holds slices of one shape."""
    found: list[Single] = []
    for file in files:
        opened = {"dicom": dicom.opened, "nifti": nifti.opened}.get(file.kind)
        if opened is None or file.dataset is not None:
            return None
        try:
            with changes.unchanged(file.path, file.stamp):
                frames = opened(file)
        except InputRefusedError:  # which is told where it is read
            return None
        if frames is None:
            return None
        shape = (file.header.shape if file.header else None,)
        found += [Single(shape, frame) for frame in frames]
    return found


def _only_slice(file: SourceFile) -> Slice | Refusal:
    (item,) = unchecked(file)
    return item


def _turned(read: Callable[[], Slice | Refusal], turn: Turn) -> Slice | Refusal:
    item = read()
    return volumes.turned(item, turn) if isinstance(item, Slice) else item
