from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gliomart import sources
from gliomart.errors import InputRefusedError
from gliomart.image.geometry import ImagePlane
from gliomart.image.resampling import Rigid, Stack, sampled_slices
from gliomart.image.slices import Slice
from samples import SHARED, needs_real_images

VOLUMES = SHARED / "ms_ljubljana"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# So near to the edge of a stack, rounding may decide which side of it a point is on.
EDGE_MM = 1e-6

# Rounded, because ITK cannot invert matrices with numbers next to nothing in them.
turns = st.tuples(*3 * [st.floats(-180, 180).map(lambda degrees: round(degrees, 3))])
spacings = st.tuples(*2 * [st.floats(0.3, 3)])
small = st.tuples(*3 * [st.floats(-6, 6)])


def plane_turned(
    turn: tuple[float, ...], spacing: tuple[float, float], middle: tuple[float, ...], side: int
) -> ImagePlane:
    """Place a square image whose middle is at a point, turned from the axial plane, or flipped."""
    rotation = Rigid.of(turn).rotation
    row, column = rotation[:, 0], rotation[:, 1]
    half = (side - 1) / 2
    position = np.array(middle) - half * (spacing[1] * row + spacing[0] * column)
    return ImagePlane(tuple(position.tolist()), (*row, *column), spacing)


def stack_of(
    first: ImagePlane, heights: Any, shape: tuple[int, int], shear: tuple[float, float] = (0, 0)
) -> Stack:
    """Make slices at heights above a first one, shifted in their plane by so many mm a mm."""
    normal = first.axes[0]
    row, column = np.reshape(first.orientation, (2, 3))
    along = normal + shear[0] * row + shear[1] * column
    random = np.random.default_rng(0)
    return Stack.of(
        [
            Slice(
                random.random(shape, np.float32),
                position=tuple((first.position + height * along).tolist()),
                orientation=first.orientation,
                spacing=first.spacing,
            )
            for height in heights
        ]
    )


def holding_places(stack: Stack) -> list[Stack]:
    """Give a stack whose voxels are their own places in mm, for each of x, y and z."""
    _, rows, columns = stack.voxels.shape
    y, x = np.mgrid[:rows, :columns].reshape(2, -1)
    places = np.stack([plane.to_patient(np.stack([x, y], 1)) for plane in stack.planes])
    return [
        Stack(places[..., n].reshape(stack.voxels.shape).astype(np.float32), stack.planes)
        for n in range(3)
    ]


def as_image(stack: Stack) -> Any:
    """Hand an even stack to SimpleITK, sheared as it is."""
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(stack.voxels)
    first, last = stack.planes[0], stack.planes[-1]
    step = np.subtract(last.position, first.position) / max(len(stack.planes) - 1, 1)
    length = float(np.linalg.norm(step)) or 1.0
    step = step if step.any() else first.axes[0]
    row, column = np.reshape(first.orientation, (2, 3))
    image.SetOrigin(first.position)
    image.SetSpacing((first.spacing[1], first.spacing[0], length))
    image.SetDirection(np.stack([row, column, step / length], 1).ravel().tolist())
    return image


def by_simpleitk(
    image: Any, plane: ImagePlane, shape: tuple[int, int], transform: Any = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Resample onto an image by ITK: values, and where they are not the default."""
    sitk = pytest.importorskip("SimpleITK")
    row, column = np.reshape(plane.orientation, (2, 3))
    onto = sitk.ResampleImageFilter()
    onto.SetSize((shape[1], shape[0], 1))
    onto.SetOutputOrigin(plane.position)
    onto.SetOutputSpacing((plane.spacing[1], plane.spacing[0], 1.0))
    onto.SetOutputDirection(np.stack([row, column, np.cross(row, column)], 1).ravel().tolist())
    onto.SetInterpolator(sitk.sitkLinear)
    onto.SetTransform(sitk.Transform() if transform is None else transform)
    onto.SetDefaultPixelValue(-1e4)
    values = sitk.GetArrayFromImage(onto.Execute(image))[0]
    return values, values > -9e3


def at_an_edge(stack: Stack, plane: ImagePlane, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which pixels lie just at the end of a stack."""
    y, x = np.mgrid[: shape[0], : shape[1]].reshape(2, -1)
    image = as_image(stack)
    direction = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    places = plane.to_patient(np.stack([x, y], 1)) - image.GetOrigin()
    index = np.linalg.solve(direction, places.T)
    size = np.array(image.GetSize())[:, np.newaxis]
    away = np.minimum(np.abs(index + 0.5), np.abs(index - size + 0.5))
    return np.asarray((away.min(axis=0) < EDGE_MM).reshape(shape))


@given(
    turns,
    spacings,
    turns,
    spacings,
    small,
    st.floats(0.5, 6),
    st.tuples(*2 * [st.floats(-0.4, 0.4)]),
)
def test_values_places_and_ends_are_those_of_simpleitk_however_both_lie(
    turn: tuple[float, ...],
    spacing: tuple[float, float],
    other_turn: tuple[float, ...],
    other_spacing: tuple[float, float],
    middle: tuple[float, ...],
    step: float,
    shear: tuple[float, float],
) -> None:
    """Oblique, flipped, anisotropic, with a tilted gantry."""
    first = plane_turned(turn, spacing, (0, 0, 0), 12)
    heights = (np.arange(6) - 2.5) * step
    stack = stack_of(first, heights, (12, 12), shear)
    plane, shape = plane_turned(other_turn, other_spacing, middle, 16), (16, 16)
    for held, axis in (*zip(holding_places(stack), range(3), strict=True), (stack, None)):
        values, inside = held.sampled(plane, shape)
        expected, there = by_simpleitk(as_image(held), plane, shape)
        decided = ~at_an_edge(stack, plane, shape)
        assert np.array_equal(inside[decided], there[decided])
        both = inside & there
        assert np.allclose(values[both], expected[both], atol=1e-3 if axis is not None else 1e-4)
        assert not values[~inside].any()


@given(turns, spacings, turns, st.floats(0.5, 6))
def test_places_are_exact_to_a_tenth_of_a_millimetre(
    turn: tuple[float, ...], spacing: tuple[float, float], other: tuple[float, ...], step: float
) -> None:
    """A volume of its own places gives back the place of every pixel between its voxels."""
    first = plane_turned(turn, spacing, (0, 0, 0), 40)
    stack = stack_of(first, (np.arange(30) - 14.5) * step, (40, 40))
    shape = (9, 9)
    near = min(*spacing, step) * 0.7
    plane = plane_turned(other, (near, near), (0, 0, 0), 9)
    y, x = np.mgrid[:9, :9].reshape(2, -1)
    wanted = plane.to_patient(np.stack([x, y], 1))
    for axis, held in enumerate(holding_places(stack)):
        values, inside = held.sampled(plane, shape)
        assert inside.all()
        assert np.abs(values.ravel() - wanted[:, axis]).max() < 1e-3


@given(turns, turns, small, st.booleans())
def test_a_moved_head_is_sampled_as_simpleitk_does(
    turn: tuple[float, ...], by: tuple[float, ...], shift: tuple[float, ...], along: bool
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    first = plane_turned(turn, (1.0, 1.5), (0, 0, 0), 20)
    stack = stack_of(first, np.arange(-5, 6) * 3.0, (20, 20))
    moved = Rigid.of((0, 0, 0) if along else by, shift, (3.0, -2.0, 1.0))
    transform = sitk.VersorRigid3DTransform()
    transform.SetCenter(moved.centre.tolist())
    transform.SetMatrix(moved.rotation.ravel().tolist())
    transform.SetTranslation(moved.translation.tolist())
    plane, shape = plane_turned(turn, (1.1, 1.1), (0, 0, 0), 18), (18, 18)
    values, inside = stack.sampled(plane, shape, moved)
    expected, there = by_simpleitk(as_image(stack), plane, shape, transform)
    both = inside & there
    assert np.count_nonzero(inside != there) <= 18  # at the very edge
    assert np.allclose(values[both], expected[both], atol=1e-4)


def test_a_slice_that_lies_where_one_of_the_stack_lies_is_that_one() -> None:
    first = plane_turned((10, -170, 30), (0.7, 0.9), (1, 2, 3), 24)
    stack = stack_of(first, np.arange(8) * 4.0, (24, 31))
    for image, plane in zip(stack.voxels, stack.planes, strict=True):
        values, inside = stack.sampled(plane, image.shape)  # type: ignore[arg-type]
        assert inside.all()
        assert np.abs(values - image).max() < 1e-5


@pytest.mark.parametrize("turned", [False, True])
def test_nothing_is_inside_where_slices_are_missing(turned: bool) -> None:
    """Slices reach half a step into a gap, as they do beyond the ends; steps may be uneven."""
    heights = [0, 5, 10, 15, 30, 35, 40]
    first = ImagePlane((0, 0, 0), AXIAL, (1, 1))
    stack = stack_of(first, heights, (20, 60))
    at = {-2.6: 0, -2.4: 1, 12: 1, 17.4: 1, 17.6: 0, 22: 0, 27.4: 0, 27.6: 1, 42.4: 1, 42.6: 0}
    for height, inside_there in at.items():
        plane = ImagePlane((0, 5, height), AXIAL, (1, 1))
        if turned:  # a sagittal plane, which crosses all slices
            plane = ImagePlane((7, 5, height), (0, 1, 0, 0, 0, 1), (1e-3, 1))
        values, inside = stack.sampled(plane, (4, 10))
        assert inside.all() if inside_there else not inside.any()
    below, above = stack.voxels[3, 5:9, :10], stack.voxels[4, 5:9, :10]
    for height, expected in ((17, below), (28, above)):
        values, _ = stack.sampled(ImagePlane((0, 5, height), AXIAL, (1, 1)), (4, 10))
        assert np.allclose(values, expected)


def test_uneven_steps_are_taken_as_they_are() -> None:
    """Between skull base and vertex some protocols change the step."""
    heights = np.array([0, 3, 6, 9, 14, 19, 24.0])
    stack = stack_of(ImagePlane((0, 0, 0), AXIAL, (1, 1)), heights, (8, 8), (0.2, -0.3))
    for held, axis in zip(holding_places(stack), range(3), strict=True):
        for height in (0.5, 7.5, 11.0, 13.9, 23.0):
            plane = ImagePlane((3 + 0.2 * height, 3 - 0.3 * height, height), AXIAL, (0.1, 0.1))
            values, inside = held.sampled(plane, (6, 6))
            y, x = np.mgrid[:6, :6].reshape(2, -1)
            wanted = plane.to_patient(np.stack([x, y], 1))[:, axis].reshape(6, 6)
            assert np.allclose(values[inside], wanted[inside], atol=1e-4)
            assert inside.all()


def test_one_slice_has_no_thickness() -> None:
    stack = stack_of(ImagePlane((0, 0, 4), AXIAL, (1, 1)), [0], (6, 6))
    for height, there in ((4.0, True), (4.1, True), (4.5, False), (3, False)):
        values, inside = stack.sampled(ImagePlane((0, 0, height), AXIAL, (1, 1)), (6, 6))
        assert inside.all() == there
        assert np.array_equal(values, stack.voxels[0] if there else np.zeros((6, 6)))
    across = ImagePlane((2, 0, 0), (0, 1, 0, 0, 0, 1), (1, 1))
    _, inside = stack.sampled(across, (9, 6))
    assert inside.any(axis=1).tolist() == [row == 4 for row in range(9)]


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1)])
def test_images_of_one_row_or_column_are_sampled(shape: tuple[int, int]) -> None:
    stack = stack_of(ImagePlane((0, 0, 0), AXIAL, (1, 1)), np.arange(4) * 2.0, shape)
    for turn in ((0, 0, 0), (20, 0, 0)):
        plane = plane_turned(turn, (0.4, 0.4), (0, 0, 3), 9)
        values, inside = stack.sampled(plane, (9, 9))
        expected, there = by_simpleitk(as_image(stack), plane, (9, 9))
        assert np.array_equal(inside, there)
        assert np.allclose(values[inside], expected[inside], atol=1e-5)


def test_an_image_far_away_is_outside() -> None:
    stack = stack_of(ImagePlane((0, 0, 0), AXIAL, (1, 1)), np.arange(4) * 2.0, (5, 5))
    for plane in (
        ImagePlane((1e6, -1e6, 3), AXIAL, (1, 1)),
        ImagePlane((1e6, -1e6, 3), (0, 1, 0, 0, 0, 1), (20, 20)),
    ):
        values, inside = stack.sampled(plane, (5, 5))
        assert not inside.any()
        assert not values.any()


def _refused(slices: list[Slice]) -> str:
    with pytest.raises(InputRefusedError) as refusal:
        Stack.of(slices)
    assert "\n" not in refusal.value.reason
    return str(refusal.value.code)


def _slice(height: float, **changed: Any) -> Slice:
    placed = {"position": (0, 0, height), "orientation": AXIAL, "spacing": (1.0, 1.0)} | changed
    return Slice(**{"pixels": np.ones((200, 200), np.float32)} | placed)


def test_slices_that_form_no_stack_are_refused_by_name() -> None:
    tilted = (1.0, 0.0, 0.0, 0.0, np.cos(0.01), np.sin(0.01))
    fine = [_slice(0), _slice(5), _slice(10)]
    assert _refused([]) == "no-images"
    for lost in ("position", "orientation", "spacing"):
        assert _refused([*fine, _slice(15, **{lost: None})]) == "unplaced"
    assert _refused([*fine, _slice(15, orientation=tilted)]) == "mixed-orientations"
    assert _refused([*fine, _slice(15, orientation=(0, 1, 0, 1, 0, 0))]) == "mixed-orientations"
    assert _refused([*fine, _slice(15, spacing=(1.0, 1.1))]) == "mixed-sizes"
    assert _refused([*fine, _slice(15, pixels=np.ones((200, 100), np.float32))]) == "mixed-sizes"
    assert _refused([*fine, _slice(5)]) == "overlapping-slices"
    assert _refused([*fine, _slice(5.5)]) == "overlapping-slices"
    rounded = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0004)  # as headers write directions
    assert len(Stack.of([*fine, _slice(15, orientation=rounded)]).planes) == 4


def test_slices_in_any_order_make_one_stack() -> None:
    ordered = [_slice(n * 5.0, pixels=np.full((4, 4), n, np.float32)) for n in range(6)]
    shuffled = [ordered[n] for n in (3, 0, 5, 1, 4, 2)]
    assert Stack.of(shuffled) == Stack.of(ordered)
    assert Stack.of(shuffled).voxels[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


@given(turns, small, turns, small)
def test_movements_are_put_together(
    first: tuple[float, ...],
    one: tuple[float, ...],
    second: tuple[float, ...],
    two: tuple[float, ...],
) -> None:
    before = Rigid.of(first, one, (1.0, 2.0, 3.0))
    then = Rigid.of(second, two, (-4.0, 0.0, 9.0))
    points = np.random.default_rng(1).normal(0, 80, (7, 3))
    assert np.allclose(then.after(before)(points), then(before(points)), atol=1e-9)


def test_a_turn_has_its_angle() -> None:
    assert Rigid.of((0, 0, 5)).angle == pytest.approx(5)
    assert Rigid.of().angle == 0
    # Right-handed: about the axis to the head, from left to back.
    assert np.allclose(Rigid.of((0, 0, 90))(np.array([[1.0, 0, 0]])), [[0, 1, 0]])


@needs_real_images
@pytest.mark.parametrize("subject", ["sub-01", "sub-04", "sub-12"])
@pytest.mark.parametrize("suffix", ["T1w", "T2w"])
def test_real_series_come_onto_each_others_slices_as_simpleitk_brings_them(
    subject: str, suffix: str
) -> None:
    """Each sequence has its own matrix, spacing and tilt."""
    sitk = pytest.importorskip("SimpleITK")
    pytest.importorskip("nibabel")
    folder = VOLUMES / subject / "anat"
    stacks = {}
    for name in ("FLAIR", suffix):
        (series,) = sources.scan([folder / f"{subject}_{name}.nii.gz"]).series
        read = sources.read_series(series.files, series.source)
        stacks[name] = Stack.of([item for item in read if isinstance(item, Slice)])
    image = sitk.ReadImage(str(folder / f"{subject}_{suffix}.nii.gz"), sitk.sitkFloat32)
    lead, other = stacks["FLAIR"], stacks[suffix]
    shape = (lead.voxels.shape[1], lead.voxels.shape[2])
    for plane in lead.planes[::5]:
        values, inside = other.sampled(plane, shape)
        expected, there = by_simpleitk(image, plane, shape)
        assert np.count_nonzero(inside != there) <= max(shape)  # at the very edge
        both = inside & there
        assert np.abs(values - expected)[both].max(initial=0) < 1e-4 * other.voxels.max()


@given(
    turn=turns | small,
    spacing=spacings,
    middle=st.tuples(*3 * [st.floats(-15, 15)]),
    moved=st.none() | st.builds(Rigid.of, small, small),
    heights=st.sampled_from([range(0, 24, 3), (0, 3, 6, 21, 24), (0, 2, 5, 7, 10, 12, 15), (0,)]),
)
def test_values_are_made_from_no_other_slices_than_those_that_are_named(
    turn: tuple[float, ...],
    spacing: tuple[float, float],
    middle: tuple[float, ...],
    moved: Rigid | None,
    heights: Any,
) -> None:
    whole = stack_of(plane_turned((0, 0, 0), (1.0, 1.0), (0, 0, -9), 24), heights, (24, 24))
    plane, shape = plane_turned(turn, spacing, middle, 12), (12, 12)
    values, inside = whole.sampled(plane, shape, moved)
    named = sampled_slices(whole.planes, plane, shape, moved)
    voxels = np.where(np.isin(np.arange(len(heights)), named)[:, None, None], whole.voxels, 1e4)
    others, _ = Stack(voxels.astype(np.float32), whole.planes).sampled(plane, shape, moved)
    # Shares below a thousandth, which rounded places bring about, are not told.
    assert np.abs(others - values).max() <= 20
    assert bool(named) or not inside.any()


def test_a_slice_on_another_is_made_from_that_one_alone_and_one_between_from_both() -> None:
    planes = stack_of(plane_turned((0, 0, 0), (1.0, 1.0), (0, 0, 0), 8), range(0, 12, 3), (8, 8))
    first = planes.planes[0]

    def at(height: float) -> list[int]:
        x, y, z = first.position
        plane = ImagePlane((x, y, z + height), first.orientation, first.spacing)
        return list(sampled_slices(planes.planes, plane, (8, 8)))

    assert [at(0), at(3), at(9)] == [[0], [1], [3]]
    assert at(4) == [1, 2]
    assert [at(-1), at(10)] == [[0], [3]]
    assert at(-2) == at(12) == []
