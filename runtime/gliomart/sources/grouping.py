"""From files to series: what belongs together.

Patient, study, frame of reference and series decide together, because Series Instance UIDs of real
archives are not what they should be: de-identification gives one to two patients, consoles give
one to two echoes, and some scanners give every slice one of its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from gliomart.image.slices import Concern
from gliomart.sources import copies, joining, placing
from gliomart.sources.apart import apart
from gliomart.sources.inventory import Group, Image, SeriesFiles, Study
from gliomart.sources.traits import patients
from gliomart.sources.walk import folder_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart.image.slices import Refusal
    from gliomart.sources.inventory import SourceFile


def group(found: Sequence[SourceFile], refused: list[Refusal]) -> list[SeriesFiles]:
    """Put files together to series, each in anatomical order where that is known.

    Parameters
    ----------
    found
        In the order in which they were met.
    refused
        Grows by the images that are copies of others, or whose place is not certain.
    """
    pictures: defaultdict[str, list[SourceFile]] = defaultdict(list)
    images = []
    for file in copies.left_out(found, refused):
        if file.header is None:
            pictures[file.series].append(file)
        else:
            images += [Image(file, index) for index in range(len(file.planes))]
    series = [_without_headers(name, files) for name, files in pictures.items()]
    groups = joining.of_single_images(list(_groups(images)))
    series += [placing.series(each, refused) for each in _with_own_names(groups)]
    met = {file.source: number for number, file in enumerate(found)}
    return sorted(
        (each for each in series if each.files),
        key=lambda each: min(met[file.source] for file in each.files),
    )


def _without_headers(name: str, files: Sequence[SourceFile]) -> SeriesFiles:
    notes = tuple(dict.fromkeys(note for file in files for note in file.notes))
    first = files[0]
    if first.kind != "nifti":
        return SeriesFiles(name, folder_of(first.source), tuple(files), notes)
    study = None
    if first.bids is not None:
        space = first.bids.entities.get("space")
        study = Study(first.bids.session_of(first.path), frame_of_reference=space)
    return SeriesFiles(name, first.source, tuple(files), notes, study=study)


def _groups(images: Sequence[Image]) -> Iterator[Group]:
    """Group the images of DICOM files by whose they are, then by what tells them apart."""
    studies: defaultdict[str, list[Image]] = defaultdict(list)
    for image in images:
        studies[image.header.study].append(image)
    for study, members in studies.items():
        persons = patients([image.header.patient for image in members])
        series: defaultdict[tuple[int, str], list[Image]] = defaultdict(list)
        for image in members:
            series[persons[image.header.patient], image.file.series].append(image)
        for (person, name), own in series.items():
            yield from apart(Group(tuple(own), name, owner=(study, person)))


def _with_own_names(groups: Sequence[Group]) -> Iterator[Group]:
    """Give groups that share a name numbers, and say what told them apart."""
    shared = Counter(each.series for each in groups)
    numbers: Counter[str] = Counter()
    for each in groups:
        if shared[each.series] == 1:
            yield each
            continue
        numbers[each.series] += 1
        differ = ", ".join(each.apart) or "patient or study"
        reason = (
            f"{shared[each.series]} series share this Series Instance UID; told apart by {differ}"
        )
        yield replace(
            each,
            series=f"{each.series}#{numbers[each.series]}",
            notes=(*each.notes, Concern("told-apart", reason)),
        )
