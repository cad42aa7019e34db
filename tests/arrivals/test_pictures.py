"""PNG, JPEG and TIFF as they arrive: turned, transparent, inverted, coloured, stacked."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomart import Detector, sources
from gliomart.errors import InputRefusedError, UsageError
from gliomart.image.slices import Refusal, Slice
from gliomart.sources import tiff as tiff_file
from pictures import chunk, exif, head, jpeg, png
from samples import SHARED, draw_head, needs_real_images
from tiffs import page, tiff

# How each orientation is looked at: TIFF 6.0, Orientation, in the words of its table.
TURNS: dict[int, Any] = {
    1: lambda a: a,  # row 0 is the top, column 0 the left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.T,  # left, top
    6: lambda a: np.rot90(a, -1),  # right, top
    7: lambda a: a[::-1, ::-1].T,  # right, bottom
    8: np.rot90,  # left, bottom
}


def read(path: Path, **options: Any) -> list[Slice | Refusal]:
    """Scan one file or folder and read all that it holds."""
    inventory = sources.scan([path], **options)
    items: list[Slice | Refusal] = list(inventory.refused)
    for series in inventory.series:
        for file in series.files:
            items += sources.read(file)
    for item in items:
        if isinstance(item, Refusal):
            assert "\n" not in item.reason
            assert str(path.parent) not in item.reason
    return items


def one(path: Path, content: bytes | None = None, **options: Any) -> np.ndarray:
    """Read the one slice of a file, as it has to be."""
    if content is not None:
        path.write_bytes(content)
    (item,) = read(path, **options)
    assert isinstance(item, Slice), item
    return item.pixels


def refused(path: Path, content: bytes | None = None, **options: Any) -> str:
    """Read a file that has to be refused as one; give its code."""
    if content is not None:
        path.write_bytes(content)
    codes = {item.code if isinstance(item, Refusal) else "read" for item in read(path, **options)}
    assert len(codes) == 1
    return codes.pop()


# Orientation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_the_orientation_of_exif_is_obeyed(tmp_path: Path, turn: int, order: str) -> None:
    stored, wanted = head(), TURNS[turn](head())
    block = exif(turn, order)
    for place in ("before", "after"):
        content = png(stored, 0, **{place: chunk(b"eXIf", block)})
        assert np.array_equal(one(tmp_path / "a.png", content), wanted)
    deep = png(head("u2"), 0, before=chunk(b"eXIf", block))
    assert np.array_equal(one(tmp_path / "deep.png", deep), TURNS[turn](head("u2")))
    photo = one(tmp_path / "a.jpg", jpeg(stored, b"Exif\0\0" + block))
    assert photo.shape == wanted.shape
    plain = one(tmp_path / "b.jpg", jpeg(stored))
    assert np.array_equal(photo, TURNS[turn](plain))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_the_orientation_of_a_tiff_is_obeyed_once_page_by_page(
    tmp_path: Path, turn: int, dtype: str
) -> None:
    stored = head(dtype)
    other = turn % 8 + 1
    pages = [page(stored, {274: ("short", [value])}) for value in (turn, other, 1)]
    for name, content in (("a", tiff(pages)), ("big", tiff(pages, big=True))):
        (tmp_path / f"{name}.tif").write_bytes(content)
        items = read(tmp_path / f"{name}.tif")
        for item, value in zip(items, (turn, other, 1), strict=True):
            assert isinstance(item, Slice), item
            assert np.array_equal(item.pixels, TURNS[value](stored).astype(np.float32))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_the_orientation_of_strips_and_tiles_is_obeyed(tmp_path: Path, dtype: str) -> None:
    stored = head(dtype)
    strip = stored[:16].nbytes
    strips = {278: ("long", [16]), 273: ("long", [0, strip, 2 * strip, 3 * strip])}
    strips[279] = ("long", [strip] * 4)
    padded = np.pad(stored, ((0, 0), (0, 16)))
    corners = [(y, x) for y in (0, 32) for x in (0, 32)]
    tiles = np.concatenate([padded[y : y + 32, x : x + 32] for y, x in corners])
    size = tiles[:32].nbytes
    tiled = {322: ("long", [32]), 323: ("long", [32]), 325: ("long", [size] * 4)}
    tiled |= {324: ("long", [0, size, 2 * size, 3 * size]), 273: None, 278: None, 279: None}
    for turn, wanted in TURNS.items():
        way = {274: ("short", [turn])}
        for pixels, layout in ((stored, strips), (tiles, tiled)):
            described = page(stored, {**layout, **way})[1]
            content = tiff([(pixels.tobytes(), described)])
            assert np.array_equal(one(tmp_path / "a.tif", content), wanted(stored))


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_an_orientation_that_is_none_counts_as_the_usual_one(tmp_path: Path, value: int) -> None:
    assert np.array_equal(one(tmp_path / "a.jpg", jpeg(head(), b"Exif\0\0" + exif(value))),
                          one(tmp_path / "b.jpg", jpeg(head())))  # fmt: skip
    content = tiff([page(head("u2"), {274: ("short", [value])})])
    assert np.array_equal(one(tmp_path / "a.tif", content), head("u2"))


def test_the_first_exif_counts_and_other_segments_do_not(tmp_path: Path) -> None:
    segments = (b"http://ns.adobe.com/xap/1.0/\0<x/>", b"Exif\0\0" + exif(6), b"Exif\0\0" + exif(3))
    photo = one(tmp_path / "a.jpg", jpeg(head(), *segments))
    assert np.array_equal(photo, np.rot90(one(tmp_path / "b.jpg", jpeg(head())), -1))
    long = b"Exif\0\0" + exif(8, ">", "long")
    assert one(tmp_path / "c.jpg", jpeg(head(), long)).shape == (48, 64)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_hostile_exif_never_raises(noise: bytes, cut: int) -> None:
    whole = exif(6, ">")
    for block in (noise, whole[:cut], whole[:8] + noise, whole[:4] + noise, b"II*\0" + noise):
        assert tiff_file.orientation(block) in range(1, 9)


def test_exif_that_is_cut_off_or_loops_does_not_take_the_picture_with_it(tmp_path: Path) -> None:
    far = b"II*\0\xff\xff\xff\x7f"
    many = b"II*\0\x08\0\0\0\xff\xff" + bytes(400)
    for block in (b"", b"II*\0", far, many, exif(6)[:-7]):
        assert one(tmp_path / "a.jpg", jpeg(head(), b"Exif\0\0" + block)).shape in {
            (64, 48),
            (48, 64),
        }
        assert one(tmp_path / "a.png", png(head(), 0, before=chunk(b"eXIf", block))).size == 64 * 48


# Opacity ---------------------------------------------------------------------------------------


def clipped_out(dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A head on white that is transparent, its opacity, and what it has to look like."""
    grey = head(dtype)
    most = np.iinfo(grey.dtype).max
    inside = draw_head((64, 48)) > 30
    opacity = np.where(inside, most, 0).astype(grey.dtype)
    return np.where(inside, grey, most).astype(grey.dtype), opacity, np.where(inside, grey, 0)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_what_is_transparent_is_air(tmp_path: Path, dtype: str) -> None:
    grey, opacity, wanted = clipped_out(dtype)
    colour = np.stack([grey, grey, grey, opacity], axis=-1)
    both = np.stack([grey, opacity], axis=-1)
    most = np.iinfo(grey.dtype).max
    contents = {
        "rgba.png": png(colour, 6),
        "la.png": png(both, 4),
        "rgba.tif": tiff([page(colour)]),
        "la.tif": tiff([page(both, {338: ("short", [2])})]),
        "untold.tif": tiff([page(colour, {338: None})]),
    }
    for name, content in contents.items():
        seen = one(tmp_path / name, content)
        assert np.abs(seen - wanted).max() <= most * 1e-6, name
    premultiplied = np.stack([wanted.astype(grey.dtype)] * 3 + [opacity], axis=-1)
    seen = one(tmp_path / "pre.tif", tiff([page(premultiplied, {338: ("short", [1])})]))
    assert np.abs(seen - wanted).max() <= most * 1e-6


def test_half_of_an_opacity_is_half_of_the_picture(tmp_path: Path) -> None:
    grey = head()
    for dtype, name in (("u1", "a.png"), ("u2", "b.png")):
        most = np.iinfo(dtype).max
        half = np.full(grey.shape, most // 2, dtype)
        both = np.stack([head(dtype), half], axis=-1)
        seen = one(tmp_path / name, png(both, 4))
        assert np.allclose(seen, head(dtype) * float(most // 2) / most, rtol=1e-5, atol=1e-3)


def test_a_value_that_stands_for_air_is_air(tmp_path: Path) -> None:
    grey, _, wanted = clipped_out("u1")
    grey[grey == 255] = 254
    outside = draw_head((64, 48)) <= 30
    grey[outside] = 255
    wanted = np.where(outside, 0, grey)
    key = chunk(b"tRNS", struct.pack(">H", 255))
    assert np.array_equal(one(tmp_path / "grey.png", png(grey, 0, before=key)), wanted)
    colour = np.stack([grey] * 3, axis=-1)
    keys = chunk(b"tRNS", struct.pack(">HHH", 255, 255, 255))
    assert np.abs(one(tmp_path / "rgb.png", png(colour, 2, before=keys)) - wanted).max() < 1e-3
    table = bytes(value for value in range(256) for _ in range(3))
    palette = chunk(b"PLTE", table) + chunk(b"tRNS", b"\xff" * 255 + b"\0")
    assert np.abs(one(tmp_path / "p.png", png(grey, 3, before=palette)) - wanted).max() < 1e-3
    deep = grey.astype(np.uint16) * 257
    key = chunk(b"tRNS", struct.pack(">H", 65535))
    assert np.array_equal(one(tmp_path / "deep.png", png(deep, 0, before=key)), wanted * 257.0)
    deep_colour = np.stack([deep] * 3, axis=-1)
    keys = chunk(b"tRNS", struct.pack(">HHH", 65535, 65535, 65535))
    seen = one(tmp_path / "deep_rgb.png", png(deep_colour, 2, before=keys))
    assert np.abs(seen - wanted * 257.0).max() < 1


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_opacity_that_hides_everything_leaves_nothing_to_see(tmp_path: Path, dtype: str) -> None:
    grey = head(dtype)
    nothing = np.zeros_like(grey)
    colour = np.stack([grey, grey, grey, nothing], axis=-1)
    assert refused(tmp_path / "a.png", png(colour, 6)) == "blank-slice"
    assert refused(tmp_path / "b.png", png(np.stack([grey, nothing], -1), 4)) == "blank-slice"
    for kind in (0, 1, 2):
        content = tiff([page(colour, {338: ("short", [kind])})])
        assert refused(tmp_path / "c.tif", content) == "blank-slice"


# White is zero ---------------------------------------------------------------------------------


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "f4", "f8"])
def test_a_tiff_in_which_zero_is_white_is_turned_round(
    tmp_path: Path, dtype: str, big: bool
) -> None:
    grey = head(dtype)
    stored = np.iinfo(grey.dtype).max - grey if grey.dtype.kind == "u" else -grey
    pages = [page(stored, {262: ("short", [0])}), page(grey)]
    (tmp_path / "a.tif").write_bytes(tiff(pages, big=big))
    for item in read(tmp_path / "a.tif"):
        assert isinstance(item, Slice), item
        assert np.allclose(item.pixels, grey.astype(np.float32))


def test_pictures_of_one_bit_are_black_and_white(tmp_path: Path) -> None:
    bits = head() > 100
    packed = np.packbits(bits, axis=1)
    for meaning, stored in ((1, packed), (0, ~packed)):
        described = page(head(), {
            258: ("short", [1]), 262: ("short", [meaning]), 279: ("long", [packed.nbytes]),
        })[1]  # fmt: skip
        content = tiff([(stored.tobytes(), described)])
        assert np.array_equal(one(tmp_path / "a.tif", content), bits * 255.0)


@pytest.mark.parametrize("meaning", [0, 1])
def test_values_of_twelve_bits_keep_their_order(tmp_path: Path, meaning: int) -> None:
    grey = head("u2", most=4095)
    stored = grey if meaning else 4095 - grey
    text = "".join(f"{value:012b}" for value in stored.ravel())
    packed = int(text, 2).to_bytes(len(text) // 8, "big")
    described = page(grey, {258: ("short", [12]), 262: ("short", [meaning]),
                            279: ("long", [len(packed)])})[1]  # fmt: skip
    seen = one(tmp_path / "a.tif", tiff([(packed, described)], order=">"))
    assert np.array_equal(seen - seen.min(), (grey - grey.min()) * 16.0)


# Colour ----------------------------------------------------------------------------------------


@needs_real_images
@pytest.mark.parametrize("quality", [50, 60, 70, 80, 90, 95])
def test_jpeg_leaves_a_grey_picture_grey(tmp_path: Path, quality: int) -> None:
    for path in sorted((SHARED / "lgg_flair" / "dev").rglob("*.png"))[:200:20]:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert grey is not None
        if len(np.unique(grey)) < 50:
            continue
        noise = np.random.default_rng(0).normal(0, 1.5, (*grey.shape, 3))
        for colour in (np.stack([grey] * 3, -1), np.clip(grey[..., np.newaxis] + noise, 0, 255)):
            one(tmp_path / "a.jpg", jpeg(colour.astype(np.uint8), quality=quality))


def three(dtype: str = "u1") -> np.ndarray:
    """Three pictures of one head that differ: red, green, blue."""
    grey = head(dtype)
    return np.stack([grey, np.roll(grey, 3, 0), grey // 2 + grey.max() // 5], axis=-1)


def test_planes_that_differ_are_refused_and_one_can_be_chosen(tmp_path: Path) -> None:
    for dtype in ("u1", "u2"):
        planes = three(dtype)
        opacity = np.full((*planes.shape[:2], 1), np.iinfo(dtype).max, planes.dtype)
        alpha = np.concatenate([planes, opacity], axis=2)
        contents = {
            "a.png": png(planes, 2),
            "alpha.png": png(alpha, 6),
            "a.tif": tiff([page(planes)]),
            "alpha.tif": tiff([page(alpha)]),
            "grey3.tif": tiff([page(planes, {262: ("short", [1]), 338: ("short", [0, 0])})]),
        }
        for name, content in contents.items():
            assert refused(tmp_path / name, content) == "colour-planes", name
            for number in (1, 2, 3):
                seen = one(tmp_path / name, plane=number)
                assert np.array_equal(seen, planes[..., number - 1]), name
            assert refused(tmp_path / name, plane=4) == "missing-plane"
    photo = tmp_path / "a.jpg"
    assert refused(photo, jpeg(three()[..., ::-1])) == "colour-planes"
    assert np.abs(one(photo, plane=2) - three()[..., 1]).mean() < 10


def test_two_samples_that_differ_are_refused_and_one_can_be_chosen(tmp_path: Path) -> None:
    for dtype in ("u1", "u2", "f4"):
        grey = head(dtype)
        pair = np.stack([grey, grey[::-1]], axis=-1)
        for order in "<>":
            stored = pair.astype(pair.dtype.newbyteorder(order))
            content = tiff([page(stored, {338: ("short", [0])})], order=order)
            assert refused(tmp_path / "a.tif", content) == "colour-planes"
            assert np.array_equal(one(tmp_path / "a.tif", plane=2), pair[..., 1])
        alike = tiff([page(np.stack([grey, grey], axis=-1), {338: None})])
        assert np.array_equal(one(tmp_path / "b.tif", alike), grey)


def test_a_grey_picture_has_one_plane(tmp_path: Path) -> None:
    for name, content in (("a.png", png(head(), 0)), ("a.tif", tiff([page(head("u2"))]))):
        assert one(tmp_path / name, content, plane=1).shape == (64, 48)
        assert refused(tmp_path / name, plane=2) == "missing-plane"
    clear = png(np.stack([head(), np.full_like(head(), 255)], -1), 4)
    assert one(tmp_path / "la.png", clear, plane=1).shape == (64, 48)
    assert refused(tmp_path / "la.png", plane=2) == "missing-plane"


def test_a_jpeg_for_printing_is_grey_where_its_colours_are(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    grey = cv2.GaussianBlur(head(), (0, 0), 2)
    for mode in ("CMYK", "YCbCr", "RGB", "L"):
        picture = image.fromarray(np.stack([grey] * 3, -1)).convert(mode)
        picture.save(tmp_path / f"{mode}.jpg", quality=95)
        assert np.abs(one(tmp_path / f"{mode}.jpg") - grey).max() <= 6
        picture.convert("RGB").save(tmp_path / f"{mode}.tif", compression="jpeg", quality=95)
        assert np.abs(one(tmp_path / f"{mode}.tif") - grey).max() <= 6


def test_compressed_tiffs_are_read_at_every_depth(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        for pixels in (head(), head("u2"), head("f4")):
            image.fromarray(pixels).save(
                tmp_path / "a.tif", compression=compression, save_all=True,
                append_images=[image.fromarray(pixels[::-1])],
            )  # fmt: skip
            first, second = read(tmp_path / "a.tif")
            assert isinstance(first, Slice), first
            assert isinstance(second, Slice), second
            assert np.array_equal(first.pixels, pixels)
            assert np.array_equal(second.pixels, pixels[::-1])


@needs_real_images
def test_sequences_and_neighbouring_slices_in_one_picture_are_refused(tmp_path: Path) -> None:
    import csv

    with (SHARED / "lgg_t1" / "index.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["t1"] and row["t1c"]][5::200]

    def load(pack: str, name: str) -> np.ndarray:
        pixels = cv2.imread(str(SHARED / pack / name), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        return pixels

    for row in rows:
        flair, t1, t1c = (load("lgg_flair", row["flair"]), *(load("lgg_t1", row[n]) for n in
                                                             ("t1", "t1c")))  # fmt: skip
        for planes in ((t1, flair, t1c), (flair, flair, t1c), (t1, t1, t1c), (flair, t1, flair)):
            stacked = np.stack(planes, -1)
            assert refused(tmp_path / "a.png", png(stacked, 2)) == "colour-planes"
            assert refused(tmp_path / "a.jpg", jpeg(stacked, quality=50)) == "colour-planes"
        assert np.array_equal(one(tmp_path / "a.png", png(np.stack([t1, flair, t1c], -1), 2),
                                  plane=2), flair)  # fmt: skip


def test_arrays_are_held_to_the_same(model: Path) -> None:
    drawn = draw_head()
    planes = np.stack([drawn, np.roll(drawn, 9, 0), drawn], axis=-1)
    detector = Detector(model, provider="cpu")
    with pytest.raises(InputRefusedError) as error:
        detector.detect(planes)
    assert error.value.code == "colour-planes"
    (item,) = detector.detect_series(planes[np.newaxis]).not_analysed
    assert item.code == "colour-planes"
    chosen = Detector(model, provider="cpu", plane=2)
    assert chosen.settings.plane == 2
    assert np.array_equal(chosen.detect(planes).slice.pixels, planes[..., 1])
    assert np.array_equal(chosen.detect_series(planes[np.newaxis]).slices[0].slice.pixels,
                          planes[..., 1])  # fmt: skip
    with pytest.raises(InputRefusedError) as error:
        chosen.detect(drawn)
    assert error.value.code == "missing-plane"
    alike = np.stack([drawn] * 3, axis=-1)
    assert detector.detect(alike).score == pytest.approx(detector.detect(drawn).score, rel=1e-3)
    outside = np.where(drawn > 30, 1, 0)
    white = np.where(drawn > 30, drawn, 1000)
    clear = np.stack([white, white, white, outside], axis=-1).astype(np.float32)
    assert np.allclose(detector.detect(clear).slice.pixels, drawn * outside
                       + clear[..., :3].min() * (1 - outside), atol=1)  # fmt: skip
    with pytest.raises(InputRefusedError) as error:
        detector.detect(np.zeros((128, 128, 7)))
    assert error.value.code == "bad-shape"
    with pytest.raises(UsageError):
        Detector(model, provider="cpu", plane=0)


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    grey = head()
    table = np.random.default_rng(0).permutation(256).astype(np.uint8)
    stored = np.argsort(table)[grey].astype(np.uint8)
    colours = chunk(b"PLTE", np.repeat(table, 3).tobytes())
    assert np.abs(one(tmp_path / "a.png", png(stored, 3, before=colours)) - grey).max() < 1e-3
    map_of = {262: ("short", [3]), 320: ("short", (table.astype(int) * 257).tolist() * 3)}
    assert np.abs(one(tmp_path / "a.tif", tiff([page(stored, map_of)])) - grey).max() < 1e-3
    rainbow = [*range(0, 65536, 256), *range(65535, 0, -256), *[0] * 256]
    colourful = tiff([page(grey, {262: ("short", [3]), 320: ("short", rainbow)})])
    assert refused(tmp_path / "b.tif", colourful) == "colour-planes"


@pytest.mark.parametrize(
    ("tags", "pixels"),
    [
        ({262: ("short", [4])}, head()),  # a mask
        ({254: ("long", [4])}, head()),
        ({262: ("short", [32803])}, head()),  # a camera's raw values
        ({262: ("short", [32844])}, head("u2")),  # LogL
        ({262: None}, head()),
        ({262: ("short", [5]), 338: None}, np.stack([head("u2")] * 4, -1)),  # CMYK of 16 bits
        ({262: ("short", [6])}, three("u2")),  # YCbCr of 16 bits
        ({262: ("short", [8])}, three("u2")),  # Lab of 16 bits
        ({284: ("short", [2]), 273: ("long", [0, 6144, 12288]), 279: ("long", [6144] * 3)},
         three("u2")),  # planes one after the other
        ({317: ("short", [2]), 338: ("short", [2])}, np.stack([head(), head()], -1)),
        ({338: ("short", [0, 0])}, np.stack([head()] * 5, -1)),
        ({258: ("short", [8, 8, 16])}, three()),
        ({258: ("short", [24])}, head("u4")),
        ({339: ("short", [3])}, head("u2")),  # floats of 16 bits
        ({339: ("short", [6])}, head("u4")),  # complex
    ],
)  # fmt: skip
def test_what_is_decoded_wrongly_is_refused_by_name(
    tmp_path: Path, tags: dict[int, Any], pixels: np.ndarray
) -> None:
    if 338 in tags and pixels.shape[-1] == 5:
        tags = {**tags, 262: ("short", [2])}
    assert refused(tmp_path / "a.tif", tiff([page(pixels, tags)])) == "unsupported-format"


def test_printing_colours_of_grey_are_grey(tmp_path: Path) -> None:
    grey = head()
    key = np.zeros((*grey.shape, 4), np.uint8)
    key[..., 3] = 255 - grey
    printed = tiff([page(key, {262: ("short", [5]), 338: None})])
    assert np.abs(one(tmp_path / "cmyk.tif", printed) - grey).max() <= 2
    video = np.stack([grey, np.full_like(grey, 128), np.full_like(grey, 128)], -1)
    content = tiff([page(video, {262: ("short", [6]), 530: ("short", [1, 1])})])
    assert np.abs(one(tmp_path / "video.tif", content) - grey).max() <= 3
    planes = np.ascontiguousarray(np.stack([grey] * 3))
    apart = {284: ("short", [2]), 273: ("long", [0, grey.size, 2 * grey.size]),
             279: ("long", [grey.size] * 3)}  # fmt: skip
    described = page(np.stack([grey] * 3, -1), apart)[1]
    assert (
        np.abs(one(tmp_path / "apart.tif", tiff([(planes.tobytes(), described)])) - grey).max() < 1
    )


# Stacks ----------------------------------------------------------------------------------------


def test_slices_behind_the_only_page_are_not_passed_over(tmp_path: Path) -> None:
    slices = np.stack([head("u2")] * 24)
    described = page(slices[0], {270: ("ascii", b"ImageJ=1.54f\nimages=24\nslices=24\n\0")})[1]
    content = tiff([(slices.tobytes(), described)])
    assert refused(tmp_path / "imagej.tif", content) == "volumetric-tiff"
    described.pop(270)
    for size in (2, 24):  # nothing says so, but they are there
        content = tiff([(slices[:size].tobytes(), described)])
        assert refused(tmp_path / "untold.tif", content) == "volumetric-tiff"
    (item,) = read(tmp_path / "untold.tif")
    assert isinstance(item, Refusal)
    assert "save each slice" in item.reason
    assert one(tmp_path / "one.tif", tiff([(slices[0].tobytes(), described)])).shape == (64, 48)


def words(text: str) -> dict[int, Any]:
    return {270: ("ascii", text.encode() + b"\0")}


@pytest.mark.parametrize(
    ("text", "pages", "code"),
    [
        ("ImageJ=1.54f\nimages=24\n", 1, "volumetric-tiff"),
        ("ImageJ=1.54f\nimages=3\nslices=3\nloop=false\n", 3, "read"),
        ("ImageJ=1.54f\nimages=4\nframes=4\n", 4, "read"),
        ("ImageJ=1.54f\nimages=4\nchannels=2\nslices=2\nhyperstack=true\n", 4, "volumetric-tiff"),
        ("ImageJ=1.54f\nimages=4\nslices=2\nframes=2\nhyperstack=true\n", 4, "volumetric-tiff"),
        ("ImageJ=1.54f\nunit=mm\n", 1, "read"),
        ('<?xml version="1.0"?><OME><Pixels SizeX="48" SizeY="64" SizeZ="3" SizeC="1" SizeT="1"/>',
         3, "read"),
        ('<OME><Pixels SizeZ="24" SizeC="1" SizeT="1"/>', 1, "volumetric-tiff"),
        ('<OME><Pixels SizeZ="2" SizeC="2" SizeT="1"/>', 4, "volumetric-tiff"),
        ('<OME><Pixels SizeZ="1" SizeC="1" SizeT="3"/>', 3, "volumetric-tiff"),
        ("a scan; images=24", 1, "read"),
    ],
)  # fmt: skip
def test_what_programs_say_of_their_stacks_is_believed(
    tmp_path: Path, text: str, pages: int, code: str
) -> None:
    content = tiff([page(head("u2"), words(text)), *[page(head("u2"))] * (pages - 1)])
    assert refused(tmp_path / "a.tif", content) == code


def test_pages_that_are_several_slices_deep_are_refused(tmp_path: Path) -> None:
    for tag in (32997, 32998):
        content = tiff([page(head("u2"), {tag: ("long", [24])})])
        assert refused(tmp_path / "a.tif", content) == "volumetric-tiff"
        assert one(tmp_path / "b.tif", tiff([page(head(), {tag: ("long", [1])})])).size
    stack = tiff([page(head(), {33629: ("long", [1] * 24)})])
    assert refused(tmp_path / "c.tif", stack) == "volumetric-tiff"


def test_pictures_beneath_a_page_are_refused_unless_they_are_smaller_copies(tmp_path: Path) -> None:
    for kind, code in ((0, "volumetric-tiff"), (1, "read")):
        small = head()[::2, ::2]
        both = tiff([page(head()), page(small, {254: ("long", [kind])})])
        first = struct.unpack_from("<I", both, 4)[0]
        count = struct.unpack_from("<H", both, first)[0]
        second = struct.unpack_from("<I", both, first + 2 + 12 * count)[0]
        beneath = bytearray(tiff([page(head(), {330: ("long", [0])}),
                                  page(small, {254: ("long", [kind])})]))  # fmt: skip
        first = struct.unpack_from("<I", beneath, 4)[0]
        link = first + 2 + 12 * (count + 1)
        second = struct.unpack_from("<I", beneath, link)[0]
        place = beneath.index(struct.pack("<HHI", 330, 4, 1), first)
        struct.pack_into("<I", beneath, place + 8, second)
        struct.pack_into("<I", beneath, link, 0)
        assert refused(tmp_path / "a.tif", bytes(beneath)) == code


def test_a_smaller_copy_among_the_pages_is_no_slice(tmp_path: Path) -> None:
    pages = [page(head()), page(head()[::2], {254: ("long", [1])}), page(head())]
    (tmp_path / "a.tif").write_bytes(tiff(pages))
    first, copy, last = read(tmp_path / "a.tif")
    assert isinstance(first, Slice)
    assert isinstance(copy, Refusal)
    assert (copy.frame, copy.code) == (1, "unsupported-format")
    assert isinstance(last, Slice)


def test_frames_of_an_animated_png_are_counted(tmp_path: Path) -> None:
    control = chunk(b"acTL", struct.pack(">II", 24, 0))
    assert refused(tmp_path / "a.png", png(head(), 0, before=control)) == "truncated"


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["u1", "u2", "f4"]), st.sampled_from("<>"), st.booleans(), st.integers(1, 8),
    st.integers(0, 1), st.integers(1, 3),
)  # fmt: skip
def test_every_tiff_is_looked_at_as_it_says(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, order: str, big: bool, turn: int,
    meaning: int, pages: int,
) -> None:  # fmt: skip
    grey = head(dtype)
    stored = grey
    if not meaning:
        stored = -grey if grey.dtype.kind == "f" else np.iinfo(grey.dtype).max - grey
    tags = {274: ("short", [turn]), 262: ("short", [meaning])}
    file = tmp_path_factory.mktemp("tiff") / "a.tif"
    stored = stored.astype(stored.dtype.newbyteorder(order))
    file.write_bytes(tiff([page(stored, tags)] * pages, big=big, order=order))
    items = read(file)
    assert len(items) == pages
    for item in items:
        assert isinstance(item, Slice), item
        assert np.array_equal(item.pixels, TURNS[turn](grey).astype(np.float32))


@pytest.mark.parametrize(("tag", "kind", "value"), [
    (256, "byte", 200), (256, "long", 4294967295), (277, "short", 65535), (277, "short", 5),
    (322, "long", 4294967295), (322, "short", 65535), (257, "long", 4294967295),
])  # fmt: skip
def test_numbers_that_are_too_large_for_what_is_done_with_them_are_refused(
    tmp_path: Path, tag: int, kind: str, value: int
) -> None:
    pair = np.stack([np.resize(head(), (64, 200))] * 2, axis=-1)
    tiled = {323: ("long", [64]), 324: ("long", [0]), 325: ("long", [pair.nbytes])}
    tags = {338: ("short", [0]), **(tiled if tag == 322 else {}), tag: (kind, [value])}
    assert refused(tmp_path / "a.tif", tiff([page(pair, tags)])) in {
        "too-large", "too-many-pixels", "unsupported-format", "truncated", "undecodable",
    }  # fmt: skip
