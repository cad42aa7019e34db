"""Networks that build on finished runs (``train --from RUN``), and runs that cannot be built on."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import processes

keras = pytest.importorskip("keras", reason="needs the extra: training")

from gliomart import cli  # noqa: E402
from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart_training import commands, network_file, recipe  # noqa: E402
from gliomart_training.record import RECORD, read_record, run_folder  # noqa: E402
from samples import card, marked_scans, tiny_model  # noqa: E402


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return marked_scans(tmp_path_factory.mktemp("scans") / "scans")


@pytest.fixture(autouse=True)
def _small_and_hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "Preprocessing", partial(Preprocessing, size=64))
    monkeypatch.setattr(recipe, "BrainRecipe", partial(recipe.BrainRecipe, heads=1, batch_size=2))
    monkeypatch.setattr(commands, "_BRAIN_STEPS", 2)


@pytest.fixture(scope="module")
def trained(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a default network, one fold of three patients held out."""
    out = tmp_path_factory.mktemp("trained") / "base.keras"
    with pytest.MonkeyPatch.context() as patch:
        _small_and_hasty.__wrapped__(patch)
        _train(scans, out, "--network", "dae")
    return run_folder(out)


@pytest.fixture
def base(trained: Path, tmp_path: Path) -> Path:
    """The same, for a test that may break it."""
    shutil.copytree(trained, tmp_path / "base.run")
    return tmp_path / "base.run"


def _train(scans: Path, out: Path, *options: object, status: int = 0) -> None:
    hasty = ("--epochs", 1, "--batch-size", 4, "--folds", 1)
    arguments = [str(each) for each in ("train", scans, "--out", out, *hasty, *options)]
    assert cli.main(arguments) == status


def _refused(
    capsys: pytest.CaptureFixture[str], scans: Path, out: Path, *options: object, status: int
) -> str:
    """See that a training is refused in one line, and leaves nothing; returns the line."""
    capsys.readouterr()
    _train(scans, out, *options, status=status)
    *earlier, said = capsys.readouterr().err.splitlines()
    assert not any(line.startswith("gliomart") for line in earlier)
    assert "internal error" not in said
    assert not out.exists()
    return str(said)


@pytest.mark.parametrize(
    ("network", "bases", "said"),
    [
        ("features", 0, "features is built on 1 finished run, not on 0 (--from)"),
        ("features", 2, "features is built on 1 finished run, not on 2 (--from)"),
        ("ensemble", 1, "ensemble is built on 2 to 16 finished runs, not on 1 (--from)"),
        ("distilled", 0, "distilled is built on 1 to 16 finished runs, not on 0 (--from)"),
        ("dae", 2, "dae takes localisers from one run, not from 2 (--from)"),
    ],
)
def test_too_few_runs_are_refused_and_too_many(
    network: str, bases: int, said: str, scans: Path, base: Path, tmp_path: Path, capsys: Any
) -> None:
    shutil.copytree(base, tmp_path / "other.run")
    runs = [base, tmp_path / "other.run"][:bases]
    options = ["--network", network, *(["--from", *runs] if runs else [])]
    assert said in _refused(capsys, scans, tmp_path / "own.keras", *options, status=2)


def test_a_run_that_is_named_twice_is_refused(
    scans: Path, base: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "link.run").symlink_to(base)
    options = ("--network", "ensemble", "--from", base, tmp_path / "link.run")
    said = _refused(capsys, scans, tmp_path / "own.keras", *options, status=2)
    assert "base.run: is named twice (--from)" in said


@pytest.mark.parametrize("network", ["ensemble", pytest.param("distilled", marks=pytest.mark.slow)])
def test_what_gives_no_reconstruction_is_no_member_and_no_teacher(
    network: str, scans: Path, base: Path, trained: Path, tmp_path: Path, capsys: Any
) -> None:
    _train(scans, tmp_path / "f.keras", "--network", "features", "--from", base)
    options = ("--network", network, "--from", trained, tmp_path / "f.run")
    said = _refused(capsys, scans, tmp_path / "own.keras", *options, status=2)
    role = {"ensemble": "member", "distilled": "teacher"}[network]
    assert f"f.run: features has no reconstruction and is no {role} of {network}" in said


@pytest.mark.slow
def test_an_ensemble_is_a_member_and_teaches_no_windows(
    scans: Path, base: Path, trained: Path, tmp_path: Path, capsys: Any
) -> None:
    _train(scans, tmp_path / "e.keras", "--network", "ensemble", "--from", base, trained)
    options = ("--from", tmp_path / "e.run", "--network", "distilled")
    said = _refused(capsys, scans, tmp_path / "d.keras", *options, status=2)
    assert "e.run: ensemble is made for whole images and teaches no windows of them" in said
    _train(scans, tmp_path / "f.keras", "--network", "ensemble", "--from", tmp_path / "e.run", base)


def test_a_run_on_other_patients_is_refused(
    scans: Path, base: Path, tmp_path: Path, capsys: Any
) -> None:
    options = ("--network", "features", "--from", base)
    out = tmp_path / "own.keras"
    said = _refused(capsys, scans, out, *options, "--folds", 3, status=8)
    assert "base.run: differs in its folds from the run that is to build on it" in said
    said = _refused(capsys, scans, out, *options, "--patients", 2, status=8)
    assert "differs in its folds" in said
    said = _refused(capsys, scans, out, *options, "--channels", "both", status=8)
    assert "differs in its preprocessing" in said
    record = read_record(base)
    (base / RECORD).write_text(json.dumps(record | {"split": "train"}))
    said = _refused(capsys, scans, out, *options, status=8)
    assert "differs in its split" in said


@pytest.mark.slow
def test_as_many_patients_of_both_are_the_same_patients(scans: Path, tmp_path: Path) -> None:
    some = ("--patients", 2)
    _train(scans, tmp_path / "base.keras", *some)
    options = ("--network", "distilled", "--from", tmp_path / "base.run")
    _train(scans, tmp_path / "own.keras", *options, *some)
    base, own = (read_record(tmp_path / f"{name}.run") for name in ("base", "own"))
    assert own["patients"] == 2
    assert own["folds"] == base["folds"]


def _unfinished(base: Path) -> None:
    record: Any = read_record(base)
    del record["fits"]
    (base / RECORD).write_text(json.dumps(record))


def _no_record(base: Path) -> None:
    (base / RECORD).unlink()


def _missing(base: Path) -> None:
    (base / "fold-1.autoencoder.keras").unlink()


def _broken(base: Path) -> None:
    (base / "fold-1.autoencoder.keras").write_bytes(b"PK")


def _unknown(base: Path) -> None:
    record: Any = read_record(base)
    record["recipe"]["network"] = "unheard-of"
    (base / RECORD).write_text(json.dumps(record))


def _lacking(base: Path) -> None:
    record: Any = read_record(base)
    del record["folds"]
    (base / RECORD).write_text(json.dumps(record))


def _gone(base: Path) -> None:
    shutil.rmtree(base)


@pytest.mark.parametrize(
    ("spoil", "status", "said"),
    [
        (_unfinished, 8, "has not finished"),
        (_no_record, 8, "not the record of a training run"),
        (_gone, 8, "not the record of a training run"),
        (_missing, 4, "fold-1.autoencoder.keras: is missing"),
        (_broken, 4, "fold-1.autoencoder.keras: is no .keras file"),
        (_unknown, 8, "no network is called 'unheard-of' here"),
        (_lacking, 8, "does not say folds"),
    ],
)
def test_a_run_that_is_not_whole_is_refused(
    spoil: Any, status: int, said: str, scans: Path, base: Path, tmp_path: Path, capsys: Any
) -> None:
    spoil(base)
    options = ("--network", "features", "--from", base)
    assert said in _refused(capsys, scans, tmp_path / "own.keras", *options, status=status)


@pytest.mark.parametrize("existing", ["--overwrite", "--resume"])
def test_a_run_never_replaces_what_it_builds_on(
    existing: str, scans: Path, base: Path, tmp_path: Path, capsys: Any
) -> None:
    before = {path: path.read_bytes() for path in base.iterdir()}
    options = ("--network", "features", "--from", base, existing)
    said = _refused(capsys, scans, tmp_path / "base.keras", *options, status=2)
    assert "base.run: lies in the run's own folder" in said
    assert {path: path.read_bytes() for path in base.iterdir()} == before


@pytest.mark.slow
def test_a_run_goes_on_with_the_runs_that_it_began_with(
    scans: Path, base: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "own.keras"
    options = ("--network", "distilled", "--from", base)
    _train(scans, out, *options)
    trained = network_file.load(out, Preprocessing(size=64)).get_weights()
    for file in (out, tmp_path / "own.run" / "fold-1.keras"):
        file.unlink()
    _train(scans, out, *options, "--resume")
    resumed = network_file.load(out, Preprocessing(size=64)).get_weights()
    assert all(map(np.array_equal, resumed, trained))
    whole = out.read_bytes()
    capsys.readouterr()
    _train(scans, tmp_path / "other.keras", "--network", "dae", "--seed", 1)
    other = ("--network", "distilled", "--from", tmp_path / "other.run")
    _train(scans, out, *other, "--resume", status=2)
    assert "own.run: was started differently" in capsys.readouterr().err
    assert out.read_bytes() == whole


def test_an_ensemble_is_the_mean_of_its_members_with_the_first_ones_localiser(
    scans: Path, base: Path, tmp_path: Path
) -> None:
    _train(scans, tmp_path / "other.keras", "--network", "cae", "--seed", 1)
    runs = (base, tmp_path / "other.run")
    _train(scans, tmp_path / "own.keras", "--network", "ensemble", "--from", *runs)
    spec = Preprocessing(size=64)
    images = np.random.default_rng(0).random((2, 64, 64, 1), np.float32)
    first, second = (
        network_file.load(run / "fold-1.keras", spec).predict_on_batch(images) for run in runs
    )
    given = network_file.load(tmp_path / "own.keras", spec).predict_on_batch(images)
    mean = (first["reconstruction"] + second["reconstruction"]) / 2
    assert np.allclose(given["reconstruction"], mean, atol=1e-6)
    assert np.allclose(given["brain"], first["brain"], atol=1e-6)
    assert [(each["role"], each["network"], each["seed"])
            for each in read_record(tmp_path / "own.run")["built_on"]] == [
        ("localisers", "dae", 0), ("member", "dae", 0), ("member", "cae", 1),
    ]  # fmt: skip


REFUSED = """
import sys
from pathlib import Path
import numpy as np
from gliomart.errors import UsageError
from gliomart_export import engines
try:
    getattr(engines, sys.argv[1])(Path(sys.argv[2]), np.zeros((256, 256, 1), np.float32), 1)
except UsageError as error:
    print(error)
"""


@pytest.mark.parametrize("engine", ["keras", "litert"])
@pytest.mark.parametrize("network", ["dual", "ensemble"])
def test_other_engines_build_no_network_that_its_card_does_not_tell_whole(
    engine: str, network: str, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("gliomart_export.engines")
    of = card(network={"name": network})
    model = tiny_model(tmp_path / "m.onnx", metadata={"gliomart": of.to_json()})
    # In a process of its own, as engines are measured: not all can be loaded into one.
    said = processes.run(REFUSED, engine, model, env=processes.searched())
    assert f"{network} is made of more than its card tells" in said.stdout
