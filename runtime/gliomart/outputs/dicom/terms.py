"""Who made an object and what its coded terms are: what all kinds of objects say alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from highdicom import AlgorithmIdentificationSequence
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    DeviceObserverIdentifyingAttributes,
    QualitativeEvaluation,
)
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from gliomart._version import __version__
from gliomart.findings import judges
from gliomart.printable import printable

if TYPE_CHECKING:
    from gliomart.findings.results import Settings
    from gliomart.findings.structures import Structure, StructureVerdict

_LONGEST_LO = 64  # characters of a Long String
# The structures that are judged by themselves, in words.
STRUCTURES = " and ".join(structure.name for structure in judges.STRUCTURES)
# The new series, by what they hold: what their numbers end in, after the source's own (3 has 3901
# to 3904, which is out of the scanner's way), and their descriptions.
SERIES = {
    "segmentation": (901, f"gliomart anomalous regions and {STRUCTURES} (research)"),
    "map": (902, "gliomart anomaly map (research)"),
    "report": (903, "gliomart report (research)"),
    "overlay": (904, "gliomart overlays (research)"),
}
RESEARCH_ONLY = "Research use only. Not for diagnosis."
OUTSIDE_INTENDED_USE = "Outside the intended use of the model"

ABNORMALITY = codes.SCT.MorphologicallyAbnormalStructure
LESION = codes.SCT.Lesion
BRAIN = codes.SCT.Brain
ANATOMY = codes.SCT.AnatomicalStructure
SCORE = codes.SCT.Score
NO_UNITS = codes.UCUM.NoUnits
SOURCE_IMAGE = CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
FAMILY = codes.DCM.ArtificialIntelligence

# What the standard's context groups have no term for (a private scheme begins with 99: PS3.16 8.2).
SCHEME = "99GLIOMART"
P_VALUE = CodedConcept("p-value", SCHEME, "Conformal p-value against tumour-free scans")
FLAGGED = CodedConcept("flagged", SCHEME, "Flagged: p-value at most the false-alarm rate")
FALSE_ALARM_RATE = CodedConcept("false-alarm-rate", SCHEME, "Nominal false-alarm rate")


def concept_of(structure: Structure) -> CodedConcept:
    """Code a structure."""
    return CodedConcept(structure.code, structure.scheme, structure.meaning)


def fraction_anomalous(structure: Structure) -> CodedConcept:
    """Name the measurement of how much of a structure is anomalous."""
    return CodedConcept("anomalous-share", SCHEME, f"Anomalous share of the {structure.name}")


def coverage(verdict: StructureVerdict) -> QualitativeEvaluation:
    """Tell whether a series shows a structure."""
    words, name = verdict.coverage, verdict.structure.name
    code = words.removeprefix(f"{name} ").replace(" ", "-")
    return QualitativeEvaluation(
        CodedConcept("coverage", SCHEME, f"Coverage of the {name}"),
        CodedConcept(code, SCHEME, words),
    )


def algorithm(settings: Settings) -> AlgorithmIdentificationSequence:
    """Identify the algorithm in an image's header (PS3.3 10.16)."""
    return AlgorithmIdentificationSequence(
        name="gliomart",
        family=FAMILY,
        version=__version__,
        source="gliomart",
        parameters=_parameters(settings),
    )


def algorithm_of_report(settings: Settings) -> AlgorithmIdentification:
    """Identify the algorithm in a report (PS3.16 TID 4019)."""
    return AlgorithmIdentification(
        name="gliomart",
        version=__version__,
        parameters=[f"{name}={value}" for name, value in _parameters(settings).items()],
        family=FAMILY,
        manufacturer="gliomart",
    )


def scheme() -> CodingSchemeIdentificationItem:
    """Identify the private coding scheme to readers that do not know it (PS3.3 C.12.1)."""
    return CodingSchemeIdentificationItem(
        SCHEME, name="gliomart coding scheme", responsible_organization="gliomart"
    )


def equipment(settings: Settings) -> dict[str, Any]:
    """Describe the software that makes an object (PS3.3 C.7.5.1, C.7.5.2).

    The model file is what one installation may have other than the next: its SHA-256 stands for
    the serial number.
    """
    return {
        "manufacturer": "gliomart",
        "manufacturer_model_name": "gliomart",
        "software_versions": [__version__, _model(settings)],
        "device_serial_number": settings.model_sha256,
    }


def device(settings: Settings) -> DeviceObserverIdentifyingAttributes:
    """Identify the observer of a report (PS3.16 TID 1004): one for a software and a model."""
    return DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=["gliomart", __version__, settings.model_sha256]),
        name="gliomart",
        manufacturer_name="gliomart",
        model_name=_model(settings),
        serial_number=settings.model_sha256,
    )


def _model(settings: Settings) -> str:
    """Name a model as every Long String can (PS3.5 6.2): short, in ASCII, without backslash."""
    name = printable(f"{settings.model_name} {settings.model_version}")
    return name.encode("ascii", "backslashreplace").decode().replace("\\", "/")[:_LONGEST_LO]


def _parameters(settings: Settings) -> dict[str, str]:
    site = settings.site
    thresholds = {"thresholds": f"of a site, {site.date}"} if site else {}
    return thresholds | {
        "model": _model(settings),
        "sha256": settings.model_sha256,
        "false_alarm_rate": f"{settings.false_alarm_rate:g}",
    }
