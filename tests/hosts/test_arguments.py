"""What programs hand over beside images: series of a scan, options, lists of mixed members."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from gliomart import Detector, Refusal, Slice, scan
from gliomart.errors import InputRefusedError, ProviderError, UsageError
from samples import GOLDEN, draw_head, tiny_model

HEAD = draw_head()
FILES = sorted(GOLDEN.glob("*.dcm"))
FILE = FILES[11]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"), provider="cpu")


@pytest.mark.parametrize("value", [None, 3, "abc", [3], scan([GOLDEN]), FILE, {}, [HEAD]])
def test_what_is_no_series_of_a_scan_is_said_by_its_type(detector: Detector, value: Any) -> None:
    with pytest.raises(UsageError, match=r"^a series is (of type|None)"):
        detector.stream_series(value)
    if isinstance(value, (list, str)):
        for stream in detector.stream_each(value):
            with pytest.raises(UsageError, match="a series is of type"):
                list(stream)
    elif value != {}:
        with pytest.raises(UsageError, match=r"series of gliomart\.scan\(\) is"):
            list(detector.stream_each(value))


def test_what_is_no_series_costs_no_other(detector: Detector) -> None:
    given: list[Any] = [None, scan([GOLDEN]).series[0]]
    failing, whole = detector.stream_each(given)
    with pytest.raises(UsageError):
        list(failing)
    assert len(list(whole)) == len(FILES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("budget", value) for value in (None, 3, "seconds=5", {})),
        *(("plane", value) for value in ("1", 0, -1, 1.0, True)),
    ],
)
def test_options_of_a_scan_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=name):
        scan([GOLDEN], **{name: value})


def test_an_unknown_provider_is_said_in_one_short_line(model: Path) -> None:
    with pytest.raises(ProviderError) as refused:
        Detector(model, provider="\n\x1b[2J" + 1000 * "x")  # type: ignore[arg-type]
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("series", "odd"),
    [
        ([*FILES[:2], None], 2),
        ([pydicom.dcmread(FILE), FILE], 1),
        ([FILE, pydicom.dcmread(FILE)], 1),
        ([Slice(HEAD), FILE], 1),
        ([HEAD, None], 1),
    ],
)
def test_the_member_that_is_unlike_the_others_is_named(
    detector: Detector, series: list[Any], odd: int
) -> None:
    with pytest.raises(UsageError, match=rf"^member {odd} of the series is"):
        detector.detect_series(series)


@pytest.mark.parametrize("name", ["source", "code", "reason"])
def test_a_refusal_of_a_program_says_what_it_is_of(detector: Detector, name: str) -> None:
    fields: dict[str, Any] = {"source": "a", "frame": None, "code": "b", "reason": "c", name: 3}
    with pytest.raises(UsageError, match=f"whose {name} is no text"):
        detector.detect_series([HEAD, Refusal(**fields)])


def test_grey_in_colour_is_what_it_is_in_grey(detector: Detector) -> None:
    head = (HEAD / HEAD.max() * 65535).astype(np.uint16)
    coloured = np.repeat(head[..., np.newaxis], 3, axis=2)
    assert detector.detect(coloured).slice == detector.detect(head).slice


def test_compressed_pixels_of_which_nobody_says_how_are_said_to_be_so(detector: Detector) -> None:
    expected = detector.detect(FILE).score
    held = pydicom.dcmread(FILE)
    meta = held.file_meta
    del held.file_meta
    with pytest.raises(InputRefusedError, match="TransferSyntaxUID of the file_meta") as refused:
        detector.detect(held)
    assert refused.value.code == "undecodable"
    held.file_meta = meta
    assert detector.detect(held).score == expected


@pytest.mark.parametrize("kind", ["u1", "f4", "f8"])
@pytest.mark.parametrize("shape", [(10**6, 10**6), (10**6, 10**6, 3), (10**6, 10**6, 4)])
def test_an_array_larger_than_memory_is_refused_before_memory_is_taken(
    detector: Detector, kind: str, shape: tuple[int, ...]
) -> None:
    pixels = np.broadcast_to(np.ones((), kind), shape)
    for image in (pixels, Slice(pixels)):
        with pytest.raises(InputRefusedError) as refused:
            detector.detect(image)
        assert refused.value.code == "too-large"
    result = detector.detect_series([HEAD, pixels])
    assert [r.code for r in result.not_analysed] == ["too-large"]


def test_what_lies_beneath_a_mask_says_nothing(detector: Detector) -> None:
    beneath = np.zeros((64, 64))
    beneath[0, 0] = 1e-300  # which vanishes in single precision
    with pytest.raises(InputRefusedError) as refused:
        detector.detect(np.ma.masked_array(beneath, mask=True))
    assert refused.value.code == "not-finite"
