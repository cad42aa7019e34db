from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

import numpy as np
import pydicom
import pytest

import hostile_models
from gliomart import Budget, Detector, GliomartError, Refusal, Slice, SliceResult, scan, sources
from gliomart.errors import InputRefusedError, ModelError, UsageError
from gliomart.families import reading
from samples import GOLDEN, card, draw_head, tiny_model


def test_an_image_may_come_as_path_array_dataset_or_slice(model: Path) -> None:
    detector = Detector(model)
    file = GOLDEN / "slice_012.dcm"
    dataset = pydicom.dcmread(file)
    from_file = detector.detect(file)
    assert from_file.score == detector.detect(str(file)).score
    assert from_file.score == detector.detect(dataset).score
    assert from_file.score == detector.detect(dataset.pixel_array).score
    assert from_file.slice.spacing is not None
    with file.open("rb") as stream:
        from_stream = detector.detect(stream)
    assert from_file.score == from_stream.score
    assert from_stream.slice.sop_instance_uid == dataset.SOPInstanceUID
    later = io.BytesIO(b"header of a protocol" + file.read_bytes())
    later.seek(20)
    assert from_file.score == detector.detect(later).score


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda content: content[:0], "empty-file"),
        (lambda content: content[:3000], "truncated"),
        (lambda content: content[:-1], "truncated"),
        (lambda content: b"MZ" + content[2:], "executable-preamble"),
        (lambda content: content[: content.index(b"\x28\x00\x02\x00")], "no-pixels"),
    ],
)
def test_a_stream_is_refused_like_a_file(
    model: Path, change: Callable[[bytes], bytes], code: str
) -> None:
    content = (GOLDEN / "slice_012.dcm").read_bytes()
    with pytest.raises(InputRefusedError) as refused:
        Detector(model).detect(io.BytesIO(change(content)))
    assert refused.value.code == code


def test_a_stream_keeps_within_the_budget(model: Path) -> None:
    content = (GOLDEN / "slice_012.dcm").read_bytes()
    detector = Detector(model, budget=Budget(file_bytes=len(content) - 1))
    with pytest.raises(InputRefusedError) as refused:
        detector.detect(io.BytesIO(content))
    assert refused.value.code == "too-many-bytes"


def test_what_is_no_image_is_a_usage_error(model: Path) -> None:
    class Pipe(io.RawIOBase):
        def readable(self) -> bool:
            return True

    for image in (io.StringIO("text"), Pipe(), b"bytes", 7, None):
        with pytest.raises(UsageError, match="seekable binary stream"):
            Detector(model).detect(image)  # type: ignore[arg-type]


def test_warming_up_checks_the_model_and_changes_nothing(model: Path, tmp_path: Path) -> None:
    detector = Detector(model, budget=Budget(file_bytes=1))  # the caller's limits are for scans
    assert detector.warm_up() > 0
    assert detector.settings == Detector(model).settings
    hostile = hostile_models.write("expand-to-640-gigabytes", tmp_path)
    with pytest.raises(ModelError, match="asks for more than 512 MiB"):
        Detector(hostile).warm_up()


def test_the_series_of_an_inventory_are_analysed_one_by_one(model: Path, study: Path) -> None:
    shutil.copytree(GOLDEN, study / "dicom", ignore=shutil.ignore_patterns("*.csv"))
    detector = Detector(model)
    with pytest.raises(UsageError, match="holds 2 series"):
        detector.detect_series(study)
    results = [detector.detect_series(series) for series in scan([study]).series]
    assert [len(result.slices) for result in results] == [6, 24]
    assert results[1].verdict == detector.detect_series(GOLDEN).verdict


def test_a_lesion_is_flagged_and_found_where_it_is(model: Path) -> None:
    detector = Detector(model)
    healthy = detector.detect(draw_head((320, 400)))
    ill = detector.detect(draw_head((320, 400), lesion=0.9))
    assert not healthy.flagged
    assert healthy.regions == ()
    assert ill.flagged
    assert ill.score > healthy.score
    (region,) = ill.regions
    x0, y0, x1, y1 = region.box
    # Drawn at (233, 160) with a radius of 22 pixels.
    assert (x0 + x1) / 2 == pytest.approx(233, abs=2)
    assert (y0 + y1) / 2 == pytest.approx(160, abs=2)
    assert region.area_px == pytest.approx(np.pi * 22**2, rel=0.15)
    assert ill.anomaly_map.shape == ill.mask.shape == (320, 400)
    assert ill.settings.provider.effective == "CPUExecutionProvider"


def test_a_series_shares_one_frame_and_one_verdict(model: Path) -> None:
    stack = np.stack([draw_head(lesion=0.9 * (z in (4, 5, 6)), seed=z) for z in range(10)])
    result = Detector(model).detect_series(stack)
    assert [r.flagged for r in result.slices] == [z in (4, 5, 6) for z in range(10)]
    assert len({r.normalisation for r in result.slices}) == 1
    assert result.verdict is not None
    assert result.verdict.flagged
    healthy = Detector(model).detect_series(stack[:4])
    assert healthy.verdict is not None
    assert not healthy.verdict.flagged


def test_the_stream_is_in_order_and_leaves_nothing_out(model: Path, study: Path) -> None:
    (study / "7.png").write_bytes(b"")
    items = list(Detector(model).stream([study]))
    refused = [item for item in items if isinstance(item, Refusal)]
    analysed = [item for item in items if isinstance(item, SliceResult)]
    assert [r.code for r in refused] == ["empty-file"]
    assert [r.slice.source for r in analysed] == [f"study/{n}.png" for n in range(1, 7)]


def test_a_series_tells_what_it_could_not_analyse(model: Path, study: Path) -> None:
    (study / "7.png").write_bytes(b"")
    from_folder = Detector(model).detect_series(study)
    assert len(from_folder.slices) == 6
    assert [refusal.code for refusal in from_folder.not_analysed] == ["empty-file"]
    stack = np.stack([np.zeros((256, 256)), draw_head()])
    from_array = Detector(model).detect_series(stack)
    assert len(from_array.slices) == 1
    assert [(r.frame, r.code) for r in from_array.not_analysed] == [(0, "blank-slice")]


def test_another_modality_is_refused(model: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(GOLDEN / "slice_012.dcm")
    dataset.Modality = "CT"
    with pytest.raises(InputRefusedError) as refused:
        Detector(model).detect(dataset)
    assert refused.value.code == "wrong-modality"
    dataset.save_as(tmp_path / "ct.dcm")
    (item,) = Detector(model).stream([tmp_path / "ct.dcm"])
    assert isinstance(item, Refusal)


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (np.zeros((1, 1)), "too-small"),
        (np.zeros((256, 256)), "blank-slice"),
        (np.full((256, 256), np.nan), "not-finite"),
        (np.zeros((4, 256, 256, 7)), "bad-shape"),
        (np.zeros(7), "bad-shape"),
    ],
)
def test_arrays_that_show_nothing_are_refused(model: Path, pixels: np.ndarray, code: str) -> None:
    with pytest.raises(InputRefusedError) as refused:
        Detector(model).detect(pixels)
    assert refused.value.code == code
    assert isinstance(refused.value, GliomartError)


def test_a_false_alarm_rate_has_to_be_one_the_calibration_holds(model: Path) -> None:
    assert Detector(model).settings.false_alarm_rate == 0.05
    assert Detector(model, false_alarm_rate=0.2).settings.false_alarm_rate == 0.2
    for rate in (0.001, 0.0, 1.0, float("nan")):
        with pytest.raises(UsageError):
            Detector(model, false_alarm_rate=rate)


def test_too_few_patients_leave_a_series_unjudged(model: Path) -> None:
    stack = [Slice(draw_head(lesion=0.9, seed=z)) for z in range(3)]
    verdict = Detector(model, false_alarm_rate=0.02).detect_series(stack).verdict
    assert verdict is not None
    assert verdict.flagged is None


def test_an_uncalibrated_model_is_refused(tmp_path: Path) -> None:
    metadata = {"gliomart": card(calibration=None).to_json()}
    with pytest.raises(ModelError, match="calibrated"):
        Detector(tiny_model(tmp_path / "raw.onnx", metadata=metadata))


@pytest.fixture
def long_series(tmp_path: Path) -> Path:
    """Fifty axial slices in files of their own, written from head to feet."""
    folder = tmp_path / "long"
    folder.mkdir()
    dataset = pydicom.dcmread(GOLDEN / "slice_012.dcm")
    dataset.decompress()
    for number in range(50):
        pixels = draw_head((256, 256), lesion=0.9 * (20 < number < 24), seed=number)
        dataset.PixelData = pixels.astype(np.uint16).tobytes()
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        dataset.ImagePositionPatient = [-120, -120, 4.0 * number]
        dataset.save_as(folder / f"{50 - number:02d}.dcm")
    return folder


def test_a_series_read_as_it_is_analysed_gives_what_one_read_at_once_does(
    model: Path, long_series: Path
) -> None:
    detector = Detector(model)
    streamed = [r for r in detector.stream([long_series]) if isinstance(r, SliceResult)]
    (files,) = sources.scan([long_series]).series
    slices = [s for s in sources.read_series(files.files, files.source) if isinstance(s, Slice)]
    at_once = detector.detect_series(slices).slices
    assert [r.slice.source for r in streamed] == [r.slice.source for r in at_once]
    assert [r.slice.position for r in streamed] == sorted(r.slice.position for r in at_once)
    assert [r.score for r in streamed] == [r.score for r in at_once]
    assert [r.flagged for r in streamed] == [20 < n < 24 for n in range(50)]


def test_of_a_long_series_only_a_part_is_in_memory(
    model: Path, long_series: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: WeakSet[Slice] = WeakSet()
    checked, most = reading.checked, []

    def counting(item: Slice | Refusal) -> Slice | Refusal:
        item = checked(item)
        alive.update([item] if isinstance(item, Slice) else [])
        most.append(len(alive))
        return item

    monkeypatch.setattr(Slice, "__hash__", object.__hash__)
    monkeypatch.setattr(reading, "checked", counting)
    detector = Detector(model, threads=1)
    for number, _ in enumerate(detector.stream([long_series])):
        if number == 40:
            assert len(alive) < 16
    assert len(most) == 50
    assert max(most) < 45


def test_a_file_that_changes_while_it_waits_is_refused(model: Path, long_series: Path) -> None:
    detector = Detector(model)
    (files,) = sources.scan([long_series]).series
    dataset = pydicom.dcmread(long_series / "25.dcm")
    dataset.Rows, dataset.PixelData = 128, dataset.PixelData[: len(dataset.PixelData) // 2]
    dataset.save_as(long_series / "25.dcm")
    refused = [r for r in detector.stream_series(files) if isinstance(r, Refusal)]
    assert [(r.source, r.code) for r in refused] == [("long/25.dcm", "changed")]
