"""Where a NIfTI volume says that it lies (NIfTI-1 standard, methods 1 to 3).

A header may place a volume three times: by its sform, by its qform, and by its pixel sizes alone.
What contradicts itself is refused. A volume that only has sizes lies nobody knows how.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.geometry import Plane, is_plane
from gliomart.printable import said
from gliomart.slices import Concern

if TYPE_CHECKING:
    from numpy.typing import NDArray

# NIfTI's axes run to the right and the front, DICOM's to the left and the back.
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
# By the lowest bits of xyzt_units: unknown, metres, millimetres, microns.
_MM = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
_UNIT_BITS = 7
_SPACES = {1: "the scanner", 2: "another scan", 3: "Talairach", 4: "MNI", 5: "a template"}
_SCANNER = 1
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

    planes: tuple[Plane | None, ...]
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
    sizes = np.abs(np.asarray(header["pixdim"][1:4], np.float64)) * scale
    found = {}
    if (code := int(header["sform_code"])) in _SPACES:
        found["sform"] = (code, _checked(_sform(header) * scale, "sform"))
        _hold_against_sizes(found["sform"][1], sizes)
    if (code := int(header["qform_code"])) in _SPACES:
        found["qform"] = (code, _checked(_qform(header) * scale, "qform"))
    if not found:
        return _unplaced(shape[2], sizes)
    notes: tuple[Concern, ...] = ()
    (name, (code, affine)), *others = found.items()
    if others:
        ((other, (other_code, other_affine)),) = others
        if not _agree(affine, other_affine, shape):
            _refuse_contradiction(affine, other_affine)
            if code == other_code:
                raise _contradiction("places")
            if other_code < code:
                name, code, affine, other_code = other, other_code, other_affine, code
            notes = (Concern(_SPACE, _chosen(name, code, other_code)),)
    return _placed(affine, shape[2], notes)


def _sform(header: Any) -> NDArray[np.float64]:  # noqa: ANN401
    return np.array([header["srow_x"], header["srow_y"], header["srow_z"]], np.float64)


def _qform(header: Any) -> NDArray[np.float64]:  # noqa: ANN401
    try:
        with np.errstate(all="ignore"):
            return np.asarray(header.get_qform(coded=False), np.float64)[:3]
    except Exception as error:  # what nibabel raises about odd quaternions and sizes
        raise InputRefusedError("bad-geometry", f"the qform is none: {said(error)}") from error


def _checked(affine: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Refuse an affine (3, 4) that makes no boxes of voxels."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(affine[:, :3], axis=0)
        if not (np.isfinite(affine).all() and np.isfinite(lengths).all() and (lengths > 0).all()):
            raise InputRefusedError("bad-geometry", f"the {name} gives the voxels no size")
        directions = (affine[:, :3] / lengths).T
    row, column, normal = directions
    pairs = ((row, column), (column, normal), (normal, row))
    if not all(is_plane(tuple(np.concatenate(pair).tolist())) for pair in pairs):
        raise InputRefusedError("bad-geometry", f"the {name} shears the voxels")
    return affine


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


def _chosen(name: str, code: int, other: int) -> str:
    left = f"the other one is that of {_SPACES[other]}"
    return f"sform and qform differ: places are those of the {name}, in {_SPACES[code]}; {left}"


def _placed(affine: NDArray[np.float64], count: int, notes: tuple[Concern, ...]) -> Placement:
    across, down, up, origin = (affine * _RAS_TO_LPS[:, np.newaxis]).T
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    orientation = tuple(np.concatenate([across / lengths[0], down / lengths[1]]).tolist())
    spacing = (float(lengths[1]), float(lengths[0]))
    planes = tuple(
        Plane(tuple((origin + number * up).tolist()), orientation, spacing)
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
