"""What puts lesions of other kinds into slices, and counts what systems make of them."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import conditions
import other_lesions
from gliomart.image.steps import Preprocessing
from gliomart_training import dataset
from gliomart_training.evaluation.metrics import Bootstrap
from heads import SIZE, write_departure_model, write_heads, write_model
from side_by_side import seen

if TYPE_CHECKING:
    from pathlib import Path

    from gliomart_training.patients import Patient
    from other_lesions import Changed
    from side_by_side import Seen

MARKED = (2, 3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads in which the pons is marked in two slices of the patient without a tumour."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "lgg_flair").mkdir()
    write_heads(folder / "lgg_flair")
    with (folder / "lgg_flair" / "pons.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "cx", "cy", "rx", "ry"])
        table.writerows([f"three-{n:02}.png", 32, 36, 6, 5] for n in MARKED)
    return folder


@pytest.fixture(scope="module")
def three(data: Path) -> Patient:
    patients = dataset.load(data / "lgg_flair", "dev")
    return next(patient for patient in patients if patient.id == "three")


@pytest.fixture(scope="module")
def brains(three: Patient) -> dict[int, Seen]:
    return seen(three, Preprocessing(size=SIZE))


@pytest.fixture(scope="module")
def changed(three: Patient, brains: dict[int, Seen]) -> dict[str, Changed]:
    return {kind.name: kind.change(three, brains) for kind in other_lesions.kinds()}


def test_brains_are_found_without_any_model(brains: dict[int, Seen], three: Patient) -> None:
    brain = brains[7].brain
    assert brain.shape == three.slices[7].pixels.shape
    assert brain[32, 32]
    assert not brain[0, 0]
    assert 12 not in brains  # blank


def test_gliomas_of_the_pons_lie_where_it_is_marked(
    changed: dict[str, Changed], three: Patient
) -> None:
    names = [name for name in changed if name.startswith("pons: ")]
    assert len(names) == 8
    for name in names:
        assert tuple(changed[name].lesions) == MARKED
        for number in MARKED:
            lesion = changed[name].lesions[number]
            assert lesion[36, 32] or "25%" in name
            assert not np.array_equal(
                changed[name].slices[number].pixels, three.slices[number].pixels
            )


def test_other_lesions_lie_in_neighbouring_tumour_free_slices_above_it(
    changed: dict[str, Changed], three: Patient
) -> None:
    numbers = other_lesions.supratentorial(three)
    assert numbers == [6, 7, 8, 9, 10]  # of thirteen, as one cannot be read
    for name in ("brain: dark, -20%", "brain: dark, -50%", "brain: swollen ×1.5"):
        lesions = changed[name].lesions
        assert lesions.keys() <= set(numbers)
        assert len(lesions) >= 3
        for number, (before, after) in enumerate(
            zip(three.slices, changed[name].slices, strict=True)
        ):
            assert np.array_equal(before.pixels, after.pixels) == (number not in lesions)
            assert after.pixels.dtype == np.float32


def test_patients_with_a_tumour_up_there_are_left_as_they_are(data: Path) -> None:
    patients = {patient.id: patient for patient in dataset.load(data / "lgg_flair", "dev")}
    # That of "one" ends at the sixth slice; that of "two" is in the last one as well.
    assert other_lesions.supratentorial(patients["one"]) == [9, 10]
    assert other_lesions.supratentorial(patients["two"]) == [8, 9]


def test_dark_lesions_darken_the_same_places_by_what_they_say(
    changed: dict[str, Changed], three: Patient, brains: dict[int, Seen]
) -> None:
    faint, dark = changed["brain: dark, -20%"], changed["brain: dark, -50%"]
    for number, where in dark.lesions.items():
        assert np.array_equal(where, faint.lesions[number])
        change = dark.slices[number].pixels - three.slices[number].pixels
        assert change.max() <= 0
        assert not change[~brains[number].brain].any()
        level = brains[number].level
        assert -0.9 * level < change[where].mean() < -0.2 * level
        smaller = faint.slices[number].pixels - three.slices[number].pixels
        assert change[where].mean() < 2 * smaller[where].mean() < 0


def test_swelling_moves_tissue_and_brightens_nothing(
    changed: dict[str, Changed], three: Patient
) -> None:
    made = changed["brain: swollen ×1.5"]
    for number, where in made.lesions.items():
        before, after = three.slices[number].pixels, made.slices[number].pixels
        assert before.min() <= after.min() <= after.max() <= before.max()
        assert after[where].mean() == pytest.approx(before[where].mean(), rel=0.1)


def test_a_tally_counts_slices_with_a_lesion_against_the_same_ones_untouched() -> None:
    tally = conditions.Tally()
    for scores in ([0.5, 0.1], [0.7]):
        tally.ill.append([(score, score > 0.4) for score in scores])
        tally.well.append([(0.2, False) for _ in scores])
        tally.pixels.append(np.zeros((2, conditions.BINS), np.uint32))
        tally.pixels[-1][:, :2] = [[9, 1], [0, 2]]
    figures = tally.figures(Bootstrap(20).draw(2))
    assert tally.slices == 3
    assert figures["slice_auroc"].value == pytest.approx(2 / 3)
    assert figures["flag_sensitivity"].value == pytest.approx(2 / 3)
    assert figures["flagged_untouched"].value == 0
    assert figures["pixel_average_precision"].value == pytest.approx(2 / 3)


def test_all_systems_are_measured_on_all_kinds(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bright = write_model(tmp_path / "bright.onnx")
    departure = write_departure_model(tmp_path / "departure.onnx")
    out, kinds = tmp_path / "out.json", ("brain: dark, -50%", "pons: soft, 100% at +35%")
    words = ["conditions", data, "--runs", bright, departure, "--against", "bright"]
    words += ["--split", "dev", "--resamples", 20, "--only", *kinds, "--out", out]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    conditions.main()
    result: dict[str, Any] = json.loads(out.read_text())
    assert result["slices"][kinds[1]] == 2
    dark = {name: each["figures"][kinds[0]] for name, each in result["systems"].items()}
    # What looks for brightness alone does not see what is dark; what looks for departures does.
    assert dark["departure"]["pixel_average_precision"]["value"] > 0.3
    assert dark["bright"]["pixel_average_precision"]["value"] < 0.2
    less = result["systems"]["departure"]["less"]["bright"][kinds[0]]["pixel_average_precision"]
    assert less["value"] > 0.1
    assert result["systems"]["bright"]["plaques"] == {}
    assert f"| {kinds[0]} ({result['slices'][kinds[0]]} slices) |" in capsys.readouterr().out
