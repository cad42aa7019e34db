"""Whether an image is what a model was made for, told from its DICOM header.

A model answers for any picture it is shown. What it was not made for is therefore refused by name,
before its pixels are read; ``--force`` analyses it all the same, and every result then says that it
is outside the intended use. Images without a header (PNG, NIfTI and the like) say nothing of
themselves: for those, whoever gives them answers. What pixels tell, content.py looks for.

The tables here are the rules, and the conformance statement in the documentation is made from them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gliomart.errors import InputRefusedError
from gliomart.geometry import even_step, overlaps
from gliomart.slices import Concern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart.card import ModelCard
    from gliomart.geometry import Plane
    from gliomart.sources import SeriesFiles
    from gliomart.sources.header import Header


# What each code stands for, in the order in which they are looked for: the first decides.
CODES = {
    "no-scanner-image": "the object holds no image of a scanner (a segmentation, a map, a film)",
    "secondary-capture": "a secondary capture: a picture of a picture, of unknown origin",
    "wrong-modality": "a modality that the model was not made for",
    "wrong-body-part": "not the head",
    "localiser": "a localiser, made to plan other images",
    "derived-image": "calculated from other images (a map, a projection, a subtraction, a phase)",
    "wrong-sequence": "an MR sequence that the model was not made for",
    "unknown-sequence": "nothing in the header tells the MR sequence",
    "wrong-plane": "a plane that the model was not made for and that cannot be turned into it",
    "oblique": "tilted too far from the plane that the model was made for",
    "coarse-pixels": "pixels that are too large to show what the model looks for",
    "coarse-slices": "slices that lie too far apart",
    "lossy-compression": "compressed with loss, now or earlier",
    "burned-in-annotation": "text or drawings are part of the pixels",
    "mixed-orientations": "one series holds images of several orientations",
    "overlapping-slices": "one series holds several images of one place (echoes, repetitions)",
    "coverage": "the series covers too little of the head for a verdict",
    "mixed-rescale": "some images of a series have a rescale slope and intercept, others none",
    "light-border": "the border is as bright as a head (a negative, a light frame)",
    "clipped": "the window that it was exported with cuts off what is bright",
}

# Secondary images that are reformatted rather than calculated.
_REFORMATTED = frozenset({"MPR", "CSA MPR", "CSAMPR", "REFORMATTED", "RESAMPLED", "CSA RESAMPLED"})

# SOP classes whose pixels come from a scanner (PS3.4 B.5), and what their modality is.
SCANNER_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and the multi-frame ones below it

_HEAD = re.compile(r"head|brain|skull|neuro|cran|cereb|schädel|kopf|gehirn|hirn|crâne|tête|cabeza")
# Words for other parts of the body, whole, in the descriptions of a study; English, German, French.
_ELSEWHERE = re.compile(
    r"\b(pelvis|becken|bassin|hips?|hüfte|knees?|knie|genou|ankle|foot|feet|fuss|pied|hand|wrist"
    r"|elbow|shoulder|schulter|épaule|spine|wirbelsäule|rachis|lumbar|lws|bws|hws|thorax|chest"
    r"|breast|mamma|heart|cardiac|herz|coeur|liver|leber|foie|abdomen|kidneys?|prostata?e?"
    r"|sacroiliac|sakroilia\w*|isg|sij|extremity|whole body)\b"
)
# Words in Image Type (PS3.3 C.7.6.1.1.2, C.8.3.1.1.1 and what vendors write) for images that are
# calculated. DERIVED alone is not among them: reformatted images (MPR) show the same signal.
_CALCULATED = frozenset(
    {
        "ADC", "EADC", "FA", "TRACEW", "TENSOR", "COLFA", "DIFFUSION", "PERFUSION", "RCBV", "RCBF",
        "TTP", "MTT", "T1 MAP", "T2 MAP", "T2 STAR MAP", "R2 MAP", "MAP", "B0 MAP", "FIELD_MAP",
        "MIP", "MINIP", "MNIP", "PROJECTION IMAGE", "SUBTRACTION", "SUB", "MEAN", "STDDEV",
        "P", "PHASE", "PHASE MAP", "PHASE_MAP", "R", "REAL", "I", "IMAGINARY",
        "SCREEN SAVE", "CSA REPORT", "PASTED", "SECONDARY CAPTURE",
    }
)  # fmt: skip

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
SEQUENCES = frozenset({*_CONTRASTS.values(), FIELD_MAP})
# Timing in ms. Fluid is nulled by an inversion time of about 0.7 times its T1, 1,600 to 2,900 at
# usual repetition times; an inversion-prepared T1 or STIR lies far below.
_FLUID_NULLED_MS = 1500.0
_T2_ECHO_MS = 60.0
_T1_ECHO_MS = 15.0  # of a gradient echo
_T1_REPETITION_MS = 1500.0
_LOCALISER_WORDS = re.compile(r"locali[sz]er|\bscout\b|survey")
_FLAIR_WORDS = re.compile(r"flair|dark[ _-]?fluid|fluid[ _-]?atten")
_T1_WORDS = re.compile(r"\bt1|mprage|mp2rage|spgr|bravo|\btfl|vibe|\bffe\b")
_KINDS_BY_NAME = {
    "DWI": re.compile(r"\bdwi\b|diffusion|\bdti\b|ep2d_diff|\bep_b\d|\btrace\b"),
    FIELD_MAP: re.compile(r"field[ _-]?map|\bb0\b"),
    "T2*": re.compile(r"\bbold\b|fmri|epfid|\bswi\b|\bhemo"),
}

# A pontine lesion of a centimetre is then less than seven pixels wide.
COARSEST_PIXEL_MM = 1.5
WIDEST_STEP_MM = 10.0
STEEPEST_TILT = 35.0
# Of voxels that are turned into axial slices: a thicker one would be a pixel too coarse for detail.
WIDEST_TURNED_STEP_MM = 2.0
# Less than half of the height of a head is no basis for a verdict on it.
LEAST_COVERAGE_MM = 50.0


def sequence_of(header: Header) -> str | None:
    """Tell the MR sequence, one of ``SEQUENCES``, from what the header has; None if nothing tells.

    The first of ``SEQUENCE_RULES`` that can tell decides: what was measured counts before what was
    written.
    """
    return next(filter(None, (rule(header) for rule in SEQUENCE_RULES)), None)


def _by_name(header: Header) -> str | None:
    """Tell diffusion, susceptibility and field maps by name: timing does not tell them apart."""
    named = (kind for kind, words in _KINDS_BY_NAME.items() if words.search(header.description))
    return next(named, None)


def _by_gradient_echo(header: Header) -> str | None:
    """Take Scanning Sequence GR without SE for T1 below an Echo Time of 15 ms, for T2* above."""
    if "GR" not in header.scanning_sequence or "SE" in header.scanning_sequence:
        return None
    return "T1" if (header.echo_time or 0.0) < _T1_ECHO_MS else "T2*"


def _by_inversion(header: Header) -> str | None:
    """Take an Inversion Time from 1,500 ms with an Echo Time from 60 ms for FLAIR.

    A shorter inversion with such an echo is STIR; with a shorter echo, any is T1.
    """
    if header.inversion_time is None:
        return None
    long_echo = header.echo_time is not None and header.echo_time >= _T2_ECHO_MS
    if header.inversion_time < _FLUID_NULLED_MS:
        return "STIR" if long_echo else "T1"
    return "FLAIR" if long_echo or header.echo_time is None else "T1"


def _by_acquisition_contrast(header: Header) -> str | None:
    """Take Acquisition Contrast of enhanced MR at its word."""
    return _CONTRASTS.get(header.acquisition_contrast)


def _by_short_repetition(header: Header) -> str | None:
    """Take a Repetition Time below 1,500 ms for T1, for T2 with an Echo Time from 60 ms."""
    if header.repetition_time is None or header.repetition_time >= _T1_REPETITION_MS:
        return None
    return "T2" if (header.echo_time or 0.0) >= _T2_ECHO_MS else "T1"


def _by_description(header: Header) -> str | None:
    """Take a description for T1 where it says so, for FLAIR where it says so and not T1."""
    if _T1_WORDS.search(header.description):
        return "T1"
    return "FLAIR" if _FLAIR_WORDS.search(header.description) else None


def _by_echo(header: Header) -> str | None:
    """Take a longer Repetition Time for T2 with an Echo Time from 60 ms, otherwise for PD."""
    if header.repetition_time is None or header.echo_time is None:
        return None
    return "T2" if header.echo_time >= _T2_ECHO_MS else "PD"


SEQUENCE_RULES = (
    _by_name,
    _by_gradient_echo,
    _by_inversion,
    _by_acquisition_contrast,
    _by_short_repetition,
    _by_description,
    _by_echo,
)


def judge(series: SeriesFiles, card: ModelCard) -> dict[str, tuple[Concern, ...]]:
    """Find what speaks against analysing each file of a series, by source; the first decides."""
    planes = [plane for file in series.files for plane in file.planes if plane is not None]
    of_all = list(_of_series(sorted(planes, key=lambda plane: plane.height), card))
    of_all += _of_rescale(series)
    found = {}
    for file in series.files:
        of_file = _of_image(file.header, card) if file.header else ()
        concerns = [*file.concerns, *of_file, *of_all]
        found[file.source] = tuple(sorted(concerns, key=_rank))
    return found


def judge_image(header: Header, card: ModelCard) -> tuple[Concern, ...]:
    """Find what speaks against analysing one image by itself; the first decides."""
    return tuple(sorted(_of_image(header, card), key=_rank))


def refused(concerns: Sequence[Concern]) -> InputRefusedError:
    """Put concerns into one refusal: the first one's code, and what else there is."""
    first, *others = concerns
    also = f"; also {', '.join(concern.code for concern in others)}" if others else ""
    return InputRefusedError(first.code, first.reason + also)


def _rank(concern: Concern) -> int:
    return list(CODES).index(concern.code)


def _of_image(header: Header, card: ModelCard) -> Iterator[Concern]:
    yield from _of_object(header)
    if header.modality != card.modality:
        stated = f"modality {header.modality}" if header.modality else "no modality is stated"
        yield Concern("wrong-modality", f"{stated}; the model was made for {card.modality}")
    yield from _of_body_part(header)
    if header.modality == card.modality == "MR" and card.sequence in SEQUENCES:
        yield from _of_sequence(sequence_of(header), card.sequence)
    if header.spacing is not None and max(header.spacing) > COARSEST_PIXEL_MM:
        yield Concern("coarse-pixels", f"pixels of {max(header.spacing):.2g} mm are too coarse")
    for present, code in (
        (header.lossy, "lossy-compression"),
        (header.burned_in, "burned-in-annotation"),
    ):
        if present:
            yield _concern(code)


def _of_object(header: Header) -> Iterator[Concern]:
    if header.sop_class.startswith(_SECONDARY_CAPTURE):
        yield _concern("secondary-capture")
    elif header.sop_class and header.sop_class not in SCANNER_IMAGES:
        yield _concern("no-scanner-image")
    types = set(header.image_type)
    if "LOCALIZER" in types or _LOCALISER_WORDS.search(header.description):
        yield _concern("localiser")
    calculated = sorted(types & _CALCULATED)
    if not calculated and "SECONDARY" in types and not types & _REFORMATTED:
        calculated = ["SECONDARY"]
    if calculated:
        yield Concern("derived-image", f"calculated from other images ({', '.join(calculated)})")


def _of_series(planes: Sequence[Plane], card: ModelCard) -> Iterator[Concern]:
    """Judge a sorted stack; images whose place is unknown are not in it, and nothing is said."""
    if not planes:
        return
    first = planes[0]
    if not all(first.parallel_to(plane) for plane in planes):
        yield _concern("mixed-orientations")
        return
    heights = [plane.height for plane in planes]
    step = even_step(planes)
    if first.name != card.plane and not (step and step <= WIDEST_TURNED_STEP_MM):
        yield Concern(
            "wrong-plane",
            f"{first.name} slices; the model was made for {card.plane} ones, and only thin even"
            f" ones (up to {WIDEST_TURNED_STEP_MM:g} mm) can be turned into them",
        )
    if first.tilt > STEEPEST_TILT:
        yield Concern("oblique", f"tilted by {first.tilt:.0f}° from the {first.name} plane")
    usual = (heights[-1] - heights[0]) / max(len(planes) - 1, 1)
    if overlaps(heights):
        yield _concern("overlapping-slices")
    elif usual > WIDEST_STEP_MM:
        yield Concern("coarse-slices", f"slices {usual:.1f} mm apart leave too much unseen")
    covered = heights[-1] - heights[0] + usual
    if covered < LEAST_COVERAGE_MM:
        extent = f"{covered:.0f} mm" if len(planes) > 1 else "one slice"
        yield Concern("coverage", f"{extent} of the head; a verdict needs {LEAST_COVERAGE_MM:g} mm")


def _of_rescale(series: SeriesFiles) -> Iterator[Concern]:
    """Values of one series are of one kind: with slope and intercept (PS3.3 C.11.1.1.2) or not."""
    said = {scale for file in series.files if file.header for scale in file.header.rescale}
    if None in said and said - {None, (1.0, 0.0)}:
        yield _concern("mixed-rescale")


def _of_body_part(header: Header) -> Iterator[Concern]:
    part = header.body_part
    said = f"{header.examination} {header.description}"
    if part and not _HEAD.search(part):
        yield Concern("wrong-body-part", f"body part {part}, not the head")
    elif not part and not _HEAD.search(said) and (elsewhere := _ELSEWHERE.search(said)):
        yield Concern("wrong-body-part", f"described as {elsewhere[0]}, not the head")


def _of_sequence(sequence: str | None, wanted: str) -> Iterator[Concern]:
    if sequence is None:
        yield Concern(
            "unknown-sequence", f"nothing tells the sequence; the model was made for {wanted}"
        )
    elif sequence != wanted:
        yield Concern(
            "wrong-sequence", f"the header tells of {sequence}; the model was made for {wanted}"
        )


def _concern(code: str) -> Concern:
    return Concern(code, CODES[code])
