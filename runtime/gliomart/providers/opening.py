"""Opening sessions: the first of the providers that truly runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from gliomart.errors import ModelError, ProviderError
from gliomart.printable import printable
from gliomart.providers import probe
from gliomart.providers.choice import GPU_PROVIDERS, Provider, ProviderChoice, Requested
from gliomart.providers.session import (
    CPU,
    BoundSession,
    CpuSession,
    Session,
    onnx_session,
    session_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gliomart.providers.parity import Reference


def open_session(
    model: bytes,
    requested: Requested,
    *,
    allow_fallback: bool,
    threads: int | None,
    cpu: Session | None = None,
    reference: Callable[[], Reference] | None = None,
) -> tuple[Session, ProviderChoice]:
    """Open a session on the best provider that runs.

    Parameters
    ----------
    model
        Content of an ONNX file; weights outside it are never read.
    requested
        ``auto`` takes TensorRT, then TensorRT-RTX, then CUDA, then CPU. Any other has to run.
    allow_fallback
        Let a provider that was asked for by name fall back to the CPU, which marks the choice
        degraded.
    threads
        Threads of the CPU provider; None for as many as there are processors that this process
        may use.
    cpu
        A session on the CPU, where one is open already.
    reference
        Gives what the CPU makes of a slice, which a GPU's results are held to.

    Raises
    ------
    ProviderError
        What was asked for by name does not run, and no fallback is allowed.
    ModelError
        The content cannot be run at all.
    MissingExtraError
        No ONNX Runtime is installed.
    """
    if requested not in get_args(Requested):
        known = ", ".join(get_args(Requested))
        raise ProviderError(f"unknown provider {printable(requested[:40])}; known are {known}")
    runtime = probe.onnxruntime()
    by_name = requested not in {"auto", "cpu"}
    wanted = [requested] if by_name else [*GPU_PROVIDERS] if requested == "auto" else []
    tried: list[str] = []
    for name in wanted:
        reason = probe.why_not(name, runtime)
        if reason is None:
            # First on the CPU, which holds a model within bounds of memory and time.
            expected = reference() if reference else None
            provider = GPU_PROVIDERS[name]
            try:
                session = open_on_gpu(name, provider, model, threads)
                parity = expected.hold(session, provider.tolerance) if expected else None
            except (ModelError, ProviderError) as error:
                reason = str(error)
            else:
                why = "; ".join(tried) or None
                return session, ProviderChoice(
                    requested, session.effective, degraded=False, parity=parity, reason=why
                )
        elif not by_name:
            continue  # most machines lack most providers, which is nothing to tell
        tried.append(f"{name}: {reason}")
    why = "; ".join(tried) or None
    if by_name and not allow_fallback:
        raise ProviderError(f"no provider runs here ({why})")
    choice = ProviderChoice(requested, CPU, degraded=by_name, reason=why)
    return cpu or open_on_cpu(model, threads), choice


def open_on_cpu(model: bytes, threads: int | None) -> CpuSession:
    """Open a session on the CPU, which runs every model there is.

    Raises
    ------
    ModelError
        The content cannot be run at all.
    """
    runtime = probe.onnxruntime()
    return CpuSession(onnx_session(runtime, model, session_options(runtime, threads), [CPU]))


def open_on_gpu(name: str, provider: Provider, model: bytes, threads: int | None) -> Session:
    """Open a session on a GPU's provider, one against which nothing speaks.

    Raises
    ------
    ModelError
        It cannot be opened.
    ProviderError
        ONNX Runtime runs it on another provider.
    """
    from gliomart.providers.options import variants
    from gliomart.providers.quiet import off_standard_output

    (image,) = open_on_cpu(model, threads).onnx.get_inputs()
    failures = []
    try:
        with off_standard_output():
            for chosen in variants(name, model, image.name, image.shape[1:], half=provider.half):
                try:
                    session = _open(name, provider, model, chosen, threads)
                except ModelError as error:
                    failures.append(error)
                    continue
                if session.effective != provider.onnx_name:
                    raise ProviderError(f"the session runs on {session.effective} instead")
                return session
    except OSError as error:  # of the driver, where the GPU has gone
        raise ProviderError(str(error)) from error
    raise failures[-1]


def _open(
    name: str, provider: Provider, model: bytes, chosen: dict[str, str], threads: int | None
) -> Session:
    from gliomart.providers.options import cuda

    runtime = probe.onnxruntime()
    options = session_options(runtime, threads)
    if name == "tensorrt-rtx":
        # A plug-in is asked for by its device; what it leaves goes to the CPU by itself.
        options.add_provider_for_devices(list(probe.rtx_devices(runtime)[:1]), chosen)
        return Session(onnx_session(runtime, model, options, []))
    providers: list[Any] = [(provider.onnx_name, chosen)]
    if name == "tensorrt":  # what it leaves goes to CUDA
        providers.append((GPU_PROVIDERS["cuda"].onnx_name, cuda(graph=False)))
    return BoundSession(onnx_session(runtime, model, options, [*providers, CPU]), runtime)
