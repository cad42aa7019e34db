"""One series is written by a function; a run is continued in whatever order inputs are given."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from gliomart import Detector, SliceResult, cli, sources
from gliomart.errors import InputRefusedError, UsageError
from gliomart.outputs import folder as output
from gliomart.outputs import names
from gliomart.outputs.folder import OutputFolder
from gliomart.outputs.journal import Journal
from gliomart.outputs.options import OutputOptions
from gliomart.outputs.plan import SeriesPlan
from gliomart.outputs.series import write_series
from gliomart.run import Run
from samples import GOLDEN


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_series_is_written_from_results_into_a_folder(tmp_path: Path) -> None:
    """Without a run and a command: what it takes is what a detector gave."""
    (series,) = sources.scan([GOLDEN]).series
    detector = Detector(provider="cpu")
    result = detector.detect_series(series)
    options = OutputOptions(overlays="all", maps=True, dicom=True)
    plan = SeriesPlan(detector.card, lambda: result.settings, options)
    folder = OutputFolder.at(tmp_path)
    record, gallery = write_series(series, result.slices, folder, plan)
    assert len(record.slices) == len(json.loads(gallery.to_json())) == 24
    (entry,) = record.series
    assert result.verdict is not None
    assert result.pons is not None
    assert entry["flagged"] == result.verdict.flagged
    assert entry["pons"] is not None
    assert entry["pons"]["slices"] == result.pons.slices
    assert record.provider is not None
    assert record.provider["effective"] == "CPUExecutionProvider"
    assert (record.not_analysed, record.not_written) == ([], [])
    assert entry["dicom"] is not None
    assert entry["overview"] is not None
    told = {entry["overview"], *entry["dicom"]["written"]}
    for each in record.slices:
        told |= {place for place in (each["overlay"], each["map"], each["mask"]) if place}
    assert _files(tmp_path) == told
    assert len(told) > 3 * 24


def test_a_series_that_fails_leaves_nothing(model: Path, study: Path, tmp_path: Path) -> None:
    (series,) = sources.scan([study]).series
    detector = Detector(model, provider="cpu")
    result = detector.detect_series(series)
    plan = SeriesPlan(detector.card, lambda: result.settings, OutputOptions("all"))
    out = tmp_path / "out"
    out.mkdir()

    def failing() -> Any:
        yield from result.slices[:4]
        raise InputRefusedError("vanished", "it went away")

    record, gallery = write_series(series, failing(), OutputFolder.at(out), plan)
    assert [entry["code"] for entry in record.not_analysed] == ["vanished"] * 6
    assert (record.series, record.slices, record.provider) == ([], [], None)
    assert json.loads(gallery.to_json()) == []
    assert _files(out) == set()


@pytest.fixture
def studies(study: Path) -> list[Path]:
    """Two inputs whose outputs some file systems would take for one another's."""
    twin = study.parent / "twin" / "Study"
    twin.mkdir(parents=True)
    for file in study.glob("*.png"):
        (twin / file.name).write_bytes(file.read_bytes())
    (twin / "1.png").unlink()
    return [study, twin]


@pytest.mark.parametrize("order", [1, -1])
def test_a_run_is_resumed_with_series_in_another_order(
    order: int, model: Path, studies: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    detector = Detector(model, provider="cpu")
    analysed: list[str] = []

    class Stopped(BaseException):  # as a kill does: an Exception would cost its series alone
        pass

    begun = sources.scan(studies)
    stream_each = detector.stream_each

    def one_by_one(series: Any) -> Any:
        for number, items in enumerate(stream_each(series)):
            if number == 1:
                raise Stopped
            yield items

    monkeypatch.setattr(detector, "stream_each", one_by_one)
    with pytest.raises(Stopped):
        Run(detector, begun, out, OutputOptions("all")).write()
    monkeypatch.undo()

    def counted(series: Any) -> Any:
        for items in stream_each(series):
            yield _noted(items, analysed)

    monkeypatch.setattr(detector, "stream_each", counted)
    inventory = sources.scan(studies[::order])
    document = Run(detector, inventory, out, OutputOptions("all")).write()
    assert len(analysed) == len(begun.series[1].files)  # the first series is not analysed again
    undisturbed = Run(Detector(model, provider="cpu"), inventory, whole, OutputOptions("all"))
    expected = undisturbed.write()
    kept = [key for key in expected if key not in {"slices", "series"}]
    assert {key: document[key] for key in kept} == {key: expected[key] for key in kept}  # type: ignore[literal-required]
    assert [s["source"] for s in document["slices"]] == [s["source"] for s in expected["slices"]]
    assert [s["score"] for s in document["slices"]] == [s["score"] for s in expected["slices"]]
    overlays = [entry["overlay"] for entry in document["slices"]]
    assert len(set(overlays)) == 11
    assert _files(out) == {
        *map(str, overlays), *(str(series["overview"]) for series in document["series"]),
        output.RESULTS, output.TABLE, output.REPORT,
    }  # fmt: skip


def _noted(items: Any, analysed: list[str]) -> Any:
    for item in items:
        if isinstance(item, SliceResult):
            analysed.append(item.slice.source)
        yield item


def test_series_whose_names_another_order_swaps_are_not_taken_for_one_another(
    model: Path, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = tmp_path / "twin" / "study"
    shutil.copytree(study, twin)
    detector, out = Detector(model, provider="cpu"), tmp_path / "out"

    class Stopped(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(detector, "stream_each", stop)
        with pytest.raises(Stopped):
            Run(detector, sources.scan([study, twin]), out).write()
    with pytest.raises(UsageError, match="different run"):
        Run(detector, sources.scan([twin, study]), out).write()


def test_a_run_that_was_killed_at_its_very_end_is_resumed_in_another_order(
    model: Path, studies: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        pass

    def stop(_: Journal) -> None:
        raise Stopped

    detector, out = Detector(model, provider="cpu"), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "remove", stop)
        with pytest.raises(Stopped):
            Run(detector, sources.scan(studies), out).write()
    whole = json.loads((out / output.RESULTS).read_bytes())
    document = Run(detector, sources.scan(studies[::-1]), out).write()
    assert document == json.loads((out / output.RESULTS).read_bytes())
    assert [entry["source"] for entry in document["series"]] == ["Study", "study"]
    assert document["series"] == whole["series"][::-1]
    assert not {output.JOURNAL, output.PICTURES} & {path.name for path in out.iterdir()}
    with pytest.raises(UsageError, match="different run"):  # there is no journal to tell by
        Run(detector, sources.scan(studies), out).write()


def test_a_journal_of_other_series_is_refused(
    model: Path, studies: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["infer", *map(str, studies), "--model", str(model), "--out", str(out)]
    assert cli.main([*arguments, "--provider", "cpu"]) == 0
    (out / output.RESULTS).unlink()
    journal = out / output.JOURNAL
    for content in (
        b'{"schema": 1, "software": {"name": "gliomart", "version": "0.0"}}\n',  # an earlier one's
        b'{"run": "0", "series": []}\n',
    ):
        journal.write_bytes(content)
        assert cli.main([*arguments, "--provider", "cpu", "--resume"]) == 2
        assert "holds a different run" in capsys.readouterr().err
    journal.write_bytes(b"[]\n")
    assert cli.main([*arguments, "--provider", "cpu", "--resume"]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_names_of_a_series_alone_are_those_that_a_run_gives_it(study: Path) -> None:
    inventory = sources.scan([study])
    (alone,) = names.of_series(inventory.series)
    assert alone.overview == "overview/study.png"
    assert str(alone.of_slice("study/3.png", None)) == "study/3"
    assert str(alone.of_slice("study", 7)) == "study@0007"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_is_taken_away_while_threads_write_into_it_stays_away(
    replaced: bool, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said: set[str] = set()

    def write_on(folder: OutputFolder, name: str, begun: Event) -> None:
        for number in count():
            folder.write(f"maps/{name}/{number}/map.npy", b"map")
            begun.set()

    for time in range(20):  # whoever is between looking for it and writing differs
        out.mkdir()
        folder, begun = OutputFolder.at(out), Event()
        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(write_on, folder, name, begun) for name in "abcd"]
            assert begun.wait(60)
            out.rename(tmp_path / f"moved-{time}")
            if replaced:
                out.mkdir()
        said |= {str(each.exception()) for each in done}
        assert out.exists() == replaced
        if replaced:
            out.rmdir()  # nothing lies in it
    assert said == {
        f"{out}: was removed, moved or replaced while results were written into it; begin anew"
    }
