"""Training and export: what comes to nothing publishes nothing, and inputs stay what they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samples import marked_scans, tiny_model

keras = pytest.importorskip("keras", reason="needs the extra: training")
pytest.importorskip("tf2onnx", reason="needs the extra: export")
pytest.importorskip("sklearn", reason="needs the extra: evaluate")

from dataclasses import replace  # noqa: E402

from gliomart import cli  # noqa: E402
from gliomart.errors import ModelError, TrainingError  # noqa: E402
from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart_training import network_file, networks, training  # noqa: E402
from gliomart_training.batches import Variation  # noqa: E402
from gliomart_training.localiser import pons_localiser, with_pons  # noqa: E402
from gliomart_training.plan import Plan  # noqa: E402
from gliomart_training.recipe import BrainRecipe, PonsRecipe  # noqa: E402


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return marked_scans(tmp_path_factory.mktemp("scans") / "scans")


def _plan(scans: Path, out: Path, **changes: Any) -> Plan:
    recipe = replace(networks.network("cae").recipe, epochs=1, batch_size=64, **changes)
    return Plan(
        data=scans,
        split=None,
        out=out,
        recipe=recipe,
        brain=BrainRecipe(steps=2, batch_size=4, heads=1),
        pons=PonsRecipe(),
        preprocessing=Preprocessing(size=64),
        variation=Variation(),
        folds=1,
    )


@pytest.fixture(scope="module")
def trained(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "own.keras"
    training.run(_plan(scans, out))
    return out


@pytest.fixture
def network(trained: Path, tmp_path: Path) -> Path:
    """A network and its run that a test may break."""
    shutil.copytree(trained.parent, tmp_path / "run")
    return tmp_path / "run" / trained.name


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _fails(arguments: list[Any], status: int, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main([str(argument) for argument in arguments]) == status
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert "internal error" not in said
    return said


@pytest.mark.parametrize("rate", ["nan", "-1", "0", "inf", "-inf"])
def test_a_rate_that_teaches_nothing_is_refused(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: str
) -> None:
    out = tmp_path / "own.keras"
    said = _fails(["train", scans, "--out", out, f"--learning-rate={rate}"], 10, capsys)
    assert "nothing is learned" in said
    assert not list(tmp_path.rglob("*.keras"))


@pytest.mark.parametrize("option", ["--epochs", "--batch-size", "--folds"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "nan"])
def test_counts_that_are_none_are_usage_errors(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    _fails(["train", scans, "--out", tmp_path / "own.keras", f"{option}={value}"], 2, capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", ["-1", "1.5", str(2**32), "9" * 40])
def test_seeds_that_are_none_are_usage_errors(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: str
) -> None:
    said = _fails(["train", scans, "--out", tmp_path / "own.keras", f"--seed={seed}"], 2, capsys)
    assert "is not a whole number from 0 to" in said
    _fails(["evaluate", scans, f"--seed={seed}"], 2, capsys)


def test_more_resamples_than_memory_holds_are_a_usage_error(
    scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "too many" in _fails(["evaluate", scans, "--bootstrap", "99999999999"], 2, capsys)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("rate", [1e20, 1e38])
def test_a_training_whose_last_step_diverges_publishes_no_network(
    scans: Path, tmp_path: Path, rate: float
) -> None:
    plan = _plan(scans, tmp_path / "own.keras", learning_rate=rate)
    with pytest.raises(TrainingError, match="diverged"):
        training.run(plan)
    assert not list(tmp_path.rglob("*.keras"))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_not_exported(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    broken = keras.models.load_model(network, compile=False)
    weights = broken.get_weights()
    weights[0][0, 0, 0, 0] = value
    broken.set_weights(weights)
    broken.save(network)
    _fails(["export", network, tmp_path / "own.onnx"], 10, capsys)
    assert not (tmp_path / "own.onnx").exists()


@pytest.mark.parametrize("broken", ["state", "record", "losses", "autoencoder", "network"])
def test_what_an_interrupted_run_left_broken_is_named(
    scans: Path, network: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    folder = network.with_suffix(".run")
    network.unlink()
    match broken:
        case "state":
            for name in ("fold-1.json", "fold-1.keras", "fold-1.autoencoder.keras"):
                (folder / name).unlink()
            (folder / "fold-1.state").mkdir()
            (folder / "fold-1.state" / "training_metadata.json").write_text('{"epoch": 0')
            (folder / "fold-1.state" / "latest.weights.h5").write_bytes(b"\x89HDF")
        case "record":
            (folder / "record.json").write_text("{")
        case "losses":
            (folder / "fold-1.json").write_text("{")
        case "autoencoder":
            (folder / "fold-1.with-brain.keras").unlink()
            _halve(folder / "fold-1.autoencoder.keras")
        case "network":
            _halve(folder / "fold-1.with-brain.keras")
    networks_broken = ("autoencoder", "network")
    error: type[Exception] = ModelError if broken in networks_broken else TrainingError
    with pytest.raises(error, match=r"broken") as refused:
        training.run(_plan(scans, network), resume=True)
    assert "\n" not in str(refused.value)
    assert not network.exists()
    capsys.readouterr()


def _halve(network: Path) -> None:
    network.write_bytes(network.read_bytes()[:5000])


def _truncated(network: Path) -> None:
    network.write_bytes(network.read_bytes()[:-2000])


def _other_zip(network: Path) -> None:
    with zipfile.ZipFile(network, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")


def _no_zip(network: Path) -> None:
    network.write_bytes(b"network")


def _empty(network: Path) -> None:
    network.write_bytes(b"")


def _folder(network: Path) -> None:
    network.unlink()
    network.mkdir()


def _missing(network: Path) -> None:
    network.unlink()


def _with_config(network: Path, change: Any) -> None:
    with zipfile.ZipFile(network) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    members["config.json"] = json.dumps(change(config)).encode()
    with zipfile.ZipFile(network, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _custom(network: Path) -> None:
    def change(config: Any) -> Any:
        config["config"]["layers"][1]["class_name"] = "Mine"
        return config

    _with_config(network, change)


def _hostile_module(network: Path) -> None:
    target = str(network.parent / "ran")
    hostile = {"module": "os", "class_name": "mkdir", "config": target}
    _with_config(network, lambda _: hostile)


def _hostile_function(network: Path) -> None:
    def change(config: Any) -> Any:
        function = {"module": "os", "class_name": "function", "config": "mkdir"}
        config["config"]["layers"][1]["config"]["activation"] = function
        return config

    _with_config(network, change)


def _lambda(network: Path) -> None:
    target = str(network.parent / "ran")
    layers = keras.layers.Lambda(lambda x, target=target: [os.mkdir(target), x][1])  # noqa: PTH102
    image = keras.Input((64, 64, 1), name="image")
    keras.Model(image, layers(image)).save(network)
    shutil.rmtree(target, ignore_errors=True)


def _repacked(network: Path, compression: int) -> bytearray:
    with zipfile.ZipFile(network) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(network, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return bytearray(network.read_bytes())


def _broken(network: Path, compression: int) -> None:
    content = _repacked(network, compression)
    start = content.index(b"config.json") + 40
    content[start : start + 60] = b"\xff" * 60
    network.write_bytes(content)


def _broken_deflate(network: Path) -> None:
    _broken(network, zipfile.ZIP_DEFLATED)


def _broken_lzma(network: Path) -> None:
    _broken(network, zipfile.ZIP_LZMA)


def _encrypted(network: Path) -> None:
    content = _repacked(network, zipfile.ZIP_STORED)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(mark)
        while place >= 0:
            content[place + flags] |= 1
            place = content.find(mark, place + 1)
    network.write_bytes(content)


def _deep(network: Path) -> None:
    with zipfile.ZipFile(network) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(network, "w") as archive:
        for name, content in (members | {"config.json": b"[" * 200_000}).items():
            archive.writestr(name, content)


def _other_size(network: Path) -> None:
    networks.network("dae").build(96, 1).save(network)


def _other_channels(network: Path) -> None:
    networks.network("dae").build(64, 2).save(network)


def _one_output(network: Path) -> None:
    image = keras.Input((64, 64, 1), name="image")
    keras.Model(image, keras.layers.ReLU()(image)).save(network)


def _other_outputs(network: Path) -> None:
    image = keras.Input((64, 64, 1), name="image")
    keras.Model(image, {"a": keras.layers.ReLU(name="a")(image)}).save(network)


def _huge_images(network: Path) -> None:
    def change(config: Any) -> Any:
        config["config"]["layers"][0]["config"]["batch_shape"] = [None, 2**20, 2**20, 1]
        return config

    _with_config(network, change)


@pytest.mark.parametrize(
    "spoil",
    [
        _truncated, _other_zip, _no_zip, _empty, _folder, _missing, _custom, _lambda,
        _hostile_module, _hostile_function, _broken_deflate, _broken_lzma, _encrypted, _deep,
        _other_size, _other_channels, _one_output, _other_outputs, _huge_images,
    ],
)  # fmt: skip
def test_what_is_no_network_is_refused_and_never_run(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any
) -> None:
    spoil(network)
    said = _fails(["export", network, tmp_path / "own.onnx"], 4, capsys)
    assert str(network) in said
    assert not (tmp_path / "own.onnx").exists()
    assert not (network.parent / "ran").exists()


def test_every_network_is_one_that_is_let_through(tmp_path: Path) -> None:
    spec = Preprocessing(size=64, channels=("plain", "clahe"))
    for name, declared in networks.every_network().items():
        declared.build(64, 2).save(tmp_path / f"{name}.keras")
        loaded = network_file.load(tmp_path / f"{name}.keras", spec)
        assert loaded.name == declared.build(64, 2).name
        joined = with_pons(loaded, pons_localiser(64))
        joined.save(tmp_path / f"{name}.keras")
        assert "pons" in network_file.load(tmp_path / f"{name}.keras", spec).output


def test_a_network_is_read_whose_layers_were_once_defined_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "own.keras"
    networks.network("cae").build(64, 1).save(file)

    def moved(config: Any) -> Any:
        text = json.dumps(config)
        assert "gliomart_training.layers" in text
        return json.loads(text.replace("gliomart_training.layers", "gliomart_training.networks"))

    _with_config(file, moved)
    assert network_file.load(file, Preprocessing(size=64)).name == "cae"


def _itself(network: Path) -> Path:
    return network


def _link(network: Path) -> Path:
    (network.parent / "link.onnx").symlink_to(network)
    return network.parent / "link.onnx"


def _hard_link(network: Path) -> Path:
    (network.parent / "hard.onnx").hardlink_to(network)
    return network.parent / "hard.onnx"


def _relative(network: Path) -> Path:
    return network.parent / "run" / ".." / network.name


def _in_the_run(network: Path) -> Path:
    place = network.with_suffix(".run") / "fold-1.onnx"
    place.write_bytes(b"another model")
    return place


def _of_the_run(network: Path) -> Path:
    return network.with_suffix(".run") / "fold-1.keras"


@pytest.mark.parametrize("place", [_itself, _link, _hard_link, _relative, _in_the_run, _of_the_run])
def test_export_overwrites_no_input(
    network: Path, capsys: pytest.CaptureFixture[str], place: Any
) -> None:
    model = place(network)
    before = _contents(network.parent)
    _fails(["export", network, model], 2, capsys)
    assert _contents(network.parent) == before


def test_export_overwrites_neither_data_nor_figures(
    scans: Path, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(scans, tmp_path / "data")
    (data / "old.onnx").write_bytes(b"old")
    figures = tmp_path / "figures.onnx"
    figures.write_text("{}")
    (tmp_path / "hard.onnx").hardlink_to(data / "images" / "p0-0.png")
    before = _contents(tmp_path)
    for model in (data / "old.onnx", tmp_path / "hard.onnx", figures):
        _fails(["export", network, model, "--data", data, "--metrics", figures], 2, capsys)
    assert _contents(tmp_path) == before


def test_where_no_model_can_go_is_said_before_work_begins(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_bytes(b"")
    assert "is a folder" in _fails(["export", network, tmp_path / "folder.onnx"], 2, capsys)
    _fails(["export", network, tmp_path / "file" / "own.onnx"], 6, capsys)
    _fails(["export", network, "/proc/own.onnx"], 6, capsys)
    assert "end in .onnx" in _fails(["export", network, tmp_path / "notes.txt"], 2, capsys)


def test_other_sequences_that_cannot_be_learnt_from_are_refused_before_work_begins(
    network: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ["export", network, tmp_path / "own.onnx"]
    t1, none = f"--unlike=a T1={scans}", f"--unlike=a T1={tmp_path / 'none'}"
    assert "none: no such folder" in _fails([*export, none], 8, capsys)
    assert "a T1 is given twice" in _fails([*export, t1, t1], 2, capsys)
    assert "held-out patients" in _fails([*export, t1], 2, capsys)  # of three
    assert not (tmp_path / "own.onnx").exists()


def test_training_does_not_replace_its_data(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(scans, tmp_path / "own.run")
    (data / "net.keras").write_bytes(b"an earlier network")
    (tmp_path / "folder.keras").mkdir()
    other = tmp_path / "other.run"
    other.mkdir()
    (other / "thesis.txt").write_text("not a run")
    before = _contents(tmp_path)
    overwrite = ["--overwrite", "--epochs", "1"]
    _fails(["train", data, "--out", tmp_path / "own.keras", *overwrite], 2, capsys)
    _fails(["train", data / "images", "--out", tmp_path / "own.keras", *overwrite], 2, capsys)
    _fails(["train", data, "--out", data / "net.keras", *overwrite], 2, capsys)
    _fails(["train", scans, "--out", tmp_path / "folder.keras", *overwrite], 2, capsys)
    _fails(["train", scans, "--out", "/proc/own.keras", *overwrite], 6, capsys)
    assert cli.main(["train", str(scans), "--out", str(tmp_path / "other.keras"), *overwrite]) == 2
    assert "other than a training run" in capsys.readouterr().err
    assert _contents(tmp_path) == before


def test_evaluation_and_measurement_replace_nothing_that_they_read(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model(tmp_path / "tiny.onnx")
    data = shutil.copytree(scans, tmp_path / "data")
    (tmp_path / "link").symlink_to(model)
    before = _contents(tmp_path)
    for out in (model, tmp_path / "link", data / "index.csv", data / "images" / "p0-0.png", data):
        evaluate = ["evaluate", data, "--bootstrap", "5", "--model", model]
        _fails([*evaluate, "--out", out], 2, capsys)
        bench = ["bench", data / "images", "--model", model, "--repeats", "1"]
        if out != data / "index.csv" and out != data:
            _fails([*bench, "--out", out], 2, capsys)
            _fails([*bench, "--plot", out], 2, capsys)
    assert _contents(tmp_path) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk]
    root = sys.platform == "linux" and os.geteuid() == 0
    if not root or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk is mounted, which only root may")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_network_that_does_not_fit_on_the_disk_leaves_nothing(
    small_disk: Path, tmp_path: Path
) -> None:
    from gliomart.errors import OutputError

    with pytest.raises(OutputError, match="cannot be written") as failed:
        network_file.save(networks.network("dae").build(64, 1), small_disk / "own.keras")
    assert "\n" not in str(failed.value)
    assert list(small_disk.iterdir()) == []
    del tmp_path


@pytest.mark.slow
def test_a_program_without_standard_error_trains_and_evaluates(
    scans: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    out = str(tmp_path / "own.keras")
    assert cli.main(["train", str(scans), "--folds", "1", "--epochs", "1", "--out", out]) == 0
    assert cli.main(["evaluate", str(scans), "--bootstrap", "2", "--json"]) == 0
    heard = capfd.readouterr().out
    assert heard.startswith("network: ")
    assert "epoch" not in heard
    assert json.loads(heard[heard.index("{") :])["schema"]
