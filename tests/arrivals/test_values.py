"""What pixels mean: padding, negatives, clipping, bits, rescale, scale, NaN."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sequence import Sequence

import syntaxes
from gliomart import Detector, InputRefusedError, SeriesResult, sources
from gliomart.image import background
from gliomart.image.background import Background
from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.preprocess import prepare
from gliomart.image.slices import Refusal, Slice
from gliomart.image.steps import Preprocessing
from gliomart.sources import dicom, wall
from gliomart.sources.header import Header
from samples import SHARED, card, draw_head, needs_real_images, tiny_model

RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
SYNTAXES = [wall.EXPLICIT, wall.BIG_ENDIAN, RLE, JPEG_LS]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"))


def circle(shape: tuple[int, int], scale: float = 1.05) -> NDArray[np.bool_]:
    """Tell what lies outside the circle that a scanner reconstructs."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centre = (np.array(shape) - 1) / 2
    return np.asarray(np.hypot(y - centre[0], x - centre[1]) > scale * max(shape) / 2)


def frame_of(shape: tuple[int, int], width: int) -> NDArray[np.bool_]:
    around = np.ones(shape, bool)
    around[width:-width, width:-width] = False
    return around


def head(seed: int = 0) -> NDArray[np.int16]:
    return np.rint(draw_head(lesion=0.9, seed=seed)).astype(np.int16)


def series() -> NDArray[np.float32]:
    return np.stack([draw_head(lesion=0.9 * (n in (2, 3)), seed=n) for n in range(6)])


def brain() -> NDArray[np.float32]:
    """Draw a brain without its skull, 300 to 600, in zeros."""
    y, x = np.mgrid[:256, :256]
    inside = np.hypot((y - 128) / 90, (x - 128) / 70) < 1
    drawn = np.where(inside, 300 + 1.5 * np.abs(y - 128) + np.abs(x - 100), 0.0)
    return drawn.astype(np.float32)


def read(dataset: Dataset) -> list[Slice | Refusal]:
    return list(dicom.slices_of(dataset, Header.of(dataset), "image", "image", sources.DEFAULT))


def one(dataset: Dataset) -> Slice:
    (item,) = read(dataset)
    assert isinstance(item, Slice), item
    return item


def code_of(dataset: Dataset) -> str:
    (item,) = read(dataset)
    assert isinstance(item, Refusal)
    assert "\n" not in item.reason
    return item.code


def padding_in(dataset: Dataset, vr: str, value: int, limit: int | None = None) -> Dataset:
    dataset.add_new("PixelPaddingValue", vr, value)
    if limit is not None:
        dataset.add_new("PixelPaddingRangeLimit", vr, limit)
    return dataset


def codes(result: SeriesResult) -> set[str]:
    return {refusal.code for refusal in result.not_analysed}


# Padding that is declared


@pytest.mark.parametrize("uid", SYNTAXES)
@pytest.mark.parametrize(
    ("signed", "bits", "value", "vr", "declared"),
    [
        (True, 16, -2000, "SS", -2000),
        (True, 16, -2000, "US", 63536),
        (True, 12, -2000, "US", 63536),
        (True, 12, -2000, "US", 2096),
        (True, 16, -32768, "US", 32768),
        (True, 16, -1, "US", 65535),
        (False, 16, 63536, "US", 63536),
        (False, 16, 63536, "SS", -2000),
        (False, 16, 65535, "SS", -1),
        (False, 12, 4095, "US", 4095),
    ],
)
def test_padding_is_found_in_either_sign(
    uid: str, signed: bool, bits: int, value: int, vr: str, declared: int
) -> None:
    pixels, outside = head().clip(0, 1900), circle((256, 256))
    pixels = pixels.astype(np.int16 if signed else np.uint16)
    pixels[outside] = np.array(value).astype(pixels.dtype)
    if uid == JPEG_LS and signed and bits == 12:
        pytest.skip("the test's encoder takes whole words")
    dataset = padding_in(syntaxes.with_pixels(uid, pixels, bits=bits), vr, declared)
    image = one(dataset)
    assert image.air is not None
    assert np.array_equal(image.air, outside)
    assert np.array_equal(image.pixels[~outside], pixels[~outside])
    assert set(np.unique(image.pixels[outside])) == {pixels[~outside].min()}


def test_words_whose_high_bits_are_set_only_for_padding_are_compared_whole() -> None:
    pixels, outside = head().astype(np.uint16), circle((256, 256))
    pixels[100:110, 100:110] = 2096  # what is left of -2000 in twelve bits, and bright tissue
    pixels[outside] = 63536
    for vr, declared in (("US", 63536), ("SS", -2000)):
        dataset = padding_in(syntaxes.with_pixels(wall.EXPLICIT, pixels, bits=12), vr, declared)
        image = one(dataset)
        assert image.air is not None
        assert np.array_equal(image.air, outside)
        assert (image.pixels[100:110, 100:110] == 2096).all()


@pytest.mark.parametrize("declared", [("SS", -2000), ("US", 63536)])
def test_bright_tissue_is_never_padding_modulo_the_bits_stored(declared: tuple[str, int]) -> None:
    pixels = head().astype(np.uint16)
    pixels[100:110, 100:110] = 2096
    for uid in SYNTAXES:
        dataset = padding_in(syntaxes.with_pixels(uid, pixels, bits=12), *declared)
        image = one(dataset)
        assert image.air is None
        assert np.array_equal(image.pixels, pixels)


def test_signed_tissue_is_never_padding_modulo_the_bits_stored() -> None:
    pixels = head().clip(0, 1900)
    pixels[100:110, 100:110] = 904  # 5000 modulo 4096
    dataset = padding_in(syntaxes.with_pixels(wall.EXPLICIT, pixels, bits=12), "US", 5000)
    assert one(dataset).air is None


@pytest.mark.parametrize(
    ("vr", "value", "limit"), [("SS", -2000, -1500), ("US", 63536, 64036), ("SS", -1500, -2000)]
)
@pytest.mark.parametrize("signed", [True, False])
def test_a_padding_range_is_found_in_either_sign(
    vr: str, value: int, limit: int, *, signed: bool
) -> None:
    pixels, outside = head(), circle((256, 256))
    pixels[outside] = np.random.default_rng(0).integers(-2000, -1499, int(outside.sum()))
    stored = pixels if signed else pixels.view(np.uint16)
    dataset = syntaxes.with_pixels(wall.EXPLICIT, stored, bits=16)
    image = one(padding_in(dataset, vr, value, limit))
    assert image.air is not None
    assert np.array_equal(image.air, outside)


@pytest.mark.parametrize(
    ("first", "last"), [(0, 600), (0, 450), (600, 0), (10, 700), (300, 500), (0, 880)]
)
@pytest.mark.parametrize("inverted", [False, True])
def test_a_range_that_takes_tissue_is_refused(first: int, last: int, *, inverted: bool) -> None:
    pixels = 2000 - head() if inverted else head()
    dataset = syntaxes.with_pixels(wall.EXPLICIT, pixels.astype(np.int16), bits=16)
    if inverted:
        dataset.PhotometricInterpretation = "MONOCHROME1"
        first, last = 2000 - first, 2000 - last
    assert code_of(padding_in(dataset, "SS", first, last)) == "bad-padding"


@pytest.mark.parametrize("limit", [None, 0, 5, 40, 90])
def test_a_range_that_takes_air_and_what_is_like_it_is_padding(limit: int | None) -> None:
    dataset = syntaxes.with_pixels(wall.EXPLICIT, head(), bits=16)
    assert one(padding_in(dataset, "SS", 0, limit)).air is not None


def test_padding_brighter_than_all_is_padding() -> None:
    pixels = head()
    pixels[circle(pixels.shape, 0.9)] = 4095
    dataset = padding_in(syntaxes.with_pixels(wall.EXPLICIT, pixels, bits=16), "SS", 4000, 4095)
    assert one(dataset).air is not None


def test_a_range_from_a_negative_value_to_zero_takes_no_tissue_with_it() -> None:
    pixels, outside = head() + 5, circle((256, 256))
    pixels[outside] = -2000
    for vr, value, stored in (
        ("US", 63536, pixels),
        ("SS", -2000, pixels),
        ("SS", -2000, pixels.view(np.uint16)),
    ):
        dataset = syntaxes.with_pixels(wall.EXPLICIT, stored, bits=16)
        image = one(padding_in(dataset, vr, value, 0))
        assert image.air is not None
        assert np.array_equal(image.air, outside)


def test_every_frame_has_its_own_padding() -> None:
    frames = np.stack([head(n) for n in range(3)])
    frames[1][circle((256, 256))] = -2000
    dataset = syntaxes.dataset_of(frames, bits=16)
    dataset.PixelData = frames.tobytes()
    dataset["PixelData"].VR = "OW"
    found = read(padding_in(dataset, "US", 63536))
    assert [isinstance(item, Slice) and item.air is not None for item in found] == [
        False, True, False,
    ]  # fmt: skip


@given(
    value=st.integers(-2048, 4095),
    declared=st.integers(-32768, 65535),
    signed=st.booleans(),
)
def test_only_the_declared_word_is_padding(value: int, declared: int, *, signed: bool) -> None:
    value = min(value, 2047) if signed else max(value, 0)
    pixels = np.full((40, 40), 7, np.int16 if signed else np.uint16)
    pixels[:20] = value
    dataset = syntaxes.with_pixels(wall.EXPLICIT, pixels, bits=12)
    image = one(padding_in(dataset, "SS" if declared < 0 else "US", declared))
    same = value % 65536 == declared % 65536
    if signed and 2048 <= declared < 4096:  # which twelve bits in two's complement cannot hold
        same = declared - 4096 == value
    if value == 7 or declared == 7:
        return
    assert (image.air is not None and bool(image.air[0, 0])) == same


# Padding that nobody declared


@pytest.mark.parametrize("value", [-1000, -2000, -9999, -32768, 4095, 20000])
@pytest.mark.parametrize(
    "outside",
    [
        circle((256, 256)),
        circle((256, 256), 0.98),
        frame_of((256, 256), 1),
        frame_of((256, 256), 4),
    ],
    ids=["circle", "tight circle", "line", "frame"],
)
def test_undeclared_padding_changes_no_score(
    detector: Detector, value: int, outside: NDArray[np.bool_]
) -> None:
    plain, padded = series(), series()
    padded[:, outside] = value
    before, after = detector.detect_series(plain), detector.detect_series(padded)
    assert not after.not_analysed
    for one_, other in zip(before.slices, after.slices, strict=True):
        assert other.score == pytest.approx(one_.score, abs=0.01)
        assert other.flagged == one_.flagged
    single = detector.detect(padded[2])
    assert single.score == pytest.approx(detector.detect(plain[2]).score, abs=0.01)
    assert np.abs(single.slice.pixels[outside] - single.normalisation.black).max() < 10


@pytest.mark.parametrize("value", [-1000.0, -2000.0, -9999.0])
def test_padding_instead_of_all_air_changes_no_score(detector: Detector, value: float) -> None:
    plain = np.stack([brain() + 1e-3 * n * brain() for n in range(4)])
    padded = np.where(plain == 0, np.float32(value), plain)
    for one_, other in zip(
        detector.detect_series(plain).slices, detector.detect_series(padded).slices, strict=True
    ):
        assert other.score == pytest.approx(one_.score, abs=1e-6)


def test_padding_in_some_slices_alone_is_the_same_air_in_all(detector: Detector) -> None:
    plain, padded = series(), series()
    padded[1:3, circle((256, 256))] = -2000
    before, after = detector.detect_series(plain), detector.detect_series(padded)
    for one_, other in zip(before.slices, after.slices, strict=True):
        assert other.score == pytest.approx(one_.score, abs=0.01)


def test_padding_that_was_resampled_changes_little(detector: Detector) -> None:
    plain = series()
    padded = plain.copy()
    padded[:, circle((256, 256))] = -2000
    resampled = np.stack([cv2.resize(p, (300, 300)) for p in padded])
    usual = np.stack([cv2.resize(p, (300, 300)) for p in plain])
    before, after = detector.detect_series(usual), detector.detect_series(resampled)
    for one_, other in zip(before.slices, after.slices, strict=True):
        assert other.score == pytest.approx(one_.score, abs=0.01)


@pytest.mark.parametrize("kind", ["zeros", "z-scores", "shifted", "noise"])
def test_usual_backgrounds_are_left_alone(kind: str) -> None:
    drawn = brain()
    inside = drawn > 0
    if kind == "z-scores":
        z = (drawn - drawn[inside].mean()) / drawn[inside].std()
        drawn = np.where(inside, z, z[inside].min()).astype(np.float32)
    elif kind == "shifted":
        drawn = draw_head() - 100
    elif kind == "noise":
        drawn = draw_head()
    frame = estimate_normalisation([Slice(drawn)], Preprocessing())
    assert frame.background is None


def test_what_is_masked_counts_as_air(detector: Detector) -> None:
    plain, outside = series(), circle((256, 256))
    beneath = np.where(outside, np.float32(-9999), plain)
    masked = np.ma.masked_where(np.broadcast_to(outside, plain.shape), beneath)
    before, after = detector.detect_series(plain), detector.detect_series(masked)
    assert not after.not_analysed
    for one_, other in zip(before.slices, after.slices, strict=True):
        assert other.score == pytest.approx(one_.score, abs=0.01)
    given_as = (masked[2], np.ma.masked_equal(beneath[2], -9999), Slice(masked[2]))
    for image in given_as:
        result = detector.detect(image)
        assert result.score == pytest.approx(detector.detect(plain[2]).score, abs=0.01)
        assert result.slice.pixels.min() >= 0
        assert type(result.slice.pixels) is np.ndarray


def test_a_masked_brain_is_one_in_zeros(detector: Detector) -> None:
    plain = brain()
    usual = detector.detect(plain).score
    for air in (-9999.0, np.nan, 1e30, np.inf):
        beneath = np.where(plain == 0, np.float32(air), plain)
        assert detector.detect(np.ma.masked_where(plain == 0, beneath)).score == pytest.approx(
            usual, abs=1e-6
        )
    with_nan = np.where(plain == 0, np.float32(np.nan), plain)
    assert detector.detect(with_nan).score == pytest.approx(usual, abs=1e-6)
    colour = np.ma.masked_where(
        np.repeat(plain[..., None] == 0, 3, axis=2), np.repeat(plain[..., None], 3, axis=2)
    )
    assert detector.detect(colour).score == pytest.approx(usual, abs=1e-5)


@needs_real_images
@pytest.mark.parametrize("part", [0.0, 0.02, 0.05])
def test_what_is_dark_may_be_nan_where_nan_surrounds_a_head(part: float) -> None:
    folder = sorted((SHARED / "dicom" / "flair_axial_lgg").iterdir())[1]
    files = sorted(folder.iterdir())
    volume = np.stack([pydicom.dcmread(f).pixel_array.astype(np.float32) for f in files])
    detector = Detector()
    usual = [result.score for result in detector.detect_series(volume).slices]
    volume[volume <= part * np.percentile(volume, 99)] = np.nan
    found = detector.detect_series(volume)
    assert found.not_analysed == ()
    assert [result.score for result in found.slices] == pytest.approx(usual, abs=0.02)
    middle = len(volume) // 2
    volume[middle, 120:126, 100:106] = np.nan  # in white matter
    (refused,) = detector.detect_series(volume).not_analysed
    assert (refused.frame, refused.code) == (middle, "not-finite")


def test_padding_that_nobody_declared_is_told_of(detector: Detector) -> None:
    plain = draw_head(lesion=0.9)
    y, x = np.mgrid[:256, :256]
    plain[np.hypot(x - 127.5, y - 127.5) > 127] = -2000
    (note,) = detector.detect(plain).notes
    assert note.code == "undeclared-padding"
    assert "surround the picture" in note.reason


def z_scores(kind: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Give z-scores of heads or brains, and what they are those of."""
    drawn = series() if kind == "head" else np.stack([brain()] * 6)
    inside = drawn > 60
    inside[:] = [cv2.morphologyEx(m.view(np.uint8), cv2.MORPH_CLOSE, np.ones((21, 21)))
                 for m in inside]  # fmt: skip
    return (drawn - drawn[inside].mean()) / drawn[inside].std(), inside


def found_in(pixels: NDArray[np.float32]) -> Background | None:
    return background.find([Slice(plane) for plane in pixels.astype(np.float32)])


@pytest.mark.parametrize("kind", ["head", "brain"])
@pytest.mark.parametrize("outside", [-60, -20, -12, 0, 0.3, -1])
def test_a_number_written_around_z_scores_is_air(
    kind: str, outside: float, detector: Detector
) -> None:
    values, inside = z_scores(kind)
    dark = np.percentile(values[inside], 1)
    written = np.where(inside, values, outside)
    found = found_in(written)
    assert found is not None
    assert found.black == pytest.approx(dark, abs=0.3)
    (note, *_) = detector.detect_series(written).slices[0].notes
    assert note.code == "undeclared-padding"


@pytest.mark.parametrize("outside", [-4, -5, -6])
def test_a_number_that_may_be_no_air_is_told_of(outside: float, detector: Detector) -> None:
    values, inside = z_scores("head")
    written = np.where(inside, values, outside)
    assert found_in(written) is None
    notes = detector.detect_series(written).slices[0].notes
    assert [note.code for note in notes] == ["uncertain-black"]
    assert f"a constant {outside}" in notes[0].reason


@pytest.mark.parametrize("over_all", [False, True])
def test_zeros_around_a_brain_stay_black_in_z_scores(detector: Detector, *, over_all: bool) -> None:
    drawn = np.stack([brain()] * 6)
    known = drawn if over_all else drawn[drawn > 0]
    scored = (drawn - known.mean()) / known.std()
    assert found_in(scored) is None
    one, other = detector.detect_series(drawn), detector.detect_series(scored)
    pairs = zip(one.slices, other.slices, strict=True)
    assert all(a.score == pytest.approx(b.score, rel=1e-3) for a, b in pairs)


def test_zeros_in_filtered_pictures_stay_black() -> None:
    drawn = np.stack([cv2.resize(plane, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_LANCZOS4)
                      for plane in np.where(series() > 100, series(), 0)])  # fmt: skip
    assert drawn.min() < 0
    assert found_in(drawn) is None


def test_masks_that_mask_nothing_or_everything(detector: Detector) -> None:
    plain = draw_head(lesion=0.9)
    assert detector.detect(np.ma.array(plain)).score == detector.detect(plain).score
    with pytest.raises(InputRefusedError) as error:
        detector.detect(np.ma.masked_all((256, 256)))
    assert error.value.code == "not-finite"


# Negatives and frames


def eight_bit(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(pixels / 900 * 220).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: 255 - p,
        lambda p: -p.astype(np.float32),
        lambda p: 4095 - p.astype(np.int16),
        lambda p: np.pad(255 - p, ((0, 0), (24, 24), (24, 24))),
        lambda p: np.pad(p, ((0, 0), (6, 6), (6, 6)), constant_values=150),
        lambda p: np.pad(p, ((0, 0), (40, 40), (40, 40)), constant_values=110),
        lambda p: np.pad(
            np.pad(p, ((0, 0), (2, 2), (2, 2)), constant_values=200), ((0, 0), (20, 20), (20, 20))
        ),
    ],
    ids=["negative", "minus", "12 bit", "with margin", "frame", "wide frame", "frame in margin"],
)
def test_a_negative_or_a_light_frame_is_refused_by_name(detector: Detector, change: Any) -> None:
    pixels = change(eight_bit(series()))
    result = detector.detect_series(pixels)
    assert not result.slices
    assert codes(result) == {"light-border"}
    with pytest.raises(InputRefusedError) as error:
        detector.detect(pixels[0])
    assert error.value.code == "light-border"


def beside(where: str, size: int, value: Any, *, text: bool = False) -> Any:
    """Lay a panel along one side of every slice."""
    widths = {
        "left": ((0, 0), (size, 0)), "right": ((0, 0), (0, size)),
        "top": ((size, 0), (0, 0)), "bottom": ((0, size), (0, 0)),
    }[where]  # fmt: skip

    def change(slices: NDArray[np.uint8]) -> NDArray[np.float32]:
        drawn = []
        for plane in slices:
            wide = np.pad(plane, widths, constant_values=1).astype(np.float32)
            around = np.pad(np.zeros(plane.shape, bool), widths, constant_values=True)
            panel = np.zeros(wide.shape, np.float32) + (
                value(wide.shape) if callable(value) else value
            )
            if text:
                panel = panel.astype(np.uint8)
                for row in range(20, len(panel), 25):
                    cv2.putText(panel, "Patient 3", (5, row), 0, 0.6, (20,), 1)
            drawn.append(np.where(around, panel, wide))
        return np.stack(drawn)

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(beside(where, 100, 128) for where in ("left", "right", "top", "bottom")),
        beside("bottom", 80, 110),
        beside("left", 100, 90),
        beside("left", 40, 140),
        beside("left", 150, 200),
        beside("left", 120, 200, text=True),
        beside("right", 100, lambda shape: np.linspace(90, 180, shape[0])[:, None]),
        beside("left", 100, lambda shape: np.random.default_rng(0).normal(128, 1, shape)),
    ],
)  # fmt: skip
def test_a_panel_along_one_side_is_refused_by_name(detector: Detector, change: Any) -> None:
    result = detector.detect_series(change(eight_bit(series())))
    assert not result.slices
    assert codes(result) == {"light-border"}
    assert "clipped" not in result.not_analysed[0].reason.split(";")[0]


def test_heads_that_touch_one_side_are_analysed(detector: Detector) -> None:
    pixels = eight_bit(series())
    ys, xs = np.nonzero(pixels.max(axis=0) > 40)
    for crop in (
        np.s_[:, ys.min() + 12 :], np.s_[:, : ys.max() - 12], np.s_[:, :, xs.min() + 12 :],
        np.s_[:, :, : xs.max() - 12], np.s_[:, : ys.max() - 30], np.s_[:, :, xs.min() + 30 :],
    ):  # fmt: skip
        result = detector.detect_series(pixels[crop])
        assert not codes(result) & {"light-border", "clipped"}


def test_monochrome1_that_is_wrong_is_refused(detector: Detector) -> None:
    dataset = syntaxes.with_pixels(wall.EXPLICIT, head(), bits=16)
    assert detector.detect(dataset).flagged
    dataset.PhotometricInterpretation = "MONOCHROME1"
    with pytest.raises(InputRefusedError) as error:
        detector.detect(dataset)
    assert error.value.code == "light-border"


def test_what_the_pixels_say_is_overruled_like_what_a_header_says(model: Path) -> None:
    result = Detector(model, force=True).detect(255 - eight_bit(series())[0])
    assert "light-border" in {concern.code for concern in result.concerns}


def test_a_dark_border_a_bar_and_a_cut_out_are_analysed(detector: Detector) -> None:
    pixels = eight_bit(series())
    assert len(detector.detect_series(pixels).slices) == 6
    assert len(detector.detect_series(pixels[:, 30:-30, 50:-50]).slices) == 6
    noise = np.random.default_rng(0).rayleigh(5, (6, 256, 256))
    pixels[0] = noise[0].astype(np.uint8)  # above the head
    assert codes(detector.detect_series(pixels)) <= {"blank-slice"}


# Clipping


def windowed(pixels: NDArray[np.float32], top: float, kind: str) -> NDArray[Any]:
    shown = np.clip(pixels / top, 0, 1)
    scale, dtype = {"8 bit": (255, np.uint8), "12 bit": (4095, np.int16), "float": (1, np.float32)}[
        kind
    ]
    return np.asarray((np.rint(shown * scale) if scale > 1 else shown).astype(dtype))


def textured() -> NDArray[np.float32]:
    """Heads whose brain has grey and white matter, as 400 by its median."""
    noise = np.random.default_rng(0).normal(0, 60, (6, 64, 64)).astype(np.float32)
    grain = np.stack([cv2.resize(n, (256, 256)) for n in noise])
    return np.where(series() > 200, series() + grain, series()).clip(0).astype(np.float32)


@pytest.mark.parametrize("kind", ["8 bit", "12 bit", "float"])
@pytest.mark.parametrize("top", [300, 400, 450])
def test_a_window_that_cuts_the_brain_off_is_refused(
    detector: Detector, kind: str, top: float
) -> None:
    pixels = windowed(textured(), top, kind)
    assert codes(detector.detect_series(pixels)) == {"clipped"}


@pytest.mark.parametrize("kind", ["8 bit", "12 bit", "float"])
def test_a_window_that_cuts_a_little_off_is_told(detector: Detector, kind: str) -> None:
    result = detector.detect_series(windowed(textured(), 720, kind))
    assert len(result.slices) == 6
    assert {note.code for item in result.slices for note in item.notes} == {"clipped"}
    result = detector.detect_series(windowed(textured(), 1500, kind))
    assert not any(item.notes for item in result.slices)


def test_a_hot_pixel_or_text_does_not_hide_clipping(detector: Detector) -> None:
    pixels = windowed(textured(), 420, "12 bit")
    pixels[:, 128, 128] = 30000
    assert codes(detector.detect_series(pixels)) == {"clipped"}


@pytest.mark.parametrize("lines", [1, 2])
@pytest.mark.parametrize("height", [1.2, 1.4])
@pytest.mark.parametrize("level", [240, 200])
def test_text_above_the_wall_does_not_hide_clipping(
    detector: Detector, lines: int, height: float, level: int
) -> None:
    drawn = series()
    inside = float(estimate_normalisation([Slice(p) for p in drawn], Preprocessing()).brain)
    cut = np.rint(np.minimum(drawn / inside, height) / height * level).astype(np.uint8)
    for plane in cut:
        for row in range(lines):
            cv2.putText(plane, "L  FLAIR 5.0mm TR 9000", (5, 240 - 15 * row), 0, 0.5, (255,), 1)
    assert codes(detector.detect_series(cut)) == {"clipped"}


def test_a_mask_is_called_one(detector: Detector) -> None:
    for mask in (series() > 60, np.where(series() > 60, 255, 0), (series() > 300) * 7.0):
        result = detector.detect_series(mask.astype(np.float32))
        assert codes(result) == {"clipped"}
        assert "a mask or a drawing" in result.not_analysed[0].reason


# Bits


@pytest.mark.parametrize("uid", [wall.EXPLICIT, wall.BIG_ENDIAN, RLE])
def test_values_that_need_more_bits_than_are_stored_are_refused(uid: str) -> None:
    wide = head().astype(np.uint16) * 6  # above 4095
    above = (head() * 3).astype(np.int16)  # above 2047
    both = above - np.int16(300)
    negative = (head() - 300).astype(np.int16).view(np.uint16)  # in what is said to be unsigned
    for pixels in (wide, above, both, negative):
        dataset = syntaxes.with_pixels(uid, pixels, bits=16)
        dataset.BitsStored, dataset.HighBit = 12, 11
        assert code_of(dataset) == "unused-bits"


def test_one_value_that_does_not_fit_is_enough() -> None:
    pixels = head().astype(np.uint16)
    pixels[128, 128] = 5000
    assert code_of(syntaxes.with_pixels(wall.EXPLICIT, pixels, bits=12)) == "unused-bits"


def test_a_codestream_with_more_bits_than_are_stored_is_refused_where_they_are_used() -> None:
    wide = head().astype(np.uint16) * 6
    dataset = syntaxes.with_pixels(JPEG_LS, wide, bits=16)
    dataset.BitsStored, dataset.HighBit = 12, 11
    assert code_of(dataset) == "unused-bits"
    narrow = head().astype(np.uint16)
    dataset = syntaxes.with_pixels(JPEG_LS, narrow, bits=16)
    dataset.BitsStored, dataset.HighBit = 12, 11
    assert np.array_equal(one(dataset).pixels, narrow)


@pytest.mark.parametrize("extended", [True, False])
def test_a_sign_may_be_extended_or_not(*, extended: bool) -> None:
    values = (head() - 300).clip(-2048, 2047).astype(np.int16)
    words = values if extended else (values & 0x0FFF).astype(np.int16)
    assert np.array_equal(one(syntaxes.with_pixels(wall.EXPLICIT, words, bits=12)).pixels, values)


def test_an_overlay_that_is_declared_lies_in_bits_that_are_not_stored() -> None:
    values = head().astype(np.uint16)
    dataset = syntaxes.with_pixels(wall.EXPLICIT, values | 0x8000, bits=12)
    assert code_of(dataset) == "unused-bits"
    dataset.add_new((0x6000, 0x0100), "US", 16)
    dataset.add_new((0x6000, 0x0102), "US", 14)
    assert code_of(dataset) == "unused-bits"  # another bit
    dataset[0x6000, 0x0102].value = 15
    assert np.array_equal(one(dataset).pixels, values)
    # An overlay with data of its own is in no bit of the pixels.
    dataset.add_new((0x6000, 0x3000), "OW", b"\0" * 8192)
    assert code_of(dataset) == "unused-bits"


def test_values_in_the_upper_bits_leave_nothing_below_them() -> None:
    values = head().astype(np.uint16)
    dataset = syntaxes.with_pixels(wall.EXPLICIT, values << 4, bits=16)
    dataset.BitsStored, dataset.HighBit = 12, 15
    assert np.array_equal(one(dataset).pixels, values)
    dataset.PixelData = (values << 4 | 5).astype("<u2").tobytes()
    assert code_of(dataset) == "unused-bits"


# Rescale


@pytest.mark.parametrize("attribute", [(0x0028, 0x1053), (0x0028, 0x1052)])
@pytest.mark.parametrize("value", [b"1,5 ", b"abc ", b"nan ", b"inf ", b"1\\2 ", b"1e999 "])
def test_a_rescale_that_is_no_number_is_refused(
    attribute: tuple[int, int], value: bytes, model: Path, tmp_path: Path
) -> None:
    dataset = syntaxes.with_pixels(wall.EXPLICIT, head(), bits=16)
    dataset.RescaleSlope, dataset.RescaleIntercept = "2   ", "3   "
    whole = syntaxes.written(dataset)
    tag = np.array(attribute, "<u2").tobytes() + b"DS"
    start = whole.index(tag)
    length = int.from_bytes(whole[start + 6 : start + 8], "little")
    padded = value + b" " * (len(value) % 2)
    changed = whole[: start + 6] + len(padded).to_bytes(2, "little") + padded
    (tmp_path / "odd.dcm").write_bytes(changed + whole[start + 8 + length :])
    (item,) = Detector(model, force=True).stream([tmp_path / "odd.dcm"])
    assert isinstance(item, Refusal)
    assert item.code == "bad-rescale"


@pytest.mark.parametrize("uid", [wall.IMPLICIT, wall.EXPLICIT, wall.BIG_ENDIAN])
@pytest.mark.parametrize("content", ["", "  ", None])
@pytest.mark.parametrize("empty", ["RescaleSlope", "RescaleIntercept", "both", "table"])
def test_a_rescale_without_a_value_is_none(uid: str, content: str | None, empty: str) -> None:
    dataset = syntaxes.with_pixels(uid, head(), bits=16)
    dataset.RescaleSlope = dataset.RescaleIntercept = content
    if empty == "RescaleSlope":
        dataset.RescaleIntercept = "0"
    elif empty == "RescaleIntercept":
        dataset.RescaleSlope = "1"
    elif empty == "table":
        dataset.ModalityLUTSequence = Sequence([])
    again = pydicom.dcmread(BytesIO(syntaxes.written(dataset)))
    assert np.array_equal(one(again).pixels, head())


@pytest.mark.parametrize("slope", ["0", "0.0", "1e-42", "1e-300", "1e300", "-0"])
def test_a_slope_that_leaves_nothing_is_refused_and_the_run_goes_on(
    slope: str, tmp_path: Path
) -> None:
    for number, written in enumerate(("1", slope, "1")):
        dataset = syntaxes.with_pixels(wall.EXPLICIT, head(number), bits=16)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        dataset.ImagePositionPatient = [-120, -130.5, 40 + 5 * number]
        dataset.RescaleSlope, dataset.RescaleIntercept = written, "0"
        (tmp_path / f"{number}.dcm").write_bytes(syntaxes.written(dataset))
    forced = Detector(tiny_model(tmp_path / "model.onnx"), force=True)
    items = list(forced.stream([tmp_path / f"{number}.dcm" for number in range(3)]))
    assert [item.code for item in items if isinstance(item, Refusal)] == ["bad-rescale"]
    assert len(items) == 3


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_intercept_that_drowns_the_pixels_is_refused() -> None:
    dataset = syntaxes.with_pixels(wall.EXPLICIT, head(), bits=16)
    for intercept in ("1e12", "-1e12", "1e38", "-1e38", "1e300", "-1e300"):
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", intercept
        assert code_of(dataset) == "bad-rescale"
    dataset.RescaleIntercept = "-1024"
    assert np.array_equal(one(dataset).pixels, head() - 1024)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("slope", "intercept"), [("1e36", "0"), ("-1e36", "0"), ("1e35", "3e38"), ("3e38", "-3e38")]
)
@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_a_rescale_that_overflows_is_refused_without_a_warning(
    detector: Detector, slope: str, intercept: str, kind: str
) -> None:
    dataset = syntaxes.with_pixels(wall.EXPLICIT, head(), bits=16)
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    dataset.PhotometricInterpretation = kind
    with pytest.raises(InputRefusedError) as refused:
        detector.detect(dataset)
    assert refused.value.code in {"not-finite", "bad-scale"}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImagePositionPatient", ["1e308", "1e308", "-1e308"]),
        ("ImageOrientationPatient", ["1e200", "0", "0", "0", "1", "0"]),
    ],
)
def test_a_place_that_cannot_be_calculated_with_is_none(keyword: str, value: list[str]) -> None:
    dataset = syntaxes.with_pixels(wall.EXPLICIT, head(), bits=16)
    dataset.ImagePositionPatient = ["-120", "-130.5", "40"]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.PixelSpacing = ["1", "1"]
    assert one(dataset).plane is not None
    setattr(dataset, keyword, value)
    assert one(dataset).plane is None


def test_a_rescale_of_a_frame_that_is_no_number_refuses_that_frame() -> None:
    frames = np.stack([head(n) for n in range(3)])
    dataset = syntaxes.dataset_of(frames, bits=16)
    dataset.PixelData = frames.tobytes()
    dataset["PixelData"].VR = "OW"
    groups = []
    for number in range(3):
        group, values = Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept = ("0" if number == 1 else "2"), "1"
        group.PixelValueTransformationSequence = Sequence([values])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    items = read(dataset)
    assert [getattr(item, "code", "") for item in items] == ["", "bad-rescale", ""]


def test_rescale_on_some_images_of_a_series_alone_is_refused(
    detector: Detector, tmp_path: Path
) -> None:
    def write(number: int, slope: str | None, intercept: str = "0") -> None:
        dataset = syntaxes.with_pixels(wall.EXPLICIT, head(number), bits=16)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        dataset.ImagePositionPatient = [-120, -130.5, 5 * number]
        if slope is not None:
            dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        (tmp_path / f"{number:02d}.dcm").write_bytes(syntaxes.written(dataset))

    def refused() -> set[str]:
        return {i.code for i in detector.stream([tmp_path]) if isinstance(i, Refusal)}

    for number in range(12):
        write(number, "2.5" if number % 2 else None)
    assert refused() == {"mixed-rescale"}
    for number in range(12):  # nothing is changed by it
        write(number, "1" if number % 2 else None)
    assert refused() == set()
    for number in range(12):  # some vendors scale every image its own way
        write(number, f"{1 + number / 100}")
    assert refused() == set()
    write(5, "0")  # one that is none refuses its own file
    items = list(detector.stream([tmp_path]))
    assert [item.code for item in items if isinstance(item, Refusal)] == ["bad-rescale"]
    write(5, None)
    assert refused() == {"mixed-rescale"}


# Scale


@given(exponent=st.floats(-36, 30), power=st.integers(-118, 100))
def test_scores_do_not_depend_on_scale(exponent: float, power: int, detector: Detector) -> None:
    pixels = draw_head(lesion=0.9).astype(np.float64)
    usual = detector.detect(pixels).score
    assert detector.detect(pixels * 10.0**exponent).score == pytest.approx(usual, rel=2e-6)
    assert detector.detect((pixels * 2.0**power).astype(np.float32)).score == usual


@pytest.mark.parametrize("scale", [1e-42, 1e-44, 1e-60, 1e36, 3e38, 1e60, 1e300])
def test_a_scale_beyond_single_precision_is_refused(detector: Detector, scale: float) -> None:
    with pytest.raises(InputRefusedError) as error:
        detector.detect(draw_head().astype(np.float64) * scale)
    assert error.value.code in {"bad-scale", "blank-slice", "not-finite"}


# NaN and infinities


@pytest.mark.parametrize("change", [
    lambda p: p * 1e-50, lambda p: p * 1e-300, lambda p: 1e12 + p, lambda p: p * 1e-46,
    lambda p: np.where(p > 100, p, np.nan) * 1e-60,
])  # fmt: skip
@pytest.mark.parametrize("kind", ["array", "tiff", "nifti"])
def test_what_vanishes_in_single_precision_is_no_blank_slice(
    detector: Detector, tmp_path: Path, kind: str, change: Any
) -> None:
    values = change(series().astype(np.float64))
    if kind == "array":
        found = codes(detector.detect_series(values))
    else:
        if kind == "tiff":
            assert cv2.imwritemulti(str(tmp_path / "a.tif"), list(values))
        else:
            nibabel = pytest.importorskip("nibabel")
            affine = np.diag([-1, -1, 10, 1])
            nibabel.save(nibabel.Nifti1Image(values.T, affine), tmp_path / "a.nii")
        found = {item.code for item in detector.stream([tmp_path]) if isinstance(item, Refusal)}
    assert found == {"bad-scale"}


def test_one_value_in_double_precision_is_a_blank_slice(detector: Detector) -> None:
    assert codes(detector.detect_series(np.full((3, 64, 64), 1e-60))) == {"blank-slice"}
    assert codes(detector.detect_series(np.full((3, 64, 64), 0.1))) == {"blank-slice"}


def test_nan_around_the_head_is_air(detector: Detector) -> None:
    plain, outside = series(), circle((256, 256))
    for air in (np.nan, -np.inf):
        padded = plain.copy()
        padded[:, outside] = air
        padded[:, 12, 128] = air  # and by itself
        result = detector.detect_series(padded)
        assert not result.not_analysed
        for one_, other in zip(detector.detect_series(plain).slices, result.slices, strict=True):
            assert other.score == pytest.approx(one_.score, abs=0.01)
            assert np.isfinite(other.slice.pixels).all()


@pytest.mark.parametrize(
    "where",
    [np.s_[128, 128], np.s_[100:110, 120:130], np.s_[150, :], np.s_[:, 128:130], np.s_[60, 100]],
    ids=["voxel", "block", "row", "columns", "edge of the brain"],
)
def test_nan_in_the_head_refuses_that_slice_alone(detector: Detector, where: Any) -> None:
    pixels = series()
    pixels[1][where] = np.nan
    result = detector.detect_series(pixels)
    assert [(r.frame, r.code) for r in result.not_analysed] == [(1, "not-finite")]
    assert len(result.slices) == 5
    pixels[1][circle((256, 256))] = np.nan
    assert len(detector.detect_series(pixels).slices) == 5


def test_positive_infinity_is_refused_wherever_it_is(detector: Detector) -> None:
    pixels = series()
    pixels[3, 2, 2] = np.inf
    result = detector.detect_series(pixels)
    assert [(r.frame, r.code) for r in result.not_analysed] == [(3, "not-finite")]


def test_slices_of_callers_are_held_to_the_same(detector: Detector) -> None:
    pixels = draw_head()
    pixels[circle((256, 256))] = np.nan
    assert np.isfinite(detector.detect(Slice(pixels)).slice.pixels).all()
    pixels[128, 128] = np.nan
    for given_as in (Slice(pixels), pixels):
        with pytest.raises(InputRefusedError) as error:
            detector.detect(given_as)
        assert error.value.code == "not-finite"
    result = detector.detect_series([Slice(pixels), Slice(draw_head())])
    assert codes(result) == {"not-finite"}
    assert len(result.slices) == 1


def test_nan_in_a_float_tiff(detector: Detector, tmp_path: Path) -> None:
    pixels = draw_head(lesion=0.9)
    usual = detector.detect(pixels).score
    pixels[circle((256, 256))] = np.nan
    cv2.imwrite(str(tmp_path / "air.tiff"), pixels)
    assert detector.detect(tmp_path / "air.tiff").score == pytest.approx(usual, abs=0.01)
    pixels[128, 128] = np.nan
    cv2.imwrite(str(tmp_path / "head.tiff"), pixels)
    with pytest.raises(InputRefusedError) as error:
        detector.detect(tmp_path / "head.tiff")
    assert error.value.code == "not-finite"


@pytest.mark.parametrize("turned", [False, True])
def test_nan_in_a_volume(detector: Detector, tmp_path: Path, *, turned: bool) -> None:
    nibabel = pytest.importorskip("nibabel")
    side = 64
    small = [cv2.resize(draw_head(seed=n), (side, side)) for n in range(side)]
    voxels = np.stack(small).transpose(2, 1, 0)  # x, y, z
    voxels[0] = voxels[-1] = np.nan
    voxels[side // 2, side // 2, 20] = np.nan
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    if turned:  # stored as sagittal slices
        voxels = voxels.transpose(1, 2, 0)
        affine = affine[:, [1, 2, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "volume.nii.gz")
    items = list(detector.stream([tmp_path / "volume.nii.gz"]))
    refused = [(item.frame, item.code) for item in items if isinstance(item, Refusal)]
    assert refused == [(20, "not-finite")]
    assert len(items) == side


def test_every_slice_refused_leaves_a_reason_for_each(detector: Detector) -> None:
    pixels = series()
    pixels[:, 128, 128] = np.nan
    result = detector.detect_series(pixels)
    assert not result.slices
    assert len(result.not_analysed) == 6


# Real images


@needs_real_images
def test_a_real_glioma_is_found_through_padding_and_lost_through_none() -> None:
    folder = SHARED / "dicom" / "flair_axial_lgg" / "TCGA_HT_7856_19950831"
    (files,) = sources.scan([folder]).series
    detector = Detector()
    usual = detector.detect_series(files)
    slices = [i for file in files.files for i in sources.read(file) if isinstance(i, Slice)]
    pixels = np.stack([item.pixels for item in slices])
    flagged = sum(item.flagged for item in usual.slices)
    for value in (-2000.0, 4095.0, np.nan):
        padded = pixels.copy()
        padded[:, circle(pixels.shape[1:])] = value
        result = detector.detect_series(padded)
        assert sum(item.flagged for item in result.slices) == flagged
        assert result.pons is not None
        assert result.pons.coverage == "pons covered"
    narrow = np.rint(np.clip(pixels / 500, 0, 1) * 255).astype(np.uint8)
    assert codes(detector.detect_series(narrow)) == {"clipped"}
    assert codes(detector.detect_series(255 - np.rint(pixels / 8).astype(np.uint8))) == {
        "light-border"
    }


@needs_real_images
def test_no_real_image_is_refused_by_its_content() -> None:
    from gliomart.findings import content
    from gliomart.image.normalisation import estimate_normalisations
    from gliomart.image.sampling import evenly_spaced

    spec = Preprocessing()
    roots = [SHARED / "ms_ljubljana", SHARED / "dicom" / "head_ct_ge"]
    roots += sorted((SHARED / "lgg_flair" / "train").iterdir())[:8]
    for series_ in sources.scan(roots).series:
        items = sources.read_series(series_.files, series_.source)
        slices = evenly_spaced([item for item in items if isinstance(item, Slice)], 32)
        judged = content.contents_of(slices, estimate_normalisations(slices, spec), card())
        assert all(not any(found) for found in judged.values()), series_.source


def test_a_model_is_shown_nothing_that_is_not_finite() -> None:
    spec = Preprocessing()
    image = Slice(np.ma.masked_where(circle((256, 256)), draw_head()))
    from gliomart.image.slices import settled

    whole = settled(image)
    assert np.isfinite(prepare(whole, estimate_normalisation([whole], spec), spec).image).all()


def test_frames_that_are_encapsulated_have_padding_too() -> None:
    pixels = head()
    pixels[circle((256, 256))] = -2000
    dataset = syntaxes.with_pixels(RLE, np.stack([pixels, head()]), bits=16)
    first, second = read(padding_in(dataset, "US", 63536))
    assert isinstance(first, Slice)
    assert isinstance(second, Slice)
    assert first.air is not None
    assert second.air is None


def test_signed_values_in_the_upper_bits_are_read() -> None:
    values = (head() - 300).clip(-2048, 2047).astype(np.int16)
    dataset = syntaxes.with_pixels(wall.EXPLICIT, values << 4, bits=16)
    dataset.BitsStored, dataset.HighBit = 12, 15
    assert np.array_equal(one(dataset).pixels, values)
