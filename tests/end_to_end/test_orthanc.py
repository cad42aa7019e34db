"""The DICOM objects in a real archive: Orthanc, started here, on this machine alone."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from examinations import series, t1, tagged
from gliomart import Detector, cli
from gliomart.outputs import pictures
from samples import GOLDEN

pytest.importorskip("highdicom")

from gliomart.outputs import dicom

# Debian installs it where only administrators' search paths lead.
_ORTHANC = shutil.which("Orthanc", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
_STORESCU = shutil.which("storescu")
_STARTS_WITHIN_S = 60.0

pytestmark = pytest.mark.skipif(
    _ORTHANC is None or _STORESCU is None, reason="orthanc and dcmtk are not installed"
)


@dataclass(frozen=True)
class Archive:
    """A running Orthanc: its ports for DICOM and for REST."""

    dicom: int
    rest: int

    def store(self, *files: Path, options: tuple[str, ...] = ()) -> None:
        assert _STORESCU is not None
        # Without "required" it proposes a list of kinds of objects that lacks segmentations.
        options = ("--required", *options)
        command = [_STORESCU, *options, "127.0.0.1", str(self.dicom), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def get(self, path: str) -> bytes:
        with urlopen(f"http://127.0.0.1:{self.rest}{path}", timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("orthanc")
    ports = Archive(_free_port(), _free_port())
    configuration = {
        "Name": "gliomart tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [],
        "DicomPort": ports.dicom,
        "HttpPort": ports.rest,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "SaveJobs": False,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    assert _ORTHANC is not None
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [_ORTHANC, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder
        )
        try:
            _wait_for(ports, process, folder / "log.txt")
            yield ports
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_for(archive: Archive, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            archive.get("/system")
        except URLError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"Orthanc does not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def stack() -> dicom.Stack:
    detector = Detector(provider="cpu")
    series = detector.detect_series(GOLDEN)
    headers = [
        pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(GOLDEN.glob("*.dcm"))
    ]
    assert series.verdict is not None
    limit = detector.calibration.display_limit
    return dicom.Stack(series.slices, headers, series.verdict, series.structures, limit)


def test_an_archive_files_every_object_beside_the_images(
    archive: Archive, stack: dicom.Stack, tmp_path: Path
) -> None:
    sent = {}
    for made in dicom.objects(stack):
        assert made.dataset is not None
        (tmp_path / made.name).write_bytes(dicom.encoded(made.dataset))
        sent[str(made.dataset.SOPInstanceUID)] = tmp_path / made.name
    archive.store(*GOLDEN.glob("*.dcm"), options=("--propose-rle",))  # as they are compressed
    archive.store(*sent.values())

    (study,) = archive.json("/studies?expand")
    assert study["MainDicomTags"]["StudyInstanceUID"] == stack.header.StudyInstanceUID
    assert study["PatientMainDicomTags"]["PatientID"] == stack.header.PatientID
    modalities = sorted(
        archive.json(f"/series/{series}")["MainDicomTags"]["Modality"] for series in study["Series"]
    )
    assert modalities == ["MR", "OT", "OT", "SEG", "SR"]

    kept = {
        instance["MainDicomTags"]["SOPInstanceUID"]: instance["ID"]
        for instance in archive.json("/instances?expand")
    }
    assert len(kept) == len(sent) + len(stack.results)
    for uid, file in sent.items():
        back = tmp_path / "back.dcm"
        back.write_bytes(archive.get(f"/instances/{kept[uid]}/file"))
        original, returned = pydicom.dcmread(file), pydicom.dcmread(back)
        assert returned == original, file.name
        if original.SOPClassUID.name != "Comprehensive 3D SR Storage":
            assert np.array_equal(returned.pixel_array, original.pixel_array)


def test_an_archive_shows_the_overlays_as_they_are(
    archive: Archive, stack: dicom.Stack, tmp_path: Path
) -> None:
    name, made = next(
        (made.name, made.dataset)
        for made in dicom.objects(stack)
        if made.name == "overlay-0006.dcm"
    )
    assert made is not None
    (tmp_path / name).write_bytes(dicom.encoded(made))
    archive.store(tmp_path / name)
    (instance,) = [
        each["ID"]
        for each in archive.json("/instances?expand")
        if each["MainDicomTags"]["SOPInstanceUID"] == made.SOPInstanceUID
    ]
    shown = np.frombuffer(archive.get(f"/instances/{instance}/preview"), np.uint8)
    picture = pictures.overlay(stack.results[5], stack.display_limit)
    assert np.array_equal(cv2.imdecode(shown, cv2.IMREAD_COLOR), picture)


def test_an_archive_files_objects_of_two_sequences_beside_both(
    archive: Archive, tmp_path: Path
) -> None:
    own = tagged(StudyInstanceUID=generate_uid())
    study = t1(series(tmp_path / "study", "flair", own), own)
    out = tmp_path / "out"
    command = ["infer", str(study), "--out", str(out), "--dicom-out", "--provider", "cpu"]
    assert cli.main([*command, "--model", "flair-t1-dae"]) == 0
    made = sorted((out / "dicom").rglob("*.dcm"))
    archive.store(*study.glob("flair-*.dcm"), options=("--propose-rle",))
    archive.store(*study.glob("t1-*.dcm"), options=("--propose-rle",))
    archive.store(*made)
    objects = [pydicom.dcmread(file) for file in made]
    (found,) = (
        each
        for each in archive.json("/studies?expand")
        if each["MainDicomTags"]["StudyInstanceUID"] == objects[0].StudyInstanceUID
    )
    there = archive.json(f"/studies/{found['ID']}/instances?expand")
    kept = {each["MainDicomTags"]["SOPInstanceUID"] for each in there}
    assert len(kept) == 2 * 24 + len(made)
    for each in objects:
        sources = {item.ReferencedSOPInstanceUID for item in each.get("SourceImageSequence", [])}
        assert sources <= kept
