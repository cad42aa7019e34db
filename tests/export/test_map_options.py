"""Options of the anomaly map that ``gliomart export --map`` changes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("keras", reason="needs the extra: training")

from gliomart.errors import UsageError
from gliomart.image.steps import Preprocessing
from gliomart_export.commands import _with_map_options, export_parser
from gliomart_export.run import Run
from gliomart_training.residual import Residual

RUN = Run(Path("own.keras"), {}, Preprocessing(), Residual(), ())  # type: ignore[typeddict-item]


def _given(*words: str) -> list[tuple[str, float]]:
    options: list[tuple[str, float]] = (
        export_parser()
        .parse_args(
            ["own.keras", "own.onnx", *(part for word in words for part in ("--map", word))]
        )
        .map_options
    )
    return options


def test_options_are_changed_and_the_others_stay() -> None:
    changed = _with_map_options(RUN, _given("gap_px=1", "smoothing_px=1.5")).residual
    assert changed == Residual(gap_px=1, smoothing_px=1.5)


@pytest.mark.parametrize(
    "word",
    ["gap=1", "gap_px=0", "speck_px=2.5", "reach_px=999", "bright_width=0", "smoothing_px=-1"],
)
def test_an_option_that_makes_no_map_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--map") as error:
        _with_map_options(RUN, _given(word))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("word", ["gap_px", "=3", "gap_px=wide", "gap_px=nan", "gap_px=inf"])
def test_what_is_no_option_with_a_number_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="OPTION=NUMBER"):
        _given(word)
