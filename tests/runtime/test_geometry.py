from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart import sources
from gliomart.image.geometry import (
    PLANES,
    ImagePlane,
    PlaneName,
    Turn,
    even_step,
    gaps,
    is_plane,
    overlaps,
)
from gliomart.image.slices import Slice
from samples import GOLDEN, SHARED, needs_real_images

TRIO = SHARED / "dicom" / "t1_mprage_trio"


@st.composite
def planes(draw: st.DrawFn) -> ImagePlane:
    """Rows and columns along any two axes of the patient, tilted by up to 30 degrees, any place."""
    tilt = np.array([1.0, *draw(st.tuples(*3 * [st.floats(-0.15, 0.15)]))])
    w, x, y, z = tilt / np.linalg.norm(tilt)
    rotation = np.array(
        [
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        ]
    )
    along, down, _ = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*2 * [st.sampled_from((-1, 1))]))
    row, column = signs[0] * rotation[along], signs[1] * rotation[down]
    position = draw(st.tuples(*3 * [st.floats(-500, 500)]))
    spacing = draw(st.tuples(*2 * [st.floats(0.3, 4)]))
    return ImagePlane(position, (*row, *column), spacing)


def _stack(first: ImagePlane, count: int, step: float) -> list[ImagePlane]:
    normal = first.axes[0]
    return [
        ImagePlane(tuple(first.position + n * step * normal), first.orientation, first.spacing)
        for n in range(count)
    ]


@given(planes(), st.floats(0.3, 4), st.sampled_from(PLANES))
def test_turning_moves_no_voxel(first: ImagePlane, step: float, wanted: PlaneName) -> None:
    """Every voxel of the turned slices lies where it lay in the images that were acquired."""
    shape = (4, 5, 6)
    stack = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    acquired = _stack(first, shape[0], step)
    turn = Turn.into(wanted, first)
    turned = turn.voxels(stack)
    placed = turn.planes(first, shape, step)
    assert len(placed) == len(turned)
    for number, plane in enumerate(placed):
        for y, x in ((0, 0), (turned.shape[1] - 1, turned.shape[2] - 1), (1, 2)):
            z0, y0, x0 = np.unravel_index(int(turned[number, y, x]), shape)
            there = acquired[z0].to_patient(np.array([[x0, y0]]))
            assert np.allclose(plane.to_patient(np.array([[x, y]])), there, atol=1e-6)


@given(planes(), st.sampled_from(PLANES))
def test_turned_slices_are_as_near_to_a_plane_as_they_can_be(
    first: ImagePlane, wanted: PlaneName
) -> None:
    shape = (2, 3, 4)
    placed = Turn.into(wanted, first).planes(first, shape, 1.0)
    assert is_plane(placed[0].orientation)
    assert Turn.into(wanted, placed[0]).nothing
    assert placed[0].name == wanted
    row, column = np.reshape(placed[0].orientation, (2, 3))
    up = np.subtract(placed[1].position, placed[0].position)
    up /= np.linalg.norm(up)
    # Axial rows run to the left, columns to the back, slices to the head; the others have the head
    # above, coronal rows run to the left and slices to the back, sagittal ones the other way round.
    along, down, across = {
        "axial": (row[0], column[1], up[2]),
        "coronal": (row[0], -column[2], up[1]),
        "sagittal": (row[1], -column[2], up[0]),
    }[wanted]
    assert min(along, down, across) > 0.7


def test_names_and_tilts() -> None:
    axial = ImagePlane((0, 0, 0), (1, 0, 0, 0, 1, 0), (1, 1))
    sagittal = ImagePlane((0, 0, 0), (0, 1, 0, 0, 0, -1), (1, 1))
    coronal = ImagePlane((0, 0, 0), (1, 0, 0, 0, 0, -1), (1, 1))
    tilted = ImagePlane((0, 0, 0), (1, 0, 0, 0, np.cos(0.3), np.sin(0.3)), (1, 1))
    assert [p.name for p in (axial, sagittal, coronal, tilted)] == [
        "axial", "sagittal", "coronal", "axial",
    ]  # fmt: skip
    assert axial.tilt == 0
    assert tilted.tilt == pytest.approx(np.degrees(0.3))
    assert Turn.into("axial", axial).nothing
    assert not Turn.into("axial", sagittal).within_images
    assert not is_plane((1, 0, 0, 1, 0, 0))
    assert not is_plane((2, 0, 0, 0, 1, 0))


def test_even_steps_are_told_from_uneven_sheared_and_turned_ones() -> None:
    first = ImagePlane((0, 0, 0), (1, 0, 0, 0, 1, 0), (1, 1))
    stack = _stack(first, 6, 1.2)
    assert even_step(stack) == pytest.approx(1.2)
    assert even_step(stack[:1]) is None
    assert even_step([*stack[:3], *stack[4:]]) is None
    sheared = [ImagePlane((0, 0.3 * n, 1.2 * n), first.orientation, (1, 1)) for n in range(6)]
    assert even_step(sheared) is None
    assert even_step([first, first]) is None
    other = ImagePlane((0, 0, 1.2), (0, 1, 0, -1, 0, 0), (1, 1))
    assert even_step([first, other]) is None


def test_gaps_are_found_and_a_protocol_with_two_steps_has_none() -> None:
    assert gaps([0, 5, 10, 15, 20]) == []
    assert gaps([0, 5, 10, 20, 25, 30]) == [(2, 1)]
    assert gaps([0, 5, 10, 15, 30, 35]) == [(3, 2)]
    assert gaps([0, 4, 8, 12, 16, 23, 30, 37]) == []
    assert gaps([0, 5]) == []
    assert gaps([3]) == []
    assert overlaps([0, 5, 5, 10])
    assert not overlaps([0, 5, 10])


def _volume(series: sources.SeriesFiles) -> list[Slice]:
    read = sources.read_series(series.files, series.source)
    return [item for item in read if isinstance(item, Slice)]


def _largest_error(slices: list[Slice], image: object) -> float:
    """Distance in mm between where voxels lie here and where SimpleITK says; values are alike."""
    sitk = pytest.importorskip("SimpleITK")
    values = sitk.GetArrayFromImage(image)
    random = np.random.default_rng(0)
    worst = 0.0
    for _ in range(300):
        one = slices[random.integers(len(slices))]
        y, x = (int(random.integers(side)) for side in one.pixels.shape)
        assert one.plane is not None
        (place,) = one.plane.to_patient(np.array([[x, y]]))
        index = image.TransformPhysicalPointToIndex(place.tolist())  # type: ignore[attr-defined]
        back = image.TransformIndexToPhysicalPoint(index)  # type: ignore[attr-defined]
        assert values[index[::-1]] == pytest.approx(one.pixels[y, x], rel=1e-5)
        worst = max(worst, float(np.linalg.norm(np.subtract(back, place))))
    return worst


def _read_by_simpleitk(files: list[Path]) -> object:
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(files[0].parent), uid))
    return reader.Execute()


def test_an_axial_series_lies_where_simpleitk_says() -> None:
    (series,) = sources.scan([GOLDEN]).series
    image = _read_by_simpleitk(sorted(GOLDEN.glob("*.dcm")))
    assert _largest_error(_volume(series), image) <= 0.1


@needs_real_images
def test_a_sagittal_volume_becomes_axial_slices_that_lie_where_simpleitk_says() -> None:
    (series,) = sources.scan([TRIO]).series
    slices = _volume(series)
    # 256 rows of the acquired images run down the head, 176 images lie side by side.
    assert len(slices) > 200
    assert slices[100].pixels.shape == (256, 176)
    assert slices[100].sop_instance_uid is None
    assert slices[100].source == series.source
    assert all(s.plane is not None and s.plane.name == "axial" for s in slices)
    heights = [s.position[2] for s in slices if s.position]
    assert heights == sorted(heights)
    assert _largest_error(slices, _read_by_simpleitk(sorted(TRIO.glob("*.dcm")))) <= 0.1


@needs_real_images
def test_nibabel_places_the_same_slices_alike() -> None:
    wrappers = pytest.importorskip("nibabel.nicom.dicomwrappers")
    for path in (TRIO / "00003.dcm", next((SHARED / "dicom" / "head_ct_ge").glob("*.dcm"))):
        affine = wrappers.wrapper_from_file(path).affine  # LPS, of (row, column, slice)
        (series,) = sources.scan([path]).series
        (plane,) = series.files[0].planes
        assert plane is not None
        for x, y in ((0, 0), (200, 7), (31, 150)):
            expected = (affine @ [y, x, 0, 1])[:3]
            assert np.linalg.norm(plane.to_patient(np.array([[x, y]]))[0] - expected) <= 0.1


def test_files_in_any_order_and_turned_images_come_out_alike(tmp_path: Path) -> None:
    """Names and instance numbers lie, and a mirrored image on its side is the same image."""
    straight = _volume(sources.scan([GOLDEN]).series[0])
    for number, file in enumerate(sorted(GOLDEN.glob("*.dcm"))):
        dataset = pydicom.dcmread(file)
        dataset.decompress(generate_instance_uid=False)
        pixels = dataset.pixel_array
        row, column = np.reshape(np.array(dataset.ImageOrientationPatient, float), (2, 3))
        position = np.array(dataset.ImagePositionPatient, float)
        # Columns run to the front, rows to the back of the head: on its side and mirrored.
        position = position + (pixels.shape[1] - 1) * float(dataset.PixelSpacing[1]) * row
        dataset.ImagePositionPatient = position.tolist()
        dataset.ImageOrientationPatient = [*column, *-row]
        dataset.PixelData = np.ascontiguousarray(np.flip(pixels, 1).T).tobytes()
        dataset.Rows, dataset.Columns = pixels.shape[::-1]
        dataset.InstanceNumber = 100 - number
        dataset.save_as(tmp_path / f"{(number * 7) % 24:02d}")
    turned = _volume(sources.scan([tmp_path]).series[0])
    assert len(turned) == len(straight) == 24
    for one, other in zip(straight, turned, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert one.position == pytest.approx(other.position, abs=1e-3)
        assert one.orientation == pytest.approx(other.orientation)
        assert one.sop_instance_uid == other.sop_instance_uid
