"""Standard streams that are closed, full or read by nobody; results alone on standard output."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gliomart import cli
from gliomart.host import streams
from gliomart.providers.quiet import off_standard_output
from samples import GOLDEN

COMMAND = [sys.executable, "-m", "gliomart.cli"]
DEMO = [*COMMAND, "demo", "--provider", "cpu", "--json", "--out"]
# Prints in all the ways that a library has, then runs a command.
NOISE = """
import os, sys, warnings
import onnxruntime

class Noisy(onnxruntime.InferenceSession):
    def __init__(self, *arguments, **options):
        os.write(1, b"past Python\\n")
        print("by Python")
        sys.__stdout__.write("by its first name\\n")
        sys.__stdout__.flush()
        os.system("echo of a child")
        warnings.warn("a warning")
        super().__init__(*arguments, **options)

onnxruntime.InferenceSession = Noisy
from gliomart.cli import main
sys.exit(main())
"""
# Finds out which standard streams a program that uses the library has written to.
LIBRARY = """
import sys
from gliomart import Detector, scan
detector = Detector(provider="cpu")
detector.warm_up()
list(detector.stream([sys.argv[1]]))
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="closes descriptors in a shell")


def _shell(command: list[str], redirection: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", *command],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "redirection",
    ["2>&-", "2>/dev/full", "2> >(true)", "<&-", "<&- 2>&-", "2>&- 3>&-"],
    ids=["closed", "full", "unread", "no input", "neither", "others closed"],
)
def test_results_are_the_same_where_nobody_hears_what_is_said(
    redirection: str, tmp_path: Path
) -> None:
    ended = _shell([*DEMO, str(tmp_path / "out")], redirection)
    assert ended.returncode == 0
    assert json.loads(ended.stdout) == json.loads((tmp_path / "out/results.json").read_text())


@pytest.mark.sampled(3)
@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_results_are_written_where_nobody_wants_them_printed(
    redirection: str, tmp_path: Path
) -> None:
    assert _shell([*DEMO, str(tmp_path / "out")], redirection).returncode == 0
    for path in (tmp_path / "out").rglob("*.*"):
        assert b"gliomart: " not in path.read_bytes()
    assert json.loads((tmp_path / "out/results.json").read_text())["slices"]


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&- >&- 2>&-", "2> >(true)"])
@pytest.mark.parametrize(
    ("words", "status"),
    [(["infer", "/none"], 2), (["--nonsense"], 2), (["info", "/none"], 4), (["train"], 2)],
)
def test_an_error_that_nobody_hears_has_its_status_and_is_no_result(
    words: list[str], status: int, redirection: str
) -> None:
    ended = _shell([*COMMAND, *words], redirection)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", "")


@pytest.mark.parametrize("words", [["--help"], ["info", "--json"], ["completion", "bash"]])
def test_results_that_find_no_room_end_in_one_line(words: list[str]) -> None:
    ended = _shell([*COMMAND, *words], ">/dev/full")
    assert (ended.returncode, ended.stderr) == (
        6, "gliomart: standard output: no space left on device\n"
    )  # fmt: skip


def test_nothing_but_results_reaches_standard_output(tmp_path: Path) -> None:
    noise = [sys.executable, "-c", NOISE, *DEMO[3:], str(tmp_path / "out")]
    ended = subprocess.run(noise, capture_output=True, text=True, check=False, timeout=120)
    assert json.loads(ended.stdout)["slices"]
    for each in ("past Python", "by Python", "by its first name", "of a child", "a warning"):
        assert each in ended.stderr


def test_a_library_prints_nothing() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LIBRARY, str(GOLDEN)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize("which", [1, 2])
def test_a_stream_that_does_not_block_is_written_to_its_end(which: int) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    command = (
        [*COMMAND, "completion", "zsh"] if which == 1 else [*COMMAND, "infer", "/" + "n" * 200]
    )
    given = {"stdout": writing} if which == 1 else {"stderr": writing}
    with subprocess.Popen(command, **given) as process:
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            said = stream.read()
        assert process.wait(60) == (0 if which == 1 else 2)
    assert said.endswith(b"\n")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        {"PYTHONUNBUFFERED": "1"},
        {"PYTHONIOENCODING": "utf-16"},
        {"PYTHONWARNINGS": "always", "PYTHONFAULTHANDLER": "1"},
    ],
    ids=" ".join,
)
def test_any_encoding_and_buffering_will_do(environment: dict[str, str], tmp_path: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "infer", str(GOLDEN), "--provider", "cpu", "--out", str(tmp_path / "é\udcff")],
        env=os.environ | environment, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    assert "Research software" in ended.stdout.decode(encoding)


def test_a_program_may_hear_a_command_in_a_stream_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stdout", heard)
    assert cli.main(["completion", "bash"]) == 0
    assert "gliomart" in heard.getvalue()
    assert sys.stdout is heard


@pytest.mark.parametrize("closed", [None, "closed"])
def test_a_program_without_streams_may_call_a_command(
    closed: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("stdin", "stdout", "stderr"):
        stream = None if closed is None else io.StringIO()
        if stream is not None:
            stream.close()
        monkeypatch.setattr(sys, name, stream)
    out = str(tmp_path / "out")
    assert cli.main(["infer", "/none", "--out", out]) == 2
    assert cli.main(["infer", str(GOLDEN), "--provider", "cpu", "--quiet", "--out", out]) == 0
    assert cli.main(["completion", "bash"]) == 0


_QUIET = """
import os, sys
from gliomart.providers.quiet import off_standard_output
before = [os.path.exists(f"/proc/self/fd/{n}") for n in (1, 2)]
with off_standard_output():
    os.write(1, b"noise")
    print("noise")
    target = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
    assert target not in (1,), target
    os.write(1, b"noise")
    os.close(target)
assert before == [os.path.exists(f"/proc/self/fd/{n}") for n in (1, 2)]
"""


@pytest.mark.parametrize("redirection", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-", ""])
def test_what_a_gpus_libraries_print_goes_nowhere_else(redirection: str, tmp_path: Path) -> None:
    code = [sys.executable, "-c", _QUIET, str(tmp_path / "results")]
    ended = _shell(code, redirection)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    assert (tmp_path / "results").read_bytes() == b""


def test_what_is_printed_in_a_thread_that_is_told_to_be_quiet_is_kept_off(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with off_standard_output():
        os.write(1, b"noise\n")
    streams.give("result")
    assert capfd.readouterr().out == "result\n"


def test_a_program_that_is_the_command_may_put_streams_in_their_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard, said = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", heard)
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(sys, "argv", ["gliomart", "completion", "bash"])
    assert cli.main() == 0
    assert "gliomart" in heard.getvalue()
    monkeypatch.setattr(sys, "argv", ["gliomart", "nonsense"])
    assert cli.main() == 2
    assert said.getvalue().startswith("gliomart: ")
    assert (sys.stdout, sys.stderr) == (heard, said)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("gone", ["stdout", "stderr", "stdout = sys.stderr"])
def test_a_program_without_a_console_is_heard_where_it_can_be(gone: str, tmp_path: Path) -> None:
    code = f"import sys; sys.{gone} = None; from gliomart.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", code, *DEMO[3:], str(tmp_path / "out")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0
    if gone == "stderr":
        assert json.loads(ended.stdout)["slices"]


def test_the_streams_are_a_programs_again_when_the_command_has_ended() -> None:
    code = (
        "import os, sys; from gliomart.cli import main; print('before'); main(); print('after');"
        " os.write(1, b'past Python'); print('said', file=sys.stderr)"
    )
    words = [sys.executable, "-c", code, "completion", "fish"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout.startswith("before\n")
    assert "after\n" in ended.stdout
    assert "past Python" in ended.stdout
    assert ended.stderr == "said\n"


def test_a_program_whose_stream_lacks_characters_hears_them_written_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", heard)
    streams.give("µ – é")
    streams.finish()
    assert heard.buffer.getvalue() == b"\\xb5 \\u2013 \\xe9\n"  # type: ignore[attr-defined]


class _Written:
    """What some programs put in the place of a stream: it is written to, and no more."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


@pytest.mark.parametrize("alone", [False, True])
def test_a_stream_that_is_written_to_and_no_more_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, alone: bool
) -> None:
    heard, said = _Written(), _Written()
    words = ["demo", "--provider", "cpu", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["gliomart", *words])
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", heard)
        patch.setattr(sys, "stderr", said)
        status = cli.main() if alone else cli.main(words)
    assert (status, said.text.count("\n")) == (0, 1)
    assert "report.html" in heard.text


@pytest.mark.parametrize("gone", ["detach", "close"])
def test_a_stream_that_a_program_has_let_go_of_is_none(gone: str, tmp_path: Path) -> None:
    code = (
        f"import sys; kept = sys.stderr.{gone}(); from gliomart.cli import main;"
        " status = main(sys.argv[1:]); sys.stderr = None; sys.exit(status)"
    )
    words = [sys.executable, "-c", code, *DEMO[3:], str(tmp_path / "out")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["slices"]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["infer", "--help"]])
def test_a_program_gets_a_status_whatever_it_asks_for(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 0
    assert "gliomart" in capsys.readouterr().out


def test_a_path_may_be_a_word_of_a_command_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli.main(["infer", GOLDEN, "--provider", "cpu", "--quiet", "--out", out]) == 0  # type: ignore[list-item]


@pytest.mark.parametrize("words", ["info", [1], [None]])
def test_what_is_no_command_line_is_said(words: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2  # type: ignore[arg-type]
    assert "arguments are a list of words" in capsys.readouterr().err


# Python's file names are in ASCII then, and those of sources need not be.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_names_that_a_locale_lacks_cost_no_slice(tmp_path: Path) -> None:
    for name in ("Müller", "Mäller"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for file in GOLDEN.glob("*.dcm"):
            (tmp_path / "in" / name / file.name).write_bytes(file.read_bytes() + bytes(len(name)))
    words = [*COMMAND, "infer", str(tmp_path / "in"), "--provider", "cpu", "--quiet"]
    options = ["--overlays", "all", "--out", str(tmp_path / "out")]
    ended = subprocess.run(
        [*words, *options], env=os.environ | ASCII, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert all((tmp_path / "out" / entry["overlay"]).is_file() for entry in document["slices"])
    assert {Path(entry["source"]).parts[1] for entry in document["slices"]} <= {"Müller", "Mäller"}
