"""What programs hand over: images of odd types are refused as files are, arguments by name."""

from __future__ import annotations

import collections
import gzip
import io
import mmap
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from gliomart import Budget, Detector, GliomartError, Refusal, Slice, scan
from gliomart.errors import InputNotFoundError, InputRefusedError, UsageError
from samples import GOLDEN, draw_head, tiny_model

HEAD = draw_head()
FILES = sorted(GOLDEN.glob("*.dcm"))
FILE = FILES[11]
CONTENT = FILE.read_bytes()
PLACE = {"position": (1, 2, 3), "orientation": (1, 0, 0, 0, 1, 0), "spacing": (1.0, 1.0)}


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"), provider="cpu")


def _with_nan() -> np.ndarray:
    pixels = HEAD.copy()
    pixels[128, 128] = np.nan
    return pixels


def _read_only() -> np.ndarray:
    pixels = HEAD.copy()
    pixels.flags.writeable = False
    return pixels


class Unwilling:
    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (_with_nan(), "not-finite"),
        (np.where(HEAD > 800, np.inf, HEAD), "not-finite"),
        (HEAD[:8, :8], "too-small"),
        (np.empty((0, 0)), "too-small"),
        (HEAD[np.newaxis], "bad-shape"),
        (HEAD.astype(object), "bad-shape"),
        (HEAD.astype(complex), "bad-shape"),
        (np.zeros((256, 256), [("value", "f4")]), "bad-shape"),
        (np.float32(3), "bad-shape"),
        (None, "bad-shape"),
        ("text", "bad-shape"),
        ([[1, 2], [3]], "bad-shape"),
        (Unwilling(), "bad-shape"),
        (HEAD > 1e9, "blank-slice"),
    ],
)
def test_one_slice_that_shows_nothing_does_not_take_the_others(
    detector: Detector, pixels: Any, code: str
) -> None:
    with pytest.raises(InputRefusedError) as refused:
        detector.detect(Slice(pixels))
    assert refused.value.code == code
    named = [Slice(HEAD, source="a"), Slice(pixels, source="b"), Slice(HEAD, source="c")]
    result = detector.detect_series(named)
    assert [r.slice.source for r in result.slices] == ["a", "c"]
    assert [(r.source, r.code) for r in result.not_analysed] == [("b", code)]
    unnamed = detector.detect_series([Slice(HEAD), Slice(pixels)]).not_analysed
    assert [(r.source, r.frame) for r in unnamed] == [("image", 1)]


@pytest.mark.parametrize(
    "pixels",
    [
        HEAD.astype(np.int16), HEAD.astype(np.uint16), HEAD.astype(float), HEAD.astype(">f4"),
        HEAD.astype(np.float16), HEAD.astype(">i2"), np.asfortranarray(HEAD), _read_only(),
        np.repeat(HEAD, 2, axis=1)[:, ::2], HEAD[::-1, ::-1][::-1, ::-1], HEAD.view(np.matrix),
        np.ma.masked_less(HEAD, 0), HEAD.tolist(), np.repeat(HEAD[..., np.newaxis], 3, axis=2),
    ],
    ids=lambda pixels: f"{type(pixels).__name__}-{getattr(pixels, 'dtype', '')}",
)  # fmt: skip
def test_numbers_may_lie_in_memory_in_any_way(detector: Detector, pixels: Any) -> None:
    expected = detector.detect(HEAD)
    found = detector.detect(Slice(pixels))
    assert found.score == pytest.approx(expected.score, abs=2e-3)
    if isinstance(pixels, np.ndarray):
        assert detector.detect(pixels).score == pytest.approx(expected.score, abs=2e-3)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"spacing": ("1", "1")}, "bad-geometry"),
        ({"spacing": (float("nan"), 1)}, "bad-geometry"),
        ({"spacing": (-1, 1)}, "bad-geometry"),
        ({"spacing": (0, 1)}, "bad-geometry"),
        ({"spacing": (1e-300, 1)}, "bad-geometry"),
        ({"spacing": (1e300, 1)}, "bad-geometry"),
        ({"spacing": 1.0}, "bad-geometry"),
        ({"spacing": (1, 1, 1)}, "bad-geometry"),
        ({"spacing": (10**400, 1)}, "bad-geometry"),
        ({"position": (1, 2)}, "bad-geometry"),
        ({"position": (1, 2, float("inf"))}, "bad-geometry"),
        ({"position": "abc"}, "bad-geometry"),
        ({"position": (1, 2, 1e308)}, "bad-geometry"),
        ({"orientation": (1e200, 0, 0, 0, 1, 0)}, "bad-geometry"),
        ({"orientation": (1, 0, 0, 0, 1)}, "bad-geometry"),
        ({"orientation": (1, 0, 0, 1, 0, 0)}, "bad-geometry"),
        ({"orientation": (0, 0, 0, 0, 0, 0)}, "bad-geometry"),
        ({"source": 3}, "bad-slice"),
        ({"source": None}, "bad-slice"),
        ({"series": b"bytes"}, "bad-slice"),
        ({"frame": "first"}, "bad-slice"),
        ({"frame": -1}, "bad-slice"),
        ({"sop_instance_uid": 3}, "bad-slice"),
        ({"air": HEAD}, "bad-shape"),
        ({"air": "air"}, "bad-shape"),
        ({"air": np.zeros((3, 3), bool)}, "bad-shape"),
    ],
    ids=str,
)
def test_what_a_slice_says_of_itself_is_checked(
    detector: Detector, changes: dict[str, Any], code: str
) -> None:
    odd = Slice(HEAD, **PLACE | changes)
    with pytest.raises(InputRefusedError) as refused:
        detector.detect(odd)
    assert (refused.value.code, str(refused.value).count("\n")) == (code, 0)
    result = detector.detect_series([Slice(HEAD, source="a"), odd, Slice(HEAD, source="c")])
    assert [r.slice.source for r in result.slices] == ["a", "c"]
    assert [(r.source, r.frame, r.code) for r in result.not_analysed] == [("image", 1, code)]


@pytest.mark.parametrize("make", [list, np.array, tuple, lambda v: [np.float32(x) for x in v]])
def test_numbers_of_a_slice_may_come_in_any_list(
    detector: Detector, make: Callable[[Any], Any]
) -> None:
    placed = Slice(HEAD, **{name: make(value) for name, value in PLACE.items()})
    assert detector.detect(placed).slice.plane == detector.detect(Slice(HEAD, **PLACE)).slice.plane


def test_names_are_made_fit_to_be_shown(detector: Detector) -> None:
    found = detector.detect(Slice(HEAD, source="a\0b\n\udcff", series="c\x1b[2J")).slice
    assert (found.source, found.series) == (r"a\x00b\n\udcff", r"c\x1b[2J")


def test_a_small_file_an_array_and_a_slice_are_refused_alike(
    detector: Detector, tmp_path: Path
) -> None:
    dataset = pydicom.dcmread(FILE)
    dataset.decompress()
    dataset.Rows = dataset.Columns = 8
    dataset.PixelData = bytes(8 * 8 * dataset.BitsAllocated // 8)
    dataset.save_as(tmp_path / "small.dcm")
    pixels = np.zeros((8, 8), np.float32)
    for image in (tmp_path / "small.dcm", dataset, pixels, Slice(pixels)):
        with pytest.raises(InputRefusedError) as refused:
            detector.detect(image)
        assert refused.value.code == "too-small"


class Named:
    def __fspath__(self) -> str:
        return str(FILE)


def test_paths_and_data_sets_in_a_list_are_sorted_as_files_are(detector: Detector) -> None:
    expected = [r.score for r in detector.detect_series(GOLDEN).slices]
    backwards = FILES[::-1]
    held = [pydicom.dcmread(file) for file in backwards]
    for series in (backwards, list(map(str, backwards)), iter(backwards), held, tuple(held)):
        result = detector.detect_series(series)
        assert [r.score for r in result.slices] == expected
        assert result.not_analysed == ()
    assert detector.detect_series(held).slices[0].slice.source == "dataset-23"
    other = pydicom.dcmread(FILE)
    other.SeriesInstanceUID, other.SOPInstanceUID = generate_uid(), generate_uid()
    other.Modality = "CT"
    with pytest.raises(UsageError, match="the list: holds 2 series, not one"):
        detector.detect_series([*held, other])
    del held[3].Rows
    refused = detector.detect_series(held).not_analysed
    assert ("dataset-3", "no-pixels") in [(r.source, r.code) for r in refused]


def test_what_may_stand_for_an_image_does(detector: Detector, tmp_path: Path) -> None:
    expected = detector.detect(FILE).score
    (tmp_path / "held").write_bytes(CONTENT)
    with (tmp_path / "held").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    packed = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(CONTENT)))
    buffered = io.BufferedReader(io.BytesIO(CONTENT))
    for image in (Named(), mapped, packed, buffered):
        assert detector.detect(image).score == expected


class Odd(io.BytesIO):
    """A stream that fails at one call."""

    def __init__(self, call: str, result: Any = None) -> None:
        super().__init__(CONTENT)
        self._call, self._result = call, result

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "_call"):
            result = object.__getattribute__(self, "_result")

            def fails(*_: Any) -> Any:
                if result is None:
                    raise KeyError("odd")
                return result

            return fails
        return super().__getattribute__(name)


def test_a_stream_that_fails_is_unreadable(detector: Detector) -> None:
    closed = io.BytesIO(CONTENT)
    closed.close()
    odd = [Odd("seek"), Odd("tell"), Odd("read"), Odd("read", "text"), Odd("seekable"), closed]
    for stream in odd:
        with pytest.raises(InputRefusedError) as refused:
            detector.detect(stream)
        assert refused.value.code == "unreadable"
    with pytest.raises(InputRefusedError) as refused:
        detector.detect(Odd("read", b""))  # it has shrunk
    assert refused.value.code == "truncated"


@pytest.mark.parametrize(
    "image",
    [
        CONTENT, bytearray(CONTENT), memoryview(CONTENT), None, 7, {}, [], HEAD.tolist(), Slice,
        Unwilling(), os.fsencode(FILE), (x for x in [HEAD]), Refusal("a", None, "b", "c"),
        io.StringIO("text"), socket.socketpair()[0].makefile("rb"), socket.socketpair()[0],
    ],
    ids=lambda image: type(image).__name__,
)  # fmt: skip
def test_what_is_no_image_is_said_by_its_type(detector: Detector, image: Any) -> None:
    with pytest.raises(UsageError, match=r"an image is a path.*; this (is of type|stream cannot)"):
        detector.detect(image)


@pytest.mark.parametrize(
    "series",
    [
        None, 3, {}, {"a": HEAD}, CONTENT, {1}, Slice(HEAD), pydicom.dcmread(FILE), HEAD,
        np.zeros((1, 3, 64, 64, 3)), np.array(3.0), np.array([None]), [HEAD.tolist()], [None],
        [FILE, HEAD], [io.BytesIO(CONTENT)], scan([GOLDEN]), Unwilling(),
    ],
    ids=lambda series: type(series).__name__,
)  # fmt: skip
def test_what_is_no_series_is_said_by_its_type(detector: Detector, series: Any) -> None:
    with pytest.raises(UsageError, match="a series is a path"):
        detector.detect_series(series)


def test_slices_arrays_and_refusals_may_come_one_by_one(detector: Detector) -> None:
    refusal = Refusal("lost.dcm", None, "truncated", "it ends early")
    result = detector.detect_series(iter([Slice(HEAD), HEAD, refusal]))
    assert (len(result.slices), result.not_analysed) == (2, (refusal,))
    assert len(detector.detect_series(collections.deque([HEAD])).slices) == 1
    nothing = detector.detect_series([])
    assert (nothing.slices, nothing.verdict) == ((), None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("false_alarm_rate", value) for value in ("x", float("nan"), True, [0.1], 0, 1, -1)),
        *(("threads", value) for value in (0, -1, 1.5, "2", True, 10**6, float("inf"), [1])),
        *(("plane", value) for value in ("1", 0, -1, 1.0, True)),
        *(("budget", value) for value in (None, {}, 3)),
        *(("provider", value) for value in (None, 3, ["cpu"])),
        *(("force", value) for value in ("no", 1, None)),
        *(("allow_fallback", value) for value in ("no", 1, None)),
        ("model", 3),
    ],
)
def test_options_that_are_none_are_refused_by_name(model: Path, name: str, value: Any) -> None:
    with pytest.raises(UsageError) as refused:
        Detector(**{"model": model, name: value})
    assert name in re.sub(r"[- ]", "_", str(refused.value))


@pytest.mark.parametrize(
    "limits",
    [
        *(
            {"seconds": value}
            for value in (-1, 0, float("nan"), float("inf"), "x", True, None, 1e9)
        ),
        *({"elements": value} for value in (-1, 0, 1.5, float("inf"), "x", None)),
    ],
)
def test_budgets_that_are_none_are_refused_by_name(limits: dict[str, Any]) -> None:
    (name,) = limits
    for make in (lambda: Budget(**limits), lambda: Budget().but(limits)):
        with pytest.raises(UsageError, match=f"the budget {name}"):
            make()


def test_a_path_where_a_list_of_paths_is_taken_is_said(detector: Detector) -> None:
    for paths in ("abc", GOLDEN, None, 3, [3], [None], {}, Named()):
        for take in (scan, lambda paths: list(detector.stream(paths))):
            with pytest.raises(UsageError, match="path"):
                take(paths)
    with pytest.raises(InputNotFoundError):
        scan(["no\0where"])
    assert len(scan([Named(), os.fsencode(GOLDEN)]).series) == 1


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
        st.complex_numbers(), st.decimals(), st.dates(), st.uuids(), st.just(HEAD), st.just(FILE),
        st.just(Unwilling()), st.builds(object), st.builds(io.BytesIO, st.binary(max_size=300)),
        st.builds(np.zeros, st.tuples(st.integers(0, 3), st.integers(0, 3))),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.sets(st.integers(), max_size=2),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
        st.lists(inner, max_size=3).map(iter),
        st.builds(
            Slice, st.one_of(st.just(HEAD), inner), source=inner, frame=inner, spacing=inner,
            position=inner, orientation=inner, air=inner, series=inner, sop_instance_uid=inner,
        ),
    ),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(value=ANYTHING)
def test_nothing_that_is_handed_over_fails_from_inside(detector: Detector, value: Any) -> None:
    for take in (detector.detect, detector.detect_series):
        try:
            take(value)
        except GliomartError as error:
            message = str(error)
        else:
            message = ""
        assert "\n" not in message


def test_a_message_is_one_line_whatever_it_quotes(detector: Detector) -> None:
    with pytest.raises(InputNotFoundError) as told:
        detector.detect("no\n\x1b[2Jwhere")
    assert str(told.value) == r"no\n\x1b[2Jwhere: no such file or folder"
