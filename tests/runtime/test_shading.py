"""Uneven light is found as N4 finds it, and undone; what is bright in the head stays bright."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from gliomart.errors import InputRefusedError
from gliomart.image.grid import crop, depth
from gliomart.image.head import head_mask
from gliomart.image.normalisation import Normalisation, estimate_normalisation
from gliomart.image.preprocess import prepare
from gliomart.image.shading import Field, n4
from gliomart.image.slices import Slice
from gliomart.image.steps import Preprocessing, Shading
from gliomart.sources import read_series, scan
from samples import GOLDEN, SHARED, draw_head, needs_real_images

SPEC = Preprocessing(shading=Shading())
RULES = Shading()
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
# A bright part of the brain, where it lies in a slice: 0 to 1 from the head's left, from its front,
# and from the lowest slice.
Place = Callable[[NDArray[np.float64], NDArray[np.float64], float], NDArray[np.bool_]]


def _simulated() -> list[Slice]:
    (series,) = scan([GOLDEN]).series
    return [s for s in read_series(series.files, series.source) if isinstance(s, Slice)]


def _patient(number: int) -> list[Slice]:
    folder = sorted((SHARED / "lgg_flair" / "train").iterdir())[number]
    images = (cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted(folder.iterdir()))
    return [Slice(np.asarray(image, np.float32)) for image in images]


PATIENTS = [
    pytest.param(partial(_patient, number), id=f"patient {number}", marks=needs_real_images)
    for number in (0, 3)
]
each_patient = pytest.mark.parametrize("head", PATIENTS)
each_head = pytest.mark.parametrize("head", [pytest.param(_simulated, id="simulated"), *PATIENTS])


@dataclass(frozen=True)
class _Even:
    """A series in even light."""

    norm: Normalisation
    planes: list[Plane]

    def log_of(self, number: int) -> Plane:
        """Logarithm of one slice's field."""
        field = self.norm.at(number).field
        assert field is not None
        return field.log[0]

    def medians(self, masks: Sequence[Mask]) -> NDArray[np.float64]:
        """Logarithm of the median of each slice within its mask."""
        shown = zip(self.planes, masks, strict=True)
        levels = [np.log(np.maximum(plane[mask], 1e-3)) for plane, mask in shown]
        return np.array([np.median(each) if len(each) else np.nan for each in levels])


def _even(slices: Sequence[Slice]) -> _Even:
    norm = estimate_normalisation(slices, SPEC)
    assert norm.field is not None
    planes = [_undone(s, norm, k) for k, s in enumerate(slices)]
    return _Even(norm, planes)


def _undone(item: Slice, norm: Normalisation, number: int) -> Plane:
    field = norm.at(number).field
    assert field is not None
    return field.undone(_on_grid(item, norm, SPEC.size))


def _on_grid(item: Slice, norm: Normalisation, size: int) -> Plane:
    cropped = crop(item.pixels, norm.box, size, norm.black) - np.float32(norm.black)
    return cropped * np.float32(SPEC.brain_level / (norm.brain - norm.black))


def _deep(slices: Sequence[Slice]) -> list[Mask]:
    """What is surely brain in the middle of a series, on the model's grid; nothing elsewhere."""
    norm = estimate_normalisation(slices, SPEC)
    found = []
    for item in slices:
        plane = _on_grid(item, norm, SPEC.size)
        head = head_mask(plane, 0.1)
        bounds = cv2.boundingRect(head.view(np.uint8))
        found.append((depth(head) > 0.2 * min(bounds[2:])) & (plane > 0.1))
    return found


def _middle(values: Sequence[Slice]) -> slice:
    """Leave out the neck and the vertex."""
    return slice(len(values) // 5, len(values) - len(values) // 4)


def _times(slices: Sequence[Slice], gains: Sequence[float]) -> list[Slice]:
    return [replace(s, pixels=s.pixels * np.float32(g)) for s, g in zip(slices, gains, strict=True)]


# --- As N4 finds it -----------------------------------------------------------------------------


def _logarithm(slices: Sequence[Slice]) -> tuple[Plane, Mask]:
    norm = estimate_normalisation(slices, SPEC)
    low = np.stack([_on_grid(s, norm, RULES.side) for s in slices])
    return np.log(np.maximum(low, 1e-3)), low > 0.1


def _by_itk(log: Plane, mask: Mask) -> Plane:
    itk = pytest.importorskip("SimpleITK")
    n4_of_itk = itk.N4BiasFieldCorrectionImageFilter()
    n4_of_itk.SetMaximumNumberOfIterations([RULES.steps] * RULES.levels)
    n4_of_itk.SetConvergenceThreshold(0)
    n4_of_itk.SetBiasFieldFullWidthAtHalfMaximum(RULES.sharpness)
    n4_of_itk.SetNumberOfControlPoints([4] * log.ndim)  # one element a side
    image = itk.GetImageFromArray(np.exp(log))
    n4_of_itk.Execute(image, itk.GetImageFromArray(mask.astype(np.uint8)))
    return np.asarray(itk.GetArrayFromImage(n4_of_itk.GetLogBiasFieldAsImage(image)))


@each_head
def test_the_field_of_a_series_is_that_of_itk(head: Callable[[], list[Slice]]) -> None:
    log, mask = _logarithm(head())
    ours, theirs = n4(log, mask, RULES)[mask], _by_itk(log, mask)[mask]
    assert ours.std() > 0.02
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9999
    assert np.abs((ours - ours.mean()) - (theirs - theirs.mean())).max() < 1e-3


@each_head
def test_the_field_of_one_slice_is_that_of_itk(head: Callable[[], list[Slice]]) -> None:
    slices = head()
    log, mask = _logarithm(slices[len(slices) // 2 :][:1])
    ours, theirs = n4(log, mask, RULES)[mask], _by_itk(log[0], mask[0])[mask[0]]
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9999
    assert np.abs((ours - ours.mean()) - (theirs - theirs.mean())).max() < 3e-3


@each_head
def test_light_that_is_put_in_is_found(head: Callable[[], list[Slice]]) -> None:
    slices = head()
    height, width = slices[0].pixels.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = np.exp(0.35 * y - 0.2 * x + 0.2 * x * y).astype(np.float32)
    before, after = _even(slices), _even([replace(s, pixels=s.pixels * light) for s in slices])
    put_in = np.log(crop(light, before.norm.box, RULES.side, 1.0))
    missed, wanted = [], []
    for number, deep in list(enumerate(_deep(slices)))[_middle(slices)]:
        counted = cv2.resize(deep.astype(np.float32), (RULES.side, RULES.side)) > 0.5
        found = after.log_of(number) - before.log_of(number)
        missed.append((found - put_in)[counted])
        wanted.append(put_in[counted])
    assert np.concatenate(missed).std() < 0.35 * np.concatenate(wanted).std()


# --- Slices that differ in level ----------------------------------------------------------------


@each_head
def test_every_second_slice_that_is_brighter_becomes_like_the_others(
    head: Callable[[], list[Slice]],
) -> None:
    slices = head()
    second = np.arange(len(slices)) % 2
    brighter = _even(_times(slices, 1.3**second))
    assert brighter.norm.field is not None
    assert brighter.norm.field.expected is not None
    masks, middle = _deep(slices), _middle(slices)
    rise = np.diff(brighter.medians(masks)[middle])
    alternating = np.median(rise[::2]) - np.median(rise[1::2])
    assert abs(alternating) < 0.1 * 2 * np.log(1.3)


@each_head
def test_a_coil_that_darkens_with_height_is_undone(head: Callable[[], list[Slice]]) -> None:
    slices = head()
    heights = np.linspace(0, 1, len(slices))
    masks, middle = _deep(slices), _middle(slices)
    darkening = _even(_times(slices, np.exp(-0.6 * heights))).medians(masks)[middle]
    left = np.polyfit(heights[middle], darkening - _even(slices).medians(masks)[middle], 1)[0]
    assert abs(left) < 0.25 * 0.6


@each_patient
def test_slices_with_windows_of_their_own_agree(head: Callable[[], list[Slice]]) -> None:
    """Each was exported so that its brightest pixel is white."""
    slices = head()
    windows = 255 / np.array([max(s.pixels.max(), 1) for s in slices])
    masks, middle = _deep(slices), _middle(slices)
    windowed = _even(_times(slices, windows))
    assert windowed.norm.field is not None
    assert windowed.norm.field.expected is not None
    as_scanned = _even(slices).medians(masks)[middle]
    assert np.std(windowed.medians(masks)[middle] - as_scanned) < 0.06


def _exported(slices: Sequence[Slice], part: float, *, shared: bool) -> list[Slice]:
    """Give a window to each slice, or to all: so large a part of its pixels is not above white."""
    planes = [s.pixels for s in slices]
    whites = (
        [np.quantile(planes, part)] * len(planes) if shared else np.quantile(planes, part, (1, 2))
    )
    bright = _times(slices, [255 / max(white, 1) for white in whites])
    return [replace(s, pixels=np.minimum(s.pixels, np.float32(255))) for s in bright]


def _chained(slices: Sequence[Slice]) -> bool:
    field = estimate_normalisation(slices, SPEC).field
    return field is not None and field.expected is not None


@each_head
@pytest.mark.parametrize("part", [1.0, 0.995, 0.98])
def test_a_window_of_each_slice_is_seen(head: Callable[[], list[Slice]], part: float) -> None:
    assert _chained(_exported(head(), part, shared=False))


@needs_real_images
def test_a_window_that_all_slices_share_is_mostly_not_taken_for_one_of_each() -> None:
    chained = []
    for number in range(0, 45, 9):
        slices = _patient(number)
        assert not _chained(slices)
        chained += [_chained(_exported(slices, part, shared=True)) for part in (0.999, 0.995, 0.98)]
    assert np.mean(chained) <= 0.25


def test_few_slices_do_not_tell_whether_each_has_a_window_of_its_own() -> None:
    slices = _simulated()
    for few in (slices[:4], slices[:1]):
        assert not _chained(_exported(few, 1.0, shared=False))


def test_slices_without_a_head_do_not_count_where_each_has_a_window_of_its_own() -> None:
    windowed = _exported(_simulated(), 1.0, shared=False)
    beside = [Slice(np.full_like(windowed[0].pixels, k)) for k in range(len(windowed))]
    assert _chained([*windowed, *beside])


# --- What is bright stays bright ----------------------------------------------------------------


def _with_bright(
    slices: Sequence[Slice], place: Place, gain: float
) -> tuple[list[Slice], list[Mask]]:
    """Brighten a part of the brain, with a soft border; and tell where it is, in source pixels."""
    norm = estimate_normalisation(slices, SPEC)
    bright, where = [], []
    for number, item in enumerate(slices):
        head = head_mask(item.pixels - np.float32(norm.black), 0.2 * (norm.brain - norm.black))
        left, top, width, height = cv2.boundingRect(head.view(np.uint8))
        y, x = np.mgrid[: head.shape[0], : head.shape[1]]
        inside = depth(head) > 0.15 * min(width, height)
        shown = place((x - left) / max(width, 1), (y - top) / max(height, 1), number / len(slices))
        soft = cv2.GaussianBlur((inside & shown).astype(np.float32), (0, 0), 2)
        bright.append(replace(item, pixels=item.pixels * (1 + np.float32(gain - 1) * soft)))
        where.append(soft)
    return bright, [w > 0.99 for w in where]


def _tumour(x: NDArray[np.float64], y: NDArray[np.float64], z: float) -> NDArray[np.bool_]:
    """A third of the brain in its slices."""
    return ((x - 0.33) / 0.22) ** 2 + ((y - 0.5) / 0.28) ** 2 + ((z - 0.6) / 0.2) ** 2 < 1


def _cerebellar(x: NDArray[np.float64], y: NDArray[np.float64], z: float) -> NDArray[np.bool_]:
    """A third of the cerebellum."""
    return (y > 0.55) & (x < 0.42) & (0.08 < z < 0.35)


def _changes(
    slices: Sequence[Slice], place: Place, gain: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logarithms of how a bright part, and the rest of its slices' deep brain, have changed."""
    bright, where = _with_bright(slices, place, gain)
    before, after = _even(slices), _even(bright)
    own, rest = [], []
    for number, deep in enumerate(_deep(slices)):
        lit = crop(where[number].astype(np.float32), before.norm.box, SPEC.size, 0.0)
        if not lit.any():
            continue
        shown = deep & (before.planes[number] > 0.1)
        ratio = np.log(
            np.maximum(after.planes[number], 1e-3) / np.maximum(before.planes[number], 1e-3)
        )
        own.append(ratio[shown & (lit > 0.99)])
        rest.append(ratio[shown & (cv2.dilate(lit, np.ones((15, 15))) == 0)])
    return np.concatenate(own), np.concatenate(rest)


@each_head
@pytest.mark.parametrize("place", [_tumour, _cerebellar], ids=["brain", "cerebellum"])
def test_a_bright_third_stays_bright(head: Callable[[], list[Slice]], place: Place) -> None:
    own, rest = _changes(head(), place, 1.6)
    assert (np.median(own) - np.median(rest)) / np.log(1.6) > 0.85


@each_head
@pytest.mark.parametrize("interleaved", [False, True])
def test_a_large_bright_tumour_does_not_darken_the_brain_around_it(
    head: Callable[[], list[Slice]], interleaved: bool
) -> None:
    slices = head()
    gains = np.where(np.arange(len(slices)) % 2 * interleaved, 1.3, 1.0)
    own, rest = _changes(_times(slices, gains), _tumour, 2.0)
    assert np.median(rest) > -0.12
    assert (np.median(own) - np.median(rest)) / np.log(2) > 0.85


# --- For any slices -----------------------------------------------------------------------------


@given(
    arrays(np.float32, (3, 12, 12), elements=st.floats(-7, 7, width=32)),
    arrays(np.bool_, (3, 12, 12)),
)
def test_the_field_of_any_stack_is_finite(log: Plane, mask: Mask) -> None:
    mask[0, 0, 0] = True
    rules = replace(RULES, side=12, steps=3)
    field = n4(log, mask, rules)
    assert field.shape == log.shape
    assert np.isfinite(field).all()


@given(st.floats(0.01, 100), st.integers(1, 5))
def test_no_gain_changes_the_field(gain: float, count: int) -> None:
    slices = [Slice(draw_head((64, 48), seed=seed)) for seed in range(count)]
    as_it_is = estimate_normalisation(slices, SPEC).field
    brighter = estimate_normalisation(_times(slices, [gain] * count), SPEC).field
    assert as_it_is is not None
    assert brighter is not None
    assert brighter.log == pytest.approx(as_it_is.log, abs=1e-3)


magnitudes = st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 400.0, 65535.0, 1e30, -1.0, -1024.0, -1e30])


@given(
    st.sampled_from([(1, 40, 40), (2, 40, 33), (7, 24, 24), (33, 16, 16), (2, 1, 60), (3, 60, 1)]),
    st.lists(st.tuples(magnitudes, magnitudes), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_any_finite_slices_are_refused_or_brought_to_finite_values(
    shape: tuple[int, int, int], levels: list[tuple[float, float]], seed: int
) -> None:
    random = np.random.default_rng(seed)
    blobs = cv2.GaussianBlur(random.normal(size=shape[1:]), (0, 0), 3)
    slices = []
    for number in range(shape[0]):
        low, high = levels[number % len(levels)]
        pixels = np.where(blobs > 0, high, low) * random.uniform(0.5, 1, shape[1:])
        slices.append(Slice(pixels.astype(np.float32)))
    try:
        norm = estimate_normalisation(slices, SPEC)
    except InputRefusedError:
        return
    for number, item in enumerate(slices):
        try:
            prepared = prepare(item, norm.at(number), SPEC)
        except InputRefusedError:
            continue
        assert np.isfinite(prepared.plain).all()


def test_a_field_between_known_slices_lies_between_them() -> None:
    log = np.array([0.0, 0.4, 0.2], np.float32)[:, np.newaxis, np.newaxis] * np.ones(
        (1, 8, 8), "f4"
    )
    field = Field((2, 4, 10), log)
    found = [float(field.at(number).log[0, 3, 3]) for number in (0, 2, 3, 4, 7, 10, 40)]
    assert found == pytest.approx([0.0, 0.0, 0.2, 0.4, 0.3, 0.2, 0.2])
    assert field.at(3).numbers == (3,)
    assert field.at(3).expected is None


def test_what_is_expected_of_a_slice_is_what_both_beside_it_show() -> None:
    log = np.zeros((2, 8, 8), np.float32)
    expected = np.full((2, 8, 8), -np.inf, np.float32)
    expected[0, :6], expected[1, 2:] = -1.0, -0.5
    field = Field((0, 2), log, expected, np.array([0.2, 0.6], np.float32))
    between = field.at(1).expected
    assert between is not None
    assert between[0, 2:6] == pytest.approx(-0.75)
    assert np.isneginf(between[0, :2]).all()
    assert np.isneginf(between[0, 6:]).all()
    gains = field.at(1).gains
    assert gains is not None
    assert gains == pytest.approx(0.4)
    first = field.at(0).expected
    assert first is not None
    assert first[0, :6] == pytest.approx(-1.0)


def test_a_slice_of_a_series_that_disagrees_takes_its_level_from_what_is_expected() -> None:
    even, expected = np.zeros((1, 8, 8), np.float32), np.full((1, 8, 8), np.log(0.4), "f4")
    field = Field((0,), even, expected, np.zeros(1, np.float32))
    assert field.undone(np.full((64, 64), 0.6, np.float32)) == pytest.approx(0.4, abs=1e-5)


def test_a_slice_without_anything_that_is_expected_has_the_level_of_those_beside_it() -> None:
    """Otherwise the last ones of a head would be as bright as the first was scanned."""
    nothing = np.full((2, 8, 8), -np.inf, np.float32)
    gains = np.log(np.array([1.5, 1.5], np.float32))
    field = Field((0, 2), np.zeros((2, 8, 8), np.float32), nothing, gains)
    assert field.at(1).undone(np.full((64, 64), 0.6, np.float32)) == pytest.approx(0.4, abs=1e-5)


def test_an_image_by_itself_has_its_field_wherever_it_is_in_a_series() -> None:
    norm = estimate_normalisation([Slice(draw_head((64, 64)))], SPEC)
    assert norm.field is not None
    assert norm.at(17) == norm


def test_where_nothing_counts_as_brain_light_is_left_as_it_is() -> None:
    norm = estimate_normalisation([Slice(draw_head((64, 64)))], replace(SPEC, head_level=2.4))
    assert norm.field is None


def test_models_that_do_not_say_so_leave_light_as_it_is() -> None:
    norm = estimate_normalisation([Slice(draw_head())], Preprocessing())
    assert norm.field is None
    assert norm.at(3) == norm
