"""The patients of a dataset: their slices, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.findings.results import SeriesResult, SliceResult
    from gliomart.image.slices import Refusal, Slice
    from gliomart.model.card import ModelCard

# Slices this close to a marked one may show what its reader did not mark.
NEIGHBOURHOOD = 3
# A slice is taken to be clear of the pons where no slice with a mark is nearer than this, as a
# fraction of the patient's slices. The pons is about a sixth of a head's height.
PONS_CLEARANCE = 0.1
# A mask of more than this fraction of its image is rather one of everything but the tumour.
_MOST_MARKED = 0.5
# As many labels of a mask are named where there are several.
_LABELS_NAMED = 4


@dataclass(frozen=True)
class Ellipse:
    """The pons as an axis-aligned ellipse, in pixels of the slice; pixel centres at integers."""

    cx: float
    cy: float
    rx: float
    ry: float

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Draw it on (H, W) pixels; bool."""
        y, x = np.ogrid[: shape[0], : shape[1]]
        inside = np.hypot((x - self.cx) / self.rx, (y - self.cy) / self.ry) <= 1
        return np.asarray(inside)


@dataclass(frozen=True)
class Example:
    """One slice of a patient, and what is known of it.

    ``mask`` is the path of its tumour mask, None where nothing is marked, and ``marks`` what that
    marks, bool (H, W); ``pons`` is where somebody marked the pons, None where nobody did.
    ``companions`` are other sequences of the examination on the slice's own pixels, by their name.
    """

    slice: Slice
    mask: Path | None
    tumour_free: bool
    pons: Ellipse | None = None
    marks: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)
    companions: Mapping[str, Slice] = field(default_factory=dict, repr=False, compare=False)

    def truth(self) -> NDArray[np.bool_]:
        """Tell where the tumour is; bool (H, W), of the slice's own pixel grid."""
        return np.zeros(self.slice.pixels.shape, bool) if self.marks is None else self.marks


@dataclass(frozen=True)
class MaskFile:
    """A mask that was read.

    Attributes
    ----------
    path
        The file.
    fraction
        Which part of its image is marked.
    listed
        Somebody said that it is the image's mask; otherwise its name does.
    labels
        Which of its labels count as tumour; empty where it tells none apart.
    """

    path: Path
    fraction: float
    listed: bool
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Patient:
    """All readable slices of one patient, in order, and the ones that were refused.

    ``tumour_free`` of an example means: not marked, and more than three slices away from any
    marked one. ``id`` does not depend on what the dataset's folder is called.
    """

    id: str
    examples: tuple[Example, ...]
    refused: tuple[Refusal, ...]
    masks: tuple[MaskFile, ...] = ()

    def clear_of_pons(self) -> list[bool]:
        """Tell of each example whether it surely does not show the pons.

        Only slices far from every mark of the pons are; near one, or in a patient without marks,
        it is not known.
        """
        marked = [n for n, example in enumerate(self.examples) if example.pons is not None]
        clearance = PONS_CLEARANCE * len(self.examples)
        return [
            bool(marked) and min(abs(number - other) for other in marked) > clearance
            for number in range(len(self.examples))
        ]

    @property
    def slices(self) -> list[Slice]:
        """The slices without what is known of them, as the runtime gets them."""
        return [example.slice for example in self.examples]

    @property
    def companions(self) -> dict[str, list[Slice | None]]:
        """Other sequences of the examination, slice by slice; None where there is none."""
        names = dict.fromkeys(name for each in self.examples for name in each.companions)
        return {name: [each.companions.get(name) for each in self.examples] for name in names}

    def beside(self, card: ModelCard) -> dict[str, list[Slice | None]]:
        """Give of these what a model takes."""
        having = self.companions
        taken = [image.sequence for image in card.images[1:] if image.sequence in having]
        return {name: having[name] for name in taken if name is not None}


def results_of_examples(patient: Patient, result: SeriesResult) -> list[SliceResult | None]:
    """Find what an analysis says of each of a patient's examples; None where it was refused."""
    found = {(each.slice.source, each.slice.frame): each for each in result.slices}
    return [found.get((e.slice.source, e.slice.frame)) for e in patient.examples]


class MaskCounts(TypedDict):
    """How many masks were read, mark nothing, and mark more than half of their image."""

    read: int
    mark_nothing: int
    mark_most: int


def count_masks(patients: Iterable[Patient]) -> MaskCounts:
    """Count the masks that were read, those that mark nothing, and those that mark most."""
    found = [mask for patient in patients for mask in patient.masks]
    return {
        "read": len(found),
        "mark_nothing": sum(mask.fraction == 0 for mask in found),
        "mark_most": sum(mask.fraction > _MOST_MARKED for mask in found),
    }


def doubts(patients: Iterable[Patient]) -> list[str]:
    """Say which masks are probably not what they should be; nothing where all look right."""
    found = [mask for patient in patients for mask in patient.masks]
    empty = [mask for mask in found if mask.fraction == 0]
    listed = [mask for mask in empty if mask.listed]
    most = [mask for mask in found if mask.fraction > _MOST_MARKED]
    several = [mask for mask in found if len(mask.labels) > 1]
    said = []
    if empty and len(empty) == len(found):
        said.append(f"none of the {len(found)} masks marks anything, such as {empty[0].path}")
    elif listed:
        said.append(
            f"{len(listed)} of {len(found)} masks mark nothing, such as {listed[0].path};"
            " their slices count neither as tumour nor as tumour-free"
        )
    if most:
        said.append(
            f"{len(most)} of {len(found)} masks mark more than half of their image, such as"
            f" {most[0].path}; are they inverted?"
        )
    if several:
        labels = sorted(several[0].labels)
        named = ", ".join(labels[:_LABELS_NAMED]) + ", ..." * (len(labels) > _LABELS_NAMED)
        said.append(
            f"{len(several)} of {len(found)} masks hold several labels, such as {several[0].path}"
            f" ({named}); all of them count as tumour, unless --label takes some"
        )
    return said
