"""What is said about the commands: in their help, on the page, and to shells."""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gliomart import cli, errors
from gliomart.cli.completion import SHELLS
from gliomart.host import signals
from samples import GOLDEN

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
MADE: dict[str, Any] = runpy.run_path(str(PAGE.with_name("commands.py")))
WHOLE: argparse.ArgumentParser = MADE["whole_parser"]()
COMMANDS: dict[str, Any] = MADE["parsers_of"](WHOLE)


def _words(line: str) -> list[str] | None:
    """The arguments of gliomart in a line as it is typed; None where it runs something else."""
    command = re.search(r"gliomart [^|>&#)]*", line)
    return shlex.split(command[0])[1:] if command else None


def _parse(words: list[str]) -> None:
    """Read arguments as the command would; a usage error fails the test."""
    if words[-1] in {"-h", "--help"}:
        words = words[:-1]
        assert not words or words[0] in COMMANDS
    else:
        WHOLE.parse_args(words)


def test_the_page_tells_of_every_command_and_of_no_other() -> None:
    page = PAGE.read_text(encoding="utf-8")
    marked = re.findall(r"<!-- (\w+): made by commands\.py -->", page)
    assert sorted(marked) == sorted(COMMANDS)
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", page, re.MULTILINE)) == sorted(COMMANDS)
    for name in COMMANDS:
        assert f"\n## {name}\n" in page


def test_the_page_has_the_options_that_there_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert MADE["rewritten"](page) == page, "run python docs/commands.py"
    for name, parser in COMMANDS.items():
        (section,) = re.findall(rf"<!-- {name}: made.*?<!-- end -->", page, re.DOTALL)
        documented = set(re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE))
        every = {o for action in parser._actions for o in action.option_strings}
        assert documented == every - {"-h", "--help"}


def test_the_page_has_the_exit_statuses_that_there_are() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Exit status")[1].split("##")[0]
    documented = {int(status) for status in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}

    def family(error: type[errors.GliomartError]) -> set[int]:
        return {error.exit_status}.union(*map(family, error.__subclasses__()))

    assert documented == family(errors.GliomartError) | {0, *signals.STATUSES.values()}


def test_every_example_on_the_page_is_one_that_runs() -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
    ]
    commands = [words for line in lines if (words := _words(line)) is not None]
    assert {words[0] for words in commands} == set(COMMANDS)
    for words in commands:
        _parse(words)


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_says_what_everything_does_and_ends_with_examples(name: str | None) -> None:
    parser = WHOLE if name is None else COMMANDS[name]
    assert 2 <= len(parser.examples) <= 4
    for command in parser.examples:
        words = _words(command)
        assert words is not None
        _parse(words)
    assert parser.format_help().endswith(f"  {command}\n")
    for action in parser._actions:
        assert action.help or isinstance(action.choices, dict), action.dest


@pytest.mark.parametrize("name", ["train", "evaluate", "export"])
def test_commands_of_other_packages_have_help_of_their_own(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([name, "--help"]) == 0
    assert capsys.readouterr().out == COMMANDS[name].format_help()


def test_the_first_help_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 30
    for name in COMMANDS:
        assert any(re.match(rf"    {name} +\w", line) for line in lines)
    assert cli.main([]) == 2
    assert "gliomart --help" in capsys.readouterr().err


def test_completion_scripts_are_those_of_the_parsers(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="needs the extra: dev")
    scripts = MADE["scripts"]()
    assert len(scripts) == len(SHELLS)
    for path, script in scripts.items():
        assert path.read_text(encoding="utf-8") == script, "run python docs/commands.py"
        assert cli.main(["completion", path.suffix[1:]]) == 0
        assert capsys.readouterr().out == script


def _completed(line: str, folder: Path) -> set[str]:
    """What bash offers for the last word of a line."""
    words = shlex.split(line) + [""] * line.endswith(" ")
    script = (
        f'eval "$({sys.executable} -m gliomart.cli completion bash)"\n'
        f"COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}\n"
        "function=$(complete -p gliomart | sed 's/.* -F \\([^ ]*\\) .*/\\1/')\n"
        '$function gliomart "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    bash = shutil.which("bash") or "bash"
    done = subprocess.run(
        [bash, "--norc", "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_commands_options_values_and_files(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").touch()
    (tmp_path / "scans").mkdir()
    assert _completed("gliomart ", tmp_path) >= set(COMMANDS)
    assert _completed("gliomart e", tmp_path) == {"evaluate", "export"}
    assert _completed("gliomart infer --q", tmp_path) == {"--quiet"}
    assert _completed("gliomart train scans --ne", tmp_path) == {"--network"}
    networks = {
        "dae",
        *(f"dae-{of}" for of in ("across", "attention", "neighbours", "sequences", "volume")),
    }
    assert _completed("gliomart train scans --network da", tmp_path) == networks
    assert _completed("gliomart evaluate --held", tmp_path) == {"--held-out"}
    assert _completed("gliomart evaluate scans --held-out s", tmp_path) == {"scans"}
    assert _completed("gliomart export own.keras own.onnx --trained", tmp_path) == {"--trained-on"}
    assert _completed("gliomart infer scans --model o", tmp_path) == {"own.onnx"}


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
def test_fish_completes_commands_and_options(tmp_path: Path) -> None:
    script = f"{sys.executable} -m gliomart.cli completion fish | source; complete -C "
    offered = {
        line: subprocess.run(
            ["fish", "--no-config", "-c", script + shlex.quote(line)],
            cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for line in ("gliomart e", "gliomart train --ne")
    }  # fmt: skip
    assert re.findall(r"^\w+", offered["gliomart e"], re.MULTILINE) == ["evaluate", "export"]
    assert "--network" in offered["gliomart train --ne"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_takes_the_script(tmp_path: Path) -> None:
    script = (
        "autoload -U compinit; compinit -u -D\n"
        f'eval "$({sys.executable} -m gliomart.cli completion zsh)"\n'
        "print $_comps[gliomart]; whence -w $_comps[gliomart]\n"
    )
    done = subprocess.run(
        ["zsh", "-f", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "function" in done.stdout
    assert done.stderr == ""


_STUDY = str(GOLDEN)


@pytest.mark.parametrize(
    ("words", "status", "next_step"),
    [
        ([], 2, "gliomart --help"),
        (["infr"], 2, "choose from 'infer'"),
        (["infer"], 2, "gliomart infer --help"),
        (["infer", "nowhere"], 2, "nowhere: no such file or folder"),
        (["infer", _STUDY, "--out", f"{_STUDY}/out"], 2, "choose another --out"),
        (["infer", _STUDY, "--out", "file"], 2, "choose another --out"),
        (["infer", _STUDY, "--out", "full"], 2, "--overwrite or --resume"),
        (["infer", _STUDY, "--out", "full", "--overwrite"], 2, "choose another --out"),
        (["infer", _STUDY, "--limit", "seconds"], 2, "such as seconds=5"),
        (["infer", _STUDY, "--threads", "0"], 2, "above zero"),
        (["infer", _STUDY, "--threads", "many"], 2, "above zero"),
        (["train", "full", "--out", "own.h5"], 2, "end in .keras"),
        (["train", "full", "--out", "own.keras"], 8, "needs DICOM, NIfTI, PNG"),
        (["train", "nowhere", "--out", "own.keras"], 8, "no such folder"),
        (["train", _STUDY, "--out", "own.keras"], 8, "smaller --folds"),
        (["train", _STUDY, "--out", "own.keras", "--folds", "1"], 8, "add patients"),
        (["train", _STUDY, "--out", f"{_STUDY}/own.keras"], 2, "choose another place"),
        (["evaluate", _STUDY, "--plots", f"{_STUDY}/plots"], 2, "choose another place"),
        (["evaluate", _STUDY, "--split", "test"], 8, "leave --split out"),
        (["evaluate", _STUDY], 8, "name masks in an index.csv"),
        (["evaluate", _STUDY, "--held-out", "full"], 8, "FILE.run that train left"),
        (["evaluate", _STUDY, "--held-out", "bare.run"], 8, "gliomart export bare.keras"),
        (["export", "own.keras", "own.onnx"], 4, "gliomart train"),
    ],
)
def test_every_error_is_one_line_that_says_what_to_do_next(
    words: list[str],
    status: int,
    next_step: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    (tmp_path / "bare.run").mkdir()
    (tmp_path / "bare.run" / "record.json").write_text('{"fits": {}, "split": null, "folds": []}')
    assert cli.main(words) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("gliomart: ")
    assert said.err.count("\n") == 1
    assert next_step in said.err
