"""Files are what their published schemas say, and schemas are what the types say."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gliomart import Detector, cli, sources
from gliomart.outputs import folder as output
from gliomart.run import Run
from samples import GOLDEN, tiny_model

FOLDER = Path(__file__).parents[2] / "docs" / "schema"
REPORTS = Path(__file__).parents[2] / "benchmarks" / "results"
MADE = runpy.run_path(str(FOLDER.with_name("schemas.py")))


# What figures mean is said in pages of their own, accuracy.md and brainstem.md.
FIGURES = {
    "evaluation.json", "several-evaluation.json", "comparison.json", "pons-evaluation.json",
    "stress-evaluation.json",
}  # fmt: skip


def _check(name: str, content: Any) -> None:
    """Hold JSON to the published schema, and to one that allows for no other keys."""
    published = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    for schema in (published, MADE["schema"](name, closed=True)):
        jsonschema.Draft202012Validator(schema).validate(content)


@pytest.mark.parametrize("name", MADE["FILES"])
def test_schemas_are_made_of_the_types(name: str) -> None:
    assert MADE["written"](name) == (FOLDER / name).read_text(encoding="utf-8")
    jsonschema.Draft202012Validator.check_schema(MADE["schema"](name))


def test_no_other_schema_is_published() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(MADE["FILES"])


def test_every_key_that_the_runtime_writes_is_described() -> None:
    for name in MADE["FILES"].keys() - FIGURES - {"record.json"}:
        for title, definition in MADE["schema"](name)["$defs"].items():
            for key, described in definition.get("properties", {}).items():
                assert described.get("description"), (name, title, key)


@pytest.mark.parametrize("pons", [False, True])
def test_results_and_what_is_kept_meanwhile_are_of_their_schemas(
    pons: bool, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DICOM series, pictures and a refusal, with all that may be written."""
    (study / "zero.png").touch()
    (study / "dicom").mkdir()
    for number in range(9, 13):
        name = f"slice_{number:03d}.dcm"
        (study / "dicom" / name).write_bytes((GOLDEN / name).read_bytes())
    out, model = tmp_path / "out", tiny_model(tmp_path / "model.onnx", pons=pons)
    arguments = ["infer", str(study), "--model", str(model), "--out", str(out), "--provider", "cpu"]
    arguments += ["--maps", "--dicom-out", "--overlays", "all"]
    with monkeypatch.context() as patch:
        patch.setattr(output, "REPORT", "folder/" + "x" * 300)  # which no file system takes
        assert cli.main(arguments) == 11
    document = json.loads((out / "results.json").read_bytes())
    assert [entry["object"] for entry in document["not_written"]] == ["report"]
    _check("results.json", document)


@pytest.mark.parametrize("pons", [False, True])
def test_cards_are_of_their_schema(
    pons: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ([], [str(tiny_model(tmp_path / "model.onnx", pons=pons))]):
        assert cli.main(["info", *model, "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert len(content.pop("sha256")) == 64
        _check("card.json", content)


def test_a_journal_and_its_pictures_are_of_their_schemas(
    model: Path, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        pass

    def stop(*_: object, **__: object) -> None:
        raise Stopped

    from gliomart.outputs import page

    monkeypatch.setattr(page, "parts", stop)
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        Run(Detector(model, provider="cpu"), sources.scan([study]), out).write()
    lines = (out / output.JOURNAL).read_bytes().splitlines()
    assert len(lines) == 2
    for line in lines:
        _check("journal.json", json.loads(line))
    (kept,) = (out / output.PICTURES).iterdir()
    _check("pictures.json", json.loads(kept.read_bytes()))


@pytest.mark.parametrize("path", sorted(REPORTS.glob("*/*.json")), ids=lambda path: path.name)
def test_reports_of_bench_are_of_their_schema(path: Path) -> None:
    _check("bench.json", json.loads(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("evaluation.json", "accuracy-flair-*.json"),
        ("comparison.json", "accuracy-precision-*.json"),
        ("comparison.json", "accuracy-map-*.json"),
        ("pons-evaluation.json", "pons-*.json"),
    ],
)
def test_evaluations_are_of_their_schema(name: str, pattern: str) -> None:
    paths = sorted(REPORTS.glob(pattern))
    assert paths
    for path in paths:
        _check(name, json.loads(path.read_bytes()))
