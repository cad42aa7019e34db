"""gliomart within limits that others set: of memory, files, threads and processes; and without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import processes

resource = pytest.importorskip("resource", reason="the platform has no limits of this kind")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's limits and groups")

_DETECT = """
import resource, sys
from gliomart import Detector, GliomartError
def say(path):
    try: print(Detector(force=True, threads=1).detect(path).score)
    except GliomartError as error: print(error.code, error)
"""
_SAY = _DETECT + "say(sys.argv[1])"
_MIB = 1 << 20


class TestAddressSpace:
    """``ulimit -v``, as the page on embedding advises."""

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("limit", [4096, 1024, 700])
    @pytest.mark.parametrize("kind", ["-v", "-S -v"])
    def test_a_compressed_slice_is_decoded(
        self, kind: str, limit: int, compressed: Path, score: str
    ) -> None:
        command = f'ulimit {kind} {limit * 1024}; exec "$@"'
        done = processes.finish(
            ["bash", "-c", command, "bash", sys.executable, "-c", _SAY, compressed],
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        assert done.stdout == score

    def test_a_limit_that_is_too_low_for_a_frame_is_told(self, compressed: Path) -> None:
        """Its header asks for 25000 rows and columns."""
        done = processes.run(
            "import pydicom, resource, struct, sys\n"
            "from gliomart.sources.codecs import _process as process\n"
            "from pydicom.encaps import generate_frames\n"
            "data = pydicom.dcmread(sys.argv[1]).PixelData\n"
            "(frame,) = generate_frames(data, number_of_frames=1)\n"
            "at = frame.index(b'\\xff\\xf7') + 5\n"
            "huge = frame[:at] + struct.pack('>HH', 25000, 25000) + frame[at + 4:]\n"
            f"resource.setrlimit(resource.RLIMIT_AS, ({2048 * _MIB}, resource.RLIM_INFINITY))\n"
            "process.decode('pyjpegls', huge, shape=(25000, 25000), precision=16, seconds=60)",
            compressed,
            check=False,
        )
        last = done.stderr.splitlines()[-1]
        assert last.endswith("; it may take 19457 MiB, and this process is limited to 2048 MiB")

    def test_the_limit_holds_again_after_each_frame(self, compressed: Path) -> None:
        done = processes.run(
            _DETECT + "from gliomart.sources.codecs import _process as process\n"
            f"resource.setrlimit(resource.RLIMIT_AS, ({2048 * _MIB},) * 2)\n"
            "say(sys.argv[1])\n"
            "print(resource.prlimit(process._process.pid, resource.RLIMIT_AS))",
            compressed,
        )
        assert done.stdout.endswith(f"({2048 * _MIB}, {2048 * _MIB})\n")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("-n 32", None),
        ("-n 8", "the decoder's process cannot be started (too many open files)"),
        ("-l 0", None),
        ("-s 256", None),
        ("-t 60", None),
        ("-c 0", None),
    ],
)
def test_other_limits_leave_a_result_or_one_sentence(
    limit: str, says: str | None, compressed: Path, score: str
) -> None:
    done = processes.finish(
        ["bash", "-c", f'ulimit {limit}; exec "$@"', "bash", sys.executable, "-c", _SAY, compressed]
    )
    expected = f"undecodable the pixels cannot be decoded: {says}\n" if says else score
    assert done.stdout == expected


@pytest.fixture
def group() -> Iterator[Path]:
    """Make a control group (v1) that counts processes."""
    group = Path("/sys/fs/cgroup/pids") / f"gliomart-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made ({error.strerror})")
    yield group
    group.rmdir()


@pytest.mark.parametrize(
    ("most", "says"),
    [
        (1, "the decoder's process cannot be started (resource temporarily unavailable)"),
        (2, "nobody can watch over the decoder (can't start new thread)"),
        (3, None),
    ],
)
def test_few_processes_and_threads_leave_a_result_or_one_sentence(
    most: int, says: str | None, compressed: Path, score: str, group: Path
) -> None:
    code = (
        f"{_DETECT}import os\ndetector = Detector(force=True, threads=1)\n"
        f"open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "try: print(detector.detect(sys.argv[1]).score)\n"
        "except GliomartError as error: print(error.code, error)\n"
    )
    (group / "pids.max").write_text(str(most))
    done = processes.run(code, compressed, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    expected = f"undecodable the pixels cannot be decoded: {says}\n" if says else score
    assert done.stdout == expected


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("most", "threads"), [(1, 1), (1, 4), (2, 4), (4, 4)])
def test_a_model_runs_in_the_threads_there_are_or_says_so_and_never_hangs(
    most: int, threads: int, group: Path
) -> None:
    """ONNX Runtime does not come back where it gets some of its threads, and not all."""
    (group / "pids.max").write_text(str(most))
    code = (
        f"{_DETECT}import os\n"
        f"open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        f"try: print(Detector(threads={threads}).warm_up() > 0)\n"
        "except GliomartError as error: print(error.code, error)\n"
    )
    done = processes.run(code, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    # The first run of a model is in a thread of its own, which may take too long.
    expected = "True" if most > 1 else "starved"
    assert done.stdout.split()[:1] == [expected], done


def test_it_needs_no_home_no_temporary_folder_and_no_working_directory(
    compressed: Path, score: str, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    environment["TMPDIR"] = str(tmp_path / "nowhere")
    done = processes.finish(
        ["bash", "-c", 'rmdir "$PWD"; exec "$@"', "bash", sys.executable, "-c", _SAY, compressed],
        cwd=gone,
        env=environment,
    )
    assert done.stdout == score


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_it_writes_nowhere_but_where_it_is_told(compressed: Path, score: str) -> None:
    """The whole file system is read-only, temporary folders included."""
    remount = (
        "mount --make-rprivate / && for m in $(findmnt -rno TARGET | sort -r); do"
        ' mount -o remount,bind,ro "$m" 2>/dev/null; done; exec "$@"'
    )
    command = ["unshare", "-m", "bash", "-c", remount, "bash", sys.executable, "-c", _SAY]
    probe = subprocess.run(
        [*command[:6], "touch", compressed.parent / "probe"], capture_output=True, check=False
    )
    if b"Read-only" not in probe.stderr:
        pytest.skip("a read-only file system cannot be made here")
    done = processes.finish([*command, compressed])
    assert done.stdout == score


class TestAnExtraThatDoesNotLoad:
    """What is installed and broken is not said to be missing."""

    @staticmethod
    def pretend(folder: Path, module: str, text: str) -> dict[str, str]:
        (folder / module).mkdir(parents=True)
        (folder / module / "__init__.py").write_text(text)
        return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                "raise ImportError('libonnxruntime.so.1: cannot open shared object file')",
                "ImportError: libonnxruntime.so.1: cannot open shared object file",
            ),
            ("import flatbuffers_that_is_missing", "No module named 'flatbuffers_that_is_missing'"),
            ("import onnxruntime.capi", "No module named 'onnxruntime.capi'"),
            ("raise RuntimeError('built for another NumPy')", "built for another NumPy"),
            (
                (
                    "try: raise ImportError('the true reason')\n"
                    "except ImportError as error: raise ImportError('advice\\n' * 100) from error"
                ),
                "ImportError: the true reason",
            ),
        ],
    )
    def test_onnx_runtime(self, text: str, says: str, tmp_path: Path) -> None:
        environment = self.pretend(tmp_path, "onnxruntime", text)
        done = processes.finish(
            [sys.executable, "-m", "gliomart.cli", "info"], env=environment, check=False
        )
        assert done.stderr.startswith(
            "gliomart: running a model needs onnxruntime, which does not load ("
        )
        assert says in done.stderr
        assert "pip install" not in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.returncode == 7

    def test_one_that_is_absent_is_missing(self) -> None:
        code = (
            "import sys; sys.modules['onnxruntime'] = None\n"
            "from gliomart.cli import main; sys.exit(main(['info']))"
        )
        done = processes.run(code, check=False)
        assert "pip install 'gliomart[cpu]'" in done.stderr
        assert done.returncode == 7

    @pytest.mark.parametrize(
        ("module", "program", "says"),
        [
            ("highdicom", "import gliomart.outputs.dicom", "writing DICOM needs highdicom, which"),
            ("matplotlib", "from gliomart.bench.plot import plot; plot({})", "drawing a plot"),
            ("onnx", "from gliomart.bench.floor import operations as o; o('')", "counting a"),
            ("openvino", "from gliomart.bench.engines import openvino as o; o('', 0, 1)",
             "OpenVINO needs openvino, which"),
            ("nilearn", "from gliomart_training.simulated_study import main; main(['out'])",
             "simulating a head needs nilearn, which"),
            ("ai_edge_litert", "from gliomart_export.engines import litert as o; o('', 0, 1)",
             "LiteRT needs ai_edge_litert, which"),
            ("nibabel", ("from pathlib import Path\n"
             "from gliomart.sources import DEFAULT, nifti; nifti.describe(Path('a.nii'), DEFAULT)"),
             "NIfTI needs nibabel, which"),
        ],
    )  # fmt: skip
    def test_others(self, module: str, program: str, says: str, tmp_path: Path) -> None:
        environment = self.pretend(tmp_path, module, "raise ImportError('libz.so.9: not there')")
        done = processes.finish([sys.executable, "-c", program], env=environment, check=False)
        last = done.stderr.strip().splitlines()[-1]
        assert says in last
        assert "libz.so.9: not there" in last
        assert "missing: pip" not in last

    def test_a_command_of_another_package(self, study: Path, tmp_path: Path) -> None:
        environment = self.pretend(tmp_path, "keras", "raise ImportError('libcudart.so.9')")
        command = [sys.executable, "-m", "gliomart.cli", "train", study, "--out"]
        done = processes.finish([*command, tmp_path / "o.keras"], env=environment, check=False)
        assert "does not load (ImportError: libcudart.so.9)" in done.stderr
        assert done.returncode == 7

    def test_a_part_of_the_base_installation(self, tmp_path: Path) -> None:
        """OpenCV without a library of the system is the usual one."""
        text = "raise ImportError('libGL.so.1: cannot open shared object file', name='cv2')"
        environment = self.pretend(tmp_path, "cv2", text)
        command = [sys.executable, "-m", "gliomart.cli", "demo", "--out", tmp_path / "out"]
        done = processes.finish(command, env=environment, check=False)
        assert (
            "gliomart: gliomart needs cv2, which does not load (ImportError: libGL" in done.stderr
        )
        assert done.returncode == 7
