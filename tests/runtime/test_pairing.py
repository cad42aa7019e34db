"""Which series stand beside which: whatever is in an inventory, and in whatever order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart.families.pairing import paired
from gliomart.image.geometry import ImagePlane
from gliomart.sources.inventory import SeriesFiles, SourceFile, Study

WANTED = ("FLAIR", "T1", "T1C")
STUDY = Study("1.2")
AXIAL, SAGITTAL = (1.0, 0, 0, 0, 1, 0), (0.0, 1, 0, 0, 0, -1)


def volume(
    name: str,
    sequence: str | None,
    study: Study | None = STUDY,
    *,
    first: float = 0.0,
    step: float = 5.0,
    count: int = 24,
    orientation: tuple[float, ...] = AXIAL,
) -> SeriesFiles:
    """A volume of a sequence, as whoever gives it says; sagittal ones go from right to left."""
    heights = [first + number * step for number in range(count)]
    sagittal = orientation == SAGITTAL
    places = [(z, -90.0, 90.0) if sagittal else (-90.0, -90.0, z) for z in heights]
    planes = tuple(ImagePlane(place, orientation, (1.0, 1.0)) for place in places)
    file = SourceFile(Path(name), name, "nifti", name, planes=planes, sequence=sequence)
    return SeriesFiles(name, name, (file,), study=study)


STUDIES = st.one_of(
    st.none(),
    st.builds(
        Study,
        st.sampled_from(["1.2", "1.3"]),
        st.integers(0, 1),
        st.sampled_from([None, "1.9", "1.10"]),
    ),
)


@st.composite
def inventories(draw: st.DrawFn) -> list[SeriesFiles]:
    kinds = draw(st.lists(st.sampled_from([*WANTED, "T2", None]), max_size=8))
    return [
        volume(
            f"series-{number}",
            kind,
            draw(STUDIES),
            first=draw(st.sampled_from([-60.0, 0.0, 500.0])),
            step=draw(st.sampled_from([1.0, 5.0])),
            count=draw(st.sampled_from([1, 4, 24])),
            orientation=draw(st.sampled_from([AXIAL, SAGITTAL])),
        )
        for number, kind in enumerate(kinds)
    ]


def beside(series: list[SeriesFiles]) -> dict[str, list[str]]:
    return {each.id: [other.id for other in each.companions] for each in series}


@given(inventories())
def test_no_series_is_lost_or_both_by_itself_and_beside_another(series: list[SeriesFiles]) -> None:
    found = beside(paired(series, WANTED))
    companions = {name for names in found.values() for name in names}
    assert found.keys() | companions == {each.id for each in series}
    assert not found.keys() & companions
    assert list(found) == [each.id for each in series if each.id not in companions]
    assert all(len(set(names)) == len(names) for names in found.values())


@given(inventories())
def test_what_stands_beside_a_series_is_of_its_examination_and_person(
    series: list[SeriesFiles],
) -> None:
    for lead in paired(series, WANTED):
        for other in lead.companions:
            assert lead.study is not None
            assert other.study is not None
            assert lead.study[:2] == other.study[:2]
            assert lead.files[0].sequence == "FLAIR"
            assert other.files[0].sequence in {"T1", "T1C"}


@given(inventories(), st.randoms(use_true_random=False))
def test_the_order_of_inputs_does_not_decide_what_stands_beside_what(
    series: list[SeriesFiles], random: object
) -> None:
    found = beside(paired(series, WANTED))
    random.shuffle(series)  # type: ignore[attr-defined]
    assert beside(paired(series, WANTED)) == found


@given(inventories())
def test_a_model_of_one_sequence_leaves_every_series_to_itself(series: list[SeriesFiles]) -> None:
    assert paired(series, ("FLAIR",)) == series


@given(inventories())
def test_a_model_of_the_same_sequence_twice_loses_none(series: list[SeriesFiles]) -> None:
    assert paired(series, ("FLAIR", "FLAIR", None)) == series


@pytest.mark.parametrize(
    "worse",
    [
        {"count": 1, "orientation": SAGITTAL},
        {"count": 3, "step": 20.0, "orientation": SAGITTAL},
        {"count": 12},
        {"first": 400.0, "step": 1.0},
        {"step": 6.0},
        {"study": Study("1.2", 0, "1.9")},
    ],
    ids=["one sagittal slice", "three", "half a head", "elsewhere", "thicker", "another frame"],
)
def test_what_should_be_seen_comes_first(worse: dict[str, object]) -> None:
    other = volume("a", "T1", **worse)  # type: ignore[arg-type]
    (lead,) = paired([volume("flair", "FLAIR"), other, volume("b", "T1")], WANTED)
    assert [each.id for each in lead.companions] == ["b", "a"]


def test_thin_sagittal_slices_of_a_whole_head_come_before_thick_axial_ones() -> None:
    thin = volume("z", "T1", first=-80.0, step=1.0, count=160, orientation=SAGITTAL)
    (lead,) = paired([volume("flair", "FLAIR"), volume("a", "T1"), thin], WANTED)
    assert [each.id for each in lead.companions] == ["z", "a"]
