"""Whether an image is what a model was made for, told from what is said of it.

A model answers for any picture it is shown. What it was not made for is therefore refused by name,
before its pixels are read; ``--force`` analyses it all the same, and every result then says that it
is outside the intended use. DICOM says it in its header, volumes (NIfTI) may by a name of BIDS and
a sidecar, pictures and arrays do not: for those, whoever gives them answers. What pixels tell,
content.py looks for.

The tables here are the rules, and the conformance statement in the documentation is made from them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gliomart.errors import InputRefusedError
from gliomart.findings.sequences import SEQUENCE_RULES, SEQUENCES, is_localiser, sequence_of
from gliomart.findings.statements import (
    OPTION,
    agreed,
    in_words,
    statement_of_header,
    statements_of_giver,
    statements_on,
    told,
)
from gliomart.image.geometry import even_step, overlaps, usual_step
from gliomart.image.slices import Concern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gliomart.findings.statements import Statement
    from gliomart.model.card import ModelCard
    from gliomart.sources.acquisition import Acquisition
    from gliomart.sources.bids import BidsName
    from gliomart.sources.header import Header
    from gliomart.sources.inventory import SeriesFiles, SourceFile

__all__ = [
    "CODES", "SCANNER_IMAGES", "SEQUENCES", "SEQUENCE_RULES", "TOLD",
    "concerns_of_file", "concerns_of_image", "concerns_of_series", "refused", "refusing",
    "sequence_of",
]  # fmt: skip

# What each code stands for, in the order in which they are looked for: the first decides.
CODES = {
    "no-scanner-image": "the object holds no image of a scanner (a segmentation, a map, a film)",
    "secondary-capture": "a secondary capture: a picture of a picture, of unknown origin",
    "wrong-modality": "a modality that the model was not made for",
    "wrong-body-part": "not the head",
    "localiser": "a localiser, made to plan other images",
    "derived-image": "calculated from other images (a map, a projection, a subtraction, a phase)",
    "wrong-sequence": "an MR sequence that the model was not made for",
    "contradictory-sequence": "header, name, sidecar or the option sequence contradict each other",
    "unknown-sequence": "nothing in the header tells the MR sequence",
    "incomplete-volume": "slices that could be turned into the model's plane if none were missing",
    "wrong-plane": "a plane that the model was not made for and that cannot be turned into it",
    "oblique": "tilted too far from the plane that the model was made for",
    "coarse-pixels": "pixels that are too large to show what the model looks for",
    "coarse-slices": "slices that lie too far apart",
    "lossy-compression": "compressed with loss, now or earlier",
    "burned-in-annotation": "text or drawings are part of the pixels",
    "unknown-orientation": "nothing says how a volume (NIfTI) lies in the patient",
    "mixed-orientations": "one series holds images of several orientations",
    "overlapping-slices": "one series holds several images of one place (echoes, repetitions)",
    "mixed-series": "images of several series, which nothing tells apart",
    "scattered-series": "a series of one image, one of many that may belong together",
    "coverage": "the series covers too little of the head for a verdict",
    "mixed-rescale": "some images of a series have a rescale slope and intercept, others none",
    "light-border": "the border is as bright as a head (a negative, a light frame)",
    "clipped": "the window that it was exported with cuts off what is bright",
    "few-values": "a mask or a drawing: two grey values make up the picture",
    "wrapped": "values that overflowed begin again at black in what is bright",
    "not-a-head": "looks unlike any slice of a head",
    "turned": "a head that is turned or upside down, as its content tells",
    "brain-not-found": "a head in which the model does not find the brain that it shows",
    "skull-stripped": "a brain without its skull and scalp",
    "cut-off": "the head is cut off along a straight line",
    "unusual-contrast": "looks like another sequence",
}

# What is not certain enough to refuse an image for: it is analysed, and results say so.
TOLD = frozenset({"skull-stripped", "cut-off", "unusual-contrast"})

# Secondary images that are reformatted rather than calculated.
_REFORMATTED = frozenset({"MPR", "CSA MPR", "CSAMPR", "REFORMATTED", "RESAMPLED", "CSA RESAMPLED"})

# Suffixes of BIDS (1.10) of what is calculated, beside all that end in "map", and of no MRI.
_CALCULATED_SUFFIX = re.compile(r"\w*map|adc|fa|colfa|expadc|trace|minip|mtsat", re.IGNORECASE)
_MODALITIES = {"ct": "CT", "pet": "PT"}
_PARTS = {"phase": "PHASE", "real": "REAL", "imag": "IMAGINARY"}

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


def concerns_of_series(series: SeriesFiles, card: ModelCard) -> dict[str, tuple[Concern, ...]]:
    """Find what speaks against analysing each file of a series, by source; the first decides."""
    of_all = [*_of_series(series, card), *_of_rescale(series)]
    return {
        file.source: _sorted([*file.concerns, *_of_file(file, card), *of_all])
        for file in series.files
    }


def concerns_of_file(file: SourceFile, card: ModelCard) -> tuple[Concern, ...]:
    """Find what speaks against analysing a file by itself; the first decides."""
    return _sorted([*file.concerns, *_of_file(file, card)])


def concerns_of_image(
    header: Header | None, card: ModelCard, sequence: str | None = None
) -> tuple[Concern, ...]:
    """Find what speaks against analysing one image that lies in memory; the first decides.

    Parameters
    ----------
    header
        What it says of itself; None where it is not DICOM.
    card
        Of the model.
    sequence
        Which sequence whoever gives it says it is of, such as ``T1C``; None where nobody says.
    """
    own = statement_of_header(header) if header else None
    said = [*([own] if own else []), *statements_of_giver(sequence)]
    of_image = _of_header(header, card) if header else ()
    return _sorted([*of_image, *_of_sequence(said, card, header)])


def refusing(concerns: Iterable[Concern]) -> list[Concern]:
    """Leave out what is only told."""
    return [concern for concern in concerns if concern.code not in TOLD]


def refused(concerns: Sequence[Concern]) -> InputRefusedError:
    """Put concerns into one refusal: the first one's code, and what else there is."""
    first, *others = concerns
    also = f"; also {', '.join(concern.code for concern in others)}" if others else ""
    return InputRefusedError(first.code, first.reason + also)


def _sorted(concerns: Iterable[Concern]) -> tuple[Concern, ...]:
    return tuple(sorted(concerns, key=_rank))


def _rank(concern: Concern) -> int:
    return list(CODES).index(concern.code)


def _of_file(file: SourceFile, card: ModelCard) -> Iterator[Concern]:
    if file.header is not None:
        yield from _of_header(file.header, card)
    if file.bids is not None:
        yield from _of_name(file.bids, card)
    beside = file.sidecar.acquisition if file.sidecar else None
    if beside is not None:
        if beside.modality:
            yield from _of_modality(beside.modality, card)
        yield from _of_acquisition(beside)
    if beside is None or beside.modality in {"", "MR"}:
        yield from _of_sequence(statements_on(file), card, file.header)


def _of_header(header: Header, card: ModelCard) -> Iterator[Concern]:
    if header.sop_class.startswith(_SECONDARY_CAPTURE):
        yield _concern("secondary-capture")
    elif header.sop_class and header.sop_class not in SCANNER_IMAGES:
        yield _concern("no-scanner-image")
    yield from _of_modality(header.modality, card)
    yield from _of_acquisition(header)
    coarsest = card.limits.coarsest_pixel_mm
    if header.spacing is not None and max(header.spacing) > coarsest:
        yield Concern("coarse-pixels", f"pixels of {max(header.spacing):.2g} mm are too coarse")
    for present, code in (
        (header.lossy, "lossy-compression"),
        (header.burned_in, "burned-in-annotation"),
    ):
        if present:
            yield _concern(code)


def _of_name(name: BidsName, card: ModelCard) -> Iterator[Concern]:
    """Judge by a volume's name: what was calculated, and what is no MRI."""
    suffix = name.suffix.lower()
    if suffix in _MODALITIES:
        yield from _of_modality(_MODALITIES[suffix], card)
    calculated = [name.suffix] if _CALCULATED_SUFFIX.fullmatch(suffix) else []
    calculated += filter(None, [_PARTS.get(name.entities.get("part", ""))])
    if calculated:
        yield _calculated(calculated)


def _of_modality(modality: str, card: ModelCard) -> Iterator[Concern]:
    made_for = dict.fromkeys(image.modality for image in card.images)
    if modality not in made_for:
        stated = f"modality {modality}" if modality else "no modality is stated"
        yield Concern("wrong-modality", f"{stated}; the model was made for {' or '.join(made_for)}")


def _of_acquisition(said: Acquisition) -> Iterator[Concern]:
    if is_localiser(said):
        yield _concern("localiser")
    types = set(said.image_type)
    calculated = sorted(types & _CALCULATED)
    if not calculated and "SECONDARY" in types and not types & _REFORMATTED:
        calculated = ["SECONDARY"]
    if said.complex_component not in {"", "MAGNITUDE", "MIXED"}:
        calculated.append(said.complex_component)
    if said.calculation not in {"", "NONE", "MULTI_PLANAR_RE", "CURVED_MULTI_PLA"}:
        calculated.append(said.calculation)
    if calculated:
        yield _calculated(calculated)
    yield from _of_body_part(said)


def _calculated(names: Sequence[str]) -> Concern:
    return Concern("derived-image", f"calculated from other images ({', '.join(names)})")


def _of_series(series: SeriesFiles, card: ModelCard) -> Iterator[Concern]:
    """Judge a stack; images whose place is unknown are not in it, and nothing is said of them."""
    places = [plane for file in series.files for plane in file.planes if plane is not None]
    planes = sorted(places, key=lambda plane: plane.height)
    if not planes:
        return
    limits = card.limits
    first = planes[0]
    if not all(first.parallel_to(plane) for plane in planes):
        yield _concern("mixed-orientations")
        return
    heights = [plane.height for plane in planes]
    step = even_step(planes)
    if first.name != card.plane and not (step and step <= limits.widest_turned_step_mm):
        hole = next(series.missing(), None)
        if hole and 0 < usual_step(heights) <= limits.widest_turned_step_mm:
            yield Concern(
                "incomplete-volume",
                f"{first.name} slices, which can be turned into {card.plane} ones only as a whole:"
                f" {hole.reason}",
            )
        yield Concern(
            "wrong-plane",
            f"{first.name} slices; the model was made for {card.plane} ones, and only thin even"
            f" ones (up to {limits.widest_turned_step_mm:g} mm) can be turned into them",
        )
    if first.tilt > limits.steepest_tilt_deg:
        yield Concern("oblique", f"tilted by {first.tilt:.0f}° from the {first.name} plane")
    usual = (heights[-1] - heights[0]) / max(len(planes) - 1, 1)
    if overlaps(heights):
        yield _concern("overlapping-slices")
    elif usual > limits.widest_step_mm:
        yield Concern("coarse-slices", f"slices {usual:.1f} mm apart leave too much unseen")
    covered = heights[-1] - heights[0] + usual
    if covered < limits.least_coverage_mm:
        extent = f"{covered:.0f} mm" if len(planes) > 1 else "one slice"
        needed = f"{limits.least_coverage_mm:g} mm"
        yield Concern("coverage", f"{extent} of the head; a verdict needs {needed}")


def _of_rescale(series: SeriesFiles) -> Iterator[Concern]:
    """Values of one series are of one kind: with slope and intercept (PS3.3 C.11.1.1.2) or not."""
    said = {scale for file in series.files if file.header for scale in file.header.rescale}
    if None in said and said - {None, (1.0, 0.0)}:
        yield _concern("mixed-rescale")


def _of_body_part(header: Acquisition) -> Iterator[Concern]:
    from gliomart.findings.anatomy import other_part  # its lists of words take as long as a slice

    other = other_part(
        (header.body_part, header.region),
        own=header.description,
        others=f"{header.protocol} | {header.examination}",
        fluid=sequence_of(header) == "FLAIR",
    )
    if other:
        yield Concern("wrong-body-part", f"{other}, not the head")


def _of_sequence(
    said: Sequence[Statement], card: ModelCard, header: Header | None
) -> Iterator[Concern]:
    """Judge by what is said of the sequence; a DICOM header has to say something.

    Where statements differ, that counts as far as it matters: one of them is a sequence that the
    model was made for, or whoever gives the image said it.
    """
    if header is not None and header.modality != "MR":
        return
    named = (image.sequence for image in card.images if image.modality == "MR" and image.required)
    wanted = list(dict.fromkeys(name for name in named if name in SEQUENCES))
    made_for = f"the model was made for {' or '.join(in_words(name) for name in wanted if name)}"
    found = agreed(said)
    if said and found is None and any(s.who == OPTION or s.sequence in wanted for s in said):
        yield Concern("contradictory-sequence", f"{told(said)}; nobody is believed")
    elif wanted and said and found not in wanted:
        yield Concern("wrong-sequence", f"{told(said)}; {made_for}")
    elif wanted and not said and header is not None:
        yield Concern("unknown-sequence", f"nothing tells the sequence; {made_for}")


def _concern(code: str) -> Concern:
    return Concern(code, CODES[code])
