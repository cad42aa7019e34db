"""Tumour masks teach networks that are there for comparison, and nothing that is shipped."""

from __future__ import annotations

import ast
import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import processes
from samples import marked_scans

keras = pytest.importorskip("keras", reason="needs the extra: training")

import gliomart_training  # noqa: E402
from gliomart.errors import DatasetError, OutputExistsError  # noqa: E402
from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart_training import bases, networks, training  # noqa: E402
from gliomart_training.batches import Variation  # noqa: E402
from gliomart_training.labelled import LabelledBatches, LabelledImages  # noqa: E402
from gliomart_training.plan import Material, Plan, prepare  # noqa: E402
from gliomart_training.recipe import BrainRecipe, PonsRecipe, Recipe  # noqa: E402
from gliomart_training.record import RECORD, read_record  # noqa: E402

SPEC = Preprocessing(size=64)
SUPERVISED = [name for name, each in networks.every_network().items() if each.supervised]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return marked_scans(tmp_path / "scans")


def _plan(data: Path, name: str, out: Path | None = None, **changes: object) -> Plan:
    plan = Plan(
        data=data,
        split=None,
        out=out or data.parent / f"{name}.keras",
        recipe=replace(networks.network(name).recipe, epochs=1, batch_size=4),
        brain=BrainRecipe(steps=2, batch_size=4, heads=1),
        pons=PonsRecipe(),
        preprocessing=SPEC,
        variation=Variation(),
        folds=1,
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


def _trees() -> dict[str, ast.Module]:
    """Every module that has a part in training; evaluation, which measures, has none."""
    folder = Path(gliomart_training.__file__).parent
    files = (*folder.glob("*.py"), *folder.glob("networks/*.py"))
    return {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in files}


def test_no_module_of_training_but_labelled_looks_at_what_a_mask_marks() -> None:
    looking = {
        name
        for name, tree in _trees().items()
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "truth"
        )
        or (isinstance(node, ast.Attribute) and node.attr == "marks")
    }
    # Where masks are read, and where an evaluation takes them to other scanners.
    assert looking == {"labelled", "patients", "stress"}


def test_what_masks_mark_is_taken_where_the_network_is_supervised_alone() -> None:
    trees = _trees()
    importing = {
        name
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "gliomart_training.labelled"
    }
    assert importing == {"plan", "training"}
    chosen = [
        (ast.unparse(node.body), ast.unparse(node.test))
        for node in ast.walk(trees["training"])
        if isinstance(node, ast.IfExp) and "Labelled" in ast.unparse(node)
    ]
    assert chosen == [("LabelledBatches", "declared.supervised")]
    used = [n for n in ast.walk(trees["training"]) if getattr(n, "id", "") == "LabelledBatches"]
    assert len(used) == 1


@pytest.mark.parametrize("name", networks.names())
def test_a_network_that_is_held_to_a_lesion_is_declared_supervised(name: str) -> None:
    declared = networks.network(name)
    losses = declared.losses(declared.recipe)
    truths = {loss.truth or output for output, loss in losses.items()}
    assert declared.supervised == ("lesion" in truths)


def _with_other_masks(scans: Path) -> Path:
    """The same scans, of which the same slices are marked, elsewhere."""
    other = marked_scans(scans.parent / "other" / "scans")
    for file in (other / "masks").iterdir():
        mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        assert cv2.imwrite(str(file), np.roll(mask, 20, axis=0))
    return other


def _seen(data: Path, name: str) -> dict[str, np.ndarray]:
    """All that a network of this name, and its brain localiser, learn from."""
    plan = _plan(data, name)
    material = prepare(plan)
    (job,) = material.jobs()
    learning = material.learning(job)
    batches = training._batches(plan, material.taught(lambda _: True), learning)
    images, truths = zip(*(batches[n] for n in range(len(batches))), strict=True)
    held_to = {name: np.stack([truth[name] for truth in truths]) for name in truths[0]}
    brains = np.stack([b.plain for each in material.brains.values() for b in each])
    lesions = material.with_lesions(job.held_out, 64)
    assert lesions is not None
    return {
        "images": np.stack(images), "healthy": learning.images.plain, "brains": brains,
        "lesions put in": lesions.seen, **held_to,
    }  # fmt: skip


def test_where_a_mask_lies_changes_nothing_that_an_unsupervised_network_learns_from(
    scans: Path,
) -> None:
    one, other = _seen(scans, "dae"), _seen(_with_other_masks(scans), "dae")
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert np.array_equal(values, other[name]), name


def test_and_it_changes_the_lesion_alone_of_what_a_supervised_one_does(scans: Path) -> None:
    one, other = _seen(scans, "unet"), _seen(_with_other_masks(scans), "unet")
    different = {name for name, values in one.items() if not np.array_equal(values, other[name])}
    assert different == {"lesion"}


def test_masks_of_unsupervised_material_cannot_be_had(scans: Path) -> None:
    with pytest.raises(AssertionError):
        _ = prepare(_plan(scans, "cae")).labelled


def test_a_lesion_moves_with_its_image() -> None:
    lesion = np.zeros((4, 64, 64), bool)
    lesion[:, 24:40, 20:36] = True
    images = LabelledImages(np.where(lesion, 0.9, 0.3).astype(np.float32), ~lesion, lesion)
    batches = LabelledBatches(
        images, SPEC, Recipe("unet", batch_size=4), Variation(), truths={"lesion": "lesion"}
    )
    for epoch in range(4):
        batches.start(epoch)
        seen, truths = batches[0]
        bright = seen > (seen.max() + seen.min()) / 2
        assert ((truths["lesion"] > 0.5) == bright).mean() > 0.95


def test_data_without_masks_are_refused_in_one_sentence(scans: Path) -> None:
    rows = list(csv.DictReader((scans / "index.csv").open()))
    with (scans / "index.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, rows[0])
        table.writeheader()
        table.writerows(row | {"mask": ""} for row in rows)
    with pytest.raises(DatasetError, match="unet learns from masks of tumours, and none is marked"):
        prepare(_plan(scans, "unet"))
    prepare(_plan(scans, "dae"))


def test_so_is_a_fold_without(dataset_folder: Path) -> None:
    plan = _plan(dataset_folder, "unet", split="train", folds=3)
    with pytest.raises(DatasetError, match=r"fold-\d holds out all patients with one"):
        prepare(plan)


def test_how_many_masks_teach_is_told(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    material = prepare(_plan(scans, "unet"))
    assert material.marked_slices() == 3
    training._tell_what_there_is(material, material.described())
    assert "tumour masks teach it, in 3 slices" in capsys.readouterr().err


@pytest.mark.parametrize("name", SUPERVISED)
def test_the_record_of_a_supervised_network_says_so(name: str, scans: Path) -> None:
    record = prepare(_plan(scans, name)).described()
    assert record["saw_masks"]
    assert bases.saw_masks(record)


def test_a_record_of_before_saw_no_masks_unless_its_network_is_declared_supervised(
    scans: Path,
) -> None:
    for name, saw in (("dae", False), ("unet", True)):
        record = prepare(_plan(scans, name)).described()
        del record["saw_masks"], record["built_on"]
        assert bases.saw_masks(record) is saw
        assert bases.saw_masks(record | {"saw_masks": False}) is saw


def _started(material: Material, **changes: object) -> Plan:
    """Leave what a run that has only begun leaves, but for some of its record."""
    plan = material.plan
    plan.folder.mkdir()
    (plan.folder / RECORD).write_text(json.dumps(material.described() | changes))
    return plan


def test_resuming_a_run_does_not_change_what_it_saw(scans: Path) -> None:
    plan = _started(prepare(_plan(scans, "unet")), saw_masks=False)
    with pytest.raises(OutputExistsError, match="started differently"):
        training.run(plan, resume=True)
    assert read_record_anyway(plan)["saw_masks"] is False
    assert not list(plan.folder.glob("*.keras"))


def read_record_anyway(plan: Plan) -> dict[str, object]:
    content: dict[str, object] = json.loads((plan.folder / RECORD).read_text())
    return content


@pytest.mark.slow
def test_what_is_built_on_what_saw_masks_is_marked_two_levels_deep(
    scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scans.parent
    first = _plan(scans, "unet")
    second = _plan(scans, "cae", folder / "second.keras", bases=(first.folder,))
    third = _plan(scans, "cae", folder / "third.keras", bases=(second.folder,))
    alone = _plan(scans, "cae", folder / "alone.keras")
    for plan in (first, second, third, alone):
        training.run(plan)
    records = [read_record(plan.folder) for plan in (first, second, third, alone)]
    assert [record["saw_masks"] for record in records] == [True, True, True, False]
    (base,) = records[2]["built_on"]
    assert (base["role"], base["network"], base["saw_masks"]) == ("localisers", "cae", True)
    assert "tumour masks taught what it is built on" in capsys.readouterr().err
    with pytest.raises(OutputExistsError, match="started differently"):
        training.run(replace(third, bases=(alone.folder,)), resume=True)


_COMMAND = """
import sys
from functools import partial
from gliomart_training import commands
commands.Preprocessing = partial(commands.Preprocessing, size=64)
from gliomart.__main__ import main
sys.exit(main())
"""


@pytest.mark.slow
def test_it_is_exported_for_comparison_alone_and_measured(scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx", reason="needs the extra: export")
    pytest.importorskip("sklearn", reason="needs the extra: evaluate")
    network, model = tmp_path / "own.keras", tmp_path / "own.onnx"

    def gliomart(*arguments: object, status: int = 0) -> str:
        done = processes.run(_COMMAND, *arguments, env=processes.searched(), check=False)
        assert done.returncode == status, done.stderr
        return str(done.stderr if status else done.stdout)

    gliomart("train", scans, "--network", "unet", "--out", network, "--epochs", 1, "--folds", 1)
    refused = gliomart("export", network, model, status=2)
    assert refused.count("\n") == 1
    assert "tumour masks taught it" in refused
    assert not model.exists()
    gliomart("export", network, model, "--comparison")
    gliomart("infer", scans / "images", "--model", model, "--out", tmp_path / "out")
    assert "For comparison alone" in (tmp_path / "out" / "report.html").read_text()
    told = " ".join(gliomart("info", model).split())
    assert "For comparison with unsupervised methods alone" in told
    assert "Tumour masks taught it" in told
    figures = tmp_path / "figures.json"
    gliomart(
        "evaluate", scans, "--held-out", tmp_path / "own.run", "--bootstrap", 20, "--out", figures
    )
    assert json.loads(figures.read_text())["dataset"]["counts"]["tumour_slices"] == 1
