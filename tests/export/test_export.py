from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samples import PONS_RULES, card, draw_head, tiny_model

keras = pytest.importorskip("keras", reason="needs the extra: training")
onnx = pytest.importorskip("onnx", reason="needs the extra: export")
pytest.importorskip("tf2onnx", reason="needs the extra: export")

from gliomart import Detector  # noqa: E402
from gliomart.errors import DatasetError  # noqa: E402
from gliomart.findings.calibration import SeriesScores  # noqa: E402
from gliomart.findings.pons import section_score, sum_of_signs  # noqa: E402
from gliomart.findings.scoring import flag  # noqa: E402
from gliomart.image.normalisation import estimate_normalisation  # noqa: E402
from gliomart.image.preprocess import prepare  # noqa: E402
from gliomart.image.slices import Slice  # noqa: E402
from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart.model.contents import SLICE, VOLUME, InputImage  # noqa: E402
from gliomart_export import calibration, conversion  # noqa: E402
from gliomart_training import networks  # noqa: E402
from gliomart_training.dataset import Example, Patient  # noqa: E402
from gliomart_training.localiser import pons_localiser, with_pons  # noqa: E402
from gliomart_training.residual import Residual  # noqa: E402
from untrained import as_seen, untrained  # noqa: E402


def _slices(count: int, seed: int = 0) -> list[Slice]:
    return [Slice(draw_head(seed=seed + n), source=f"{seed}/{n}") for n in range(count)]


def _inputs(spec: Preprocessing) -> np.ndarray:
    slices = _slices(3)
    frame = estimate_normalisation(slices, spec)
    return np.stack([prepare(s, frame, spec).image for s in slices])


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", networks.names())
@pytest.mark.parametrize("channels", [("plain",), ("plain", "clahe")])
def test_every_network_exports_and_keeps_parity(name: str, channels: tuple, tmp_path: Path) -> None:
    spec = Preprocessing(channels=channels)
    keras.utils.set_random_seed(1)
    declared = networks.network(name)
    residual = declared.recipe.residual
    network = untrained(name, spec)
    # A fresh network has zeros where a trained one does not, and nothing holds what it gives within
    # bounds.
    for weights in network.weights:
        weights.assign(0.9 * weights + keras.random.normal(weights.shape, stddev=0.02))
    model = conversion.to_onnx(network, residual)
    assert {i.version for i in model.opset_import if i.domain == ""} == {conversion.OPSET}
    outputs = conversion.declared_outputs(model)
    family = SLICE if declared.slab is None else VOLUME
    further = (InputImage("MR", name, required=False) for name in declared.companions)
    images = (InputImage("MR", "FLAIR"), *further)
    known = card(preprocessing=spec, outputs=outputs, family=family, images=images)
    content = conversion.with_card(model, known)
    seen = as_seen(_inputs(spec), declared)
    differences = conversion.parity(network, residual, content, seen)
    assert max(differences.values()) <= 1e-5 or name == "cevae-gradient"  # of a wider range
    (tmp_path / "m.onnx").write_bytes(content)
    result = Detector(tmp_path / "m.onnx", provider="cpu").detect(draw_head())
    assert result.anomaly_map.shape == (256, 256)
    assert (result.reconstruction is not None) == ("reconstruction" in network.output)
    allowed = {"Add", "AveragePool", "Conv", "Mul", "Relu", "Reshape", "Resize",
               "Sigmoid", "Slice", "Split", "Squeeze", "StridedSlice", "Sub",
               "Transpose", "Unsqueeze", "Concat", "Cast", "Shape", "Identity", "ReduceSum",
               "Div", "Clip", "MaxPool", "Min", "Max", "Neg"}  # fmt: skip
    if name == "dae-sequences":
        allowed |= {"Sign"}
    if name == "acda":
        allowed |= {"MatMul", "Softmax"}
    if name.startswith("cevae"):
        allowed |= {"Abs", "Exp", "Gather", "Softmax", "Tile"}
    if name == "dae-attention":
        allowed |= {"Gather", "MatMul", "Neg", "Reciprocal", "ReduceMean", "ReduceProd", "Softmax",
                    "Sqrt"}  # fmt: skip
    assert {node.op_type for node in model.graph.node} <= allowed


def test_the_pons_is_exported_beside_the_rest(tmp_path: Path) -> None:
    spec = Preprocessing()
    keras.utils.set_random_seed(1)
    network = with_pons(networks.network("dae").build(spec.size, 1), pons_localiser(spec.size))
    for weights in network.weights:
        weights.assign_add(keras.random.normal(weights.shape, stddev=0.02))
    model = conversion.to_onnx(network, Residual())
    assert {output.name for output in model.graph.output} == {
        "reconstruction", "anomaly_map", "brain", "pons",
    }  # fmt: skip
    content = conversion.with_card(model, card(pons=PONS_RULES))
    differences = conversion.parity(network, Residual(), content, _inputs(spec))
    assert set(differences) == {"reconstruction", "anomaly_map", "brain", "pons"}
    (tmp_path / "m.onnx").write_bytes(content)
    pons = Detector(tmp_path / "m.onnx", provider="cpu").detect(draw_head()).pons
    assert pons is not None
    assert pons.probability.shape == (256, 256)


def test_the_map_is_bright_where_a_lesion_is_and_not_beside_the_brain() -> None:
    image = np.full((1, 64, 64, 1), 0.4, np.float32)
    image[:, 10:30, 10:30] = 0.7
    image[:, 40:60, 40:60] = 0.9
    expected = np.full_like(image, 0.4)
    brain = np.ones_like(image)
    brain[:, 36:, 36:] = 0
    shown = keras.ops.convert_to_numpy(
        Residual().anomaly_map(image, {"reconstruction": expected, "brain": brain})
    )
    assert shown.shape == image.shape
    assert shown[0, 20, 20, 0] > 0.25
    assert shown[0, 50, 50, 0] < 0.02
    assert shown[0, 20, 50, 0] < 1e-3
    darker = keras.ops.convert_to_numpy(
        Residual().anomaly_map(expected, {"reconstruction": image, "brain": brain})
    )
    assert darker.max() < 1e-3


def _patients(count: int) -> list[Patient]:
    patients = []
    for number in range(count):
        slices = _slices(4, seed=100 * number)
        slices[3] = replace(slices[3], pixels=draw_head(lesion=0.9, seed=number))
        examples = [Example(s, None, tumour_free=n < 2) for n, s in enumerate(slices)]
        patients.append(Patient(f"p{number}", tuple(examples), ()))
    return patients


def test_calibration_takes_tumour_free_slices_of_every_fold(model: Path) -> None:
    patients = _patients(4)
    calibrated = calibration.calibrate(
        [calibration.score(model, part, scanners=0) for part in (patients[:2], patients[2:])]
    )
    assert "scanner" not in calibrated.method
    assert len(calibrated.slice_scores) == 8
    assert len(calibrated.series_scores) == calibrated.patients == 4
    assert list(calibrated.slice_scores) == sorted(calibrated.slice_scores)
    detector = Detector(model, provider="cpu")
    maps, ill = [], []
    for patient in patients:
        result = detector.detect_series(patient.slices)
        maps += [r.anomaly_map for r in result.slices[:2]]
        ill.append(result.slices[3].score)
    above = np.mean(np.stack(maps) > calibrated.pixel_threshold)
    assert above <= calibrated.pixel_false_alarm_rate
    assert max(calibrated.slice_scores) < min(ill)


def test_patients_are_scored_as_scanned_and_at_drawn_scanners(model: Path) -> None:
    patients = _patients(4)
    scores = calibration.score(model, patients, scanners=2)
    assert [len(patient) for patient in scores] == [3] * 4
    without = calibration.score(model, patients, scanners=0)
    assert [patient[:1] for patient in scores] == without
    calibrated = calibration.calibrate([scores])
    assert len(calibrated.slice_scores) == 3 * 8
    assert calibrated.patients == 4
    assert calibrated.method == (
        "patients held out of training; each as scanned and at 2 drawn scanners, all scores alike"
    )
    assert calibration.calibrate([calibration.score(model, patients, scanners=2)]) == calibrated


@pytest.mark.parametrize(("patients", "series"), [(18, 18), (19, 3 * 19)])
def test_drawn_scanners_do_not_make_patients_enough_for_verdicts_on_series(
    patients: int, series: int
) -> None:
    values = np.empty(0, np.float32)
    scores = [
        tuple(SeriesScores((score,), (), score, values, 10, (), ()) for score in (0.1, 0.2, 0.3))
        for _ in range(patients)
    ]
    calibrated = calibration.calibrate([scores])
    assert len(calibrated.slice_scores) == 3 * patients
    assert len(calibrated.series_scores) == series
    judged = flag(0.01, calibrated.series_scores, 0.05)
    assert (judged is None) == (patients < 19)


def test_the_pons_is_calibrated_on_its_tumour_free_sections(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "knowing.onnx", pons=True)
    patients = _patients(4)
    scores = [calibration.score(model, part, scanners=0) for part in (patients[:2], patients[2:])]
    rules = calibration.calibrate_pons(scores)
    assert len(rules.slice_scores) == 8
    assert len(rules.series_scores) == 4
    assert list(rules.slice_scores) == sorted(rules.slice_scores)
    assert np.exp(rules.medians.size) == pytest.approx(804, abs=10)  # of tiny_model's disk
    series = [part for fold in scores for patient in fold for part in patient]
    sections = [section for part in series for section in part.sections]
    own = [section_score(section.signs, section.anomaly, rules) for section in sections]
    alone = [section for part in series for section in part.single_sections]
    singles = [section_score(section.signs, section.anomaly, rules) for section in alone]
    assert rules.single_scores == pytest.approx(sorted(singles), abs=1e-5)
    pairs = zip(own[::2], own[1::2], strict=True)  # the tumour-free slices of a patient
    expected = [share * a + (1 - share) * b for a, b in pairs for share in (14 / 17, 3 / 17)]
    assert rules.neighbours == (0.15, 0.7, 0.15)
    assert rules.slice_scores == pytest.approx(sorted(expected), abs=1e-5)
    assert rules.slice_scores[0] >= 0
    assert rules.scales is not None
    for test, scale in (
        (lambda shown: sum_of_signs(shown.signs, rules), rules.scales.signs),
        (lambda shown: shown.anomaly, rules.scales.anomaly),
    ):
        values = [test(section) for section in sections]
        assert scale == pytest.approx(max(np.quantile(values, 0.95), 1e-3), abs=1e-9)
    pixels = np.concatenate([section.pixels for section in sections])
    assert np.mean(pixels > rules.pixel_threshold) <= rules.pixel_false_alarm_rate


def test_nothing_to_calibrate_on_is_an_error(model: Path) -> None:
    nothing = [calibration.score(model, [Patient("p", (), ())], scanners=2)]
    with pytest.raises(DatasetError):
        calibration.calibrate(nothing)
    with pytest.raises(DatasetError, match="shows the pons"):
        calibration.calibrate_pons(nothing)
