"""Which MR sequence an image is of, told from its header, or from the sidecar of a volume.

What was measured counts before what was written, and what is written of the series itself before
what is written of the examination: a Protocol Name may name everything that was done.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gliomart.findings.contrast import after_contrast

if TYPE_CHECKING:
    from gliomart.sources.acquisition import Acquisition

# Acquisition Contrast of enhanced MR (PS3.3 C.8.13.3.1).
_CONTRASTS = {
    "FLUID_ATTENUATED": "FLAIR",
    "STIR": "STIR",
    "T1": "T1",
    "T2": "T2",
    "T2_STAR": "T2*",
    "PROTON_DENSITY": "PD",
    "DIFFUSION": "DWI",
    "PERFUSION": "perfusion",
    "FLOW_ENCODED": "flow",
    "TOF": "TOF",
    "MAGNETIZATION_TRANSFER": "MT",
    "TAGGING": "tagging",
    "TEMPERATURE": "thermometry",
}
FIELD_MAP = "field map"
DOUBLE_INVERSION = "DIR"
AFTER_CONTRAST = "T1C"
SEQUENCES = frozenset({*_CONTRASTS.values(), FIELD_MAP, DOUBLE_INVERSION, AFTER_CONTRAST})

# Timing in ms. Fluid is nulled by an inversion time of about 0.7 times its T1, 1,600 to 2,900 at
# usual repetition times; an inversion-prepared T1 or STIR lies far below. Scanners of low field
# repeat sooner, which nulls fluid after 1,400 to 1,800.
_FLUID_NULLED_MS = 1500.0
_FLUID_NULLED_LOW_FIELD_MS = 1200.0
_LOW_FIELD_T = 0.6
# Fat is nulled by at most this. A second inversion of fat leaves a FLAIR a FLAIR, one that is
# longer nulls white matter as well.
_FAT_NULLED_MS = 250.0
# Nobody nulls fat this late: an image with a long echo that is called FLAIR is one.
_LATER_THAN_FAT_MS = 400.0
_T2_ECHO_MS = 60.0
_T1_ECHO_MS = 15.0  # of a gradient echo
_T1_REPETITION_MS = 1500.0

# Words are looked for in lower case, with one space for everything but letters, digits and *.
_FLAIR_WORDS = re.compile(r"flair|dark ?fluid|\bda ?fl\b|fluid ?(?:atten|sup)")
_T1_WORDS = re.compile(
    r"\b(?:ax|cor|sag|tra|obl|[23]d|ir|fse|tse)*t1(?!\d)|mprage|mp2rage|spgr|bravo"
    r"|\btfl|vibe|\bffe\b"
)
_T2_WORDS = re.compile(r"\b(?:ax|cor|sag|tra|obl|[23]d|fse|tse)*t2(?!\d)")
_KINDS_BY_NAME = {
    "DWI": re.compile(
        r"\bdwi|diffusion|\bdti|\bdiff\b|\bep b\d|\btracew?\b|\bb ?1000\b|\bdki\b|\bivim\b"
    ),
    FIELD_MAP: re.compile(r"field ?map|\bb0\b"),
    "T2*": re.compile(
        r"\bbold\b|fmri|epfid|\bswi(?![a-oq-z])|\bhemo|\bswan\b|\bt2 ?\*|\bt2 ?star|venobold"
    ),
    DOUBLE_INVERSION: re.compile(
        r"\b(?:ax|cor|sag|tra|obl|iso|[23]d|t2w?|tse|fse|spc|space|cube|vista|view)*dir"
        r"(?:ax|cor|sag|tra|iso|[23]d|spc|space|cube)*\b"
        r"|(?:double|doppel\w*|doppia|doble|dupla|dual) ?(?:inv|ir\b)"
    ),
}
# What overrules a name and a timing of FLAIR: hints such as a finding that is looked for do not.
_KINDS_OVER_FLAIR = {
    "DWI": re.compile(r"\bep2d|\bep b\d|\btracew?\b|\bb ?\d{3,4}\b"),
    DOUBLE_INVERSION: _KINDS_BY_NAME[DOUBLE_INVERSION],
}
# Where "dir" is a direction: how many of diffusion (a whole number), or which one of encoding.
_DIRECTION = re.compile(
    r"(?<!\b\d )\b(?:[3-9]|\d{2,3}) ?dir\b"
    r"|\b(?:phase|freq\w*|pe|fe|ped|ro|read\w*|enc\w*|coding|swap\w*|flow|grad\w*|slice) ?dir\b"
    r"|(?<=flair )dir (?=(?:ap|pa|rl|lr|hf|fh|si|is)\b)"
)
_LOCALISER_WORDS = re.compile(
    r"lo[ck]ali[sz](?:er|a[td])|scout|survey|surview|\breperage|plane loc\b|^loc\b"
)


def is_localiser(header: Acquisition) -> bool:
    """Tell whether an image was made to plan others.

    Protocol Name counts only where there is no Series Description, and no Inversion Time, which
    localisers have not got.
    """
    said = header.description
    if not said and header.inversion_time is None:
        said = header.protocol
    return "LOCALIZER" in header.image_type or bool(_LOCALISER_WORDS.search(_words(said)))


def sequence_of(header: Acquisition) -> str | None:
    """Tell the MR sequence, one of ``SEQUENCES``, from what the header has; None if nothing tells.

    The first of ``SEQUENCE_RULES`` that can tell decides. T1 after contrast is ``T1C``, FLAIR and
    others stay what they are.
    """
    found = next(filter(None, (rule(header) for rule in SEQUENCE_RULES)), None)
    return AFTER_CONTRAST if found == "T1" and after_contrast(header) else found


def named_in_words(acquisition: Acquisition) -> str | None:
    """Tell the sequence that the words of a series name, whatever else is said of it."""
    return _by_description(acquisition)


def names_flair(text: str) -> bool:
    """Tell whether text has a word for FLAIR."""
    return bool(_FLAIR_WORDS.search(_words(text)))


def _by_diffusion(header: Acquisition) -> str | None:
    """Take a Diffusion b-value above 0 for diffusion."""
    return "DWI" if header.b_value else None


def _by_name(header: Acquisition) -> str | None:
    """Tell diffusion, susceptibility, field maps and double inversion by name, not by timing.

    The name is Series Description and the sequence's name; for echo-planar images Protocol Name
    as well. An image that is none and that name, Inversion Time and Echo Time say to be FLAIR is
    another kind only by the name of a diffusion sequence, a b-value or double inversion.
    """
    said, kinds = _own(header), _KINDS_BY_NAME
    if "EP" in header.scanning_sequence:
        said += f" {_words(header.protocol)}"
    elif names_flair(header.description) and header.echo_time and _by_inversion(header) == "FLAIR":
        kinds = _KINDS_OVER_FLAIR
    said = _DIRECTION.sub(" ", said)
    return next((kind for kind, words in kinds.items() if words.search(said)), None)


def _by_gradient_echo(header: Acquisition) -> str | None:
    """Take Scanning Sequence GR without SE for T1 below an Echo Time of 15 ms, for T2* above."""
    if "GR" not in header.scanning_sequence or "SE" in header.scanning_sequence:
        return None
    return "T1" if (header.echo_time or 0.0) < _T1_ECHO_MS else "T2*"


def _by_two_inversions(header: Acquisition) -> str | None:
    """Take two Inversion Times above 250 ms for double inversion recovery."""
    slow = {time for time in header.inversion_times if time > _FAT_NULLED_MS}
    return DOUBLE_INVERSION if len(slow) > 1 else None


def _by_inversion(header: Acquisition) -> str | None:
    """Take an Inversion Time from 1,500 ms with an Echo Time from 60 ms for FLAIR.

    From 1,200 ms is enough below 0.6 T, as Magnetic Field Strength says, and in an image of unknown
    field whose name says FLAIR; from 400 ms where both the name and such an echo do. A shorter
    inversion with such an echo is STIR; with a shorter echo, any is T1.
    """
    if header.inversion_time is None:
        return None
    named = bool(_FLAIR_WORDS.search(_own(header)))
    low = named if header.field_strength is None else header.field_strength < _LOW_FIELD_T
    nulled = _FLUID_NULLED_LOW_FIELD_MS if low else _FLUID_NULLED_MS
    long_echo = header.echo_time is not None and header.echo_time >= _T2_ECHO_MS
    if named and long_echo:
        nulled = _LATER_THAN_FAT_MS
    if header.inversion_time < nulled:
        return "STIR" if long_echo else "T1"
    return "FLAIR" if long_echo or header.echo_time is None else "T1"


def _by_acquisition_contrast(header: Acquisition) -> str | None:
    """Take Acquisition Contrast of enhanced MR at its word, unless it is T2, as of many FLAIRs."""
    contrast = _CONTRASTS.get(header.acquisition_contrast)
    return None if contrast == "T2" else contrast


def _by_short_repetition(header: Acquisition) -> str | None:
    """Take a Repetition Time below 1,500 ms for T1, for T2 with an Echo Time from 60 ms."""
    if header.repetition_time is None or header.repetition_time >= _T1_REPETITION_MS:
        return None
    return "T2" if (header.echo_time or 0.0) >= _T2_ECHO_MS else "T1"


def _by_description(header: Acquisition) -> str | None:
    """Take a name for T1 where it says so, for FLAIR where it says so and not T1, then for T2."""
    return _contrast_in(_own(header))


def _by_protocol(header: Acquisition) -> str | None:
    """Take Protocol Name for what it names, unless that is several sequences."""
    said = _words(header.protocol)
    named = {kind for kind, words in _KINDS_BY_NAME.items() if words.search(said)}
    named |= {contrast} if (contrast := _contrast_in(said)) else set()
    return named.pop() if len(named) == 1 else None


def _by_echo(header: Acquisition) -> str | None:
    """Take a longer Repetition Time for T2 with an Echo Time from 60 ms, otherwise for PD.

    Where either is missing, Acquisition Contrast T2 is believed.
    """
    if header.repetition_time is None or header.echo_time is None:
        return _CONTRASTS.get(header.acquisition_contrast)
    return "T2" if header.echo_time >= _T2_ECHO_MS else "PD"


SEQUENCE_RULES = (
    _by_diffusion,
    _by_name,
    _by_gradient_echo,
    _by_two_inversions,
    _by_inversion,
    _by_acquisition_contrast,
    _by_short_repetition,
    _by_description,
    _by_protocol,
    _by_echo,
)


def _contrast_in(said: str) -> str | None:
    kinds = {"T1": _T1_WORDS, "FLAIR": _FLAIR_WORDS, "T2": _T2_WORDS}
    return next((kind for kind, words in kinds.items() if words.search(said)), None)


def _own(header: Acquisition) -> str:
    """Join what is said of the series itself."""
    return _words(f"{header.description} {header.sequence_name}")


def _words(text: str) -> str:
    return re.sub(r"[^\w*]+|_+", " ", text.lower()).strip()
