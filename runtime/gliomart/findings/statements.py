"""Who says of which MR sequence an image is, and whether they agree.

A DICOM header speaks for itself. Of a volume its name (BIDS) and its sidecar do, of which the rules
of :mod:`.sequences` make what they make of a header. Whoever gives images may say it of all of them
(``--sequence``). Nobody overrules another: where they disagree, nothing is certain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gliomart.findings.contrast import after_contrast, contrast_in
from gliomart.findings.sequences import (
    AFTER_CONTRAST,
    DOUBLE_INVERSION,
    FIELD_MAP,
    named_in_words,
    sequence_of,
)
from gliomart.sources.acquisition import names_an_agent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.sources.acquisition import Acquisition
    from gliomart.sources.bids import BidsName
    from gliomart.sources.inventory import SeriesFiles, SourceFile

# Suffixes of MRI (BIDS 1.10, appendix "Filename templates"), in lower case.
BIDS_SEQUENCES = {
    "flair": "FLAIR",
    "t1w": "T1", "inplanet1": "T1", "unit1": "T1", "mp2rage": "T1",
    "t2w": "T2", "inplanet2": "T2", "mese": "T2",
    "t2starw": "T2*", "megre": "T2*", "bold": "T2*", "cbv": "T2*", "swi": "T2*",
    "pdw": "PD", "pdt2": "PD",
    "dwi": "DWI",
    "asl": "perfusion", "m0scan": "perfusion",
    "angio": "TOF",
    "mtr": "MT", "mts": "MT",
    "epi": FIELD_MAP, "fieldmap": FIELD_MAP, "phasediff": FIELD_MAP,
    "magnitude": FIELD_MAP, "magnitude1": FIELD_MAP, "magnitude2": FIELD_MAP,
    "phase1": FIELD_MAP, "phase2": FIELD_MAP,
    "dir": DOUBLE_INVERSION,
}  # fmt: skip
# Who speaks for whoever gives images.
OPTION = "the option sequence"
_BEFORE_OR_AFTER = {"T1", AFTER_CONTRAST}
# How sequences are called where their names alone would not be understood.
_IN_WORDS = {AFTER_CONTRAST: "T1 after contrast (T1C)"}


class Statement(NamedTuple):
    """What somebody says of an image.

    Attributes
    ----------
    who
        Says it, such as ``the header``.
    sequence
        One of :data:`.sequences.SEQUENCES`.
    unenhanced
        Of T1: that no contrast agent was given is said as well; otherwise one may have been.
    """

    who: str
    sequence: str
    unenhanced: bool = False


def in_words(sequence: str) -> str:
    """Call a sequence as people do."""
    return _IN_WORDS.get(sequence, sequence)


def told(said: Sequence[Statement]) -> str:
    """Say who says what."""
    by_sequence: dict[str, list[str]] = {}
    for each in said:
        by_sequence.setdefault(each.sequence, []).append(each.who)
    return ", ".join(
        f"{' and '.join(who)} tell{'s' * (len(who) == 1)} of {in_words(sequence)}"
        for sequence, who in by_sequence.items()
    )


def statements_on(file: SourceFile) -> list[Statement]:
    """Ask all who say something of a file."""
    if file.header is not None:
        found = [statement_of_header(file.header)]
    else:
        named = _by_name(file.bids) if file.bids else None
        said = file.sidecar.acquisition if file.sidecar else None
        found = [named, _by_sidecar(said, named) if said else None]
    return [each for each in (*found, *statements_of_giver(file.sequence)) if each]


def statements_of_giver(sequence: str | None) -> list[Statement]:
    """Take what whoever gives images says of them."""
    if sequence is None:
        return []
    return [Statement(OPTION, sequence, unenhanced=sequence == "T1")]


def agreed(said: Sequence[Statement]) -> str | None:
    """Tell the sequence that all agree on; None where nobody says one, or they disagree.

    T1 agrees with T1 after contrast, unless it is said to be without.
    """
    found = {each.sequence for each in said}
    if found == _BEFORE_OR_AFTER and not any(each.unenhanced for each in said):
        return AFTER_CONTRAST
    return found.pop() if len(found) == 1 else None


def sequence_of_series(series: SeriesFiles) -> str | None:
    """Tell the MR sequence of a series, one of :data:`.sequences.SEQUENCES`.

    What its first file's header says, or a volume's name and sidecar, and whoever gave it.

    Returns
    -------
    None where nobody says it, or they disagree.
    """
    return agreed(statements_on(series.files[0])) if series.files else None


def statement_of_header(header: Acquisition) -> Statement | None:
    """Take what a DICOM header says by the rules; None where it says nothing."""
    return _statement("the header", sequence_of(header), header)


def _statement(who: str, sequence: str | None, said: Acquisition) -> Statement | None:
    if sequence is None:
        return None
    return Statement(who, sequence, sequence == "T1" and after_contrast(said) is False)


def _by_name(name: BidsName) -> Statement | None:
    """Take the suffix of a name, and the entity ``ce`` or the words of ``acq`` for contrast."""
    found = BIDS_SEQUENCES.get(name.suffix.lower())
    if found != "T1":
        return Statement("the name", found) if found else None
    given = names_an_agent(name.entities.get("ce", ""))
    if given is None:
        given = contrast_in(name.entities.get("acq", ""))
    sequence = AFTER_CONTRAST if given else found
    return Statement("the name", sequence, unenhanced=given is False)


def _by_sidecar(said: Acquisition, named: Statement | None) -> Statement | None:
    """Ask a sidecar; what it leaves open, the name tells as a Series Description would.

    Its own words contradict a name even where nothing measured does.
    """
    alone = sequence_of(said)
    if named is None or (alone is not None and named_in_words(said) == _plain(alone)):
        return _statement("the sidecar", alone, said)
    word = _plain(named.sequence)
    found = sequence_of(replace(said, description=f"{said.description} {word}"))
    if found is not None and _plain(found) == "T1":
        found = AFTER_CONTRAST if after_contrast(said) else "T1"
    statement = _statement("the sidecar", found, said)
    if alone is None and statement and statement[1:] == (named.sequence, False):
        return None  # that was the name's word
    return statement


def _plain(sequence: str) -> str:
    return "T1" if sequence == AFTER_CONTRAST else sequence
