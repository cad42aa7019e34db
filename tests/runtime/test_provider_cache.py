"""What providers are asked for, and the folders where they keep what they build."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gliomart.model.model import Model
from gliomart.providers import cache, options, probe
from gpus import DEVICE_LOST, Machine
from samples import tiny_model


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return home


@pytest.fixture
def machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    assert home.is_dir()
    machine = Machine()
    machine.install(monkeypatch)
    return machine


def test_a_folder_is_private_and_lies_where_caches_do(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = cache.folder({"a": "b"})
    assert place is not None
    assert place.parent.parent == home / ".cache" / "gliomart"
    assert place.stat().st_mode & 0o777 == 0o700
    assert cache.folder({"a": "b"}) == place
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    assert cache.folder({"a": "b"}) == home / "elsewhere" / "gliomart" / Path(*place.parts[-2:])
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the specification says to ignore
    assert cache.folder({"a": "b"}) == place


def test_a_folder_is_private_whatever_the_user_lets_others_write(home: Path) -> None:
    before = os.umask(0o000)
    try:
        place = cache.folder({"a": "b"})
    finally:
        os.umask(before)
    assert place is not None
    made = [place, *place.parents]
    assert {each.stat().st_mode & 0o777 for each in made[: made.index(home)]} == {0o700}


def _link_to_others(place: Path) -> None:
    place.rename(place.with_name("moved"))
    place.with_name("moved").chmod(0o777)
    place.symlink_to(place.with_name("moved"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda place: place.chmod(0o770),
        lambda place: place.chmod(0o702),
        lambda place: place.parent.chmod(0o777),
        lambda place: place.parents[1].chmod(0o777),
        lambda place: place.parents[3].chmod(0o777),
        _link_to_others,
    ],
)
def test_a_folder_that_others_can_write_to_is_not_used(
    home: Path, spoil: Callable[[Path], object]
) -> None:
    place = cache.folder({"a": "b"})
    assert place is not None
    assert place.is_relative_to(home)
    spoil(place)
    assert cache.folder({"a": "b"}) is None


def test_a_folder_of_somebody_else_is_not_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = cache.folder({"a": "b"})
    assert place is not None
    assert place.is_relative_to(home)
    owner = place.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert cache.folder({"a": "b"}) is None


def test_where_there_can_be_no_folder_nothing_is_kept(
    machine: Machine, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.folder({"a": "b"}) is None
    Model(model, provider="tensorrt")
    assert not any("cache" in option for option in machine.opened[0][1])


def test_tensorrt_is_asked_for_half_precision_a_profile_and_its_caches(
    machine: Machine, model: Path
) -> None:
    Model(model, provider="tensorrt")
    ((name, asked),) = machine.opened
    assert name == "TensorrtExecutionProvider"
    place = Path(asked.pop("trt_engine_cache_path"))
    assert Path(asked.pop("trt_timing_cache_path")) == place
    assert place.is_dir()
    assert asked == {
        "device_id": "0",
        "trt_fp16_enable": "True",
        "trt_profile_min_shapes": "image:1x256x256x1",
        "trt_profile_opt_shapes": "image:1x256x256x1",
        "trt_profile_max_shapes": "image:64x256x256x1",
        "trt_engine_cache_enable": "True",
        "trt_timing_cache_enable": "True",
    }


def test_what_does_not_load_from_a_folder_is_built_anew(machine: Machine, model: Path) -> None:
    Model(model, provider="tensorrt")
    place = Path(machine.opened[0][1]["trt_engine_cache_path"])
    (place / "cut-off.engine").write_bytes(b"half of it")
    (place / "folder").mkdir()
    machine.opening = [DEVICE_LOST]
    Model(model, provider="tensorrt")
    assert list(place.iterdir()) == []
    assert len(machine.opened) == 3
    (place / "whole.engine").write_bytes(b"all of it")
    Model(model, provider="tensorrt")
    assert [each.name for each in place.iterdir()] == ["whole.engine"]


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("first_gpu", probe.Gpu("another", "8.6", 13000)),
        ("first_gpu", probe.Gpu("NVIDIA RTX A2000", "8.9", 13000)),
        ("first_gpu", probe.Gpu("NVIDIA RTX A2000", "8.6", 13010)),
        ("tensorrt_version", "101400"),
        ("onnxruntime.__version__", "1.99.0"),
    ],
)
def test_every_part_of_the_machine_makes_another_folder(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, what: str, value: object
) -> None:
    assert machine.name == b"NVIDIA RTX A2000"
    before = options.cache_key("tensorrt", b"model", {})
    if what == "onnxruntime.__version__":
        monkeypatch.setattr(probe.onnxruntime(), "__version__", value, raising=False)
    else:
        monkeypatch.setattr(probe, what, lambda: value)
    after = options.cache_key("tensorrt", b"model", {})
    assert sum(before[part] != after[part] for part in before) == 1
    assert cache.folder(before) != cache.folder(after)


def test_models_options_and_providers_have_folders_of_their_own(machine: Machine) -> None:
    assert machine.gpus == 1
    keys = [
        options.cache_key("tensorrt", b"model", {}),
        options.cache_key("tensorrt", b"another", {}),
        options.cache_key("tensorrt", b"model", {"trt_fp16_enable": "False"}),
        options.cache_key("tensorrt-rtx", b"model", {}),
    ]
    assert len({cache.folder(key) for key in keys}) == len(keys)


def test_the_profile_has_the_size_and_channels_of_the_model(
    machine: Machine, tmp_path: Path
) -> None:
    path = tiny_model(tmp_path / "two.onnx", size=64, channels=2)
    given = options.variants("tensorrt", path.read_bytes(), "image", (64, 64, 2), half=False)
    asked = next(given)
    assert machine.opened == []
    assert asked["trt_profile_opt_shapes"] == "image:1x64x64x2"
    assert asked["trt_fp16_enable"] == "False"


@pytest.mark.parametrize(("seen", "slabs"), [(6, 10), (10, 6), (64, 1)])
@pytest.mark.parametrize(("provider", "option"), [("tensorrt", "trt"), ("tensorrt-rtx", "nv")])
def test_the_profile_of_slabs_has_as_many_slices_as_that_of_slices(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    seen: int,
    slabs: int,
    provider: str,
    option: str,
) -> None:
    machine.install_rtx(monkeypatch)
    asked = next(options.variants(provider, b"model", "image", (seen, 256, 256, 1), half=True))
    assert [asked[f"{option}_profile_{end}_shapes"] for end in ("min", "opt", "max")] == [
        f"image:{batch}x{seen}x256x256x1" for batch in (1, 1, slabs)
    ]
