"""What a model knows is fitted on patients and changed copies of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from gliomart.errors import UsageError
from gliomart.findings.familiar import unfamiliar
from gliomart.image.slices import Slice
from gliomart.image.steps import Preprocessing
from gliomart.model.familiar import Familiar
from gliomart_export import familiarity, looks
from gliomart_export.commands import export_parser
from gliomart_training.patients import Example, Patient
from gliomart_training.unfamiliar import TURNS, resliced, turned, with_bright_fluid
from samples import golden_slice

SPEC = Preprocessing()


def _patient(name: int) -> Patient:
    """Take the simulated head, a little larger or smaller and brighter or darker in each."""
    examples = []
    for number in range(5, 21, 2):
        pixels = golden_slice(number).pixel_array.astype(np.float32) * (1 + 0.1 * name)
        warp = cv2.getRotationMatrix2D((128, 128), 2.0 * name - 5, 1 - 0.02 * name)
        warped = cv2.warpAffine(pixels, warp, pixels.shape[::-1])
        examples.append(Example(Slice(np.asarray(warped, np.float32), f"{number}"), None, True))
    return Patient(str(name), tuple(examples), ())


@pytest.fixture(scope="module")
def seen() -> list[looks.Seen]:
    return [looks.see(_patient(n), SPEC, {}) for n in range(5)]


@pytest.fixture(scope="module")
def familiar(seen: list[looks.Seen]) -> Familiar:
    return familiarity.fit([seen[:2], seen[2:4]], [], looks.pictures(SPEC, 20), ())


def test_what_is_turned_is_told_of_a_patient_that_was_not_fitted_on(
    seen: list[looks.Seen], familiar: Familiar
) -> None:
    assert {kind.code for kind in familiar.kinds} >= {"turned", "not-a-head", "skull-stripped"}
    good, *_ = seen[4].series[looks.GOOD]
    assert unfamiliar(good, familiar) == []
    for how in TURNS:
        (concern, *_) = unfamiliar(seen[4].series[how][0], familiar)
        assert concern.code in {"turned", "not-a-head"}
    assert familiar.brain is not None
    assert 0 < familiar.brain.bound < 1


def test_an_image_by_itself_is_judged_apart_from_a_series(
    seen: list[looks.Seen], familiar: Familiar
) -> None:
    assert all((k.series_bound is None) != (k.image_bound is None) for k in familiar.kinds)
    told = [unfamiliar(look[np.newaxis], familiar) for look in seen[4].images[looks.GOOD]]
    turned_over = [
        unfamiliar(look[np.newaxis], familiar) for look in seen[4].images["a head upside down"]
    ]
    # The bounds of four patients are wide apart from a fifth, and his turned images further.
    turned_share = np.mean([bool(concerns) for concerns in turned_over])
    assert np.mean([bool(concerns) for concerns in told]) < turned_share


def test_images_without_brain_are_kept_apart() -> None:
    slices = _patient(0).slices
    empty = looks.Seen()
    empty.add(looks.GOOD, slices, SPEC, [np.zeros(s.pixels.shape, bool) for s in slices])
    assert not empty.images[looks.GOOD]
    assert len(empty.images[looks.WITHOUT_BRAIN]) == len(slices)


def test_all_kinds_together_stop_the_nominal_part_of_good_scans(
    seen: list[looks.Seen], familiar: Familiar
) -> None:
    good = [look for each in seen[:4] for look in each.images[looks.GOOD]]
    told = [bool(unfamiliar(look[np.newaxis], familiar)) for look in good]
    assert np.mean(told) <= 2 * familiarity.STOPPED


def test_changed_copies_are_what_they_are_called() -> None:
    slices = _patient(0).slices
    upside_down = turned(slices, "a head upside down")
    assert np.array_equal(upside_down[3].pixels, slices[3].pixels[::-1])
    assert all(s.plane is None for s in upside_down)
    sagittal = resliced(slices, "sagittal")
    assert len(sagittal) == len(slices)
    masks = [np.zeros(s.pixels.shape, bool) for s in slices]
    masks[4][100:140, 100:140] = True
    wet = with_bright_fluid(slices, masks)
    assert (wet[4].pixels >= slices[4].pixels).all()
    assert np.array_equal(wet[0].pixels, slices[0].pixels)


def test_pictures_of_other_sequences_are_read_by_patient(tmp_path: Path) -> None:
    (tmp_path / "p1").mkdir()
    picture = np.arange(4096, dtype=np.uint8).reshape(64, 64)
    assert cv2.imwrite(str(tmp_path / "p1" / "1.webp"), picture)
    (tmp_path / "p1" / "note.txt").write_text("no picture")
    assert len(looks.others_of("p1", {"a T1": tmp_path})["a T1"]) == 1
    assert looks.others_of("p2", {"a T1": tmp_path}) == {}


@pytest.mark.parametrize("argument", ["t1", "=folder", "t1="])
def test_a_sequence_without_its_folder_is_refused(argument: str) -> None:
    with pytest.raises(UsageError, match="is not NAME=DIR"):
        export_parser().parse_args(["a.keras", "a.onnx", "--unlike", argument])
