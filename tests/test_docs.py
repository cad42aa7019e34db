"""What the documentation shows runs: every block of shell and Python, each by itself."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from samples import GOLDEN

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>.+?) -->\n\n?)?"
    r"```(?P<kind>sh|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
# Programs that blocks call and that a machine may lack.
_PROGRAMS = ("g++", "mcs", "mono")

# Blocks that are marked as not to be run, by their first line: add to them knowingly.
NOT_RUN = {
    (
        "README.md",
        "python3 -m venv .venv && .venv/bin/pip install '.[cpu]' && .venv/bin/gliomart demo",
    ),
    ("README.md", "pip install '.[cpu,export,evaluate]'"),
    (
        "README.md",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest -n auto",
    ),
    ("accuracy.md", "gliomart evaluate lgg_flair --split dev"),
    ("accuracy.md", "gliomart train lgg_flair --out runs/flair-dae.keras --folds 3"),
    (
        "accuracy.md",
        (
            "gliomart export runs/flair-dae.keras version-6.onnx --precision int8 --map reach_px=1 "
            "--map usual=-1 --map speck_px=1 --map gap_px=1 --map smoothing_px=1.5"
        ),
    ),
    ("accuracy.md", "gliomart evaluate lgg_flair --held-out runs/flair-dae.run --stress"),
    ("accuracy.md", "gliomart train lgg_flair --folds 1 --epochs 8 --out runs/NAME.keras [OPTION]"),
    ("autoencoder-or-unet.md", "gliomart train lgg_flair --out runs/dae.keras"),
    (
        "autoencoder-or-unet.md",
        "gliomart train lgg_flair --out runs/dae-45.keras --folds 1 --epochs 15",
    ),
    ("brainstem.md", "gliomart evaluate lgg_flair --pons --split dev --plots plots/"),
    ("site.md", "gliomart calibrate scans/ --check    # does this site differ? writes nothing"),
    ("site.md", "python benchmarks/site_calibration.py lgg_flair --split dev --out site-dev.json"),
    ("command-line.md", "gliomart train scans/ --out own.keras"),
    ("command-line.md", "gliomart export own.keras own.onnx"),
    ("command-line.md", "gliomart evaluate scans/ --split test  # the built-in model"),
    ("command-line.md", 'eval "$(gliomart completion bash)"   # in ~/.bashrc'),
    ("data.md", "gliomart evaluate lgg_flair/ theirs/ --split dev --out both.csv"),
    ("embedding.md", "python3 -m venv gather"),
    ("embedding.md", "python3 -m venv /opt/gliomart"),
    ("embedding.md", "gliomart infer study/ --out results/ --dicom-out"),
    ("embedding.md", "useradd --system --home-dir /srv/gliomart gliomart"),
}


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    kind: str
    code: str
    why_not: str | None


def _blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("code"))
            found.append(Block(page.name, line, match["kind"], match["code"], match["why"]))
    return found


BLOCKS = _blocks()
RUN = [block for block in BLOCKS if block.why_not is None]


def test_every_fence_is_a_block_that_is_known() -> None:
    fences = sum(page.read_text(encoding="utf-8").count("\n```") for page in PAGES)
    assert fences == 2 * len(BLOCKS), "a fence is neither sh nor python, or a mark is misplaced"


def test_what_is_not_run_is_known() -> None:
    marked = {(block.page, block.code.splitlines()[0]) for block in BLOCKS if block.why_not}
    assert marked == NOT_RUN


def test_commands_that_are_not_run_could_be() -> None:
    pytest.importorskip("shtab", reason="the page's own script needs it")
    parser = runpy.run_path(str(ROOT / "docs" / "commands.py"))["whole_parser"]()
    lines = [line for block in BLOCKS if block.why_not for line in block.code.splitlines()]
    lines = [line.partition(" > ")[0] for line in lines]
    asked = [shlex.split(line, comments=True) for line in lines if line.startswith("gliomart ")]
    assert len(asked) > 10
    for _, *arguments in asked:
        parser.parse_args([each for each in arguments if each != "[OPTION]"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if heading:
            assert heading in _headings(target), link


def _headings(page: Path) -> set[str]:
    """Name the headings of a page as links do: in lower case, with hyphens, without the rest."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def _case(block: Block) -> ParameterSet:
    """Name a block by its place; one that times everything twice takes its time."""
    marks = (pytest.mark.slow,) if block.code.startswith("gliomart bench ") else ()
    return pytest.param(block, id=f"{block.page}:{block.line}", marks=marks)


@pytest.mark.parametrize("block", [_case(block) for block in RUN])
def test_a_block_runs(block: Block, tmp_path: Path) -> None:
    called = [p for p in _PROGRAMS if re.search(rf"^{re.escape(p)} ", block.code, re.MULTILINE)]
    if missing := [program for program in called if shutil.which(program) is None]:
        pytest.skip(f"there is no {', '.join(missing)}")
    study = tmp_path / "study"
    study.mkdir()
    for number, file in enumerate(sorted(GOLDEN.glob("*.dcm")), start=1):
        shutil.copy(file, study / f"{number:02}.dcm")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    scripts = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts")])
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    script = tmp_path / "block.py"  # processes that it starts read it again
    script.write_text(block.code, encoding="utf-8")
    command = {
        "python": [sys.executable, "-W", "error::DeprecationWarning:gliomart", str(script)],
        "sh": ["bash", "-euo", "pipefail", "-c", block.code],
    }[block.kind]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
