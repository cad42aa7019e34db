"""Series of ten thousand slices: what a run holds of them does not grow with their number."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import EnhancedMRImageStorage

import runs
from gliomart import Detector
from gliomart.model.contents import Slab
from gliomart.outputs.gallery import Gallery
from gliomart.outputs.page import MOST_PICTURES
from gliomart.outputs.pictures import Overview, overview
from gliomart.outputs.report_slice import ReportSlice, from_json
from gliomart.providers.session import LARGEST_MEMORY
from samples import draw_head, golden_slice
from slabs import slab_model

_MOST_MB = 300
# Runs a command, and tells the most memory that it had at any time, in MB (proc(5), VmHWM).
_MEASURED = """
import sys
from gliomart import cli
status = cli.main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) >> 10)
sys.exit(status)
"""


def _peak(*arguments: object) -> int:
    command = [sys.executable, "-c", _MEASURED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


def _dicom(folder: Path, count: int, apart: float = 0.2) -> Path:
    """Write a series of so many slices, so many mm apart."""
    folder.mkdir()
    known = [golden_slice(number) for number in range(1, 25)]
    for number in range(count):
        dataset = known[number * len(known) // count]
        uid = f"1.2.3.4.{number + 1}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.InstanceNumber = number + 1
        across, down, _ = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [across, down, round(apart * number, 1)]
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def _pictures(folder: Path, count: int) -> Path:
    runs.pictures(folder, 1, side=256)
    for number in range(1, count):
        shutil.copy(folder / "0.png", folder / f"{number}.png")
    return folder


def _pictures_of_several_sizes(folder: Path, count: int) -> Path:
    for number, side in ((1, 264), (0, 256)):
        runs.pictures(folder, 1, side=side)
        shutil.copy(folder / "0.png", folder / f"{number}.png") if number else None
    for number in range(2, count):
        shutil.copy(folder / f"{number % 2}.png", folder / f"{number}.png")
    return folder


def _short_series(folder: Path, count: int) -> Path:
    """Write as many slices in series of five."""
    runs.pictures(folder / "0", 5, side=256)
    for number in range(1, count // 5):
        shutil.copytree(folder / "0", folder / str(number))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory as Linux tells it")
@pytest.mark.parametrize("make", [_dicom, _pictures, _pictures_of_several_sizes, _short_series])
def test_ten_thousand_slices_fit_into_memory(make: Any, tmp_path: Path) -> None:
    study, out = make(tmp_path / "study", 10_000), tmp_path / "out"
    assert _peak("infer", study, "--out", out, "--provider", "cpu") <= _MOST_MB
    assert len(runs.results(out)["slices"]) == 10_000
    assert (out / "report.html").stat().st_size < 40e6


@pytest.mark.slow
def test_many_pictures_give_what_few_at_a_time_give(model: Path, tmp_path: Path) -> None:
    """Beyond 512 they are read one by one; up to there, together."""
    counts = {}
    for count in (512, 513):
        study, out = _pictures(tmp_path / f"{count}", count), tmp_path / f"out-{count}"
        assert runs.run("infer", study, "--model", model, "--out", out).returncode == 0
        counts[count] = {entry["score"] for entry in runs.results(out)["slices"]}
    assert counts[512] == counts[513]
    assert len(counts[512]) == 1


def _volume(folder: Path, count: int) -> Path:
    nibabel = pytest.importorskip("nibabel")
    folder.mkdir()
    voxels = np.stack([golden_slice(1 + n * 24 // count).pixel_array.T for n in range(count)], -1)
    image = nibabel.Nifti1Image(voxels[:, ::-1].astype(np.int16), np.diag([-0.9, 0.9, 0.2, 1]))
    nibabel.save(image, folder / "volume.nii.gz")
    return folder


def _frames(folder: Path, count: int) -> Path:
    """Write an enhanced object, its frames from head to feet."""
    folder.mkdir()
    dataset, shared = golden_slice(1), Dataset()
    known = [golden_slice(number).pixel_array for number in range(1, 25)]
    dataset.PixelData = b"".join(known[n * 24 // count].tobytes() for n in reversed(range(count)))
    dataset.NumberOfFrames = count
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    across, down, _ = dataset.ImagePositionPatient
    dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(count)]
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        place = Dataset()
        place.ImagePositionPatient = [across, down, round(0.2 * (count - number), 1)]
        frame.PlanePositionSequence = [place]
    for group, names in {
        "PlaneOrientationSequence": ["ImageOrientationPatient"],
        "PixelMeasuresSequence": ["PixelSpacing", "SliceThickness"],
    }.items():
        values = Dataset()
        for name in names:
            setattr(values, name, getattr(dataset, name))
        setattr(shared, group, [values])
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.save_as(folder / "enhanced.dcm", enforce_file_format=True)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory as Linux tells it")
@pytest.mark.parametrize("make", [_volume, _frames])
def test_frames_and_volumes_are_in_memory_as_they_are_stored(make: Any, tmp_path: Path) -> None:
    study, out = make(tmp_path / "study", 1500), tmp_path / "out"
    stored = 1500 * 256 * 256 * 2 >> 20
    assert _peak("infer", study, "--out", out, "--provider", "cpu") <= _MOST_MB + stored
    assert len(runs.results(out)["slices"]) == 1500


@pytest.mark.slow
@pytest.mark.parametrize("make", [_volume, _frames])
def test_frames_are_the_same_one_by_one_and_together(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, detector = make(tmp_path / "study", 600), Detector(provider="cpu")
    alone = detector.detect_series(study)
    monkeypatch.setattr("gliomart.sources.singles._MOST_TOGETHER", 600)
    together = detector.detect_series(study)
    assert len(alone.slices) == 600
    assert alone.verdict == together.verdict
    for one, other in zip(alone.slices, together.slices, strict=True):
        assert one.slice == other.slice
        assert (one.score, one.regions, one.notes) == (other.score, other.regions, other.notes)


@pytest.mark.slow
def test_who_keeps_thousands_of_results_keeps_no_memory_of_the_model() -> None:
    """Of which it has 512 MiB, and would then refuse further slices."""
    result = Detector(provider="cpu").detect_series([draw_head((64, 64))] * 2500)
    assert len(result.slices) == 2500


# Analyses one folder after the other, keeping nothing; tells the peak in MB after each.
_STREAMED = """
import sys
from gliomart import Detector
model, threads, *studies = sys.argv[1:]
detector = Detector(model, provider="cpu", threads=int(threads))
for study in studies:
    count = sum(hasattr(item, "score") for item in detector.stream([study]))
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(count, int(peak.split()[1]) >> 10)
"""


def _streamed(model: Path, threads: int, *studies: Path) -> list[tuple[int, int]]:
    """Tell of each study how many slices were analysed, and the peak memory so far in MB."""
    command = [sys.executable, "-c", _STREAMED, str(model), str(threads), *map(str, studies)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(int(count), int(peak)) for count, peak in lines]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory as Linux tells it")
def test_a_series_of_700_slices_in_slabs_takes_no_more_memory_than_one_of_48(
    tmp_path: Path,
) -> None:
    model = slab_model(tmp_path / "slab.onnx", Slab(seen=6, given=4))
    studies = [_dicom(tmp_path / str(count), count, 140 / count) for count in (48, 700)]
    (short, first), (long, then) = _streamed(model, 2, *studies)
    assert (short, long) == (48, 700)
    assert then <= first + 24


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory as Linux tells it")
def test_the_largest_slabs_of_eight_workers_share_the_memory_of_models(tmp_path: Path) -> None:
    """Eight slabs of 64 slices at once would fill all that they get, and networks need more yet."""
    model = slab_model(tmp_path / "slab.onnx", Slab(seen=64, given=2))
    ((count, peak),) = _streamed(model, 8, _dicom(tmp_path / "study", 24, apart=5.0))
    assert count == 24
    assert peak < LARGEST_MEMORY >> 20


def _tile(number: int) -> np.ndarray:
    return np.full((192, 192, 3), number % 251, np.uint8)


@pytest.mark.parametrize("count", [1, 59, 60, 61, 176, 256])
def test_an_overview_of_a_usual_series_shows_evenly_spaced_slices(count: int) -> None:
    kept = Overview()
    for number in range(count):
        kept.add(_tile(number))
    chosen = np.linspace(0, count - 1, min(count, 60)).round().astype(int)
    np.testing.assert_array_equal(kept.picture(), overview([_tile(at) for at in chosen]))


def test_an_overview_of_a_long_series_is_thinned_evenly() -> None:
    kept = Overview()
    for number in range(10_000):
        kept.add(_tile(number))
        assert len(kept._tiles) <= 256
    assert kept.picture().shape == (10 * 192, 6 * 192, 3)


def test_a_gallery_keeps_the_most_anomalous_and_no_more() -> None:
    values = np.random.default_rng(0).integers(1, 100, 2000) / 100
    gallery = Gallery()
    for number, p in enumerate(values.tolist()):
        picture = ReportSlice(number, 1, "", "", "", "", {})
        gallery.add({"p_value": p, "score": 0.5}, picture)
    kept = [number for number, each in enumerate(from_json(gallery.to_json())) if each]
    assert kept == sorted(np.argsort(values, kind="stable")[:MOST_PICTURES].tolist())
