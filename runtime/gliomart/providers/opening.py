"""Opening sessions: the first of the providers that truly runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.errors import ModelError, ProviderError
from gliomart.printable import printable
from gliomart.providers import probe
from gliomart.providers.choice import (
    GPU_PROVIDERS,
    PROVIDERS,
    Provider,
    ProviderChoice,
    Requested,
)
from gliomart.providers.session import (
    CPU,
    BoundSession,
    CpuSession,
    Session,
    onnx_session,
    session_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gliomart.providers.parity import Reference
    from gliomart.providers.session import ProviderOption


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
        Gives a slice and the CPU's outputs for it, which a GPU's are held to.

    Raises
    ------
    ProviderError
        What was asked for by name does not run, and no fallback is allowed.
    ModelError
        The content cannot be run at all.
    MissingExtraError
        No ONNX Runtime is installed.
    """
    if requested not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        raise ProviderError(f"unknown provider {printable(requested[:40])}; known are {known}")
    runtime = probe.onnxruntime()
    by_name = requested not in {"auto", "cpu"}
    failed: dict[str, str] = {}
    for name in _candidates(requested):
        if reason := probe.why_not(name, runtime):
            if by_name:  # most machines lack most providers: of ``auto``, that is nothing to tell
                failed[name] = reason
            continue
        # First on the CPU, which holds a model within bounds of memory and time.
        expected = reference() if reference else None
        try:
            session, parity = _open_and_hold(name, model, threads, expected)
        except (ModelError, ProviderError) as error:
            failed[name] = str(error)
            continue
        return session, ProviderChoice(
            requested, session.effective, degraded=False, parity=parity, reason=_listed(failed)
        )
    if by_name and not allow_fallback:
        raise ProviderError(f"no provider runs here ({_listed(failed)})")
    choice = ProviderChoice(requested, CPU, degraded=by_name, reason=_listed(failed))
    return cpu or open_on_cpu(model, threads), choice


def _candidates(requested: Requested) -> list[str]:
    """List the GPUs' providers to try, in order; the CPU comes after them."""
    if requested == "auto":
        return list(GPU_PROVIDERS)
    return [requested] if requested in GPU_PROVIDERS else []


def _open_and_hold(
    name: str, model: bytes, threads: int | None, expected: Reference | None
) -> tuple[Session, Mapping[str, float] | None]:
    """Open a session on a GPU's provider; give its parity, if there is a reference to hold it to.

    Raises
    ------
    ModelError
        It cannot be opened, or fails.
    ProviderError
        It runs elsewhere, or its results are too far from the CPU's.
    """
    provider = GPU_PROVIDERS[name]
    session = open_on_gpu(name, provider, model, threads)
    return session, expected.hold(session, provider.tolerance) if expected else None


def _listed(failed: Mapping[str, str]) -> str | None:
    """List why each provider does not run; None where none failed."""
    return "; ".join(f"{name}: {reason}" for name, reason in failed.items()) or None


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
    from gliomart.providers.quiet import off_standard_output

    try:
        with off_standard_output():
            session = _open_variant(name, provider, model, threads)
    except OSError as error:  # of the driver, where the GPU has gone
        raise ProviderError(str(error)) from error
    if session.effective != provider.onnx_name:
        raise ProviderError(f"the session runs on {session.effective} instead")
    return session


def _open_variant(name: str, provider: Provider, model: bytes, threads: int | None) -> Session:
    """Open a session with the first of the provider's options with which that is possible."""
    from gliomart.providers.options import variants

    (image,) = open_on_cpu(model, threads).onnx.get_inputs()
    failures = []
    for chosen in variants(name, model, image.name, image.shape[1:], half=provider.half):
        try:
            return _open(name, provider, model, chosen, threads)
        except ModelError as error:
            failures.append(error)
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
    providers: list[ProviderOption] = [(provider.onnx_name, chosen)]
    if name == "tensorrt":  # what it leaves goes to CUDA
        providers.append((GPU_PROVIDERS["cuda"].onnx_name, cuda(graph=False)))
    return BoundSession(onnx_session(runtime, model, options, [*providers, CPU]), runtime)
