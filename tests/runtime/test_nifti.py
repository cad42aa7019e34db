from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gliomart import Detector, SliceResult, sources
from gliomart.image.slices import Slice
from samples import GOLDEN, draw_head

nibabel = pytest.importorskip("nibabel")

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _golden() -> list[Slice]:
    (series,) = sources.scan([GOLDEN]).series
    return [i for file in series.files for i in sources.read(file) if isinstance(i, Slice)]


def _affine(slices: list[Slice]) -> np.ndarray:
    """Of an array (x, y, z), to RAS."""
    first, last = slices[0], slices[-1]
    assert first.position
    assert last.position
    assert first.orientation
    assert first.spacing
    row, column = np.reshape(first.orientation, (2, 3))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * first.spacing[1], column * first.spacing[0]
    affine[:3, 2] = np.subtract(last.position, first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    return _LPS_TO_RAS @ affine


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("turn", ["LPS", "RAS", "RSP", "ASL"])
def test_a_volume_in_any_orientation_is_the_same_axial_series(
    tmp_path: Path, turn: str, suffix: str, model: Path
) -> None:
    slices = _golden()
    voxels = np.stack([s.pixels for s in slices]).transpose(2, 1, 0).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, _affine(slices))
    wanted = nibabel.orientations.axcodes2ornt(turn)
    now = nibabel.io_orientation(image.affine)
    image.as_reoriented(nibabel.orientations.ornt_transform(now, wanted)).to_filename(
        tmp_path / f"head{suffix}"
    )
    items = list(Detector(model, force=True).stream([tmp_path]))
    assert len(items) == 24
    assert all(isinstance(item, SliceResult) for item in items)
    for item, one in zip(items, slices, strict=True):
        assert isinstance(item, SliceResult)
        assert np.array_equal(item.slice.pixels, one.pixels)
        assert item.slice.position == pytest.approx(one.position, abs=0.01)
        assert item.slice.source == f"{tmp_path.name}/head{suffix}"
        assert item.slice.spacing == pytest.approx(one.spacing, abs=1e-4)


def test_scaled_values_are_read(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(draw_head()[..., np.newaxis].repeat(3, axis=2), np.eye(4))
    image.header.set_data_dtype(np.int16)
    image.to_filename(tmp_path / "head.nii")
    (series,) = sources.scan([tmp_path]).series
    items = list(sources.read(series.files[0]))
    assert len(items) == 3
    assert isinstance(items[0], Slice)
    assert np.abs(items[0].pixels - draw_head().T).max() < 0.05


def _bytes(shape: tuple[int, ...] = (64, 64, 4), **changes: object) -> bytes:
    values = np.random.default_rng(0).integers(0, 1000, shape, np.int16)
    image = nibabel.Nifti1Image(values, np.eye(4))
    content = bytearray(image.to_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in changes.items():
        header[name] = value
    content[:348] = header.binaryblock
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.nii", b"", "empty-file"),
        ("text.nii", b"no volume" * 100, "unreadable"),
        ("text.nii.gz", b"no volume" * 100, "unreadable"),
        ("cut.nii.gz", gzip.compress(_bytes())[:9000], "undecodable"),
        ("cut.nii", _bytes()[:2000], "undecodable"),
        ("flat.nii", _bytes((64, 64)), "not-a-volume"),
        ("movie.nii", _bytes((64, 64, 4, 7)), "not-a-volume"),
        ("vast.nii", _bytes(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]), "too-many-pixels"),
        ("bomb.nii.gz", gzip.compress(_bytes(vox_offset=2e9)), "unreadable"),
        ("sizeless.nii", _bytes(srow_x=[0, 0, 0, 0], sform_code=1), "bad-geometry"),
        ("sheared.nii", _bytes(srow_x=[1, 0.5, 0, 0], sform_code=1), "bad-geometry"),
    ],
)
def test_bad_volumes_are_refused_by_name(
    tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    (tmp_path / name).write_bytes(content)
    inventory = sources.scan([tmp_path])
    refused = [refusal.code for refusal in inventory.refused]
    for series in inventory.series:
        refused += [getattr(item, "code", None) for item in sources.read(series.files[0])]
    assert refused == [code]


def test_without_nibabel_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "head.nii").write_bytes(_bytes())
    code = (
        "import sys; sys.modules['nibabel'] = None;"
        f"from gliomart import sources; print(sources.scan([{str(tmp_path)!r}]).refused[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "missing-extra" in done.stdout
    assert "gliomart[nifti]" in done.stdout
