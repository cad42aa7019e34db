"""NIfTI volumes whose headers contradict themselves, say too little, or promise too much."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomart import Detector, sources
from gliomart.errors import InputRefusedError
from gliomart.findings import suitability
from gliomart.findings.results import SliceResult
from gliomart.image.slices import Refusal, Slice
from niftis import SPACING, affine, nibabel, volume, voxels


def scanned(path: Path, content: bytes | None = None) -> Any:
    if content is not None:
        path.write_bytes(content)
    return sources.scan([path])


def items(path: Path, content: bytes | None = None) -> list[Slice | Refusal]:
    inventory = scanned(path, content)
    found: list[Slice | Refusal] = list(inventory.refused)
    for series in inventory.series:
        for file in series.files:
            found += sources.read(file)
    for item in found:
        if isinstance(item, Refusal):
            assert "\n" not in item.reason
            assert str(path.parent) not in item.reason
    return found


def code(path: Path, content: bytes | None = None) -> str:
    codes = {item.code if isinstance(item, Refusal) else "read" for item in items(path, content)}
    assert len(codes) == 1, codes
    return codes.pop()


# Places that contradict one another ------------------------------------------------------------

_BASE = affine(10)


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize(
    ("s", "q", "wanted"),
    [
        ((_BASE, 1), (_BASE, 1), "read"),
        ((_BASE, 2), (_BASE, 1), "read"),
        ((_BASE, 1), None, "read"),
        (None, (_BASE, 1), "read"),
        # rounding, up to a fraction of a voxel
        ((_BASE + 1e-4, 1), (_BASE, 1), "read"),
        ((_BASE + np.eye(4)[:, 3:] @ np.zeros((1, 4)), 2), (_BASE, 2), "read"),
        # the same space, and another place in it
        ((affine(0), 1), (_BASE, 1), "bad-geometry"),
        ((affine(12), 2), (_BASE, 2), "bad-geometry"),
        ((_BASE + np.diag([0, 0, 0, 0.0]) + np.array([[0, 0, 0, 9.0]] * 3 + [[0] * 4]), 1),
         (_BASE, 1), "bad-geometry"),
        # another space, in which a head lies a little differently
        ((affine(0), 2), (_BASE, 1), "read"),
        ((affine(30), 4), (_BASE, 1), "read"),
        ((_BASE, 1), (affine(-20), 2), "read"),
        # no other space mirrors a head, turns it round or makes it larger
        ((affine(10, mirror=0), 1), (_BASE, 1), "bad-geometry"),
        ((affine(10, mirror=0), 2), (_BASE, 1), "bad-geometry"),
        ((affine(10, mirror=1), 4), (_BASE, 1), "bad-geometry"),
        ((affine(10, mirror=2), 2), (_BASE, 1), "bad-geometry"),
        ((affine(190), 2), (_BASE, 1), "bad-geometry"),
        ((affine(100), 4), (_BASE, 1), "bad-geometry"),
        ((affine(10, spacing=(2.0, 1.25, 4.0)), 2), (_BASE, 1), "bad-geometry"),
        ((affine(10, spacing=(1.5, 1.25, 3.0)), 1), (_BASE, 1), "bad-geometry"),
        ((affine(10, spacing=(2.0, 1.6, 4.0)), 1), None, "bad-geometry"),  # and the sizes
        # numbers that place nothing
        ((np.zeros((4, 4)), 1), None, "bad-geometry"),
        ((affine(0) + 0.4 * np.eye(4, k=1), 1), None, "bad-geometry"),
        ((affine(0) + 1.2 * np.eye(4, k=2), 1), None, "bad-geometry"),
    ],
)  # fmt: skip
def test_a_volume_that_is_placed_twice_is_in_one_place(
    tmp_path: Path, s: Any, q: Any, wanted: str, two: bool
) -> None:
    assert code(tmp_path / "a.nii", volume(s=s, q=q, two=two)) == wanted


def test_of_two_spaces_the_scanner_is_taken_and_it_is_told(tmp_path: Path) -> None:
    for s, q, taken in (
        ((affine(0), 2), (_BASE, 1), _BASE),
        ((_BASE, 1), (affine(0), 2), _BASE),
        ((affine(0), 4), (_BASE, 2), _BASE),
    ):
        (series,) = scanned(tmp_path / "a.nii", volume(s=s, q=q)).series
        assert [note.code for note in series.notes] == ["chosen-space"]
        plane = series.files[0].planes[0]
        assert plane is not None
        assert np.allclose(plane.position, taken[:3, 3] * (-1, -1, 1), atol=1e-3)
        assert plane.spacing == pytest.approx((1.25, 1.5), rel=1e-5)
    (series,) = scanned(tmp_path / "a.nii", volume(s=(_BASE, 2), q=(_BASE, 1))).series
    assert series.notes == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"srow_x": [np.nan, 0, 0, 0]},
        {"srow_y": [0, np.inf, 0, 0]},
        {"srow_z": [0, 0, 1e38, 0]},
        {"pixdim": [1, 9, 9, 9, 1, 1, 1, 1]},
        {"xyzt_units": 1},  # metres, which is no head any more: see below
    ],
)
def test_an_sform_of_odd_numbers_is_refused(tmp_path: Path, fields: Any) -> None:
    result = code(tmp_path / "a.nii", volume(s=(_BASE, 1), **fields))
    assert result == ("read" if "xyzt_units" in fields else "bad-geometry")


@pytest.mark.parametrize(
    "fields",
    [
        {"quatern_b": np.nan},
        {"quatern_b": 3.0},
        {"pixdim": [1, 0, 1, 1, 1, 1, 1, 1]},
        {"pixdim": [1, 1, np.nan, 1, 1, 1, 1, 1]},
        {"pixdim": [1, np.inf, 1, 1, 1, 1, 1, 1]},
        {"qoffset_x": np.nan},
        {"quatern_b": 0.8, "quatern_c": 0.8, "quatern_d": 0.0},
        {"quatern_b": 0.0, "quatern_c": 0.0, "quatern_d": 1.01},
    ],
)
def test_a_qform_of_odd_numbers_is_refused(tmp_path: Path, fields: Any) -> None:
    assert code(tmp_path / "a.nii", volume(q=(_BASE, 1), **fields)) == "bad-geometry"


@pytest.mark.parametrize("fac", [0, 1, 3, -1, -2, np.nan])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_qform_is_read_as_the_standard_does(tmp_path: Path, fac: float, sign: int) -> None:
    sizes = [fac, *(sign * size for size in SPACING), 1, 1, 1, 1]
    content = volume(q=(affine(10, mirror=2 if fac < 0 else None), 1), pixdim=sizes)
    content = volume(q=(affine(10), 1), pixdim=sizes) if not fac < 0 else content
    planes = scanned(tmp_path / "a.nii", content).series[0].files[0].planes
    wanted = _BASE.copy()
    if fac < 0:
        wanted[:, 2] *= -1
    first, second = planes[0], planes[1]
    step = np.subtract(second.position, first.position) * (-1, -1, 1)
    assert step == pytest.approx(wanted[:3, 2], abs=1e-3)
    assert first.spacing == pytest.approx((1.25, 1.5), rel=1e-5)


@pytest.mark.parametrize("digits", [3, 4, 5, 6])
@pytest.mark.parametrize(
    "turn",
    [(0, 0, 1), (0.5**0.5, 0.5**0.5, 0), (3**-0.5, 3**-0.5, -(3**-0.5)), (0.2, 0.4, 0.8**0.5)],
)
def test_quaternions_may_be_rounded(tmp_path: Path, digits: int, turn: Any) -> None:
    b, c, d = (float(np.ceil(x * 10**digits) / 10**digits) for x in turn)
    content = volume(q=(_BASE, 1), quatern_b=b, quatern_c=c, quatern_d=d)
    assert b * b + c * c + d * d > 1 - 1e-7
    inventory = scanned(tmp_path / "a.nii", content)
    assert not inventory.refused
    x, y, z = np.array(turn) / np.linalg.norm(turn)
    wanted = 2 * np.outer((x, y, z), (x, y, z)) - np.eye(3)
    plane = inventory.series[0].files[0].planes[0]
    along = np.array(plane.orientation[:3]) * (-1, -1, 1)
    assert along == pytest.approx(wanted[:, 0], abs=3 * 10.0**-digits)


@pytest.mark.parametrize(
    "fields",
    [
        {"quatern_b": 9.0},
        {"quatern_c": np.nan},
        {"qoffset_y": np.inf},
        {"pixdim": [1, 1.5, 1.25, 0, 1, 1, 1, 1]},
        {"pixdim": [1, 0, 0, 0, 0, 0, 0, 0]},
        {"pixdim": [0, 1.5, np.nan, 4, 0, 0, 0, 0]},
    ],
)
@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 2), (4, 1)])
def test_a_qform_that_is_none_leaves_the_sform(
    tmp_path: Path, fields: Any, codes: tuple[int, int]
) -> None:
    content = volume(s=(_BASE, codes[0]), q=(affine(0), codes[1]), **fields)
    (series,) = scanned(tmp_path / "a.nii", content).series
    assert [note.code for note in series.notes] == ["chosen-space"]
    assert "qform" in series.notes[0].reason
    plane = series.files[0].planes[0]
    assert plane is not None
    assert np.allclose(plane.position, _BASE[:3, 3] * (-1, -1, 1), atol=1e-3)


def test_a_template_that_shears_leaves_the_scanner(tmp_path: Path) -> None:
    shear = 0.4 * np.eye(4, k=1)
    for number in (2, 3, 4, 5):
        content = volume(s=(affine(25) + shear, number), q=(_BASE, 1))
        (series,) = scanned(tmp_path / "a.nii", content).series
        assert [note.code for note in series.notes] == ["chosen-space"]
        plane = series.files[0].planes[0]
        assert plane is not None
        assert np.allclose(plane.position, _BASE[:3, 3] * (-1, -1, 1), atol=1e-3)
    for s, q in (
        ((affine(10) + shear, 1), (_BASE, 1)),
        ((affine(10) + shear, 1), (_BASE, 2)),
        ((affine(10) + shear, 4), (_BASE, 2)),
        ((affine(10, mirror=0) + shear, 4), (_BASE, 1)),
        ((affine(150) + shear, 4), (_BASE, 1)),
    ):
        assert code(tmp_path / "a.nii", volume(s=s, q=q)) == "bad-geometry"
    bad = volume(s=(_BASE + shear, 4), q=(_BASE, 1), quatern_b=9.0)
    assert code(tmp_path / "a.nii", bad) == "bad-geometry"


@pytest.mark.parametrize("sizes", [(0, 0, 0), (np.nan, 1.25, 4), (-1.5, -1.25, 4)])
def test_sizes_that_say_nothing_do_not_speak_against_an_sform(
    tmp_path: Path, sizes: tuple[float, ...]
) -> None:
    content = volume(s=(_BASE, 1), pixdim=[1, *sizes, 1, 1, 1, 1])
    assert code(tmp_path / "a.nii", content) == "read"


@pytest.mark.parametrize(
    ("units", "factor"), [(0, 1), (1, 1e3), (2, 1), (3, 1e-3), (10, 1), (11, 1e-3)]
)
def test_units_scale_places_and_sizes(tmp_path: Path, units: int, factor: float) -> None:
    scaled = _BASE.copy()
    scaled[:3] /= factor
    sizes = [1, *(size / factor for size in SPACING), 1, 1, 1, 1]
    for places in ({"s": (scaled, 1)}, {"q": (scaled, 1)}):
        content = volume(xyzt_units=units, pixdim=sizes, **places)
        first = items(tmp_path / "a.nii", content)[0]
        assert isinstance(first, Slice)
        assert first.spacing == pytest.approx((1.25, 1.5), rel=1e-4)
        assert first.position == pytest.approx(tuple(_BASE[:3, 3] * (-1, -1, 1)), rel=1e-4)


def test_without_a_place_nothing_is_claimed(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "a.nii"
    (series,) = scanned(path, volume(xyzt_units=2)).series
    (concern,) = series.files[0].concerns
    assert concern.code == "unknown-orientation"
    assert concern.code in suitability.CODES
    assert set(series.files[0].planes) == {None}
    refused = list(Detector(model, provider="cpu").stream([path]))
    assert {item.code for item in refused if isinstance(item, Refusal)} == {"unknown-orientation"}
    forced = Detector(model, provider="cpu", force=True).detect_series(path)
    assert len(forced.slices) == 20
    for result in forced.slices:
        assert [c.code for c in result.concerns] == ["unknown-orientation"]
        assert result.slice.plane is None
        assert result.slice.spacing == (1.25, 1.5)
    # The usual way of storing: to the front and to the head.
    assert np.array_equal(forced.slices[3].slice.pixels, voxels()[:, ::-1, 3].T)


def test_one_slice_without_a_place_is_refused_as_well(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(volume(voxels()[..., 9:10]))
    with pytest.raises(InputRefusedError) as error:
        Detector(model, provider="cpu").detect(path)
    assert error.value.code == "unknown-orientation"
    result = Detector(model, provider="cpu", force=True).detect(path)
    assert isinstance(result, SliceResult)
    assert [c.code for c in result.concerns] == ["unknown-orientation"]


@pytest.mark.parametrize("sizes", [(0, 1, 1), (-1, 1, 1), (np.nan, 1, 1), (np.inf, 1, 1)])
def test_without_sizes_not_even_the_spacing_is_claimed(
    tmp_path: Path, sizes: tuple[float, ...]
) -> None:
    found = items(tmp_path / "a.nii", volume(pixdim=[1, *sizes, 1, 1, 1, 1]))
    known = all(np.isfinite(sizes)) and 0 not in sizes
    for item in found:
        assert isinstance(item, Slice)
        assert (item.spacing is not None) == known


@pytest.mark.parametrize("number", [-1, 6, 99])
def test_codes_that_the_standard_does_not_know_place_nothing(tmp_path: Path, number: int) -> None:
    (series,) = scanned(tmp_path / "a.nii", volume(s=(_BASE, 1), sform_code=number)).series
    assert [c.code for c in series.files[0].concerns] == ["unknown-orientation"]


# Shapes and values -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((64, 48, 20, 1), "read"),
        ((64, 48, 20, 1, 1), "read"),
        ((64, 48, 20, 1, 1, 1, 1), "read"),
        ((64, 48, 20, 2), "not-a-volume"),
        ((64, 48, 20, 1, 3), "not-a-volume"),
        ((64, 48), "not-a-volume"),
    ],
)
def test_one_volume_may_have_more_dimensions(
    tmp_path: Path, shape: tuple[int, ...], wanted: str
) -> None:
    data = np.resize(voxels(), int(np.prod(shape))).reshape(shape)
    assert code(tmp_path / "a.nii", volume(data, s=(_BASE, 1))) == wanted


@pytest.mark.parametrize(
    ("dim", "wanted"),
    [
        ([3, 64, 48, 20, 0, 0, 0, 0], "read"),
        ([4, 64, 48, 20, 0, 0, 0, 0], "not-a-volume"),
        ([3, 64, 48, 0, 1, 1, 1, 1], "not-a-volume"),
        ([3, 64, -48, 20, 1, 1, 1, 1], "not-a-volume"),
        ([0, 64, 48, 20, 1, 1, 1, 1], "unreadable"),
        ([9, 64, 48, 20, 1, 1, 1, 1], "unreadable"),
        ([-3, 64, 48, 20, 1, 1, 1, 1], "unreadable"),
        ([3, 64, 48, 10, 1, 1, 1, 1], "not-a-volume"),  # and there are 20
        ([3, 64, 48, 19, 1, 1, 1, 1], "not-a-volume"),
        ([3, 64, 48, 21, 1, 1, 1, 1], "undecodable"),
        ([3, 32767, 40, 20, 1, 1, 1, 1], "too-large"),
        ([3, 32767, 32767, 1, 1, 1, 1, 1], "too-many-pixels"),
    ],
)
def test_dimensions_are_held_against_the_file(tmp_path: Path, dim: list[int], wanted: str) -> None:
    content = volume(s=(_BASE, 1), dim=dim)
    assert code(tmp_path / "a.nii", content) == wanted
    assert code(tmp_path / "a.nii.gz", gzip.compress(content)) == wanted


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_values_of_every_real_type_are_read(tmp_path: Path, dtype: str, order: str) -> None:
    data = voxels(dtype)
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(dtype))
    image = nibabel.Nifti1Image(data, _BASE, header, dtype=np.dtype(order + dtype))
    image.header.set_slope_inter(1, 0)
    for name in ("a.nii", "a.nii.gz"):
        image.to_filename(tmp_path / name)
        for number, item in enumerate(items(tmp_path / name)):
            assert isinstance(item, Slice), item
            assert np.array_equal(item.pixels, data[..., number].T.astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (32, "unsupported-format"),  # complex of 64, 128 and 256 bits
        (1792, "unsupported-format"),
        (2048, "unsupported-format"),
        (128, "not-greyscale"),  # RGB and RGBA
        (2304, "not-greyscale"),
        (1, "unsupported-format"),  # bits
        (1536, "unsupported-format"),  # floats of 128 bits
        (0, "unsupported-format"),
        (255, "unsupported-format"),
        (-7, "unsupported-format"),
    ],
)
def test_values_that_are_no_grey_are_refused_by_name(
    tmp_path: Path, kind: int, wanted: str
) -> None:
    assert code(tmp_path / "a.nii", volume(s=(_BASE, 1), datatype=kind)) == wanted


@pytest.mark.parametrize(
    ("slope", "intercept", "wanted"),
    [
        (2.0, -100.0, "scaled"),
        (-1.0, 4095.0, "scaled"),
        (1e-9, 0.0, "scaled"),
        (0.0, 5.0, "stored"),
        (np.nan, np.nan, "stored"),
        (np.nan, 7.0, "stored"),
        (np.inf, 0.0, "stored"),
        (1.0, np.nan, "undecodable"),
        (1.0, np.inf, "undecodable"),
        (1e-6, 1e9, "undecodable"),
        (1e36, 0.0, "undecodable"),
        (1e-36, 0.0, "undecodable"),
    ],
)
def test_scaling_is_that_of_the_standard(
    tmp_path: Path, slope: float, intercept: float, wanted: str
) -> None:
    found = items(tmp_path / "a.nii", volume(s=(_BASE, 1), scl_slope=slope, scl_inter=intercept))
    stored = voxels()[..., 4].T.astype(np.float64)
    if wanted == "undecodable":
        assert {getattr(item, "code", "read") for item in found} == {wanted}
        return
    item = found[4]
    assert isinstance(item, Slice), item
    scaled = stored * np.float32(slope) + intercept if wanted == "scaled" else stored
    assert np.allclose(item.pixels, scaled, rtol=1e-5)


def test_a_slice_that_is_refused_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    data = voxels("f4")
    data[..., 3] = 0
    found = items(tmp_path / "a.nii", volume(data, s=(_BASE, 1)))
    assert [item.code for item in found if isinstance(item, Refusal)] == ["blank-slice"]
    assert sum(isinstance(item, Slice) for item in found) == 19


# Files -----------------------------------------------------------------------------------------


def test_a_name_has_to_say_whether_a_file_is_compressed(tmp_path: Path) -> None:
    content = volume(s=(_BASE, 1))
    assert code(tmp_path / "a.nii", gzip.compress(content)) == "mislabelled"
    assert code(tmp_path / "a.nii.gz", content) == "mislabelled"
    assert code(tmp_path / "B.NII.GZ", gzip.compress(content)) == "read"


def test_half_of_a_pair_is_refused_by_name(tmp_path: Path) -> None:
    pair = volume(s=(_BASE, 1), magic=b"ni1", vox_offset=0)
    (refusal,) = items(tmp_path / "a.nii", pair)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "unsupported-format"
    assert ".img" in refusal.reason
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / "a.hdr").write_bytes(pair[:348])
    (tmp_path / "pair" / "a.img").write_bytes(pair[352:])
    refused = scanned(tmp_path / "pair").refused
    assert {refusal.source: refusal.code for refusal in refused} == {
        "pair/a.hdr": "unsupported-format", "pair/a.img": "unsupported-format",
    }  # fmt: skip


@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_volume_that_is_cut_off_is_refused(tmp_path: Path, name: str, part: float) -> None:
    content = volume(s=(_BASE, 1))
    whole = gzip.compress(content) if name.endswith("gz") else content
    cut = whole[: int(len(whole) * part)]
    assert code(tmp_path / name, cut) in {"undecodable", "unreadable"}


def test_a_checksum_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(volume(s=(_BASE, 1))))
    whole[-8] ^= 1
    assert code(tmp_path / "a.nii.gz", bytes(whole)) == "undecodable"


@pytest.mark.parametrize("offset", [1, 300, 351, 2e9, np.nan, np.inf, -352.0])
def test_voxels_begin_behind_the_header(tmp_path: Path, offset: float) -> None:
    assert code(tmp_path / "a.nii", volume(s=(_BASE, 1), vox_offset=offset)) == "unreadable"


def test_a_volume_that_was_changed_since_it_was_found_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    (series,) = scanned(path, volume(s=(_BASE, 1))).series
    path.write_bytes(volume(s=(affine(0), 1)))
    (item,) = sources.read(series.files[0])
    assert isinstance(item, Refusal)
    assert item.code == "changed"


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-180, 180), st.floats(-180, 180), st.integers(0, 5), st.integers(0, 5),
    st.one_of(st.none(), st.integers(0, 2)),
)  # fmt: skip
def test_two_places_are_never_both_silent(
    tmp_path_factory: pytest.TempPathFactory, one: float, other: float, s: int, q: int,
    mirror: int | None,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("nifti") / "a.nii"
    first, second = affine(one, mirror=mirror), affine(other)
    inventory = scanned(path, volume(s=(first, s), q=(second, q)))
    if not s and not q:
        assert inventory.series[0].files[0].concerns
    elif s and q and not np.allclose(first, second, atol=0.6):
        assert inventory.refused or inventory.series[0].notes
    else:
        for series in inventory.series:
            plane = series.files[0].planes[0]
            assert plane is not None
            wanted = first if s else second
            assert np.allclose(plane.position, wanted[:3, 3] * (-1, -1, 1), atol=0.6)
