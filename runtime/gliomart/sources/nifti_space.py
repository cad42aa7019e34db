"""Where a NIfTI volume says that it lies (NIfTI-1 standard, methods 1 to 3).

A header may place a volume three times: by its sform, by its qform, and by its pixel sizes alone.
What contradicts itself is refused. A volume that only has sizes lies nobody knows how.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.geometry import ImagePlane, is_plane
from gliomart.image.slices import Concern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    # A code and an affine (3, 4).
    _Form = tuple[int, NDArray[np.float64]]

# NIfTI's axes run to the right and the front, DICOM's to the left and the back.
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
# By the lowest bits of xyzt_units: unknown, metres, millimetres, microns.
_MM = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
_UNIT_BITS = 7
_SPACES = {1: "the scanner", 2: "another scan", 3: "Talairach", 4: "MNI", 5: "a template"}
_SCANNER = 1
# Quaternions that were rounded to three digits are up to this long; and what is left of 1 by those
# that turn by 180° (nifti1_io.c).
_LONGEST_QUATERNION, _NO_REST = 1.0015, 1e-7
# Corners of a volume that are placed twice lie this near each other, in voxels, by rounding.
_SAME_PLACE = 0.5
_SAME_LENGTH = 0.01
# A head lies in another scan, or a template, turned by less than this.
_LARGEST_TURN = 45.0
UNKNOWN = "unknown-orientation"
_SPACE = "chosen-space"


class Placement(NamedTuple):
    """Where the slices of a volume lie.

    ``planes`` are None where that is not known; ``spacing`` is the distance between (rows, columns)
    in mm, None where the header gives none.
    """

    planes: tuple[ImagePlane | None, ...]
    spacing: tuple[float, float] | None
    concerns: tuple[Concern, ...] = ()
    notes: tuple[Concern, ...] = ()


def place(header: Any, shape: tuple[int, int, int]) -> Placement:  # noqa: ANN401
    """Place the slices of a volume of (x, y, z) voxels.

    Raises
    ------
    InputRefusedError
        ``bad-geometry``: what the header says contradicts itself, or gives voxels no size.
    """
    scale = _MM.get(int(header["xyzt_units"]) & _UNIT_BITS, 1.0)
    sizes = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    found, notes = _read(header, sizes, scale)
    if not found:
        return _unplaced(shape[2], sizes * scale)
    if "sform" in found:
        aligned = _straight(found)
        if aligned is None:
            _hold_against_sizes(found["sform"][1], sizes * scale)
        else:
            _refuse_contradiction(aligned, found["qform"][1])
            del found["sform"]
            notes.append(_instead("qform", _SCANNER, "the sform shears the voxels"))
    (name, (code, affine)), *others = found.items()
    if others:
        ((other, (other_code, other_affine)),) = others
        if not _agree(affine, other_affine, shape):
            _refuse_contradiction(affine, other_affine)
            if code == other_code:
                raise _contradiction("places")
            if other_code < code:
                name, code, affine, other_code = other, other_code, other_affine, code
            notes.append(_chosen(name, code, other_code))
    return _placed(affine, shape[2], tuple(notes))


def _read(
    header: Any,  # noqa: ANN401
    sizes: NDArray[np.float64],
    scale: float,
) -> tuple[dict[str, _Form], list[Concern]]:
    """Read sform and qform, as far as they are there; a qform that is none beside an sform is not.

    Returns them by name, and the notes on it.
    """
    found: dict[str, _Form] = {}
    if (code := int(header["sform_code"])) in _SPACES:
        found["sform"] = (code, _with_size(_sform(header) * scale, "sform"))
    if (code := int(header["qform_code"])) in _SPACES:
        try:
            found["qform"] = (code, _with_size(_qform(header, sizes) * scale, "qform"))
        except InputRefusedError as fault:
            if not found:
                raise
            return found, [_instead("sform", found["sform"][0], fault.reason)]
    return found, []


def _sform(header: Any) -> NDArray[np.float64]:  # noqa: ANN401
    return np.array([header["srow_x"], header["srow_y"], header["srow_z"]], np.float64)


def _qform(header: Any, sizes: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ANN401
    """Calculate method 2 as nifti1.h and nifti1_io.c do, which nibabel is stricter than.

    A quaternion that is a little too long has been rounded: it is scaled to the length of 1. What
    is no -1 in pixdim[0] is 1.
    """
    b, c, d = (float(header[f"quatern_{letter}"]) for letter in "bcd")
    length = math.hypot(b, c, d)
    if not length <= _LONGEST_QUATERNION:
        raise InputRefusedError("bad-geometry", "the qform's quaternion is no rotation")
    rest = 1 - length**2
    if rest < _NO_REST:
        b, c, d, rest = b / length, c / length, d / length, 0.0
    a = math.sqrt(rest)
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip
    if float(header["pixdim"][0]) < 0:
        rotation[:, 2] = -rotation[:, 2]
    offset = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    with np.errstate(invalid="ignore"):  # sizes without end are refused afterwards
        return np.column_stack([rotation * sizes, offset])


def _with_size(affine: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Refuse an affine (3, 4) that gives voxels no size."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(affine[:, :3], axis=0)
    if not (np.isfinite(affine).all() and np.isfinite(lengths).all() and (lengths > 0).all()):
        raise InputRefusedError("bad-geometry", f"the {name} gives the voxels no size")
    return affine


def _straight(found: Mapping[str, _Form]) -> NDArray[np.float64] | None:
    """See that an sform makes boxes of voxels; None where it does.

    One that aligns a volume with another scan or a template may shear it, where a qform says how it
    lay in the scanner. Then this is the nearest affine (3, 4) to it that does not.
    """
    code, affine = found["sform"]
    directions = (affine[:, :3] / np.linalg.norm(affine[:, :3], axis=0)).T
    row, column, normal = directions
    pairs = ((row, column), (column, normal), (normal, row))
    if all(is_plane(tuple(np.concatenate(pair).tolist())) for pair in pairs):
        return None
    scanned = found.get("qform", (0, None))
    if code == _SCANNER or scanned[0] != _SCANNER or scanned[1] is None:
        raise InputRefusedError("bad-geometry", "the sform shears the voxels")
    left, _, right = np.linalg.svd(affine[:, :3])
    turned = (left @ right) * np.linalg.norm(scanned[1][:, :3], axis=0)
    return np.column_stack([turned, affine[:, 3]])


def _hold_against_sizes(affine: NDArray[np.float64], sizes: NDArray[np.float64]) -> None:
    """Refuse an sform that contradicts the pixel sizes; a size of 0 or NaN says nothing."""
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    for length, size in zip(lengths, sizes, strict=True):
        if size > 0 and not math.isclose(length, size, rel_tol=_SAME_LENGTH):
            reason = f"voxels of {length:.4g} mm by the sform and {size:.4g} mm by their sizes"
            raise InputRefusedError("bad-geometry", reason)


def _agree(
    one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, int, int]
) -> bool:
    """Tell whether two affines put every corner of a volume in the same place."""
    corners = np.array(np.meshgrid(*[(0, length - 1) for length in shape])).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    apart = np.linalg.norm((one - other) @ homogeneous, axis=0).max()
    return bool(apart <= _SAME_PLACE * np.linalg.norm(one[:, :3], axis=0).min())


def _refuse_contradiction(one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    """Refuse what no other space explains: other sizes, a mirror, another side up or in front."""
    lengths, other_lengths = (np.linalg.norm(a[:, :3], axis=0) for a in (one, other))
    if not np.allclose(lengths, other_lengths, rtol=_SAME_LENGTH, atol=0):
        raise _contradiction("sizes")
    turn = (one[:, :3] / lengths) @ (other[:, :3] / other_lengths).T
    if np.linalg.det(turn) < 0:
        raise _contradiction("sides (one mirrors the other)")
    angle = math.degrees(math.acos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    if angle > _LARGEST_TURN:
        raise _contradiction(f"directions ({angle:.0f}° apart)")


def _contradiction(what: str) -> InputRefusedError:
    return InputRefusedError("bad-geometry", f"sform and qform give the volume different {what}")


def _chosen(name: str, code: int, other: int) -> Concern:
    left = f"the other one is that of {_SPACES[other]}"
    taken = f"places are those of the {name}, in {_SPACES[code]}"
    return Concern(_SPACE, f"sform and qform differ: {taken}; {left}")


def _instead(name: str, code: int, fault: str) -> Concern:
    return Concern(_SPACE, f"{fault}: places are those of the {name}, in {_SPACES[code]}")


def _placed(affine: NDArray[np.float64], count: int, notes: tuple[Concern, ...]) -> Placement:
    across, down, up, origin = (affine * _RAS_TO_LPS[:, np.newaxis]).T
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    orientation = tuple(np.concatenate([across / lengths[0], down / lengths[1]]).tolist())
    spacing = (float(lengths[1]), float(lengths[0]))
    planes = tuple(
        ImagePlane(tuple((origin + number * up).tolist()), orientation, spacing)
        for number in range(count)
    )
    return Placement(planes, spacing, notes=notes)


def _unplaced(count: int, sizes: NDArray[np.float64]) -> Placement:
    known = bool(np.isfinite(sizes).all() and (sizes > 0).all())
    spacing = (float(sizes[1]), float(sizes[0])) if known else None
    reason = (
        "neither sform nor qform say how the volume lies in the patient, so that its slices may be"
        " of any plane and either side up"
    )
    return Placement((None,) * count, spacing, concerns=(Concern(UNKNOWN, reason),))
