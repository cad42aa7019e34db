"""What a measurement was made on and with."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gliomart._version import __version__, installed_version
from gliomart.host import processors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.bench.report import Machine, Percentiles
    from gliomart.model.card import ModelCard

# Instructions that decide how fast a network runs; what Linux calls them on x86 and Arm.
_DECISIVE = frozenset(
    {"avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"}
    | {"asimddp", "i8mm", "bf16", "sve", "sve2"}
)
_LIBRARIES = (
    "numpy",
    "opencv-python-headless",
    "pydicom",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "ai-edge-litert",
    "tensorflow",
    "keras",
)
_RAPL = Path("/sys/class/powercap")


def description() -> Machine:
    """Describe the machine, and how busy it was when it was asked."""
    processor, flags = _processor()
    return {
        "system": platform.system(),
        "processor": processor,
        "cores": processors.usable(),
        "instructions": sorted(flags & _DECISIVE),
        "virtual": "hypervisor" in flags if flags else None,
        "busy_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def slug() -> str:
    """Name for the folder of this machine's results."""
    processor, flags = _processor()
    best = next((f for f in ("avx512_vnni", "avx512f", "avx_vnni", "avx2") if f in flags), "")
    words = f"{processor} {processors.usable()} cores {best}".lower()
    return "-".join("".join(c if c.isalnum() else " " for c in words).split())


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    found = {name: installed_version(name) for name in _LIBRARIES}
    ours = {"gliomart": __version__, "python": platform.python_version()}
    return ours | {name: version for name, version in found.items() if version}


def precision(card: ModelCard) -> str:
    """Numbers that a model's features are computed in: ``fp32``, ``fp16`` or ``int8``."""
    return str(card.network.get("precision", "fp32"))


def percentiles(values: Sequence[float]) -> Percentiles:
    """Summarise times as p50, p95 and p99."""
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3)}


def joules() -> float:
    """Read the energy that all processor packages have used, since some time in the past.

    Source: the Linux power capping framework (RAPL), ``energy_uj`` of each package domain. It
    wraps around after hours; a difference below zero tells.

    Raises
    ------
    OSError
        This machine does not tell, or not everybody.
    """
    packages = sorted(_RAPL.glob("*-rapl:[0-9]"))
    if not packages:
        raise FileNotFoundError(f"no energy counter under {_RAPL}")
    return sum(int((package / "energy_uj").read_text("ascii")) for package in packages) / 1e6


def _processor() -> tuple[str, frozenset[str]]:
    """Name and instruction sets; the latter only where the system is Linux."""
    name, flags = platform.processor() or platform.machine(), frozenset[str]()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key == "model name":
                name = value
            elif key in {"flags", "Features"}:
                flags = frozenset(value.split())
    return name, flags
