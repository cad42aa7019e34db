"""From files to series: what belongs together."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from gliomart.slices import Refusal
from gliomart.sources.inventory import SeriesFiles, SourceFile
from gliomart.sources.walk import folder_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def without_copies(found: Iterable[SourceFile], refused: list[Refusal]) -> Iterator[SourceFile]:
    """Leave out files that hold the same DICOM image as an earlier one."""
    known: dict[str, str] = {}
    for file in found:
        uid = file.header.sop_instance_uid if file.header else ""
        if uid and uid in known:
            reason = f"the same SOP instance as {known[uid]}"
            refused.append(Refusal(file.source, None, "duplicate", reason))
            continue
        if uid:
            known[uid] = file.source
        yield file


def group(found: Sequence[SourceFile]) -> Iterator[SeriesFiles]:
    """Put files together to series, each in anatomical order."""
    series: defaultdict[str, list[SourceFile]] = defaultdict(list)
    for file in found:
        series[file.series].append(file)
    for identity, files in series.items():
        ordered = sorted(files, key=lambda file: file.order)  # stable: ties stay in name order
        notes = tuple(dict.fromkeys(note for file in ordered for note in file.notes))
        yield SeriesFiles(identity, folder_of(files[0].source), tuple(ordered), notes)
