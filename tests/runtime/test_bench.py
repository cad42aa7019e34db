"""What ``gliomart bench`` makes of what it measures, and that it measures other engines at all."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import examinations
import processes
from gliomart import Detector, bench, sources
from gliomart.bench import budgets, compare, floor, fresh, load, machine, stages
from gliomart.bench.report import AtThreads
from gliomart.errors import BudgetExceededError, GliomartError, ModelError, UsageError
from gliomart.model.built_in import default_model
from gliomart.model.contents import Slab
from gliomart.model.model import Model
from samples import GOLDEN, card, tiny_model
from slabs import slab_model

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BUDGETS = Path(__file__).parents[2] / "benchmarks" / "budgets.toml"
VALUES = {"p50": 2.0, "p95": 3.0, "p99": 4.0}


SLAB = Slab(seen=4, given=2)


@pytest.fixture(scope="module")
def slabs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slab_model(tmp_path_factory.mktemp("slabs") / "slab.onnx", SLAB)


def comparison(ours: list[float], other: list[float]) -> AtThreads:
    """Summarise a comparison of two engines, whose turns took so long, and a product."""
    turns = {
        ("ONNX Runtime", None): ours,
        ("Other", None): other,
        (f"{floor.SGEMM}, 512²", 2e9): [20.0 for _ in ours],
    }
    engines = [
        compare.TimedEngine(name, "fp32", work, None, np.array([[t] * 3 for t in each]))
        for (name, work), each in turns.items()
    ]
    return compare._summary(engines, {"fp32": {"all": 1.0, "int8": 0.0}})


def report(**parts: Any) -> Any:
    """Make a report as :func:`gliomart.bench.measure` does, with made-up figures."""
    values: dict[str, Any] = {
        "machine": machine.description(),
        "model": {"name": "tiny", "precision": "fp32"},
        "provider": "CPUExecutionProvider",
        "study": {"name": "golden", "slices": 24, "pixels": [256, 256], "repeats": 1},
        "ms": dict.fromkeys((*stages.STAGES, "slice"), VALUES),
        "model_ms": {"cpu": VALUES, "cuda": {"not_measured": "no such device"}},
        "series": {"slices_per_second": 30.0},
        "energy": {"joules_per_slice": None, "reason": "no counter"},
        "import_ms": VALUES,
    }
    return values | parts


def compared() -> dict[str, Any]:
    measured = comparison([10.0, 12.0, 11.0, 13.0], [20.0, 24.0, 22.0, 13.0])
    return {
        "what": "made up",
        "rounds": 4,
        "operations": {"fp32": {"all": 1.0, "int8": 0.0}},
        "by_threads": {"1": measured, "2": measured},
        "not_compared": {"keras": "is not installed"},
    }


def test_ratios_are_taken_within_each_round() -> None:
    # Slow in the same rounds: the ratio is steady although the times are not.
    ratio = comparison([10.0, 100.0, 20.0], [20.0, 200.0, 40.0])["engines"][1]["ratio"]
    assert ratio == {"p5": 2.0, "p50": 2.0, "p95": 2.0}


def test_the_floor_is_a_rate_and_the_model_a_share_of_it() -> None:
    measured = comparison([20.0], [20.0])["floor"]
    assert measured["sgemm_gflops"] == 100.0  # 2e9 operations in 20 ms
    assert measured["share"] == {"fp32": 0.5}  # 1e9 in the same time
    assert measured["int8_gops"] is None
    # Rounds in which everything takes twice as long change no share.
    slow = np.array([1.0, 2.0, 1.0, 2.0])
    products = [
        floor.Product(f"{floor.SGEMM}, 512²", 2e9, 20.0 * slow),
        floor.Product(f"{floor.IGEMM}, 512²", 8e9, 20.0 * slow),
    ]
    networks: dict[str, Any] = {"int8": ({"all": 1.0, "int8": 0.8}, 8.0 * slow)}
    # 2 ms at 100 GFLOP/s and 2 ms at 400
    assert floor.summary(products, networks)["share"] == {"int8": 0.5}
    assert floor.summary(products[:1], networks)["share"] == {}


def test_operations_are_counted_by_hand(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto
    rng = np.random.default_rng(0)
    tensors = {
        "weights": rng.random((8, 3, 3, 3), np.float32),
        "integers": rng.integers(-9, 9, (4, 4, 1, 1)).astype(np.int8),
        "scale": np.float32(0.1),
        "matrix": rng.random((16, 5), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["a"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("DequantizeLinear", ["integers", "scale"], ["dequantised"]),
        helper.make_node("Conv", ["a", "dequantised"], ["b"], group=2),
        helper.make_node("MatMul", ["b", "matrix"], ["c"]),
    ]
    tensors["integers"] = tensors["integers"].reshape(4, 4, 1, 1)
    graph = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info("image", kind.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("c", kind.FLOAT, ["batch", 4, 16, 5])],
        [onnx.numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    path = tmp_path / "counted.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    first = 2 * 8 * 16 * 16 * (3 * 3 * 3)
    second = 2 * 4 * 16 * 16 * 4
    product = 2 * 4 * 16 * 5 * 16
    counted = floor.operations(path)
    assert counted["all"] == round((first + second + product) / 1e9, 4)
    assert counted["int8"] == round(second / 1e9, 4)


def test_the_built_in_model_needs_about_a_billion_operations() -> None:
    pytest.importorskip("onnx")
    assert 0.3 < floor.operations(default_model())["all"] < 3


def test_a_report_is_laid_out_and_drawn_with_and_without_a_comparison() -> None:
    pytest.importorskip("matplotlib")
    for parts in ({}, {"comparison": compared()}):
        made = report(**parts)
        text = bench.table(made)
        assert ("Other, fp32" in text) == ("comparison" in parts)
        assert ("not compared: keras: is not installed" in text) == ("comparison" in parts)
        drawn = cv2.imdecode(np.frombuffer(bench.plot(made), np.uint8), cv2.IMREAD_COLOR)
        assert drawn is not None
        assert drawn.std() > 5


def test_a_table_tells_what_a_slab_is_and_what_of_its_time_is_for_a_slice() -> None:
    assert "slab" not in bench.table(report())
    slab = {"seen": 10, "given": 6, "ms": {"cpu": {"p50": 12.0, "p95": 18.0, "p99": 24.0}}}
    lines = bench.table(report(slab=slab)).splitlines()
    assert lines.index("model, cpu         2.00     3.00     4.00") + 1 == lines.index(
        "slab, cpu         12.00    18.00    24.00"
    )
    assert "a slab shows 10 slices and gives 6; model is its time by 6, and" in lines


def test_a_slabs_time_is_shared_by_the_slices_that_it_gives(
    slabs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_MODEL_RUNS", 3)
    detector = Detector(slabs, provider="cpu")
    one = stages.typical(detector, sources.scan([GOLDEN]))
    assert one.image.shape == (256, 256, 1)
    of_slice, slab = stages.model_only(slabs, one.image, None)
    assert slab is not None
    assert (slab["seen"], slab["given"]) == SLAB
    for name, values in slab["ms"].items():
        shared = of_slice[name]
        if "not_measured" in values:
            assert values == shared
        else:
            assert shared["p50"] == pytest.approx(values["p50"] / SLAB.given, abs=1e-3)
    assert "not_measured" not in slab["ms"]["cpu"]
    assert stages.model_only(tiny_model(tmp_path / "m.onnx"), one.image, None)[1] is None


def test_a_processor_that_tells_its_energy_is_asked_for_that_of_a_slice(
    slabs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = iter([0.0, 30.0])
    monkeypatch.setattr(stages, "_MODEL_RUNS", 3)
    monkeypatch.setattr(stages, "joules", lambda: next(counted))
    image = np.zeros((256, 256, 1), np.float32)
    assert stages.energy(slabs, image, None) == {"joules_per_slice": 30 / 3 / SLAB.given}
    counted = iter([0.0, 30.0])
    assert stages.energy(tiny_model(tmp_path / "m.onnx"), image, None)["joules_per_slice"] == 10.0


def test_a_model_of_slabs_is_timed_beside_a_busy_process(
    slabs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_BLOCKS", "_MODEL_RUNS", "_SLICES"):
        monkeypatch.setattr(load, name, 1)
    detector = Detector(slabs, provider="cpu")
    one = stages.typical(detector, sources.scan([GOLDEN]))
    assert set(load.measure(detector, slabs, one, None)) == {"model", "slice"}
    alone = tiny_model(tmp_path / "m.onnx")
    assert [stages.given(Model(path, provider="cpu")) for path in (slabs, alone)] == [2, 1]


@pytest.mark.parametrize("first", ["a-t1", "z-t1"])
def test_a_study_of_two_sequences_is_timed_on_the_one_that_leads(
    first: str, tmp_path: Path
) -> None:
    """Whichever of both is met first; the other is seen beside it."""
    examinations.series(tmp_path, "flair", numbers=range(4, 20))
    examinations.t1(tmp_path, name=first, numbers=range(1, 25))
    detector = Detector("flair-t1-dae", provider="cpu")
    inventory = sources.scan([tmp_path])
    assert len(inventory.series) == 2
    one = stages.typical(detector, inventory)
    assert one.file is not None
    assert one.file.name.startswith("flair")
    measured = stages.slices(detector, inventory, 1)
    assert measured.count == 16
    assert stages.series(detector, tmp_path, 1, "none")["slices"] == 16


def test_a_longer_series_that_the_model_does_not_take_is_passed_over(tmp_path: Path) -> None:
    examinations.series(tmp_path, "flair", numbers=range(4, 20))
    examinations.t1(tmp_path)
    detector = Detector(tiny_model(tmp_path / "m.onnx"), provider="cpu")
    one = stages.typical(detector, sources.scan([tmp_path]))
    assert one.file is not None
    assert one.file.name.startswith("flair")


def test_budgets_of_what_is_not_measured_are_no_budgets() -> None:
    budget = [budgets.FigureBudget("load.slice.p99", at_most=1.0, reason="a test")]
    assert budgets.asks_for(budget, "load")
    assert not budgets.asks_for(budget, "comparison")
    with pytest.raises(UsageError, match=r"load\.slice\.p99"):
        bench.check(report(), budget)
    with pytest.raises(BudgetExceededError, match="is 2, budget 1"):
        bench.check({"load": {"slice": {"p99": 2.0}}}, budget)


def test_every_budget_has_a_reason_and_a_limit_above_zero() -> None:
    read = bench.read_budgets(BUDGETS)
    assert len({each.figure for each in read}) == len(read) > 0
    for each in read:
        assert each.at_most > 0
        assert len(each.reason) > 20


def test_benchmarks_of_stages_run() -> None:
    """Without being timed; what they take is for ``pytest benchmarks`` alone."""
    pytest.importorskip("pytest_benchmark")
    words = ["-m", "pytest", "-q", "--benchmark-disable", "-p", "no:cacheprovider"]
    stages = BUDGETS.with_name("test_stages.py")
    done = processes.finish([sys.executable, *words, stages, "-k", "not infer"], check=False)
    assert "8 passed" in done.stdout, done.stdout


def test_energy_is_summed_over_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_RAPL", tmp_path)
    with pytest.raises(FileNotFoundError, match="no energy counter"):
        machine.joules()
    for name, value in {"intel-rapl:0": 3_000_000, "intel-rapl:1": 500_000}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{value}\n")
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of a package, counted in it
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("1000000\n")
    assert machine.joules() == 3.5


def test_a_machine_has_a_name_that_is_a_folder() -> None:
    assert set(machine.slug()) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_another_network_is_not_compared(model: Path, tmp_path: Path) -> None:
    image = np.zeros((256, 256, 1), np.float32)
    wanted = {
        "another network": card(network={"name": "other"}),
        "not in single precision": card(network={"name": "none", "precision": "int8"}),
    }
    for message, of in wanted.items():
        other = tiny_model(tmp_path / "other.onnx", metadata={"gliomart": of.to_json()})
        with pytest.raises(UsageError, match=message):
            compare.measure(model, image, float_model=other, threads=1, rounds=1)


@pytest.mark.slow
def test_a_fresh_process_is_not_charged_for_the_memory_of_this_one() -> None:
    filled = np.ones(2**29, np.uint8)
    peak = fresh.starts(None, "cpu", 1, GOLDEN / "slice_012.dcm")["peak_memory_mb"]
    assert 20 < peak < filled.nbytes / 2**20


@pytest.mark.slow
def test_engines_run_the_same_network_turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(compare, "_EXTERNAL", {"nobody": "none"})
    detector = Detector(provider="cpu")
    image = stages.typical(detector, sources.scan([GOLDEN])).image
    made = compare.measure(default_model(), image, float_model=None, threads=1, rounds=2)
    ours, openvino = made["by_threads"]["1"]["engines"][:2]
    assert (ours["name"], ours["ratio"]["p50"]) == ("ONNX Runtime", 1.0)
    assert openvino["name"] == "OpenVINO"
    assert openvino["difference"] < 0.02
    assert 0.01 < openvino["ratio"]["p50"] < 100
    assert made["by_threads"]["1"]["floor"]["sgemm_gflops"] > 0.1
    assert made["not_compared"] == {
        "nobody": "nobody needs an extra that is missing: pip install 'gliomart[none]'"
    }


@pytest.mark.slow
def test_engines_are_given_slabs_where_the_model_sees_them(
    slabs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(compare, "_EXTERNAL", {})
    image = np.random.default_rng(0).random((256, 256, 1), np.float32)
    made = compare.measure(slabs, image, float_model=None, threads=1, rounds=1)
    assert made["what"].startswith("A slab of 4 slices, for 2 of them, image to maps, CPU.")
    ours, openvino = made["by_threads"]["1"]["engines"][:2]
    assert (ours["name"], openvino["name"]) == ("ONNX Runtime", "OpenVINO")
    assert ours["difference"] == 0.0
    assert openvino["difference"] < 1e-3
    assert made["not_compared"] == {}


@pytest.mark.slow
def test_an_engine_that_fails_is_named_with_its_reason(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "_EXTERNAL", {})
    image = np.zeros((64, 64, 1), np.float32)  # the model takes 256
    with pytest.raises(ModelError, match="failed: "):
        compare.measure(model, image, float_model=None, threads=1, rounds=1)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_comparison_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.zeros((256, 256, 1), np.float32))
    with compare.EngineProcess("floor", default_model(), 1, tmp_path) as worker:
        assert worker.ready()["missing"] is None
        assert len(worker.turn(0)) == 3
        worker._process.kill()
        worker._process.wait()
        with pytest.raises(GliomartError, match="floor died"):
            worker.turn(0)


def _engines_of(kind: str, model: Path, *shape: int) -> list[str]:
    """Run engines of a network in a process of its own: TensorFlow's threads are set once."""
    code = (
        "import sys, numpy as np; from pathlib import Path; from gliomart_export import engines;"
        "kind, model, *shape = sys.argv[1:];"
        "image = np.full(tuple(map(int, shape)), 0.2, np.float32);"
        "found = getattr(engines, kind)(Path(model), image, 1);"
        "print(len(found), [each.run() for each in found])"
    )
    command = [sys.executable, "-c", code, kind, str(model), *map(str, shape)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["keras", "litert"])
def test_networks_are_built_from_the_card(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("ai_edge_litert")
    from gliomart_training.networks import network

    declared = network("dae-volume")
    assert declared.slab is not None
    residual = asdict(declared.recipe.residual)  # type: ignore[call-overload]
    slabs = slab_model(
        tmp_path / "m.onnx", declared.slab, network={"name": "dae-volume", "residual": residual}
    )
    for model, shape in (
        (default_model(), (256, 256, 1)),
        (slabs, (declared.slab.seen, 256, 256, 1)),
    ):
        assert "3 [None, None, None]" in _engines_of(kind, model, *shape)


@pytest.mark.slow
def test_a_network_that_is_more_than_its_card_tells_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    model = slab_model(tmp_path / "m.onnx", Slab(10, 6), network={"name": "dae-across"})
    said = _engines_of("keras", model, 10, 256, 256, 1)[-1]
    assert "dae-across is made of more than its card tells" in said


def test_the_page_is_made_of_the_results() -> None:
    made = runpy.run_path(str(PAGE.with_name("performance.py")))
    page = PAGE.read_text(encoding="utf-8")
    assert made["rewritten"](page) == page
    for file in made["RESULTS"].glob("*/slices-256.json"):
        assert json.loads(file.read_text(encoding="utf-8"))["model"]["sha256"] in page


@pytest.mark.parametrize("name", [None, "flair-dae", "flair-t1-dae"])
def test_engines_are_compared_on_the_files_of_a_model_that_comes_along(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, Path | None]] = []

    def measure(model: Path, image: object, *, float_model: Path | None, **_: object) -> None:
        del image
        asked.append((model, float_model))

    monkeypatch.setattr(compare, "measure", measure)
    plan = bench.Plan(model=None if name is None else Path(name), compare=True)
    bench._compared(plan, np.zeros((256, 256, 1), np.float32))
    ((model, in_floats),) = asked
    assert (model.name, in_floats and in_floats.name) == (
        f"{name or 'flair-dae'}.onnx",
        f"{name or 'flair-dae'}-fp32.onnx",
    )
    assert model.is_file()
