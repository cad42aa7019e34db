"""gliomart where there is no Python to start: frozen, inside another program, in an archive."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipapp
from pathlib import Path

import pytest

import processes
from samples import GOLDEN

RUNTIME = GOLDEN.parents[1]
HOOKS = GOLDEN.parent / "host" / "freezing"

# Says the score, or the refusal, of a compressed slice given as the first argument.
_DETECT = """
import sys
from gliomart import Detector, InputRefusedError
detector = Detector(force=True, threads=1)
def say(path):
    try: print(detector.detect(path).score)
    except InputRefusedError as error: print(error.code, error)
"""


def _program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


class TestAHostThatIsNoPython:
    """What :data:`sys.executable` says where Python is part of another program."""

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("executable", ["None", "''", "'/bin/false'", "'/nowhere/python3'"])
    def test_the_decoder_starts_all_the_same(
        self, executable: str, compressed: Path, score: str
    ) -> None:
        done = processes.run(
            _DETECT + f"sys.executable = {executable}\nsay(sys.argv[1])", compressed
        )
        assert done.stdout == score

    def test_its_program_is_never_started(
        self, compressed: Path, score: str, tmp_path: Path
    ) -> None:
        host = _program(tmp_path / "host", f"#!/bin/sh\necho started >> {tmp_path}/log\n")
        done = processes.run(
            _DETECT + "sys.executable = sys.argv[2]\nsay(sys.argv[1])", compressed, host
        )
        assert done.stdout == score
        assert not (tmp_path / "log").exists()

    def test_a_refusal_says_that_there_is_no_python(self, compressed: Path, tmp_path: Path) -> None:
        done = processes.run(
            _DETECT + "sys.executable = None\n"
            "sys.prefix = sys.exec_prefix = sys.base_prefix = sys.base_exec_prefix = sys.argv[2]\n"
            "say(sys.argv[1])",
            compressed,
            tmp_path,
        )
        assert done.stdout == (
            "undecodable the pixels cannot be decoded: there is no Python here to start a decoder"
            " with; multiprocessing.set_executable tells where one is\n"
        )

    def test_the_python_that_the_host_names_is_taken(
        self, compressed: Path, score: str, tmp_path: Path
    ) -> None:
        named = _program(
            tmp_path / "our-python",
            f'#!/bin/sh\necho started >> {tmp_path}/log\nexec {sys.executable} "$@"\n',
        )
        done = processes.run(
            _DETECT + "import multiprocessing\n"
            "sys.executable = '/bin/false'\n"
            "multiprocessing.set_executable(sys.argv[2])\n"
            "say(sys.argv[1])",
            compressed,
            named,
        )
        assert done.stdout == score
        assert (tmp_path / "log").read_text() == "started\n"

    @pytest.mark.parametrize(
        "text", ["print('welcome')", "import sys; sys.stdin.read(1)"], ids=["prints", "reads"]
    )
    def test_what_a_site_runs_at_every_start_is_kept_off(
        self, text: str, compressed: Path, score: str, tmp_path: Path
    ) -> None:
        venv.create(tmp_path, symlinks=True)
        (packages,) = tmp_path.glob("lib/*/site-packages")
        (packages / "sitecustomize.py").write_text(text)
        done = processes.finish(
            [tmp_path / "bin" / "python", "-c", _DETECT + "say(sys.argv[1])", compressed],
            env=processes.searched(),
            stdin=subprocess.DEVNULL,
        )
        assert done.stdout.removeprefix("welcome\n") == score

    def test_a_python_that_does_not_start_is_tried_once(
        self, compressed: Path, tmp_path: Path
    ) -> None:
        broken = _program(
            tmp_path / "python3",
            f"#!/bin/sh\necho started >> {tmp_path}/log\necho 'no libpython' >&2\nexit 1\n",
        )
        done = processes.run(
            _DETECT + "sys.executable, sys.prefix = sys.argv[2], sys.argv[3]\n"
            "say(sys.argv[1]); say(sys.argv[1]); say(sys.argv[1])",
            compressed,
            broken,
            tmp_path,
        )
        reason = "undecodable the pixels cannot be decoded: the decoder does not start"
        assert done.stdout == f"{reason} (no libpython)\n" * 3
        assert (tmp_path / "log").read_text() == "started\n"

    def test_a_program_that_answers_something_else_is_not_believed(
        self, compressed: Path, tmp_path: Path
    ) -> None:
        echo = _program(tmp_path / "python3", "#!/bin/sh\nexec cat\n")
        done = processes.run(
            _DETECT + "sys.executable, sys.prefix = sys.argv[2], sys.argv[3]\nsay(sys.argv[1])",
            compressed,
            echo,
            tmp_path,
        )
        assert "the decoder does not start" in done.stdout

    def test_what_was_started_as_the_decoder_starts_none(self, compressed: Path) -> None:
        done = processes.run(
            _DETECT + "say(sys.argv[1])", compressed, env=os.environ | {"GLIOMART_PROGRAM": "x"}
        )
        assert "there is no Python here" in done.stdout

    def test_bench_says_that_it_has_no_python_to_start(self) -> None:
        done = processes.run(
            "import sys\n"
            "from gliomart.cli import main\n"
            "sys.frozen = True\n"
            "sys.exit(main(['bench', '--repeats', '1', '--threads', '1']))",
            check=False,
        )
        assert done.stderr == (
            "gliomart: bench starts processes of its own, and there is no Python here to start\n"
        )
        assert done.returncode == 2


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
class TestAProgramWithPythonInside:
    @pytest.fixture
    def host(self, tmp_path: Path) -> Path:
        include = sysconfig.get_path("include")
        library = sysconfig.get_config_var("LIBDIR")
        if not Path(include, "Python.h").exists():
            pytest.skip("Python's headers are not installed")
        (tmp_path / "host.c").write_text(_HOST)
        version = f"python{sysconfig.get_config_var('LDVERSION')}"
        built = processes.finish(
            ["cc", tmp_path / "host.c", "-o", tmp_path / "host", f"-I{include}", f"-L{library}",
             f"-Wl,-rpath,{library}", f"-l{version}", "-lm", "-ldl", "-lpthread", "-lutil"],
            check=False,
        )  # fmt: skip
        if built.returncode:
            pytest.skip("Python cannot be linked to")
        return tmp_path / "host"

    def test_it_decodes_and_is_started_once(
        self, host: Path, compressed: Path, score: str, tmp_path: Path
    ) -> None:
        code = f"{_DETECT}print(sys.executable)\nsay({str(compressed)!r})"
        done = processes.finish(
            [host, sys.base_prefix, code, tmp_path / "log"], env=processes.searched()
        )
        assert done.stdout == f"{host}\n{score}"
        assert (tmp_path / "log").read_text() == "started\n"


_HOST = r"""
#include <Python.h>

int main(int argc, char **argv)
{
    PyConfig config;
    FILE *log = fopen(argv[3], "a");
    fputs("started\n", log);
    fclose(log);
    PyConfig_InitPythonConfig(&config);
    PyConfig_SetString(&config, &config.home, Py_DecodeLocale(argv[1], NULL));
    PyConfig_SetString(&config, &config.executable, Py_DecodeLocale(argv[0], NULL));
    PyStatus status = Py_InitializeFromConfig(&config);
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
    int failed = PyRun_SimpleString(argv[2]);
    return Py_FinalizeEx() < 0 || failed;
}
"""


class TestAnArchive:
    @pytest.fixture
    def archive(self, tmp_path: Path) -> Path:
        """Make a zip application of the package alone; what it needs is installed beside it."""
        folder = tmp_path / "application"
        shutil.copytree(
            GOLDEN.parent, folder / "gliomart", ignore=shutil.ignore_patterns("__pycache__")
        )
        archive = tmp_path / "gliomart.pyz"
        (folder / "__main__.py").write_text(
            "import sys\nfrom gliomart.cli import main\nsys.exit(main())\n"
        )
        zipapp.create_archive(folder, archive)
        shutil.rmtree(folder)
        return archive

    @staticmethod
    def elsewhere() -> dict[str, str]:
        """Give an environment in which gliomart is found in the archive alone."""
        here = {str(RUNTIME), str(RUNTIME.parent)}
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p and p not in here)
        }

    def test_its_commands_work(self, archive: Path, tmp_path: Path) -> None:
        def ask(*arguments: object) -> str:
            return processes.finish(
                [sys.executable, archive, *arguments], env=self.elsewhere(), cwd=tmp_path
            ).stdout

        assert ask("--version").startswith("gliomart ")
        assert "_gliomart" in ask("completion", "zsh")
        assert "Purpose" in ask("info")
        ask("demo", "--out", "out")
        assert (tmp_path / "out" / "report.html").stat().st_size > 100_000

    def test_a_detector_decodes_in_it(self, archive: Path, compressed: Path, score: str) -> None:
        code = (
            f"import sys; sys.path.insert(0, {str(archive)!r})\n{_DETECT}"
            "import gliomart; assert '.pyz' in gliomart.__file__\n"
            "detector.warm_up(); say(sys.argv[1])"
        )
        done = processes.run(code, compressed, env=self.elsewhere(), cwd=archive.parent)
        assert done.stdout == score


_FROZEN = """
import os, sys
with open(os.environ["LOG"], "a") as log: log.write("started\\n")
if sys.argv[1] != "detect":
    from gliomart.cli import main
    sys.exit(main())
"""


def test_a_frozen_program_takes_along_all_of_gliomart_and_no_hooks() -> None:
    pytest.importorskip("PyInstaller")
    hook = runpy.run_path(str(HOOKS / "hook-gliomart.py"))
    taken = [
        Path(source).relative_to(GOLDEN.parent) for source, to in hook["datas"] if "-info" not in to
    ]
    assert {Path("golden/lesion.csv"), Path("outputs/report.css")} <= set(taken)
    assert {"gliomart.cli.infer", "gliomart.families.slicewise"} <= set(hook["hiddenimports"])
    assert not [each for each in (*map(str, taken), *hook["hiddenimports"]) if "freezing" in each]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["--onedir", "--onefile"])
def test_a_frozen_program_decodes_and_starts_its_own_code_once(
    kind: str, tmp_path: Path, compressed: Path, score: str
) -> None:
    """Without the hooks it would start itself again for each frame, and so would what it starts."""
    pytest.importorskip("PyInstaller")
    (tmp_path / "program.py").write_text(f"{_FROZEN}{_DETECT}say(sys.argv[2])\n")
    excluded = ("tensorflow", "keras", "torch", "matplotlib", "sklearn", "nilearn", "openvino")
    command = [sys.executable, "-m", "PyInstaller", kind, "--log-level", "ERROR", "program.py"]
    command += ["--additional-hooks-dir", str(HOOKS), "--paths", str(RUNTIME)]
    command += [word for each in excluded for word in ("--exclude-module", each)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=600)
    program = tmp_path / "dist" / "program"
    if program.is_dir():
        program /= "program"
    log = tmp_path / "log"
    environment = os.environ | {"LOG": str(log), "PYTHONPATH": ""}
    done = processes.finish([program, "detect", compressed], env=environment)
    assert done.stdout == score
    assert log.read_text() == "started\n"
    out = tmp_path / "out"
    processes.finish([program, "demo", "--out", out], env=environment)
    assert (out / "results.json").exists()
    processes.finish([program, "completion", "bash"], env=environment)
