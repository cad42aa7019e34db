"""A real archive takes the DICOM objects, and gives back what it was given."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from gliomart import cli
from samples import GOLDEN

pytest.importorskip("highdicom")
# Debian installs it where only administrators' paths lead.
ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(
    ORTHANC is None or shutil.which("storescu") is None,
    reason="Orthanc or storescu (Debian packages orthanc, dcmtk) is not here",
)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Archive:
    """A running Orthanc on the loopback interface."""

    def __init__(self, folder: Path) -> None:
        self.port, self.rest = _free_port(), _free_port()
        configuration = {
            "Name": "test", "DicomAet": "TEST", "DicomPort": self.port, "HttpPort": self.rest,
            "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
            "DicomAlwaysAllowStore": True, "StorageAccessOnFind": "Never", "Plugins": [],
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [str(ORTHANC), str(folder / "orthanc.json")], stdout=self.log, stderr=self.log
        )

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/{path}", timeout=10) as answer:
            content: bytes = answer.read()
            return content

    def wait(self) -> None:
        for _ in range(300):
            try:
                self.get("system")
            except OSError:
                assert self.process.poll() is None, "Orthanc ended"
                time.sleep(0.1)
            else:
                return
        raise AssertionError("Orthanc does not answer")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    running = Archive(tmp_path)
    try:
        running.wait()
        yield running
    finally:
        running.stop()


def test_an_archive_takes_all_objects_and_gives_them_back_pixel_by_pixel(
    archive: Archive, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["infer", str(GOLDEN), "--out", str(out), "--dicom-out", "--provider", "cpu"]
    assert cli.main(arguments) == 0
    sent = {path: pydicom.dcmread(path) for path in (out / "dicom").rglob("*.dcm")}
    assert len(sent) == 27
    done = subprocess.run(
        ["storescu", "-R", "127.0.0.1", str(archive.port), "-aec", "TEST", *map(str, sent)],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    kept = {
        pydicom.dcmread(io.BytesIO(archive.get(f"instances/{instance}/file"))).SOPInstanceUID: (
            instance
        )
        for instance in json.loads(archive.get("instances"))
    }
    assert set(kept) == {dataset.SOPInstanceUID for dataset in sent.values()}
    kinds = set()
    for dataset in sent.values():
        instance = kept[dataset.SOPInstanceUID]
        back = pydicom.dcmread(io.BytesIO(archive.get(f"instances/{instance}/file")))
        kinds.add(dataset.SOPClassUID.name)
        if "Rows" in dataset:
            assert np.array_equal(back.pixel_array, dataset.pixel_array)
        else:
            assert back.ContentSequence == dataset.ContentSequence
    assert kinds == {
        "Segmentation Storage", "Parametric Map Storage", "Comprehensive 3D SR Storage",
        "Secondary Capture Image Storage",
    }  # fmt: skip
    (study,) = json.loads(archive.get("studies"))
    described = json.loads(archive.get(f"studies/{study}"))
    assert len(described["Series"]) == 4
