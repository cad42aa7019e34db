"""What reaches the standard library's logging, and what never does."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import onnxruntime
import pydicom
import pytest

from gliomart import Detector, InputRefusedError, Refusal, scan
from samples import GOLDEN, card, tiny_model

without_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="CUDA may run here, and what does not is asked for",
)
NAME = "DOE^Jane\x1b[2J"
SECRETS = ("DOE", "Jane", "19870605", "PID-4711", "1.2.826.0.1.3680043.8.498", "Mercy", "\x1b")


@pytest.fixture
def revealing(tmp_path: Path) -> Path:
    """A study whose paths, names and UIDs say who was examined; some of it is refused."""
    folder = tmp_path / "DOE_Jane_19870605\x1b[31m"
    folder.mkdir()
    for number in range(1, 25):
        dataset = pydicom.dcmread(GOLDEN / f"slice_{number:03}.dcm")
        dataset.PatientName = NAME
        dataset.PatientID = "PID-4711"
        dataset.PatientBirthDate = "19870605"
        dataset.InstitutionName = "Mercy"
        dataset.StudyDescription = "brain, asked for by Dr Mercy"
        dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.1"
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.2.{number}"
        if number == 24:
            dataset.Modality = "CT"
            dataset.SeriesInstanceUID += ".24"
        dataset.save_as(folder / f"DOE^Jane {number}.dcm")
    cut, odd = folder / "DOE^Jane 12.dcm", folder / "DOE^Jane 13.dcm"
    cut.write_bytes(cut.read_bytes()[:-20_000])
    # Values that pydicom itself complains about, and quotes.
    odd.write_bytes(odd.read_bytes().replace(b"8.498.2.13", b"8.498.x.13"))
    (folder / "Mercy.dcm").write_bytes(b"")
    return folder


@pytest.mark.filterwarnings("ignore:::pydicom")
def test_no_record_says_who_was_examined(
    revealing: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # What pydicom complains about it quotes; docs/embedding.md says how to keep it quiet.
    caplog.set_level(logging.CRITICAL, "pydicom")
    caplog.set_level(logging.DEBUG)  # of all other loggers there are
    detector = Detector(model.rename(revealing.parent / "Dr Mercy's.onnx"))
    outcomes = list(detector.stream([revealing]))
    for series in scan([revealing]).series:
        detector.detect_series(series)
    for file in sorted(revealing.iterdir()):
        for image in (file, BytesIO(file.read_bytes())):
            with contextlib.suppress(InputRefusedError):
                detector.detect(image)
    refusals = [item for item in outcomes if isinstance(item, Refusal)]
    assert {"empty-file", "wrong-modality", "truncated"} <= {item.code for item in refusals}
    assert any("DOE" in item.source for item in refusals)
    assert len(caplog.records) > 2 * len(outcomes) > 0
    for record in caplog.records:
        said = f"{record.getMessage()} {record.args} {record.exc_text} {record.__dict__}"
        assert not [secret for secret in SECRETS if secret in said]


@without_cuda
def test_what_is_logged_is_what_runs_and_how_it_goes(
    study: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "gliomart")
    (study / "7.png").write_bytes(b"")
    metadata = {"gliomart": card(name="odd\nname").to_json()}
    named = tiny_model(tmp_path / "odd.onnx", metadata=metadata)
    detector = Detector(named, provider="cuda", allow_fallback=True)
    list(detector.stream([study]))
    said = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "gliomart"]
    sha256 = detector.settings.model_sha256
    assert said[:3] == [
        ("INFO", rf"model odd\nname 1 ({sha256}) on CPUExecutionProvider"),
        ("WARNING", "cuda does not run here; using CPUExecutionProvider"),
        ("INFO", "not analysed: empty-file"),
    ]
    assert len(said) == 3 + 6
    assert all(level == "DEBUG" and "infer" in text for level, text in said[3:])


@without_cuda
def test_the_command_line_says_nothing_of_it(study: Path, model: Path, tmp_path: Path) -> None:
    (study / "7.png").write_bytes(b"")
    command = [
        sys.executable, "-m", "gliomart.cli", "infer", study, "--model", model,
        "--provider", "cuda", "--allow-fallback", "--out", tmp_path / "out",
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stderr == "gliomart: cuda does not run here; using CPUExecutionProvider\n"
    assert "analysed in ms" not in ended.stdout
