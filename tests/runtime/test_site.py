"""A site's own calibration: what it promises, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import niftis
from gliomart import Detector, cli, sources
from gliomart.errors import DatasetError, ModelCardError
from gliomart.findings.calibration import SectionValues, SeriesScores
from gliomart.findings.scoring import highest_unflagged, p_value
from gliomart.model import onnx_file
from gliomart.model.built_in import built_in_file
from gliomart.model.card import ModelCard
from gliomart.model.contents import Signs
from gliomart.site.calibration import (
    SitePatient,
    SiteScores,
    measure,
    models_own,
    site_card,
    to_be_looked_at,
)
from gliomart.site.check import check, students_t
from gliomart.site.scans import by_patient, scanners_of, sequences_of
from processes import finish
from runs import run_and_do
from samples import PONS_RULES, card, draw_head, golden_slice, odd_dicom, tiny_model

_GLIOMART = [sys.executable, "-m", "gliomart.cli"]


def draw_patients(folder: Path, count: int, *, slices: int = 5, brightest: float = 0.6) -> Path:
    """Write patients as folders of pictures, each a little brighter somewhere than the next."""
    for patient in range(count):
        (folder / f"p{patient:02d}").mkdir(parents=True)
        strengths = np.random.default_rng(patient).uniform(0.3, brightest, slices)
        for number, strength in enumerate(strengths):
            drawn = draw_head((96, 96), lesion=float(strength), seed=patient) / 5
            # From scalp to skull brightness falls over more than a pixel, as in any scan.
            pixels = cv2.GaussianBlur(drawn, (0, 0), 1.0)
            name = str(folder / f"p{patient:02d}" / f"{number}.png")
            assert cv2.imwrite(name, pixels.clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_patients(tmp_path_factory.mktemp("site") / "scans", 40)


@pytest.fixture(scope="module")
def site_model(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model calibrated on the scans, in a process of its own; the one it came from beside it."""
    folder = tmp_path_factory.mktemp("models")
    model = tiny_model(folder / "tiny.onnx", pons=True, metadata=_card(pons=PONS_RULES))
    out = folder / "site.onnx"
    finish([*_GLIOMART, "calibrate", scans, "--model", model, "--out", out])
    return out


def _card(**changes: object) -> dict[str, str]:
    return {"gliomart": card(**changes).to_json()}  # type: ignore[arg-type]


def _scores(value: float, *, sections: bool = False) -> SeriesScores:
    shown = (SectionValues(0, Signs(value, 0, 0, 0), value, np.full(9, value, np.float32)),)
    highest = np.full(50, value, np.float32)
    return SeriesScores(
        (value,),
        (value,),
        value,
        highest,
        1000,
        shown if sections else (),
        shown if sections else (),
    )


def _site(count: int, **options: bool) -> SiteScores:
    values = np.linspace(0.1, 1, count)
    patients = [SitePatient(f"p{n}", (_scores(v, **options),)) for n, v in enumerate(values)]
    return SiteScores(tuple(patients), (), ("FLAIR",), {})


def test_what_one_process_calibrates_another_uses(
    scans: Path, site_model: Path, tmp_path: Path
) -> None:
    command = [*_GLIOMART, "infer", scans / "p00", "--model", site_model, "--out", tmp_path / "r"]
    told = finish(command).stdout
    assert "thresholds: this site's own, of 20" in told
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert results["model"]["site"]["patients"] == 40
    assert results["model"]["site"]["kept"] == []
    detector = Detector(site_model, provider="cpu")
    for entry in results["slices"]:
        expected = p_value(entry["score"], detector.calibration.slice_scores)
        assert entry["p_value"] == pytest.approx(expected, abs=0.02)
    assert "by this site on" in (tmp_path / "r" / "report.html").read_text()
    shown = finish([*_GLIOMART, "info", site_model]).stdout
    assert "scans of its own: 40 patients, 40 series, 200 slices" in " ".join(shown.split())


def test_weights_and_everything_else_in_the_file_stay_as_they_are(site_model: Path) -> None:
    before = site_model.with_name("tiny.onnx").read_bytes()
    after = site_model.read_bytes()
    assert before != after
    own = card(pons=PONS_RULES).to_json()
    assert onnx_file.with_metadata(after, "gliomart", own) == before
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_from_string(after), full_check=True)


def test_the_card_keeps_both_calibrations_and_no_patient(site_model: Path, scans: Path) -> None:
    read = Detector(site_model, provider="cpu").card
    assert read.site is not None
    assert read.calibration is not None
    assert read.site.model_calibration == card().calibration
    assert read.calibration.slice_scores != read.site.model_calibration.slice_scores
    assert len(read.calibration.slice_scores) == 200
    assert len(read.calibration.series_scores) == 40
    assert read.calibration.single_scores is not None
    assert len(read.calibration.single_scores) == 200
    assert read.site.model_judges[0].rules == PONS_RULES
    assert read.judges[0].rules is not None
    assert len(read.judges[0].rules.slice_scores) == 200
    assert read.judges[0].rules.medians == PONS_RULES.medians
    assert (read.site.patients, read.site.kept) == (40, ())
    text = read.to_json()
    assert not any(path.name in text for path in scans.iterdir())


def test_a_model_is_calibrated_anew_from_its_own_calibration(
    scans: Path, site_model: Path, tmp_path: Path
) -> None:
    first = Detector(site_model, provider="cpu").card
    again = tmp_path / "again.onnx"
    assert cli.main(["calibrate", str(scans), "--model", str(site_model), "--out", str(again)]) == 0
    second = Detector(again, provider="cpu").card
    assert second.site is not None
    assert first.site is not None
    assert replace(second.site, date=first.site.date) == first.site
    assert second.calibration == first.calibration


def test_a_check_tells_patient_by_patient_and_writes_nothing(
    scans: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    arguments = ["calibrate", str(scans), "--model", str(model), "--check"]
    assert cli.main([*arguments, "--out", str(tmp_path / "site.onnx")]) == 0
    said = capsys.readouterr()
    assert "site.onnx: not written, since --check was given" in said.err
    lines = said.out.splitlines()
    rows = [line.split() for line in lines[1:41]]
    assert sorted(row[-1] for row in rows) == [f"scans/p{n:02d}" for n in range(40)]
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
    assert "40 patients, 200 slices" in lines[41]
    assert "level 0.05" in lines[42]
    assert sorted(tmp_path.iterdir()) == before


def test_a_site_like_the_calibration_seldom_differs_and_a_brighter_one_does() -> None:
    rng, differ, calibration = np.random.default_rng(0), 0, card().calibration
    assert calibration is not None
    for _ in range(300):
        reference, own = rng.gamma(3, size=(40, 20)), rng.gamma(3, size=(25, 20))
        reference *= rng.lognormal(0, 0.5, (40, 1))  # slices of one patient are alike
        own *= rng.lognormal(0, 0.5, (25, 1))
        healthy = tuple(sorted(reference.ravel().tolist()))
        known = replace(calibration, slice_scores=healthy, patients=40)
        found = check([_patient(row) for row in own], known)
        assert check([_patient(3 * row) for row in own], known).differs
        differ += found.differs
    assert 0.02 < differ / 300 < 0.09


def _patient(scores: np.ndarray) -> SitePatient:
    one = SeriesScores(tuple(scores.tolist()), (), 0.0, np.empty(0, np.float32), 1, (), ())
    return SitePatient("p", (one,))


def test_the_tail_of_students_t_is_that_of_the_tables() -> None:
    for t, freedom, tail in ((12.706, 1, 0.05), (2.093, 19, 0.05), (2.704, 40, 0.01), (0, 7, 1)):
        assert students_t(t, freedom) == pytest.approx(tail, rel=2e-3)


def test_fewer_than_forty_patients_leave_the_series_to_the_model() -> None:
    own = card(pons=PONS_RULES)
    assert own.calibration is not None
    made = site_card(own, "0" * 64, _site(25, sections=True))
    assert made.site is not None
    assert made.calibration is not None
    assert made.site.kept == ("series", "pons series")
    assert made.calibration.series_scores == own.calibration.series_scores
    assert len(made.calibration.slice_scores) == 25
    assert made.judges[0].rules is not None
    assert made.judges[0].rules.series_scores == PONS_RULES.series_scores
    assert len(made.judges[0].rules.slice_scores) == 25
    assert made.judges[0].rules.single_scores == made.judges[0].rules.slice_scores


def test_sections_by_themselves_are_calibrated_where_they_are_scored_otherwise() -> None:
    own = card(pons=replace(PONS_RULES, neighbours=(0.25, 0.5, 0.25)))
    made = site_card(own, "0" * 64, _site(40, sections=True), contaminated=0.1)
    rules = made.judges[0].rules
    assert rules is not None
    assert rules.single_scores is not None
    assert len(rules.single_scores) == len(rules.slice_scores) == 36


def test_a_card_whose_site_makes_no_sense_is_refused() -> None:
    made = site_card(card(pons=PONS_RULES), "0" * 64, _site(25, sections=True))
    assert made.site is not None
    odd = replace(made.site.model_calibration, pixel_threshold=-1.0)
    for change, words in (
        ({"contaminated": 2.0}, "its site's contaminated 2.0"),
        ({"patients": -1}, "its site's patients -1"),
        ({"model_calibration": odd}, "its site's pixel_threshold"),
    ):
        site = replace(made.site, **change)  # type: ignore[arg-type]
        with pytest.raises(ModelCardError, match=words):
            ModelCard.from_json(replace(made, site=site).to_json())


def test_a_pons_that_few_patients_show_is_left_to_the_model() -> None:
    made = site_card(card(pons=PONS_RULES), "0" * 64, _site(40))
    assert made.site is not None
    assert made.site.kept == ("pons", "pons series")
    assert made.judges == card(pons=PONS_RULES).judges


def test_ill_patients_that_are_allowed_for_only_raise_thresholds() -> None:
    own, sites = card(pons=PONS_RULES), _site(40, sections=True)
    clean, careful = (site_card(own, "", sites, contaminated=share) for share in (0.0, 0.1))
    assert clean.calibration is not None
    assert careful.calibration is not None
    for name in ("slice_scores", "series_scores"):
        few, many = getattr(careful.calibration, name), getattr(clean.calibration, name)
        assert len(few) == 36
        low, high = (highest_unflagged(scores, 0.05) for scores in (many, few))
        assert low is not None
        assert high is not None
        assert high >= low
    assert careful.site is not None
    assert careful.site.contaminated == 0.1


def test_those_who_score_highest_are_to_be_looked_at() -> None:
    assert [each.source for each in to_be_looked_at(_site(40), 0.05)] == [
        "p39",
        "p38",
        "p37",
        "p36",
    ]
    assert to_be_looked_at(_site(40), 0.0) == []


def _tell(scanner: str, patient: str | None, study: str, number: int) -> object:
    dataset = golden_slice(12)
    dataset.SeriesInstanceUID = f"1.2.{number}"
    dataset.SOPInstanceUID = f"1.3.{number}"
    dataset.StudyInstanceUID = f"1.4.{study}"
    dataset.PatientID, dataset.PatientName = patient or "", patient or ""
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.Manufacturer, dataset.ManufacturerModelName = "MAKER", scanner
    dataset.MagneticFieldStrength = 3
    return dataset


@odd_dicom
def test_patients_are_told_by_their_headers_and_scanners_are_counted() -> None:
    told = [("A", "one", "1"), ("A", "one", "2"), ("B", "two", "3"), ("B", None, "4"),
            ("B", None, "4"), ("B", None, "5")]  # fmt: skip
    datasets = [_tell(*each, number) for number, each in enumerate(told, start=1)]
    series = sources.scan_datasets(datasets).series  # type: ignore[arg-type]
    assert [len(own) for own in by_patient(series)] == [2, 1, 2, 1]
    scanners = [(each.model, each.series) for each in scanners_of(series)]
    assert scanners == [("B", 4), ("A", 2)]
    assert scanners_of(series)[0].field_strength_t == 3
    assert sequences_of(series) == ("FLAIR",)


def _bids(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name.split("_")[0] / "anat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(niftis.volume(s=(niftis.affine(), 1)))
    return folder


def test_volumes_of_one_subject_are_of_one_patient(tmp_path: Path) -> None:
    names = ("sub-01_ses-1_FLAIR.nii", "sub-01_ses-2_FLAIR.nii", "sub-02_FLAIR.nii")
    series = sources.scan([_bids(tmp_path, *names)]).series
    assert [len(own) for own in by_patient(series)] == [2, 1]


def test_scans_of_several_sequences_have_scores_of_several_kinds(tmp_path: Path) -> None:
    series = sources.scan([_bids(tmp_path, "sub-01_FLAIR.nii", "sub-02_T1w.nii")]).series
    with pytest.raises(DatasetError, match=r"mixed sequences, FLAIR \(1 series\), T1 \(1 series\)"):
        sequences_of(series)


def _refused(
    capsys: pytest.CaptureFixture[str], status: int, words: str, *arguments: object
) -> None:
    assert cli.main(["calibrate", *map(str, arguments)]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_scans_that_cannot_calibrate_are_refused_in_one_line(
    scans: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = ("--model", model, "--out", tmp_path / "site.onnx")
    few = [scans / f"p{number:02d}" for number in range(19)]
    _refused(capsys, 8, "too few patients: 19, and 20 are needed", *few, *to)
    some = _bids(tmp_path / "some", "sub-01_FLAIR.nii", "sub-02_T1w.nii")
    _refused(capsys, 8, "too few patients: 1, and 20 are needed", some, *to)
    other = _bids(tmp_path / "other", "sub-02_T2w.nii")
    _refused(capsys, 8, "the name tells of T2; the model was made for FLAIR", other, *to)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"\x89PNG no more")
    _refused(capsys, 8, "not one slice could be analysed, such as", tmp_path / "broken", *to)
    _refused(capsys, 2, "no such", tmp_path / "nowhere", *to)
    assert not (tmp_path / "site.onnx").exists()


def test_places_that_cannot_be_written_are_refused_before_anything_is_read(
    scans: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_model = (scans, "--model", model, "--out")
    content = model.read_bytes()
    _refused(capsys, 2, "is read as well", *with_model, model)
    _refused(capsys, 2, "no such folder", *with_model, tmp_path / "no" / "site.onnx")
    _refused(capsys, 2, "has to end in .onnx", *with_model, tmp_path / "site.keras")
    _refused(capsys, 2, "give --out", scans, "--model", model)
    (tmp_path / "site.onnx").write_text("mine")
    _refused(capsys, 2, "exists already; give --overwrite", *with_model, tmp_path / "site.onnx")
    (tmp_path / "other-fp32.onnx").write_text("mine")
    _refused(capsys, 2, "other-fp32.onnx: exists", scans, "--out", tmp_path / "other.onnx")
    named = (scans, "--model", "flair-t1-dae", "--out")
    _refused(capsys, 2, "other-fp32.onnx: exists", *named, tmp_path / "other.onnx")
    with built_in_file("cuda") as built_in:
        _refused(capsys, 2, "is read as well", scans, "--out", built_in)
    assert (tmp_path / "site.onnx").read_text() == (tmp_path / "other-fp32.onnx").read_text()
    assert model.read_bytes() == content


@pytest.mark.parametrize("share", ["-0.1", "0.5", "nan", "many"])
def test_a_share_of_ill_patients_that_is_none_is_refused(
    share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _refused(capsys, 2, "is not a share", "scans", "--check", f"--contaminated={share}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibration": None}, "has not been calibrated"),
        ({"family": "volume-of-nobody"}, "family 'volume-of-nobody'"),
    ],
)
def test_a_model_that_cannot_be_calibrated_is_refused(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    changes: dict[str, object], words: str,
) -> None:  # fmt: skip
    model = tiny_model(tmp_path / "odd.onnx", metadata=_card(**changes))
    _refused(capsys, 4, words, scans, "--model", model, "--out", tmp_path / "site.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["odd.onnx"]


def test_an_earlier_file_is_replaced_where_that_is_asked_for(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "site.onnx"
    out.write_text("mine")
    command = ["calibrate", scans, "--model", model, "--out", out, "--overwrite"]
    assert cli.main([str(word) for word in command]) == 0
    assert Detector(out, provider="cpu").card.site is not None


def test_an_interrupted_calibration_leaves_nothing(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "site.onnx"
    command = ["calibrate", scans, "--model", model, "--out", out]
    done = run_and_do("os.kill(os.getpid(), 2)", "p05/3.png", *command, count=2)
    assert done.returncode == 130
    assert done.stderr.splitlines() == ["gliomart: interrupted; nothing was written"]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]


def test_a_file_that_another_process_wrote_meanwhile_is_not_replaced(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "site.onnx"
    command = ["calibrate", scans, "--model", model, "--out", out]
    write = f"open({str(out)!r}, 'w').write('theirs')"
    done = run_and_do(write, "p05/3.png", *command, count=2)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("exists already; give --overwrite to replace it")
    assert out.read_text() == "theirs"


def test_what_could_not_be_analysed_is_told(
    scans: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    paths = [str(scans), str(tmp_path / "broken.png")]
    assert cli.main(["calibrate", *paths, "--model", str(model), "--check"]) == 0
    assert "not analysed, and left out: 1 " in capsys.readouterr().err


def test_a_part_of_a_series_does_not_count(
    scans: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = draw_patients(tmp_path / "part", 1, slices=4)
    paths = [str(scans), str(part)]
    assert cli.main(["calibrate", *paths, "--model", str(model), "--check"]) == 0
    told = capsys.readouterr()
    assert "40 patients, 200 slices" in told.out
    assert "left out: 4 part-of-a-series" in told.err


def test_two_patients_at_least_are_needed_to_tell_a_site_apart(scans: Path, model: Path) -> None:
    detector = Detector(model, provider="cpu")
    site = measure(detector, sources.scan([scans / "p00"]))
    with pytest.raises(DatasetError, match="too few patients: 1"):
        check(site.patients, models_own(detector.card)[0])


@pytest.mark.slow
def test_without_a_model_both_built_in_ones_are_calibrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = draw_patients(tmp_path / "scans", 20)
    assert cli.main(["calibrate", str(scans), "--out", str(tmp_path / "site.onnx")]) == 0
    told = capsys.readouterr().out
    assert "flair-dae.onnx: flair-dae" in told
    cpu, gpu = (Detector(tmp_path / f"site{end}.onnx", provider="cpu") for end in ("", "-fp32"))
    assert cpu.card.site is not None
    assert gpu.card.site is not None
    assert cpu.card.network["precision"] == "int8"
    assert gpu.card.network["precision"] == "fp32"
