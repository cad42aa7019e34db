"""What made a file: software, model and execution provider, as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from gliomart._version import __version__

if TYPE_CHECKING:
    from gliomart.findings.results import Settings, SiteThresholds
    from gliomart.providers import ProviderChoice


class Software(TypedDict):
    """The software that made a file.

    Attributes
    ----------
    name, version
        As of the package.
    """

    name: str
    version: str


class Site(TypedDict):
    """Thresholds that a site set by its own scans.

    Attributes
    ----------
    date
        When, such as ``2026-11-28``.
    patients
        How many patients' scans they were.
    kept
        Levels whose thresholds are still the model's own.
    """

    date: str
    patients: int
    kept: list[str]


class Model(TypedDict):
    """The model file that ran.

    Attributes
    ----------
    name, version
        As its card says.
    sha256
        Of the file, in hexadecimal.
    site
        Whose scans set its thresholds; null where they are the model's own.
    """

    name: str
    version: str
    sha256: str
    site: Site | None


class Provider(TypedDict):
    """The execution provider that was asked for, and the one that ran.

    Attributes
    ----------
    requested
        As asked for.
    effective
        ONNX Runtime's own name of what ran.
    degraded
        It is less than was asked for by name, or than the run began on.
    parity
        Largest absolute difference of each output from the CPU's, on one slice of the simulated
        study; null on the CPU.
    reason
        Why something else that was asked for, or that can load, did not run; null where there is
        nothing to tell.
    """

    requested: str
    effective: str
    degraded: bool
    parity: dict[str, float] | None
    reason: str | None


class Provenance(TypedDict):
    """What made a file.

    Attributes
    ----------
    software, model, provider
        What ran.
    """

    software: Software
    model: Model
    provider: Provider


def provenance(settings: Settings) -> Provenance:
    """Tell what software, model and provider a result comes from."""
    return {
        "software": {"name": "gliomart", "version": __version__},
        "model": {
            "name": settings.model_name,
            "version": settings.model_version,
            "sha256": settings.model_sha256,
            "site": None if settings.site is None else _site_entry(settings.site),
        },
        "provider": provider_entry(settings.provider),
    }


def _site_entry(site: SiteThresholds) -> Site:
    return {"date": site.date, "patients": site.patients, "kept": list(site.kept)}


def provider_entry(provider: ProviderChoice) -> Provider:
    """Describe a provider."""
    return {
        "requested": provider.requested,
        "effective": provider.effective,
        "degraded": provider.degraded,
        "parity": None if provider.parity is None else dict(provider.parity),
        "reason": provider.reason,
    }
