"""NIfTI volumes, read by nibabel (extra ``nifti``)."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.geometry import Plane, is_plane
from gliomart.slices import Refusal, Slice, luma

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gliomart.sources.budget import Budget

# NIfTI's axes run to the right and the front, DICOM's to the left and the back.
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
# Voxels begin after the header and its extensions; a file that lets them begin much later only
# wants to be inflated.
_LATEST_START = 1 << 20


def read_planes(path: Path, budget: Budget) -> tuple[Plane | None, ...]:
    """Tell where each slice of a volume lies.

    Raises
    ------
    InputRefusedError
        ``missing-extra``, ``unreadable``, ``not-a-volume``, ``bad-geometry``, ``too-many-pixels``.
    """
    image = _load(path, budget)
    return tuple(_planes(image))


def read(path: Path, source: str, series: str, budget: Budget) -> Iterator[Slice | Refusal]:
    """Yield the slices of a volume along its third axis, as they are stored.

    Raises
    ------
    InputRefusedError
        As :func:`read_planes`, or ``undecodable``.
    """
    image = _load(path, budget)
    planes = _planes(image)
    with _refusals("undecodable", "the voxels cannot be read"):
        voxels = np.asarray(image.dataobj, np.float32).reshape(image.shape[:3])
    for number, plane in enumerate(planes):
        try:
            yield Slice(
                pixels=luma(np.ascontiguousarray(voxels[:, :, number].T)),
                source=source,
                series=series,
                frame=number,
                spacing=plane.spacing,
                position=plane.position,
                orientation=plane.orientation,
            )
        except InputRefusedError as error:
            yield Refusal(source, number, error.code, error.reason)


def _load(path: Path, budget: Budget) -> Any:  # noqa: ANN401
    if find_spec("nibabel") is None:
        raise InputRefusedError(
            "missing-extra", "NIfTI needs an extra that is missing: pip install 'gliomart[nifti]'"
        )
    import nibabel

    with _refusals("unreadable", "not a valid NIfTI file"):
        image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Image):  # NIfTI-2 is one of those
        raise InputRefusedError("unreadable", "not a valid NIfTI file")
    if cast("Any", image.dataobj).offset > _LATEST_START:
        raise InputRefusedError("unreadable", "the voxels begin far behind the header")
    shape = image.shape
    if len(shape) < 3 or any(length != 1 for length in shape[3:]):  # noqa: PLR2004
        raise InputRefusedError("not-a-volume", f"{len(shape)} dimensions {shape}, not one volume")
    voxels = int(np.prod([int(length) for length in shape], dtype=object))
    if voxels * np.dtype(np.float32).itemsize > budget.pixel_bytes:
        raise InputRefusedError("too-many-pixels", f"{voxels} voxels are more than are read")
    return image


@contextmanager
def _refusals(code: str, what: str) -> Iterator[None]:
    """Turn whatever nibabel raises about hostile bytes into a refusal."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # the operating system's, not the decompressor's
            raise
        raise InputRefusedError(code, what) from error
    except Exception as error:
        line = said(error)
        raise InputRefusedError(code, f"{what}: {line}") from error


def _planes(image: Any) -> list[Plane]:  # noqa: ANN401
    affine = image.affine[:3] * _RAS_TO_LPS[:, np.newaxis]
    across, down, up = affine[:, 0], affine[:, 1], affine[:, 2]
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    if not (np.isfinite(affine).all() and (lengths > 0).all()):
        raise InputRefusedError("bad-geometry", "the affine gives the voxels no size")
    orientation = tuple(np.concatenate([across / lengths[0], down / lengths[1]]).tolist())
    if not is_plane(orientation):
        raise InputRefusedError("bad-geometry", "the affine shears the voxels")
    spacing = (float(lengths[1]), float(lengths[0]))
    return [
        Plane(tuple((affine[:, 3] + number * up).tolist()), orientation, spacing)
        for number in range(image.shape[2])
    ]
