"""NIfTI volumes field by field, with whatever header a test wants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from samples import draw_head

nibabel = pytest.importorskip("nibabel")

SPACING = (1.5, 1.25, 4.0)


def voxels(dtype: str = "i2") -> np.ndarray:
    """A head of 20 slices (x, y, z), none of them like another."""
    plane = draw_head((48, 64)).T
    stack = np.stack([plane + 10 * number for number in range(20)], axis=-1)
    return (stack / 10 if dtype in {"i1", "u1"} else stack).clip(0, 1200).astype(dtype)


def affine(
    turn: float = 0.0, *, spacing: tuple[float, ...] = SPACING, mirror: int | None = None
) -> np.ndarray:
    """Make an affine turned about z by so many degrees, with an axis mirrored."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    directions = np.array([[-c, s, 0], [-s, -c, 0], [0, 0, 1]])
    if mirror is not None:
        directions[:, mirror] *= -1
    placed = np.eye(4)
    placed[:3, :3] = directions * spacing
    placed[:3, 3] = (40.0, 30.0, -35.0)
    return placed


def volume(
    data: np.ndarray | None = None,
    *,
    s: Any = None,
    q: Any = None,
    two: bool = False,
    **fields: Any,
) -> bytes:
    """Write a volume; ``s`` and ``q`` are (affine, code), ``fields`` overrule the header's."""
    data = voxels() if data is None else data
    header = (nibabel.Nifti2Header if two else nibabel.Nifti1Header)()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header["pixdim"][:4] = (1, *SPACING)
    if s:
        header["srow_x"], header["srow_y"], header["srow_z"] = s[0][:3]
        header["sform_code"] = s[1]
    if q:
        header.set_qform(q[0], int(q[1]))
        header["qform_code"] = q[1]
    header["vox_offset"] = 544 if two else 352
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock + bytes(4) + data.tobytes("F"))
