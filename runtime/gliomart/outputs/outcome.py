"""What a run came to, told from its results.json in a few words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gliomart.findings import suitability
from gliomart.outputs import folder as output

if TYPE_CHECKING:
    from pathlib import Path

    from gliomart.outputs.documents import Results

# Why a DICOM object is not there though nothing went wrong: see gliomart.outputs.dicom.
NOT_MISSED = ("nothing-to-show", "not-dicom")
# Why an input was not analysed though it was there and could have been: something failed.
LOST = ("vanished", "changed", "out-of-memory", "internal-error", "unwritable")


def failed(document: Results) -> str:
    """Say how much failed of a run of which the rest was written; nothing where nothing did."""
    lost = Counter(e["code"] for e in document["not_analysed"] if e["code"] in LOST)
    objects = sum(
        missing["code"] not in NOT_MISSED
        for series in document["series"]
        if series["dicom"]
        for missing in series["dicom"]["not_written"]
    )
    counts = [
        (lost.total(), "input", f"analysed ({', '.join(sorted(lost))})"),
        (len(document.get("not_written", [])), "output", "written"),
        (objects, "DICOM object", "written"),
    ]
    return ", ".join(
        f"{count} {what}{'s' if count > 1 else ''} could not be {done}"
        for count, what, done in counts
        if count
    )


def ignored(document: Results, most: int | None = None) -> str:
    """Say how many files were no images, and of which kinds; the most frequent ones first.

    Parameters
    ----------
    document
        The content of results.json.
    most
        How many kinds to name; all where it is None.
    """
    kinds = document["inputs"]["ignored_kinds"]
    if not kinds:
        return ""
    by_count = sorted(kinds.items(), key=lambda each: (-each[1], each[0]))
    named = [f"{count} {kind}" for kind, count in by_count[:most]]
    if rest := sum(count for _, count in by_count[len(named) :]):
        named.append(f"{rest} of other kinds")
    count = document["inputs"]["ignored"]
    return f"{count} other file{'s' if count > 1 else ''} ignored ({', '.join(named)})"


def why_nothing(document: Results, folder: Path) -> str:
    """Say why nothing at all could be analysed."""
    counts = Counter(entry["code"] for entry in document["not_analysed"])
    others = ignored(document)
    if counts.keys() <= {"no-images"}:
        kinds = "give DICOM, NIfTI, PNG, JPEG or TIFF"
        return f"no images among the inputs ({others or 'they hold no files'}); {kinds}"
    listed = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
    why = f"{folder / output.RESULTS} says why for each"
    if others:
        why = f"{others}; {why}"
    if counts.keys() & suitability.CODES.keys():
        why += "; --force analyses what the model was not made for as well"
    return f"nothing could be analysed ({listed}); {why}"
