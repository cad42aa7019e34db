"""ONNX Runtime's sessions, on whatever they run: arrays in, arrays out, or a ModelError."""

from __future__ import annotations

import re
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gliomart.errors import GliomartError, ModelError, StarvedError
from gliomart.host import forking, processors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType
    from typing import TypeAlias

    from numpy.typing import NDArray
    from onnxruntime import (
        InferenceSession,
        IOBinding,
        NodeArg,
        OrtValue,
        RunOptions,
        SessionOptions,
    )

    # ONNX Runtime's name of a provider, alone or with options.
    ProviderOption: TypeAlias = str | tuple[str, dict[str, str]]

CPU = "CPUExecutionProvider"
# Weights are looked for here when a model file points outside itself: nowhere.
_NO_FOLDER = "/dev/null/no-external-data"
# What all models together may take from the CPU's memory: a tenth of it is usual, and a graph of a
# few hundred bytes can ask for terabytes.
LARGEST_MEMORY = 512 * 2**20
# What a session may take from a GPU's for its tensors: of 64 slices they take 0.4 GiB on the CPU.
LARGEST_GPU_MEMORY = 2 * 2**30
# Without loops a graph takes about the same time on every slice, so the first one tells. It takes
# hundredths of a second.
LONGEST_FIRST_RUN_S = 10.0
_LONGEST_REASON = 200


class Session:
    """A session of ONNX Runtime's.

    Parameters
    ----------
    onnx
        What ONNX Runtime opened.

    Attributes
    ----------
    effective
        ONNX Runtime's own name of the provider that runs.
    """

    _largest_memory = LARGEST_MEMORY

    def __init__(self, onnx: InferenceSession) -> None:
        self.onnx = onnx
        self.effective: str = onnx.get_providers()[0]
        forking.inherited(self)

    def forked(self) -> None:
        """Stay, in the child of a fork: to destroy it is to wait for threads that are not there."""
        forking.leave_alone(self)

    def run(
        self, names: Sequence[str], inputs: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """Run the graph.

        Parameters
        ----------
        names
            Of the outputs that are wanted.
        inputs
            float32 (N, size, size, channels) by name.

        Returns
        -------
        Each output, float32 (N, size, size, channels).

        Raises
        ------
        ModelError
            The graph, or its device, fails.
        ProviderError
            This process was forked from one that was running it.
        StarvedError
            The system gives no thread for the first run.
        """
        try:
            with forking.at_work:
                return self._run(names, inputs)
        except GliomartError:
            raise
        except Exception as error:  # ONNX Runtime's own errors share no base but Exception
            reason = what_went_wrong(error, self._largest_memory)
            raise ModelError(f"the graph does not run ({reason})") from error

    def _run(
        self, names: Sequence[str], inputs: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        return self.onnx.run(names, inputs)


class CpuSession(Session):
    """A session on the CPU, whose first run is given up when it takes too long."""

    _has_run = False

    def _run(
        self, names: Sequence[str], inputs: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        if self._has_run:
            return super()._run(names, inputs)
        # ONNX Runtime cannot be stopped within an operator: a thread can be left behind.
        results: list[list[NDArray[np.float32]] | Exception] = []

        def first() -> None:
            try:
                results.append(self.onnx.run(names, inputs))
            except Exception as error:  # noqa: BLE001  # raised where it was asked for
                results.append(error)

        thread = Thread(target=first, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # CPython's _thread: "can't start new thread"
            raise StarvedError("the thread in which a model runs for the first time") from error
        thread.join(LONGEST_FIRST_RUN_S)
        if not results:
            raise ModelError(
                f"the graph takes more than {LONGEST_FIRST_RUN_S:g} s for its first run"
            )
        (result,) = results
        if isinstance(result, Exception):
            raise result
        self._has_run = True
        return result


class _Bound(NamedTuple):
    """Where a batch of one size is read from and written to, and its inputs by name."""

    binding: IOBinding
    inputs: dict[str, OrtValue]
    options: RunOptions


class BoundSession(Session):
    """A session whose inputs and outputs stay in one place on a device.

    Nothing is allocated from slice to slice, and a CUDA graph, which always reads and writes where
    it was recorded, can be replayed. Batches of another size have buffers and a graph of their own.
    One thread at a time may run it.

    Parameters
    ----------
    onnx, runtime
        What ONNX Runtime opened, and its module.
    device
        Where the buffers are, by ONNX Runtime's name.

    References
    ----------
    ONNX Runtime, *CUDA Execution Provider*, Using CUDA Graphs: fixed shapes and addresses, no
    concurrent runs, ``gpu_graph_id`` for several shapes. *I/O Binding*.
    """

    _largest_memory = LARGEST_GPU_MEMORY

    def __init__(self, onnx: InferenceSession, runtime: ModuleType, device: str = "cuda") -> None:
        super().__init__(onnx)
        self._runtime, self._device = runtime, device
        self._outputs = [value.name for value in onnx.get_outputs()]
        self._bound: dict[int, _Bound] = {}

    def _run(
        self, names: Sequence[str], inputs: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        batch = len(next(iter(inputs.values())))
        if batch not in self._bound:
            self._bound[batch] = self._bind(batch)
        bound = self._bound[batch]
        for name, values in inputs.items():
            bound.inputs[name].update_inplace(np.ascontiguousarray(values))
        self.onnx.run_with_iobinding(bound.binding, bound.options)
        outputs = dict(zip(self._outputs, bound.binding.copy_outputs_to_cpu(), strict=True))
        return [outputs[name] for name in names]

    def _bind(self, batch: int) -> _Bound:
        binding, buffers = self.onnx.io_binding(), {}
        for value in self.onnx.get_inputs():
            buffers[value.name] = self._buffer(batch, value)
            binding.bind_ortvalue_input(value.name, buffers[value.name])
        for value in self.onnx.get_outputs():
            binding.bind_ortvalue_output(value.name, self._buffer(batch, value))
        options = self._runtime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(batch))
        return _Bound(binding, buffers, options)

    def _buffer(self, batch: int, value: NodeArg) -> OrtValue:
        return self._runtime.OrtValue.ortvalue_from_shape_and_type(
            [batch, *value.shape[1:]], np.float32, self._device, 0
        )


def session_options(runtime: ModuleType, threads: int | None) -> SessionOptions:
    """Make the options that sessions on all providers have in common.

    ONNX Runtime works in the calling thread and in threads of its own, one less than are asked for.
    """
    _bound_memory()
    wanted = threads or processors.usable()
    given = processors.affordable(wanted)
    if given < wanted:
        processors.fewer_threads(wanted)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = given
    # Spinning threads starve whatever else the workstation does, and each other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", _NO_FOLDER
    )
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def onnx_session(
    runtime: ModuleType,
    model: bytes,
    options: SessionOptions,
    providers: list[ProviderOption],
) -> InferenceSession:
    """Have ONNX Runtime open a model.

    Raises
    ------
    ModelError
        It does not.
    ProviderError
        This process was forked from one that was at work.
    """
    try:
        with forking.at_work:
            return runtime.InferenceSession(
                model,
                options,
                providers=providers,
                # It computes outside the bounded memory, and exported graphs have nothing to fold.
                disabled_optimizers=["ConstantFolding"],
                # Where a provider fails it would print to standard output and use another.
                enable_fallback=False,
            )
    except GliomartError:
        raise
    except Exception as error:  # ONNX Runtime's own errors share no base but Exception
        raise ModelError(
            f"not a model that ONNX Runtime can run ({what_went_wrong(error)})"
        ) from error


def what_went_wrong(error: Exception, largest_memory: int = LARGEST_MEMORY) -> str:
    """Say in one line what ONNX Runtime complains about."""
    text = str(error)
    if "bad_alloc" in text or "Failed to allocate memory" in text:
        return "there is no more memory for it"
    if asked := re.search(r"Available memory of .* requested bytes of (\d+)", text):
        who = "it asks" if int(asked[1]) > largest_memory else "all that run in this process ask"
        return f"{who} for more than {largest_memory // 2**20} MiB of memory"
    # Before it stand the number and name of the error, and places in ONNX Runtime's own source.
    text = re.split(r"Status Message: |\[ONNXRuntimeError\] : \d+ : \w+ : ", text)[-1]
    text = re.sub(r"/onnxruntime_src/\S+:\d+ .*?\)(?: const)? (?=[A-Z])", "", text)
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[:_LONGEST_REASON] + "…"


@cache
def _bound_memory() -> None:
    """Give the process one CPU allocator with an end, which sessions share that ask for it."""
    import onnxruntime as runtime

    memory = runtime.OrtMemoryInfo(
        "Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT
    )
    defaults = (-1, -1, -1)  # how it grows
    runtime.create_and_register_allocator(memory, runtime.OrtArenaCfg(LARGEST_MEMORY, *defaults))
