"""Models that see slabs of neighbouring slices: wherever these are cut, results are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gliomart import Detector
from gliomart.errors import ModelCardError, ModelError
from gliomart.families.analysis import Entered
from gliomart.families.volumewise import Part, parts
from gliomart.image.grid import Box
from gliomart.image.normalisation import Normalisation
from gliomart.image.preprocess import ModelInput
from gliomart.image.slices import Refusal, Slice
from gliomart.model.contents import SLICE, VOLUME, Scoring, Slab
from gliomart.model.model import Model
from gliomart.providers.choice import largest_batch
from samples import card, draw_head, tiny_model
from slabs import slab_model

SLAB = Slab(seen=6, given=4)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
BLANK = Slice(np.zeros((256, 256), np.float32), source="blank")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slab_model(tmp_path_factory.mktemp("slabs") / "slab.onnx", SLAB)


@pytest.fixture(scope="module")
def by_itself(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """Sees the same of every slice by itself."""
    return Detector(tiny_model(tmp_path_factory.mktemp("alone") / "m.onnx"), provider="cpu")


def heads(count: int, step: float = 5.0, missing: Sequence[int] = ()) -> list[Slice]:
    """Slices at steps in mm, with lesions of their own; some of them missing."""
    return [
        Slice(
            draw_head(lesion=0.2 + 0.6 * (n % 3), seed=n),
            source=f"{n:03d}",
            spacing=(0.9, 0.9),
            position=(0.0, 0.0, n * step),
            orientation=AXIAL,
        )
        for n in range(count)
        if n not in missing
    ]


def between_neighbours(maps: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Means of each and its neighbours; at the ends the last one stands for what is beyond."""
    ends = [maps[0], *maps, maps[-1]]
    return [np.mean(ends[n : n + 3], axis=0) for n in range(len(maps))]


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_every_slice_is_seen_between_its_neighbours(
    model: Path, by_itself: Detector, count: int
) -> None:
    slices = heads(count)
    found = Detector(model, provider="cpu").detect_series(slices).slices
    alone = by_itself.detect_series(slices).slices
    assert [result.slice.source for result in found] == [each.source for each in slices]
    expected = between_neighbours([result.anomaly_map for result in alone])
    for result, mean in zip(found, expected, strict=True):
        assert np.allclose(result.anomaly_map, mean, atol=1e-5)
        assert result.ms.infer > 0


def test_slices_are_neighbours_of_none_across_a_gap_or_a_refused_slice(
    model: Path, by_itself: Detector
) -> None:
    detector = Detector(model, provider="cpu")
    for slices, first in (
        (heads(9, missing=[5]), 5),  # a gap
        ([*heads(5), BLANK, *heads(9)[5:]], 5),  # one that cannot be analysed
    ):
        shown = [each for each in slices if each is not BLANK]
        maps = [result.anomaly_map for result in by_itself.detect_series(shown).slices]
        expected = between_neighbours(maps[:first]) + between_neighbours(maps[first:])
        series = detector.detect_series(slices)
        assert [r.code for r in series.not_analysed] == ["blank-slice"] * (len(slices) - len(shown))
        for result, mean in zip(series.slices, expected, strict=True):
            assert np.allclose(result.anomaly_map, mean, atol=1e-5)


def test_thinner_slices_after_thicker_ones_are_no_gap_and_slices_without_places_neither(
    model: Path, by_itself: Detector
) -> None:
    places = [0.0, 5.0, 10.0, 13.0, 16.0, 19.0]
    closer = [
        replace(each, position=(0.0, 0.0, place))
        for each, place in zip(heads(6), places, strict=True)
    ]
    unplaced = [replace(each, position=None) for each in heads(6)]
    for slices in (closer, unplaced):
        maps = [result.anomaly_map for result in by_itself.detect_series(slices).slices]
        found = Detector(model, provider="cpu").detect_series(slices).slices
        for result, mean in zip(found, between_neighbours(maps), strict=True):
            assert np.allclose(result.anomaly_map, mean, atol=1e-5)


def test_an_image_alone_is_a_series_of_one_slice(model: Path, by_itself: Detector) -> None:
    detector = Detector(model, provider="cpu")
    head = draw_head(lesion=0.8)
    found, expected = detector.detect(head), by_itself.detect(head)
    assert np.allclose(found.anomaly_map, expected.anomaly_map, atol=1e-5)
    assert found.score == pytest.approx(expected.score, abs=1e-5)
    assert detector.warm_up() > 0


def test_order_and_workers_change_nothing(model: Path) -> None:
    slices = heads(11)
    one, four = (
        Detector(model, provider="cpu", threads=threads).detect_series(slices).slices
        for threads in (1, 4)
    )
    backwards = Detector(model, provider="cpu").detect_series(slices[::-1]).slices
    for a, b, c in zip(one, four, reversed(backwards), strict=True):
        assert np.array_equal(a.anomaly_map, b.anomaly_map)
        assert np.allclose(a.anomaly_map, c.anomaly_map, atol=1e-5)


def test_what_a_slab_gives_has_to_be_its_middle(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    for slab, reason in (
        (Slab(6, 3), "not their middle"),
        (Slab(65, 65), "no slab of 1 to 64 slices"),
    ):
        with pytest.raises(ModelError, match=reason):
            Model(slab_model(path, slab), provider="cpu")
    with pytest.raises(ModelError, match="is no slab"):
        Model(
            tiny_model(path, metadata={"gliomart": card(family=VOLUME).to_json()}), provider="cpu"
        )
    with pytest.raises(ModelError, match="not what its card says"):
        Model(slab_model(path, SLAB, family=SLICE), provider="cpu")


def test_a_model_of_slabs_takes_slabs_alone(model: Path) -> None:
    opened = Model(model, provider="cpu")
    assert opened.slab == SLAB
    slab = np.zeros((6, 256, 256, 1), np.float32)
    assert len(opened.run_slab(slab)) == SLAB.given
    assert len(opened.run_batch(np.stack([slab, slab]))) == 2 * SLAB.given
    assert opened.run(slab[0]).anomaly_map.shape == (256, 256)
    for wrong in (slab[:5], np.zeros((6, 256, 128, 1), np.float32)):
        with pytest.raises(ModelError, match="takes 1 to 10 images"):
            opened.run_slab(wrong)
    assert largest_batch((6, 256, 256, 1)) * 6 <= largest_batch((256, 256, 1))


def test_a_family_of_slabs_needs_a_model_of_slabs(tmp_path: Path) -> None:
    path = slab_model(tmp_path / "m.onnx", SLAB, scoring=Scoring(neighbours=(0.25, 0.5, 0.25)))
    assert Detector(path, provider="cpu").detect_series(heads(3)).verdict is not None
    with pytest.raises((ModelCardError, ModelError)):
        Detector(
            tiny_model(path, metadata={"gliomart": card(family=VOLUME).to_json()}), provider="cpu"
        )


def entered(number: int, height: float | None, box: int) -> Entered:
    position = None if height is None else (0.0, 0.0, height)
    source = Slice(
        np.zeros((2, 2), np.float32),
        source=str(number),
        spacing=(1.0, 1.0),
        position=position,
        orientation=AXIAL,
    )
    norm = Normalisation(Box(0, 0, box, box), 0.0, 1.0, 0.0)
    prepared = ModelInput(source, *(np.zeros((2, 2), np.float32),) * 3)
    return Entered(norm, prepared, (), (), 0.0, 0.0)


@given(
    kinds=st.lists(st.sampled_from(["next", "next", "next", "gap", "refused", "box", "unplaced"])),
    context=st.integers(0, 3),
    given_=st.integers(1, 5),
)
def test_parts_hold_every_slice_once_and_in_order_and_see_none_across_a_break(
    kinds: list[str], context: int, given_: int
) -> None:
    slab = Slab(given_ + 2 * context, given_)
    height, box, row = 0.0, 10, [0]
    items: list[Entered | Refusal] = []
    for number, kind in enumerate(kinds):
        height += 30.0 if kind == "gap" else 5.0
        box += kind == "box"
        row.append(row[-1] + (kind in {"gap", "refused", "box"}))
        if kind == "refused":
            items.append(Refusal(str(number), None, "blank-slice", "nothing in it"))
        else:
            items.append(entered(number, None if kind == "unplaced" else height, box))
    found = list(parts(items, slab))
    told = [
        each.source if isinstance(each, Refusal) else own.prepared.source.source
        for each in found
        for own in ([each] if isinstance(each, Refusal) else each.own)
    ]
    assert told == [str(number) for number in range(len(kinds))]
    for part in found:
        if isinstance(part, Part):
            assert 1 <= len(part.own) <= given_
            assert len(part.seen) == slab.seen
            assert part.seen[context : context + len(part.own)] == part.own
            boxes = {each.normalisation.box for each in part.seen}
            assert len(boxes) == 1
