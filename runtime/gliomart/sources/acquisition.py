"""How an image was acquired, as far as a DICOM header or a BIDS sidecar says."""

from __future__ import annotations

import re
from dataclasses import dataclass

# No field is stronger than this; a number between both is one of mT, a larger one of gauss.
_STRONGEST_T, _WEAKEST_GAUSS = 30.0, 1000.0
# What stands where an agent is named and none was given, and where nobody said.
_NO_AGENT = re.compile(
    r"(?:(?:no|non|none|n|not|without|wo|w o|0|nil|null|nein|ohne|kein\w*|sans|senza|sin|false)\b"
    r" ?(?:agent|contrast\w*|kontrast\w*|km|given|used|applied|administered)?|nativ\w*|pre)"
)
_UNSAID = frozenset({"", "unknown", "na", "n a", "nan", "other", "unbekannt"})


@dataclass(frozen=True, slots=True)  # there may be very many
class Acquisition:
    """What is said of how an image was acquired; what is missing is empty or None.

    Attributes
    ----------
    modality
        Such as ``MR``; where it is missing, what the SOP class implies.
    image_type
        Values of Image Type; those of the first frame in a file of several kinds.
    description
        Series Description.
    protocol
        Protocol Name: of some scanners the name of the series, of others that of the
        whole examination.
    sequence_name
        Sequence Name and Pulse Sequence Name; of a sidecar also Pulse Sequence Type.
    examination
        Study and procedure descriptions.
    body_part, region
        Body Part Examined and Anatomic Region.
    repetition_time, echo_time, inversion_time
        In ms; an effective echo time where there is one, the longest of several inversion times.
    inversion_times
        All of them, in ms.
    field_strength
        Magnetic Field Strength in T.
    b_value
        Diffusion b-value in s/mm².
    scanning_sequence
        Such as ``SE``, ``IR``, ``GR``, ``EP``.
    acquisition_contrast
        Acquisition Contrast of enhanced MR.
    complex_component, calculation
        Complex Image Component, Volume Based Calculation Technique (PS3.3 C.8.13.3.1, C.8.16.2.1).
    agent
        A contrast agent is said to have been given, or not to have been (PS3.3 C.7.6.4,
        C.7.6.16.2.12).
    """

    modality: str = ""
    image_type: tuple[str, ...] = ()
    description: str = ""
    protocol: str = ""
    sequence_name: str = ""
    examination: str = ""
    body_part: str = ""
    region: str = ""
    repetition_time: float | None = None
    echo_time: float | None = None
    inversion_time: float | None = None
    inversion_times: tuple[float, ...] = ()
    field_strength: float | None = None
    b_value: float | None = None
    scanning_sequence: frozenset[str] = frozenset()
    acquisition_contrast: str = ""
    complex_component: str = ""
    calculation: str = ""
    agent: bool | None = None


def tesla(strength: float | None) -> float | None:
    """Bring a field strength to T: some scanners write it in mT or gauss."""
    if strength is None or strength < _STRONGEST_T:
        return strength
    return strength / (1e3 if strength < _WEAKEST_GAUSS else 1e4)


def names_an_agent(text: str) -> bool | None:
    """Tell whether what stands where a contrast agent is named names one; None if unsaid.

    Examples
    --------
    >>> names_an_agent("Gadovist"), names_an_agent("no contrast"), names_an_agent(" - ")
    (True, False, None)
    """
    if not text:
        return None
    plain = " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())
    return None if plain in _UNSAID else not _NO_AGENT.fullmatch(plain)
