"""NIfTI volumes (extra ``nifti``): nibabel reads their headers; voxels are read here.

Nothing of a file is inflated or taken into memory before its header was held against the budget.
"""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from gliomart.errors import BrokenExtraError, InputRefusedError, MissingExtraError
from gliomart.host import extras
from gliomart.image.greyscale import LARGEST_SIDE
from gliomart.image.slices import Refusal, Slice, luma
from gliomart.printable import said
from gliomart.sources.budget import Image, beyond
from gliomart.sources.nifti_space import Placement, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.image.geometry import ImagePlane
    from gliomart.sources.budget import Budget
    from gliomart.sources.inventory import SourceFile

# Voxels begin after the header and its extensions; a file that lets them begin much later only
# wants to be inflated.
_LATEST_START = 1 << 20
_GZIP = b"\x1f\x8b"
_MOST_DEFLATED = 1040  # times: what DEFLATE can shrink to one
# Sizes of the headers of NIfTI-1 and NIfTI-2, which are their first field; magics of a file that
# holds its voxels, and of a header whose voxels lie in another file.
_SIZES = (348, 540)
_MAGICS = {348: (b"n+1", b"ni1"), 540: (b"n+2", b"ni2")}
_REAL = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
         1280: "u8"}  # fmt: skip
_COMPLEX = frozenset({32, 1792, 2048})
_COLOUR = frozenset({128, 2304})
_FLOAT_BITS = 32  # of a voxel after it was read
# Scaled values have to differ by more than what a float of 32 bits rounds.
_FINEST = 2.0**-16
_HUGE = 1e30


@dataclass(frozen=True)
class Volume:
    """What the header of a file says of its voxels.

    Attributes
    ----------
    shape
        Voxels along x, y and z, of which x is stored first.
    dtype
        Of a voxel as stored.
    start
        Offset of the first one, after inflating.
    slope, intercept
        What they are multiplied with, and what is added then; 1 and 0 for nothing.
    placement
        Where the slices lie.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    start: int
    slope: float
    intercept: float
    placement: Placement

    @property
    def bytes(self) -> int:
        """Size of all voxels as stored."""
        across, down, up = self.shape
        return across * down * up * self.dtype.itemsize


def describe(path: Path, budget: Budget) -> Volume:
    """Read the header of a volume.

    Raises
    ------
    InputRefusedError
        ``missing-extra``, ``unreadable``, ``mislabelled``, ``unsupported-format``,
        ``not-greyscale``, ``not-a-volume``, ``bad-geometry``, ``undecodable``, ``too-large``,
        ``too-many-bytes``, ``too-many-pixels``.
    """
    _header_kinds()
    if (size := path.stat().st_size) > budget.file_bytes:
        raise beyond("too-many-bytes", "the file holds", size, budget.file_bytes)
    with _opened(path) as (stream, compressed), _refusals("unreadable", "not a valid NIfTI file"):
        header = _header(stream)
    if compressed != path.name.lower().endswith(".gz"):
        is_so = "is" if compressed else "is not"
        raise InputRefusedError("mislabelled", f"a NIfTI file that {is_so} compressed, by content")
    shape = _shape(header)
    across, down, up = shape
    budget.admit(Image(down, across, 1, up, _FLOAT_BITS, _FLOAT_BITS, _FLOAT_BITS - 1, signed=True))
    if max(across, down) > LARGEST_SIDE:
        reason = f"{across}x{down} pixels; at most {LARGEST_SIDE} a side are read"
        raise InputRefusedError("too-large", reason)
    slope, intercept = _scaling(header)
    return Volume(
        shape, _dtype(header), _start(header), slope, intercept, placement=place(header, shape)
    )


def read(file: SourceFile) -> Iterator[Slice | Refusal]:
    """Yield the slices of a volume along its third axis, as they are stored.

    Of one whose place is not known, x runs along the rows and y up the columns, as most have it.

    Raises
    ------
    InputRefusedError
        As :func:`describe`.
    """
    yield from (make() for make in opened(file))


def opened(file: SourceFile) -> list[Callable[[], Slice | Refusal]]:
    """Read a volume as it is stored, and give what makes each slice, as often as it is asked.

    Raises
    ------
    InputRefusedError
        As :func:`describe`.
    """
    volume = describe(file.path, file.budget)
    planes = volume.placement.planes
    if planes != file.planes:
        raise InputRefusedError("changed", "the file was changed while it was being read")
    voxels = _voxels(file.path, volume)
    _check_scale(voxels, volume)

    def make(number: int, plane: ImagePlane | None) -> Slice | Refusal:
        stored = voxels[:, :, number].T
        try:
            return Slice(
                pixels=luma(_scaled(stored if plane else stored[::-1], volume)),
                source=file.source,
                series=file.series,
                frame=number,
                spacing=volume.placement.spacing,
                position=plane.position if plane else None,
                orientation=plane.orientation if plane else None,
            )
        except InputRefusedError as error:
            return Refusal(file.source, number, error.code, error.reason)

    return [partial(make, *each) for each in enumerate(planes)]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """Open a file, inflating what is compressed; tells whether it is."""
    with path.open("rb") as stream:
        compressed = stream.read(len(_GZIP)) == _GZIP
        stream.seek(0)
        if not compressed:
            yield stream, False
            return
        with gzip.GzipFile(fileobj=stream) as inflated:
            yield cast("BinaryIO", inflated), True


def _header_kinds() -> tuple[Any, Any]:
    """Import nibabel's classes of headers, those of NIfTI-1 and NIfTI-2."""
    try:
        with extras.needed("NIfTI", "nifti", "nibabel"):
            from nibabel import Nifti1Header, Nifti2Header
    except (MissingExtraError, BrokenExtraError) as error:
        raise InputRefusedError("missing-extra", str(error)) from error
    return Nifti1Header, Nifti2Header


def _header(stream: BinaryIO) -> Any:  # noqa: ANN401
    begin = stream.read(_SIZES[0])
    orders = {size.to_bytes(4, order): size for size in _SIZES for order in ("little", "big")}
    size = orders.get(begin[:4])
    if size is None:
        raise InputRefusedError("unreadable", "not a valid NIfTI file")
    block = begin + stream.read(size - len(begin))
    first, second = _header_kinds()
    header = (first if size == _SIZES[0] else second)(block, check=False)
    single, pair = _MAGICS[size]
    magic = bytes(header["magic"].tobytes())[:3]
    if magic == pair:
        reason = "half of a pair (.hdr and .img); save the volume as one .nii file"
        raise InputRefusedError("unsupported-format", reason)
    if magic != single:
        raise InputRefusedError("unreadable", "not a valid NIfTI file")
    return header


def _shape(header: Any) -> tuple[int, int, int]:  # noqa: ANN401
    count, *lengths = (int(length) for length in header["dim"])
    if not 1 <= count <= len(lengths):
        raise InputRefusedError("unreadable", f"a NIfTI volume of {count} dimensions")
    shape = tuple(lengths[:count])
    if count < 3 or min(shape) < 1 or any(length != 1 for length in shape[3:]):  # noqa: PLR2004
        raise InputRefusedError("not-a-volume", f"{count} dimensions {shape}, not one volume")
    across, down, up = shape[:3]
    return across, down, up


def _dtype(header: Any) -> np.dtype[Any]:  # noqa: ANN401
    code = int(header["datatype"])
    if code in _COLOUR:
        raise InputRefusedError("not-greyscale", "voxels of colour are not read")
    if code in _COMPLEX:
        raise InputRefusedError(
            "unsupported-format", "complex voxels are not read; save their magnitude"
        )
    if code not in _REAL:
        raise InputRefusedError("unsupported-format", f"voxels of data type {code} are not read")
    return np.dtype(header.endianness + _REAL[code])


def _start(header: Any) -> int:  # noqa: ANN401
    offset, header_size = float(header["vox_offset"]), int(header["sizeof_hdr"])
    least = header_size + 4  # which say whether there are extensions
    if not (offset == 0 or least <= offset <= _LATEST_START):
        where = "far behind" if offset > _LATEST_START else "within"
        raise InputRefusedError("unreadable", f"the voxels begin {where} the header")
    return int(offset) or least


def _scaling(header: Any) -> tuple[float, float]:  # noqa: ANN401
    """Read slope and intercept; a slope of 0, or that is no number, means that there is none."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(intercept):
        raise InputRefusedError("undecodable", "the intercept of the scaling is no number")
    return slope, intercept


def _voxels(path: Path, volume: Volume) -> NDArray[Any]:
    """Read the voxels (x, y, z) as stored, and see that there are no others."""
    short = InputRefusedError("undecodable", "the file ends before its last voxel")
    needed = volume.start + volume.bytes
    with (
        _opened(path) as (stream, compressed),
        _refusals("undecodable", "the voxels cannot be read"),
    ):
        if path.stat().st_size * (_MOST_DEFLATED if compressed else 1) < needed:
            raise short
        stream.read(volume.start)
        content: NDArray[Any] = np.empty(volume.bytes, np.uint8)
        if _fill(stream, content.data) < volume.bytes:
            raise short
        plane = volume.bytes // volume.shape[2]
        if len(stream.read(plane)) == plane:  # a file of several volumes, or of other sizes
            reason = "the file holds more voxels than its header says"
            raise InputRefusedError("not-a-volume", reason)
    return content.view(volume.dtype).reshape(volume.shape, order="F")


def _fill(stream: BinaryIO, content: memoryview) -> int:
    filled = 0
    while filled < len(content):
        count = cast("Any", stream).readinto(content[filled : filled + (1 << 24)])
        if not count:
            break
        filled += count
    return filled


def _check_scale(voxels: NDArray[Any], volume: Volume) -> None:
    """Refuse a scaling of whole numbers after which they cannot be told apart."""
    if (volume.slope, volume.intercept) == (1.0, 0.0) or voxels.dtype.kind == "f":
        return
    ends = np.array([voxels.min(), voxels.max()], np.float64)
    low, high = np.sort(ends * volume.slope + volume.intercept)
    most = max(abs(low), abs(high))
    if ends[0] < ends[1] and not (1 / _HUGE < high - low < _HUGE and high - low > _FINEST * most):
        said_so = f"a slope of {volume.slope:g} and an intercept of {volume.intercept:g}"
        raise InputRefusedError("undecodable", f"{said_so} leave nothing of the values")


def _scaled(stored: NDArray[Any], volume: Volume) -> NDArray[Any]:
    if (volume.slope, volume.intercept) == (1.0, 0.0):
        return np.ascontiguousarray(stored)
    with np.errstate(over="ignore", invalid="ignore"):  # which is refused as not finite
        return np.ascontiguousarray(stored.astype(np.float64) * volume.slope + volume.intercept)


@contextmanager
def _refusals(code: str, what: str) -> Iterator[None]:
    """Turn whatever nibabel and zlib raise about hostile bytes into a refusal."""
    try:
        yield
    except InputRefusedError:
        raise
    except OSError as error:
        if error.errno is not None:  # the operating system's, not the decompressor's
            raise
        raise InputRefusedError(code, what) from error
    except Exception as error:
        raise InputRefusedError(code, f"{what}: {said(error)}") from error
