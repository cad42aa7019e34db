"""What programs hand over, checked before anything is made of it.

Images are refused as files are, by the same codes, one by one. What is no image at all, and options
that are none, are a :class:`UsageError` that names the argument and says what is taken.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np

from gliomart.errors import InputNotFoundError, InputRefusedError, UsageError
from gliomart.image.geometry import COARSEST_MM, FINEST_MM, is_place, is_plane
from gliomart.image.sequence import GIVEN
from gliomart.image.slices import Refusal, Slice, of_array, settled
from gliomart.printable import printable, said

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray
    from pydicom import Dataset

    # What a list that stands for a series may hold, all of one kind.
    Member: TypeAlias = Slice | NDArray[Any] | Path | str | Dataset

IMAGE = (
    "an image is a path, array, data set, slice or seekable binary stream"
    " (numpy.asarray and io.BytesIO make them of others)"
)
SERIES = (
    "a series is a path, a series of gliomart.scan(), an array (Z, H, W), or a list: of"
    " slices and arrays, of paths, or of data sets"
)
_Series = TypeVar("_Series")
_MOST_THREADS = 1024
# Lists of these would be of characters, keys or single bytes.
_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping, set, frozenset, Slice)


def path(name: str, value: object) -> Path:
    """Take a path.

    Raises
    ------
    UsageError
        It is none, or an object that cannot tell which it is.
    InputNotFoundError
        It is empty, which would stand for the working directory, or holds a zero byte.
    """
    try:
        given = os.fsdecode(value)  # type: ignore[arg-type]  # which is what is found out
    except Exception as error:
        raise UsageError(f"{name} is {_kind(value)}, not a path") from error
    if not given:  # which Path takes for the working directory
        raise InputNotFoundError(f"{name} is an empty path")
    if "\0" in given:
        raise InputNotFoundError(f"{name} holds a zero byte, as no path does")
    return Path(given)


def paths(value: object) -> list[Path]:
    """Take a list of paths.

    Raises
    ------
    UsageError
        It is none. A path by itself would be read character by character.
    InputNotFoundError
        As :func:`path`.
    """
    if isinstance(value, (*_NO_LISTS, os.PathLike)) or not isinstance(value, Iterable):
        raise UsageError(f"paths are given as a list, and this is {_kind(value)}")
    return [path("one of the paths", each) for each in value]


def is_path(value: object) -> TypeGuard[str | os.PathLike[str]]:
    """Tell whether something names a file."""
    return isinstance(value, (str, os.PathLike))


def series(every_series: Iterable[_Series]) -> Iterable[_Series]:
    """Take what gives series one by one; each is looked at when it is taken.

    Raises
    ------
    UsageError
        It is nothing of the kind.
    """
    if not isinstance(every_series, Iterable):
        raise UsageError(f"a list of the series of gliomart.scan() is {_kind(every_series)}")
    return every_series


def members(series: object) -> list[Any]:
    """List what a series is given as, when it is no path.

    Raises
    ------
    UsageError
        It is no list, or an array of other dimensions than (Z, H, W) or (Z, H, W, colours).
    """
    from pydicom import Dataset

    if isinstance(series, np.ndarray):
        if series.ndim not in {3, 4}:
            raise UsageError(f"the series is an array of shape {series.shape}; {SERIES}")
    elif isinstance(series, (*_NO_LISTS, Dataset)) or not isinstance(series, Iterable):
        raise UsageError(f"the series is {_kind(series)}; {SERIES}")
    return list(series)


def all_of(series: Sequence[Any], fits: Callable[[object], bool]) -> bool:
    """Tell whether all members of a list are of the kind that the first one is of.

    Raises
    ------
    UsageError
        The first one is of that kind, and another is not.
    """
    if not series or not fits(series[0]):
        return False
    for number, item in enumerate(series):
        if not fits(item):
            first = _kind(series[0])
            raise UsageError(
                f"member {number} of the series is {_kind(item)}, and member 0 {first}; {SERIES}"
            )
    return True


def plane_of(number: int, item: object, plane: int | None) -> Slice | Refusal:
    """Take one member of a series, or the refusal in its place.

    Parameters
    ----------
    number
        Its place in the series, from 0.
    item
        A slice, a refusal, or an array (H, W) or (H, W, colours).
    plane
        Which colour plane of an array is analysed, from 1.

    Raises
    ------
    UsageError
        It is nothing of that.
    """
    if isinstance(item, Refusal):
        for name in ("source", "code", "reason"):
            if not isinstance(getattr(item, name), str):
                raise UsageError(
                    f"member {number} of the series is a refusal whose {name} is no text"
                )
        return item
    try:
        if isinstance(item, Slice):
            return checked(item)
        if isinstance(item, np.ndarray):
            return of_array(item, plane, number)
    except InputRefusedError as error:
        source, frame = _name_of(item, number)
        return Refusal(source, frame, error.code, error.reason)
    raise UsageError(f"member {number} of the series is {_kind(item)}; {SERIES}")


def _name_of(item: object, number: int) -> tuple[str, int | None]:
    """Tell the source and frame of a member that is refused; its place, where it has no name."""
    if isinstance(item, Slice) and isinstance(item.source, str) and item.source != Slice.source:
        return printable(item.source), item.frame if _is_count(item.frame, least=0) else None
    return Slice.source, number


def checked(item: Slice) -> Slice:
    """Check a slice that a program made, as readers check what files hold.

    Raises
    ------
    InputRefusedError
        ``bad-slice``, ``bad-geometry``, or as :func:`gliomart.image.slices.settled`.
    """
    for name in ("source", "series"):
        if not isinstance(getattr(item, name), str):
            raise InputRefusedError("bad-slice", f"its {name} is no text")
    if item.frame is not None and not _is_count(item.frame, least=0):
        raise InputRefusedError("bad-slice", "its frame is no number from 0")
    if not isinstance(item.sop_instance_uid, (str, type(None))):
        raise InputRefusedError("bad-slice", "its sop_instance_uid is no text")
    air = _array("air", item.air)
    air = None if air is None else np.asarray(air)  # without a subclass, which may do anything
    if air is not None and air.dtype != bool:
        raise InputRefusedError("bad-shape", f"its air is of {air.dtype}, not of bool")
    spacing = _numbers("the pixel spacing is not two lengths in mm", item.spacing, 2)
    if spacing and not FINEST_MM <= min(spacing) <= max(spacing) <= COARSEST_MM:
        raise InputRefusedError("bad-geometry", "the pixel spacing is not two lengths in mm")
    directions = "the orientation is not two directions at right angles"
    orientation = _numbers(directions, item.orientation, 6)
    if orientation and not is_plane(orientation):
        raise InputRefusedError("bad-geometry", directions)
    position = _numbers("the position is not three numbers", item.position, 3)
    if position and not is_place(position):
        raise InputRefusedError("bad-geometry", "the position is no place in mm")
    pixels = _array("pixels", item.pixels)
    if pixels is None:
        raise InputRefusedError("bad-shape", "it has no pixels")
    return settled(
        replace(
            item,
            pixels=pixels,
            source=printable(item.source),
            series=printable(item.series),
            spacing=(spacing[0], spacing[1]) if spacing else None,
            position=position,
            orientation=orientation,
            air=air,
        )
    )


def _array(name: str, value: object) -> NDArray[Any] | None:
    """Take an array, or a list of numbers; what is no array is refused by name."""
    if value is None:
        return None
    try:
        return np.asanyarray(value)
    except Exception as error:
        raise InputRefusedError("bad-shape", f"its {name} are no array ({said(error)})") from error


def _numbers(reason: str, values: object, count: int) -> tuple[float, ...] | None:
    """Take so many finite numbers; text is none, whatever it says."""
    if values is None:
        return None
    try:
        found = tuple(each for each in values)  # type: ignore[attr-defined]
        finite = len(found) == count and all(map(is_number, found))
    except Exception as error:
        raise InputRefusedError("bad-geometry", reason) from error
    if not finite:
        raise InputRefusedError("bad-geometry", reason)
    return tuple(map(float, found))


def is_number(value: object) -> bool:
    """Tell whether something is a finite number, and neither text nor true or false."""
    if isinstance(value, (str, bytes, bool, np.bool_)):
        return False
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001  # a type of somebody else may fail in any way
        return False


def _is_count(value: object, *, least: int) -> bool:
    return isinstance(value, (int, np.integer)) and is_number(value) and bool(value >= least)


def rate(name: str, value: object) -> float | None:
    """Take a number, or None for nobody's choice.

    Raises
    ------
    UsageError
        It is neither.
    """
    if value is not None and not is_number(value):
        raise UsageError(f"{name} is {_shown(value)}, not a number")
    return None if value is None else float(value)  # type: ignore[arg-type]


def count(name: str, value: object, *, most: int = _MOST_THREADS) -> int | None:
    """Take a whole number above zero, or None for nobody's choice.

    Raises
    ------
    UsageError
        It is neither, or above ``most``.
    """
    if value is None:
        return None
    if not _is_count(value, least=1) or int(value) > most:  # type: ignore[call-overload]
        raise UsageError(f"{name} is {_shown(value)}, not a whole number from 1 to {most}")
    return int(value)  # type: ignore[call-overload]


def sequence(value: object) -> str | None:
    """Take the name of an MR sequence, in any case, or None where nobody says one.

    Raises
    ------
    UsageError
        It is neither.
    """
    if value is None:
        return None
    found = GIVEN.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise UsageError(f"sequence is {_shown(value)}, none of {', '.join(GIVEN)}")
    return found


def choice(name: str, value: object) -> bool:
    """Take true or false; of text and numbers it is not clear which they mean.

    Raises
    ------
    UsageError
        It is neither.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise UsageError(f"{name} is {_shown(value)}, neither True nor False")
    return bool(value)


def instance(name: str, value: object, kind: type) -> None:
    """See that something is of a kind.

    Raises
    ------
    UsageError
        It is not.
    """
    if not isinstance(value, kind):
        raise UsageError(f"{name} is {_kind(value)}, not of {kind.__name__}")


def _shown(value: object) -> str:
    return printable(repr(value)[:40]) if isinstance(value, (str, int, float)) else _kind(value)


def _kind(value: object) -> str:
    """Say what something is by its type; what it says of itself may be long, or fail."""
    return "None" if value is None else f"of type {type(value).__name__}"
