"""Kinds of models: those that come along, and one that another package brings."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import other_families
import volume_family
from gliomart import Detector, InputRefusedError, Slice, families, scan
from gliomart.errors import ModelCardError, NothingAnalysedError
from gliomart.image.geometry import PLANES
from gliomart.model.contents import ANOMALY_MAP, GraphOutput, InputImage
from gliomart.run import Run
from samples import GOLDEN, PONS_RULES, card, draw_head, golden_slice, tiny_model

_ENTRIES = """
[gliomart.families]
averaging = volume_family:Averaging
ensemble = other_families:Ensemble
paired = other_families:Paired
broken = other_families:Nothing
"""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    metadata = {"gliomart": card(pons=PONS_RULES, family="averaging").to_json()}
    return tiny_model(tmp_path / "volume.onnx", metadata=metadata, pons=True)


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """Install the family as a package of somebody else's, for processes."""
    place = tmp_path / "site"
    about = place / "volume_family-1.0.dist-info"
    about.mkdir(parents=True)
    for module in (volume_family, other_families):
        shutil.copy(str(module.__file__), place)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: volume-family\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(_ENTRIES)
    paths = [str(place), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_a_family_sees_slices_together_and_gives_one_result_for_each(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(families.FAMILIES, "averaging", "volume_family:Averaging")
    slices = [Slice(draw_head(lesion=0.9 * (n == 2), seed=n), source=f"{n}") for n in range(5)]
    blank = replace(slices[0], pixels=np.zeros((256, 256), np.float32), source="blank")
    detector = Detector(volume, provider="cpu")
    seen = detector.detect_series([*slices, blank])
    alone = Detector(tiny_model(tmp_path / "alone.onnx", pons=True), provider="cpu")
    by_itself = alone.detect_series(slices)
    assert [r.slice.source for r in seen.slices] == ["0", "1", "2", "3", "4"]
    assert [r.code for r in seen.not_analysed] == ["blank-slice"]
    maps = [r.anomaly_map for r in by_itself.slices]
    for number, result in enumerate(seen.slices):
        beside = (max(number - 1, 0), number, min(number + 1, 4))
        expected = sum(w * maps[n] for w, n in zip(volume_family.WEIGHTS, beside, strict=True))
        assert np.allclose(result.anomaly_map, expected, atol=1e-5)
        assert result.pons is not None
    assert seen.slices[1].score > by_itself.slices[1].score  # the lesion is next to it
    assert seen.slices[2].score < by_itself.slices[2].score
    assert seen.verdict is not None
    assert seen.pons is not None
    assert detector.warm_up() > 0
    with pytest.raises(InputRefusedError, match="by itself"):
        detector.detect(slices[0])


def test_a_family_of_another_package_runs_through_the_command(
    volume: Path, installed: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "gliomart", "infer", str(GOLDEN), "--model", str(volume)]
    options = ["--out", str(out), "--maps", "--overlays", "all", "--dicom-out", "--json"]
    done = subprocess.run([*command, *options], env=installed, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads(done.stdout)
    assert document == json.loads((out / "results.json").read_text())
    assert len(document["slices"]) + len(document["not_analysed"]) == 24
    (series,) = document["series"]
    assert series["pons"]["coverage"] in {"pons covered", "pons not covered"}
    assert series["dicom"]["not_written"] == []
    for place in series["dicom"]["written"]:
        assert pydicom.dcmread(out / place).SeriesInstanceUID
    for entry in document["slices"]:
        assert np.load(out / entry["map"]).dtype == np.float32
        assert (out / entry["overlay"]).is_file()
    with (out / "results.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 24
    assert (out / "report.html").stat().st_size > 10_000
    assert "not_written" not in document


@pytest.fixture
def ensemble(tmp_path: Path) -> Path:
    """Write a model of two maps, the second half of the first; names and order are its own."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tiny_model(tmp_path / "one.onnx"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["anomaly_map", "half"], ["lower"]))
    shape = ["batch", 256, 256, 1]
    kind = onnx.TensorProto.FLOAT
    model.graph.output.insert(0, onnx.helper.make_tensor_value_info("lower", kind, shape))
    outputs = (*reversed(card().outputs), GraphOutput("lower", ANOMALY_MAP, 0.0, None))
    named = replace(card(family="ensemble"), outputs=outputs)
    onnx.helper.set_model_props(model, {"gliomart": named.to_json()})
    path = tmp_path / "ensemble.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _infer(model: Path, study: Path, out: Path, env: dict[str, str]) -> tuple[Any, str]:
    """Run the command with all outputs; gives results, and what a terminal is told."""
    command = [sys.executable, "-m", "gliomart", "infer", str(study), "--model", str(model)]
    options = ["--out", str(out), "--maps", "--overlays", "all", "--dicom-out"]
    done = subprocess.run([*command, *options], env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads((out / "results.json").read_text())
    assert "not_written" not in document
    for series in document["series"]:
        missing = [each["object"] for each in series["dicom"]["not_written"]]
        assert missing == ["pons.dcm"]  # which these models do not know
        assert series["dicom"]["written"]
    assert (out / "report.html").stat().st_size > 10_000
    return document, done.stdout.decode()


def test_an_ensemble_in_one_file_is_a_family(
    ensemble: Path, installed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, _ = _infer(ensemble, GOLDEN, tmp_path / "out", installed)
    assert len(document["slices"]) == 24
    monkeypatch.setitem(families.FAMILIES, "ensemble", "other_families:Ensemble")
    both = Detector(ensemble, provider="cpu").detect(draw_head(lesion=0.9))
    alone = Detector(tmp_path / "one.onnx", provider="cpu").detect(draw_head(lesion=0.9))
    assert alone.anomaly_map.max() > 0
    assert np.allclose(both.anomaly_map, 0.75 * alone.anomaly_map, atol=1e-6)
    assert Detector(ensemble, provider="cpu").warm_up() > 0


def test_a_family_that_reads_one_map_does_not_pass_over_another(
    ensemble: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(families.FAMILIES, "ensemble", families.FAMILIES["slice"])
    with pytest.raises(ModelCardError, match="two outputs of one role"):
        Detector(ensemble, provider="cpu")


@pytest.fixture
def paired(tmp_path: Path) -> Path:
    images = (InputImage("MR", "FLAIR"), InputImage("MR", "T1"))
    metadata = {"gliomart": card(images=images, family="paired").to_json()}
    return tiny_model(tmp_path / "paired.onnx", metadata=metadata, channels=2)


@pytest.fixture
def two_sequences(tmp_path: Path) -> Path:
    """Write FLAIR and T1 of one study, the last slice of T1 missing, and T1 of another study."""
    study = tmp_path / "study"
    study.mkdir()
    for number in range(1, 25):
        dataset = golden_slice(number)
        dataset.save_as(study / f"flair-{number}.dcm")
        dataset.SeriesDescription, dataset.ScanningSequence = "AX T1", ["SE"]
        dataset.RepetitionTime, dataset.EchoTime = 500.0, 12.0
        del dataset.InversionTime
        for name, uid in (("t1", "1.2.3"), ("other", "1.2.4")):
            if name == "t1" and number == 24:
                continue
            dataset.SeriesInstanceUID = uid
            dataset.SOPInstanceUID = f"{uid}.{number}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            if name == "other":
                dataset.StudyInstanceUID = "1.2.5"
            dataset.save_as(study / f"{name}-{number}.dcm")
    return study


def test_two_sequences_of_a_study_are_seen_together_and_nothing_is_lost(
    paired: Path, two_sequences: Path, installed: dict[str, str], tmp_path: Path
) -> None:
    document, told = _infer(paired, two_sequences, tmp_path / "out", installed)
    (series,) = document["series"]
    assert [note["code"] for note in series["notes"]][:1] == ["seen-together"]
    assert "together with study/t1" in series["notes"][0]["reason"]
    assert "together with study/t1" in told
    (companion,) = series["companions"]
    assert (companion["sequence"], companion["seen"], companion["slices"]) == ("T1", True, 23)
    assert '<th scope="row">T1</th>' in (tmp_path / "out" / "report.html").read_text()
    assert len(document["slices"]) == 23
    assert {Path(each["source"]).name[:5] for each in document["slices"]} == {"flair"}
    refused = [(Path(each["source"]).name, each["code"]) for each in document["not_analysed"]]
    assert ("flair-24.dcm", "missing-sequence") in refused
    assert sum(name.startswith("other") for name, _ in refused) == 24
    assert not any(name.startswith("t1") for name, _ in refused)


def test_a_study_of_two_sequences_is_one_series_for_embedders(
    paired: Path, two_sequences: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(families.FAMILIES, "paired", "other_families:Paired")
    detector = Detector(paired, provider="cpu")
    for other in two_sequences.glob("other-*"):
        other.unlink()
    result = detector.detect_series(two_sequences)
    assert len(result.slices) == 23
    assert [note.code for note in result.notes][:1] == ["seen-together"]
    assert [(each.sequence, each.seen) for each in result.companions] == [("T1", True)]
    streamed = list(detector.stream([two_sequences]))
    assert len(streamed) == 24
    assert detector.warm_up() > 0
    with pytest.raises(InputRefusedError, match="of one sequence"):
        detector.detect(two_sequences / "flair-3.dcm")


def test_companions_of_a_series_that_fails_are_not_lost(
    paired: Path, two_sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(families.FAMILIES, "paired", "other_families:Paired")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("of no consequence")

    monkeypatch.setattr(other_families, "conclude", fail)
    run = Run(Detector(paired, provider="cpu"), scan([two_sequences]), tmp_path / "out")
    with pytest.raises(NothingAnalysedError):
        run.write()
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    names = [Path(each["source"]).name for each in document["not_analysed"]]
    assert sum(name.startswith("t1") for name in names) == 23
    assert sum(name.startswith("flair") for name in names) == 24


def test_a_family_that_does_not_load_is_refused(installed: dict[str, str], tmp_path: Path) -> None:
    broken = {"gliomart": card(family="broken").to_json()}
    model = tiny_model(tmp_path / "broken.onnx", metadata=broken)
    command = [sys.executable, "-m", "gliomart", "info", str(model)]
    done = subprocess.run(command, env=installed, capture_output=True, text=True, check=False)
    assert done.returncode == ModelCardError.exit_status
    assert "family 'broken' does not load" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_family_that_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    strange = {"gliomart": card(family="strange").to_json()}
    model = tiny_model(tmp_path / "strange.onnx", metadata=strange)
    with pytest.raises(ModelCardError, match=r"family 'strange'.*known are slice"):
        Detector(model, provider="cpu")
    command = [sys.executable, "-m", "gliomart", "info", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ModelCardError.exit_status
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_model_without_reconstruction_and_brain_is_run_and_says_so(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    whole = onnx.load(tiny_model(tmp_path / "whole.onnx"))
    kept = [output for output in whole.graph.output if output.name == "anomaly_map"]
    del whole.graph.output[:]
    whole.graph.output.extend(kept)
    bare = card()
    outputs = tuple(each for each in bare.outputs if each.role == "anomaly_map")
    onnx.helper.set_model_props(whole, {"gliomart": replace(bare, outputs=outputs).to_json()})
    path = tmp_path / "bare.onnx"
    path.write_bytes(whole.SerializeToString())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "gliomart", "infer", str(GOLDEN), "--model", str(path)]
    done = subprocess.run(
        [*command, "--out", str(out), "--json", "--dicom-out"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads(done.stdout)
    (series,) = document["series"]
    assert "no-brain-output" in [note["code"] for note in series["notes"]]
    assert series["pons"] is None
    assert "not_written" not in document
    result = Detector(path, provider="cpu").detect(GOLDEN / "slice_012.dcm")
    assert result.brain is None
    assert result.reconstruction is None


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ((InputImage("MR", "FLAIR"), InputImage("MR", "T1")), "needs several images"),
        ((InputImage("CT", None, window=(40.0, 80.0)),), "windows its images"),
    ],
)
def test_what_a_family_would_not_give_a_model_is_refused(
    images: tuple[InputImage, ...], says: str, tmp_path: Path
) -> None:
    metadata = {"gliomart": replace(card(), images=images).to_json()}
    model = tiny_model(tmp_path / "m.onnx", metadata=metadata, channels=len(images))
    with pytest.raises(ModelCardError, match=says):
        Detector(model, provider="cpu")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("plane", PLANES)
def test_volumes_are_turned_into_the_plane_of_the_card(tmp_path: Path, plane: str) -> None:
    metadata = {"gliomart": card(plane=plane).to_json()}
    detector = Detector(tiny_model(tmp_path / "m.onnx", metadata=metadata), provider="cpu")
    (tmp_path / "thin").mkdir()
    for number in range(96):  # a ball of brain, in axial slices a millimetre apart
        dataset = golden_slice()
        y, x = np.ogrid[-128:128, -128:128]
        ball = x**2 + y**2 + (2.2 * (number - 48)) ** 2 < 100**2
        pixels = np.where(ball, np.random.default_rng(number).normal(400, 30, ball.shape), 0)
        dataset.PixelData = np.roll(pixels, 20, axis=1).clip(0).astype(np.uint16).tobytes()
        dataset.PixelSpacing, dataset.SpacingBetweenSlices = [1.0, 1.0], 1.0
        dataset.ImagePositionPatient = [-128.0, -128.0, float(number)]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"1.2.3.{number}", number
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(tmp_path / "thin" / f"{number:03d}.dcm")
    result = detector.detect_series(tmp_path / "thin")
    assert result.slices, result.not_analysed[:1]
    assert {one.slice.plane.name for one in result.slices if one.slice.plane} == {plane}
    shape = (256, 256) if plane == "axial" else (96, 256)
    assert {one.slice.pixels.shape for one in result.slices} == {shape}
