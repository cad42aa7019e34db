"""A watch for drift: its bound, by construction, and its record, which nothing damages."""

from __future__ import annotations

import errno
import json
import os
import runpy
import shutil
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

import processes
import runs
from gliomart import Detector, Slice, cli, scan
from gliomart.errors import DriftRecordError
from gliomart.findings.photometry import Photometry, photometry_of
from gliomart.findings.results import Settings
from gliomart.providers import ProviderChoice
from gliomart.run import Run
from gliomart.site import drift, drift_record
from gliomart.site.drift import Study
from gliomart.site.drift_evidence import BETS, REFERENCE, Evidence, bet_on, normal_score
from gliomart.site.drift_record import (
    FARTHEST_BIN,
    LIMIT,
    MOST_CODES,
    MOST_NOTICES,
    MOST_RECENT,
    MOST_STREAMS,
    STATISTICS,
    Notice,
    Record,
    Scanner,
    Statistics,
    Stream,
)
from samples import GOLDEN, draw_head, tiny_model

SETTINGS = Settings(
    "tiny", "1", "0" * 64, ProviderChoice("cpu", "CPUExecutionProvider", degraded=False), 0.05
)
MONTH = "2026-11"


# -- The bound


@pytest.mark.parametrize("values", [(0, 1, 2, 3), (0, 0, 1, 2), (0, 0, 1, 1), (5, 5, 5, 5)])
def test_p_values_of_exchangeable_studies_are_uniform_and_independent(
    values: tuple[int, ...],
) -> None:
    """Exactly: over all orders, what lies below any thresholds has the share that they say."""
    grid = [Fraction(n, 6) for n in (1, 2, 4)]
    orders = list(permutations(values))
    for first in grid:
        for second in grid:
            for third in grid:
                below = (first, second, third, Fraction(5, 6))
                shares = [_share_below(order, below) for order in orders]
                assert sum(shares) / len(orders) == np.prod(below)


def _share_below(order: tuple[int, ...], limits: tuple[Fraction, ...]) -> Fraction:
    """Chance of ranking every value of an order below its limit; ties are broken at random."""
    evidence, share = Evidence(), Fraction(1)
    for value, limit in zip(order, limits, strict=True):
        ranks = [round(evidence.p_value(value, end) * (evidence.studies + 1)) for end in (0, 1)]
        low, high = (Fraction(rank, evidence.studies + 1) for rank in ranks)
        share *= max(Fraction(0), min(limit, high) - low) / (high - low)
        evidence = evidence.with_value(value, 0.5)
    return share


@pytest.mark.parametrize("shift", BETS)
def test_a_bet_gains_nothing_on_uniform_p_values(shift: float) -> None:
    scores = np.linspace(-12, 12, 20001)
    density = np.exp(-(scores**2) / 2) / np.sqrt(2 * np.pi)
    inside = np.abs(scores) < 8  # where a p-value can be told from 0 and 1
    worth = [bet_on(normal_score(_normal_tail(score)), shift) for score in scores[inside]]
    assert np.trapezoid(np.array(worth) * density[inside], scores[inside]) == pytest.approx(
        1, abs=1e-6
    )


def _normal_tail(score: float) -> float:
    from math import erfc, sqrt

    return 0.5 * erfc(score / sqrt(2))


def test_nothing_is_bet_before_the_reference_is_there() -> None:
    evidence = Evidence()
    for number in range(REFERENCE):
        evidence = evidence.with_value(number % 7, 0.5)
        assert evidence.value == 0
    assert evidence.with_value(3, 0.5).value > 0


@pytest.mark.parametrize("values", [1, 3, 50], ids=["always alike", "few values", "many values"])
def test_without_a_change_notices_stay_within_their_bound(values: int) -> None:
    rng = np.random.default_rng(values)
    studies, notices = 300 * 100, 0
    limit = 100.0  # lower than that of the watch, so that there is something to count
    for _ in range(300):
        evidence = Evidence()
        for _ in range(100):
            evidence = evidence.with_value(int(rng.integers(values)), rng.random())
            if evidence.value >= limit:
                notices, evidence = notices + 1, Evidence()
    assert 0 < notices <= studies / limit


@pytest.mark.parametrize("moved", [-3, 3])
def test_a_large_change_is_noticed_within_a_few_studies(moved: int) -> None:
    rng = np.random.default_rng(0)
    evidence = Evidence()
    for value in rng.normal(0, 3, 40):
        evidence = evidence.with_value(round(value), rng.random())
    for value in rng.normal(3 * moved, 3, 12):
        evidence = evidence.with_value(round(value), rng.random())
    assert evidence.value >= LIMIT
    assert evidence.risen == (moved > 0)


@given(st.lists(st.integers(-FARTHEST_BIN, FARTHEST_BIN), max_size=60), st.floats(0, 1 - 2**-53))
def test_evidence_is_finite_whatever_the_values(values: list[int], chance: float) -> None:
    evidence = Evidence()
    for value in values:
        evidence = evidence.with_value(value, chance)
    assert evidence.studies == len(values)
    assert 0 <= evidence.value < np.inf
    assert list(evidence.counts) == sorted(evidence.counts)


@given(st.sampled_from(STATISTICS), st.floats(0, 1e9), st.floats(0, 1e9))
def test_bins_rise_with_the_value_and_are_bounded(name: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert -FARTHEST_BIN <= drift.bin_of(name, low) <= drift.bin_of(name, high) <= FARTHEST_BIN


# -- Counting


def _study(value: float = 0.3, *, model: str = "Skyra", **changes: float | None) -> Study:
    values = dict.fromkeys(STATISTICS, value) | changes
    return Study(("1.2.3",), ("Siemens", model, "MRC1234"), "MR FLAIR 2D", values, {"no-head": 1})


def _studies(count: int, *, noise: float = 0.02, seed: int = 0) -> list[Study]:
    rng = np.random.default_rng(seed)
    return [
        _study(float(rng.uniform(0.2, 0.4)), noise=noise * float(np.exp(rng.normal(0, 0.2))))
        for _ in range(count)
    ]


def test_what_has_moved_is_noticed_told_and_ranked_anew(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    assert all(not entry["noticed"] for entry in drift.watch(path, _studies(60), SETTINGS, MONTH))
    entries = drift.watch(path, _studies(30, noise=0.01, seed=1), SETTINGS, "2027-01")
    (notice,) = entries[-1]["noticed"]
    assert (notice["statistic"], notice["risen"], notice["month"]) == ("noise", False, "2027-01")
    assert 60 < notice["study"] <= 75
    told = entries[notice["study"] - 61]
    assert told["statistics"]["noise"]["evidence"] >= told["limit"] == LIMIT
    after = entries[notice["study"] - 60]
    assert after["statistics"]["noise"] == {
        "value": after["statistics"]["noise"]["value"],
        "studies": 1,
        "evidence": 0.0,
    }
    (stream,) = _read(path).streams
    assert (stream.studies, stream.first, stream.last) == (90, MONTH, "2027-01")
    assert stream.refusals == {"no-head": 90}


def test_scanners_sequences_models_and_rates_are_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    other = Study(("1",), ("Siemens", "Skyra", "MRC1234"), "MR FLAIR 3D", _study().values, {})
    for study in (_study(), _study(model="Vida"), other):
        drift.watch(path, [study], SETTINGS, MONTH)
    changed = Settings("tiny", "1", "1" * 64, SETTINGS.provider, 0.05)
    drift.watch(path, [_study()], changed, MONTH)
    assert [stream.studies for stream in _read(path).streams] == [1, 1, 1, 1]


def test_a_study_that_is_analysed_again_is_not_counted_again(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    drift.watch(path, [_study(), _study(0.4)], SETTINGS, MONTH)
    before = path.read_bytes()
    (entry,) = drift.watch(path, [_study()], SETTINGS, MONTH)
    assert (entry["study"], entry["not_counted"]) == (None, "seen-before")
    assert path.read_bytes() == before


def test_what_is_not_known_of_a_study_is_not_ranked(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    (entry,) = drift.watch(path, [_study(step_mm=None)], SETTINGS, MONTH)
    assert entry["statistics"]["step_mm"] == {"value": None, "studies": 0, "evidence": 0.0}


def test_the_same_studies_give_the_same_evidence_in_one_record() -> None:
    record = Record(1, "ab" * 16)
    ends = []
    for _ in range(2):
        after = record
        for study in _studies(40):
            after, _ = drift.counted(after, study, SETTINGS, MONTH)
        ends.append(after)
    assert ends[0] == ends[1]


# -- The record


def _read(path: Path) -> Record:
    record = drift_record.read(path)
    assert record is not None
    return record


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    drift.watch(path, _studies(25), SETTINGS, MONTH)
    record = _read(path)
    drift_record.write(tmp_path / "again.json", record)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"gliomart_drift": 2, "key": "ab", "streams": []}',
        b'{"gliomart_drift": 1, "key": "", "streams": []}',
        b'{"gliomart_drift": 1, "key": "xy", "streams": []}',
        b'{"gliomart_drift": 1, "key": "' + b"ab" * 33 + b'", "streams": []}',
        b'{"gliomart_drift": 1, "key": "ab", "streams": [], "more": 1}',
        b'{"gliomart_drift": 1, "key": "ab", "streams": [{}]}',
    ],
    ids=["empty", "no record", "a list", "no text", "deep", "newer", "no key", "odd key",
         "long key", "more", "a stream that is none"],
)  # fmt: skip
def test_a_damaged_or_foreign_file_is_refused_and_left_as_it_is(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "drift.json"
    path.write_bytes(content)
    for use in (lambda: drift.check(path), lambda: drift.watch(path, [_study()], SETTINGS)):
        with pytest.raises(DriftRecordError, match="no record of drift") as caught:
            use()
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


_NOTICE = '{"statistic":"%s","risen":true,"study":%s,"month":"%s"}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"worth":[0.0,', '"worth":[NaN,'),
        ('"worth":[0.0,', '"worth":[-1.0,'),
        ('"worth":[0.0,', '"worth":['),
        ('"counts":[[', '"counts":[[999,1],['),
        ('"studies":1', '"studies":-1'),
        ('"false_alarm_rate":0.05', '"false_alarm_rate":5.0'),
        ('"studies":1', '"studies":true'),
        ('"studies":1', '"studies":0'),
        ('"studies":1', '"studies":1' + "0" * 400),
        ('"first":"2026-11"', '"first":"\\u001b[31m2026"'),
        ('"last":"2026-11"', '"last":"2026-11\\n"'),
        ('"model_sha256":"00', '"model_sha256":"\\u001b['),
        ('"notices":[]', f'"notices":[{_NOTICE % ("nonesuch", 1, MONTH)}]'),
        ('"notices":[]', f'"notices":[{_NOTICE % ("noise", 2, MONTH)}]'),
        ('"notices":[]', f'"notices":[{_NOTICE % ("noise", 1, "soon")}]'),
        ('"notices":[]', '"notices":[' + ",".join([_NOTICE % ("noise", 1, MONTH)] * 17) + "]"),
        ('"refusals":{', '"refusals":{' + "".join(f'"c{n}":1,' for n in range(64))),
        ('"recent":[', '"recent":["name",'),
        ('"recent":[', '"recent":[' + '"00000000",' * 256),
        ('"worth":[0.0,', '"worth":[1e308,'),
        ('"counts":[[', '"counts":[[1,9],['),
        ('"counts":[[', '"counts":[[1,0],['),
    ],
)
def test_what_no_watch_writes_is_refused(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    drift.watch(path, [_study()], SETTINGS, MONTH)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DriftRecordError):
        drift_record.read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the platform has no such pipes")
def test_a_pipe_in_its_place_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DriftRecordError, match="is no file"):
        drift.check(tmp_path / "pipe")


def test_a_folder_in_its_place_and_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DriftRecordError, match="cannot be read"):
        drift.check(tmp_path)
    with pytest.raises(DriftRecordError, match="its folder is not there"):
        drift.check(tmp_path / "none" / "drift.json")


def test_a_full_record_is_small_and_can_be_gone_on_with(tmp_path: Path) -> None:
    """The largest one that there can be: every bin of every statistic, long names, all notices."""
    bins = tuple((number, 7_000) for number in range(-FARTHEST_BIN, FARTHEST_BIN + 1))
    full = Evidence(bins, (1234.5678901234567,) * len(BETS))
    statistics = Statistics(**dict.fromkeys(STATISTICS, full))
    refusals = {f"{number:02d}-" + "c" * 40: 10**6 for number in range(MOST_CODES - 1)}
    notices = (Notice("contrast", risen=True, study=10**6, month=MONTH),) * MOST_NOTICES
    streams = tuple(
        Stream(
            Scanner("é" * 64, f"{number:064d}", "0" * 8), "MR FLAIR 2D", "0" * 64, 0.05,
            10**6, MONTH, MONTH, refusals, statistics, notices, ("0" * 8,) * MOST_RECENT,
        )
        for number in range(MOST_STREAMS)
    )  # fmt: skip
    path = tmp_path / "drift.json"
    drift_record.write(path, Record(1, "ab" * 32, streams))
    size = path.stat().st_size
    assert size < 2e6
    (entry,) = drift.watch(path, [_study()], SETTINGS, MONTH)
    assert entry["not_counted"] == "too-many-scanners"
    again = Study(("1",), ("é" * 80, f"{3:064d}", ""), "MR FLAIR 2D", _study().values, {"new": 2})
    record = Record(1, "ab" * 32, tuple(
        Stream(Scanner(s.scanner.manufacturer, s.scanner.model, ""), *list(vars(s).values())[1:])
        for s in streams
    ))  # fmt: skip
    after, entry = drift.counted(record, again, SETTINGS, MONTH)
    assert entry["study"] == 10**6 + 1
    drift_record.write(path, after)
    assert path.stat().st_size < 2e6
    assert max(len(stream.notices) for stream in after.streams) <= MOST_NOTICES
    assert max(len(stream.refusals) for stream in after.streams) <= MOST_CODES
    assert max(len(stream.recent) for stream in after.streams) <= MOST_RECENT


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    link = tmp_path / "drift.json"
    link.symlink_to(tmp_path / "kept" / "drift.json")
    for study in _studies(2):
        drift.watch(link, [study], SETTINGS, MONTH)
    assert link.is_symlink()
    assert _read(tmp_path / "kept" / "drift.json").streams[0].studies == 2


_COUNT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_drift import SETTINGS, _studies
from gliomart.site import drift
for study in _studies(25, seed=int(sys.argv[2])):
    drift.watch(Path(sys.argv[1]), [study], SETTINGS)
"""


def test_processes_that_count_at_a_time_lose_no_study(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "drift.json"
    here = str(Path(__file__).parent)

    def count(seed: int) -> None:
        processes.run(_COUNT, path, seed, here, env=processes.searched())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    (stream,) = _read(path).streams
    assert stream.studies == 100
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_count_at_a_time_lose_no_study(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "drift.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda study: drift.watch(path, [study], SETTINGS), _studies(80)))
    (stream,) = _read(path).streams
    assert stream.studies == 80


# -- Runs


def _infer(model: Path, study: Path, out: Path, *arguments: object) -> int:
    basic = ["infer", study, "--model", model, "--out", out, "--provider", "cpu", "--quiet"]
    return cli.main([*map(str, basic), *map(str, arguments)])


def _document(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_bytes())


def test_a_run_counts_its_studies_and_its_results_tell_of_it(
    model: Path, study: Path, tmp_path: Path
) -> None:
    record, plain, watched = tmp_path / "drift.json", tmp_path / "plain", tmp_path / "watched"
    assert _infer(model, study, plain) == 0
    assert _infer(model, study, watched, "--drift", record) == 0
    document = _document(watched)
    (entry,) = document.pop("drift")
    assert (entry["study"], entry["sequence"], entry["noticed"]) == (1, "MR FLAIR", [])
    assert entry["series"] == [document["series"][0]["id"]]
    measured = [each.pop("photometry") for each in document["slices"]]
    assert all(each["noise"] > 0 for each in measured)
    without = _document(plain)
    for each in (*without["slices"], *document["slices"]):
        del each["ms"]
    assert document == without
    (stream,) = _read(record).streams
    assert stream.studies == 1


def test_a_finished_run_that_is_resumed_counts_nothing_twice(
    model: Path, study: Path, tmp_path: Path
) -> None:
    record, out = tmp_path / "drift.json", tmp_path / "out"
    assert _infer(model, study, out, "--drift", record) == 0
    before = record.read_bytes()
    assert _infer(model, study, out, "--drift", record, "--resume") == 0
    assert _infer(model, study, out, "--drift", record, "--overwrite") == 0
    assert record.read_bytes() == before
    assert _document(out)["drift"][0]["not_counted"] == "seen-before"


def test_an_interrupted_run_that_is_resumed_counts_each_study_once(
    model: Path, study: Path, tmp_path: Path
) -> None:
    second = shutil.copytree(study, tmp_path / "second")
    for image in second.glob("*.png"):
        pixels = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        cv2.imwrite(str(image), cv2.GaussianBlur(pixels, (0, 0), 1))
    inventory = scan([study, second])
    detector, out, record = Detector(model, provider="cpu"), tmp_path / "out", tmp_path / "d.json"

    def interrupt(done: int, _: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(detector, inventory, out, progress=interrupt, drift=record).write()
    assert not record.exists()
    document = Run(detector, inventory, out, drift=record).write()
    assert [entry["study"] for entry in document["drift"]] == [1, 2]
    values = [entry["statistics"]["noise"]["value"] for entry in document["drift"]]
    assert values[1] is not None
    assert 0 < values[1] < values[0]
    assert _read(record).streams[0].studies == 2


def test_a_record_that_cannot_be_used_ends_a_run_before_it_begins(
    model: Path, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, foreign = tmp_path / "out", tmp_path / "notes.txt"
    assert _infer(model, study, out) == 0
    before = (out / "results.json").read_bytes()
    foreign.write_text("mine")
    assert _infer(model, study, out, "--overwrite", "--drift", foreign) == 2
    assert _infer(model, study, out, "--overwrite", "--drift", out / "drift.json") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "no record of drift" in lines[0]
    assert "lies among the results" in lines[1]
    assert (out / "results.json").read_bytes() == before
    assert foreign.read_text() == "mine"


def test_a_record_that_nobody_may_write_ends_a_run_before_it_begins(
    model: Path, study: Path, tmp_path: Path
) -> None:
    kept, out = tmp_path / "kept", tmp_path / "out"
    kept.mkdir(mode=0o555)
    words = ("infer", study, "--model", model, "--out", out, "--drift", kept / "drift.json")
    done = runs.run(*words, prefix=runs.unprivileged())
    assert done.returncode == 6
    assert runs.one_line(done.stderr)
    assert not out.exists()


def test_where_the_record_cannot_be_written_results_say_so(
    model: Path, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, out = tmp_path / "drift.json", tmp_path / "out"
    drift.watch(record, _studies(3), SETTINGS, MONTH)
    before = record.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)  # which only what is synchronised calls
        assert _infer(model, study, out, "--drift", record) == 11
    (missed,) = _document(out)["not_written"]
    assert (missed["object"], missed["code"]) == ("drift", "output")
    assert str(tmp_path) not in missed["reason"]
    assert "drift" not in _document(out)
    assert record.read_bytes() == before
    assert sorted(each.name for each in tmp_path.glob("*.partial")) == []


def _dicom(folder: Path, **changes: object) -> Path:
    """Write nine slices of the simulated study with these attributes."""
    folder.mkdir(parents=True)
    series = pydicom.uid.generate_uid()
    for number in range(9, 18):
        dataset = pydicom.dcmread(GOLDEN / f"slice_{number:03d}.dcm")
        dataset.SeriesInstanceUID = series
        dataset.SOPInstanceUID = pydicom.uid.generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        for name, value in changes.items():
            setattr(dataset, name, value)
        dataset.save_as(folder / f"{number}.dcm")
    return folder


def test_series_of_one_study_are_one_and_a_record_names_no_one(tmp_path: Path) -> None:
    study = pydicom.uid.generate_uid()
    shown = {"Manufacturer": "SIEMENS", "ManufacturerModelName": "Skyra"}
    named = {
        "PatientName": "Adam^Smith", "PatientID": "4711", "InstitutionName": "Charite",
        "StationName": "ROOMBERTA", "DeviceSerialNumber": "SN99887", "ProtocolName": "for Dr Jones",
        "OperatorsName": "Miller", "StudyDate": "20260203", "StudyInstanceUID": study,
    }  # fmt: skip
    inputs = tmp_path / "inputs"
    _dicom(inputs / "a", SeriesNumber=1, **shown, **named)
    _dicom(inputs / "b", SeriesNumber=2, **shown, **named)
    _dicom(inputs / "c", SeriesNumber=1, **shown, **(named | {
        "StudyInstanceUID": pydicom.uid.generate_uid(), "DeviceSerialNumber": "SN1",
    }))  # fmt: skip
    record, out = tmp_path / "drift.json", tmp_path / "out"
    model = tiny_model(tmp_path / "model.onnx")
    assert _infer(model, inputs, out, "--drift", record) == 0
    first, second = _document(out)["drift"]
    assert (len(first["series"]), len(second["series"])) == (2, 1)
    assert first["scanner"]["model"] == second["scanner"]["model"] == "Skyra"
    assert first["scanner"]["device"] != second["scanner"]["device"]
    assert first["statistics"]["step_mm"]["value"] > 0
    text = record.read_text()
    assert "SIEMENS" in text
    for value in (*named.values(), "Smith", "Jones", "ROOM", "9988"):
        assert value not in text


def test_a_study_of_which_all_is_refused_counts_as_refused(tmp_path: Path) -> None:
    inputs = _dicom(tmp_path / "inputs", SeriesDescription="T1 mprage", BodyPartExamined="PELVIS")
    record, out = tmp_path / "drift.json", tmp_path / "out"
    model = tiny_model(tmp_path / "model.onnx")
    assert _infer(model, inputs, out, "--drift", record) == 3
    (entry,) = _document(out)["drift"]
    assert entry["study"] == 1
    assert entry["statistics"]["refused"]["value"] == 1
    assert entry["statistics"]["p_value"]["value"] is None
    (stream,) = _read(record).streams
    assert sum(stream.refusals.values()) == 9


def test_a_record_is_shown_for_people_and_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "drift.json"
    drift.watch(path, _studies(60), SETTINGS, MONTH)
    drift.watch(path, _studies(30, noise=0.01, seed=1), SETTINGS, MONTH)
    assert cli.main(["info", "--drift", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "Siemens Skyra" in shown
    assert "90 studies, 2026-11 to 2026-11" in shown
    assert "DRIFT: noise has fallen, noticed with study" in shown
    assert "refused: 90 no-head" in shown
    assert cli.main(["info", "--drift", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(path.read_bytes())
    assert cli.main(["info", "--drift", str(tmp_path / "none.json")]) == 2
    assert cli.main(["info", "model.onnx", "--drift", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_drift_is_told_on_the_terminal_until_the_record_is_begun_anew(
    model: Path, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "drift.json", tmp_path / "out"
    arguments = [
        "infer",
        str(study),
        "--model",
        str(model),
        "--out",
        str(out),
        "--drift",
        str(path),
    ]
    assert cli.main(arguments) == 0
    assert "DRIFT" not in capsys.readouterr().out
    record = _read(path)
    (stream,) = record.streams
    noticed = Stream(**(vars(stream) | {"notices": (Notice("noise", True, 1, MONTH),)}))
    drift_record.write(path, Record(1, record.key, (noticed,)))
    assert cli.main([*arguments, "--overwrite"]) == 0
    lines = capsys.readouterr().out.splitlines()
    wanted = "DRIFT: unknown scanner, MR FLAIR: noise has risen, noticed with study 1 (2026-11)"
    assert wanted in lines


# -- How slices look


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"), provider="cpu")


def _measured(detector: Detector, pixels: np.ndarray[Any, Any]) -> Photometry:
    measured = photometry_of(detector.detect(Slice(pixels.astype(np.float32))))
    assert measured is not None
    return measured


def test_noise_is_what_was_added_and_gain_changes_nothing(detector: Detector) -> None:
    rng = np.random.default_rng(0)
    head = cv2.GaussianBlur(draw_head(), (0, 0), 2)
    noisy = head + rng.normal(0, 20, head.shape)
    measured = _measured(detector, noisy)
    assert measured.noise == pytest.approx(20 / 400, rel=0.1)
    louder = _measured(detector, 7 * noisy)
    assert louder.noise == pytest.approx(measured.noise, rel=1e-3)
    assert louder.contrast == pytest.approx(measured.contrast, rel=1e-3)
    smooth = _measured(detector, cv2.GaussianBlur(noisy, (0, 0), 1))
    assert smooth.noise < measured.noise / 2


def test_contrast_and_range_rise_with_gamma(detector: Detector) -> None:
    head = draw_head(lesion=0.4) + 40 * np.random.default_rng(0).normal(size=(256, 256))
    before, after = (_measured(detector, 900 * (head.clip(1) / 900) ** power) for power in (1, 1.2))
    assert after.range == pytest.approx(1.2 * before.range, rel=0.05)
    assert after.contrast > before.contrast


def test_a_slice_without_brain_has_no_photometry(detector: Detector) -> None:
    result = detector.detect(Slice(draw_head()))
    from dataclasses import replace

    assert result.brain is not None
    assert photometry_of(replace(result, brain=np.zeros_like(result.brain))) is None
    assert photometry_of(replace(result, brain=None)) is None


# -- What the page says


def test_the_page_has_the_figures_that_were_measured() -> None:
    root = Path(__file__).parents[2]
    script = runpy.run_path(str(root / "benchmarks" / "drift.py"))
    figures = json.loads(script["RESULTS"].read_bytes())
    page = script["PAGE"].read_text(encoding="utf-8")
    assert script["rewritten"](page, figures) == page
    assert tuple(figures["statistics"]) == STATISTICS
    assert figures["limit"] == LIMIT
    for quiet in figures["without_a_change"].values():
        assert quiet["per_1000_studies"] <= 1
        assert quiet["replays_with_any"] <= quiet["bound_on_any"]
