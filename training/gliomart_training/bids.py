"""A data set as the Brain Imaging Data Structure has it (BIDS 1.10).

Images are ``sub-*/**/*_FLAIR.nii.gz``, masks lie below ``derivatives/NAME/sub-*/``: ``_mask``,
``_dseg`` or ``_roi`` of the same subject and session, whose other entities contradict nothing in
the image's name. Masks of a brain or a tissue are none of a tumour.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gliomart import sources
from gliomart.errors import DatasetError
from gliomart.host.streams import say
from gliomart.image.slices import Refusal
from gliomart.printable import printable
from gliomart.sources.bids import BidsName
from gliomart_training.truth.image import Image, patient_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gliomart_training.patients import Patient
    from gliomart_training.truth.marks import Choice

DERIVATIVES = "derivatives"
_SUFFIX = "FLAIR"
_MASKS = frozenset({"mask", "dseg", "roi"})
# Values of the entities label and desc that tell of a tumour or lesion, and of something else.
_LESION = frozenset({
    "lesion", "lesions", "tumor", "tumour", "wholetumor", "wholetumour", "wt", "glioma", "l",
})  # fmt: skip
_OTHER = frozenset({
    "brain", "head", "skull", "gm", "wm", "csf", "sgm", "bs", "aseg", "aparcaseg", "aparc",
    "ribbon",
})  # fmt: skip
# Spaces that are not the image's own are those of other images and templates.
_OWN_SPACES = frozenset({"orig", "native", "individual", "scanner", _SUFFIX.lower()})


@dataclass(frozen=True)
class _Name:
    """The name of a file taken apart: entities, in lower case, suffix, and words that are none."""

    path: Path
    entities: Mapping[str, str]
    suffix: str
    words: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> _Name | None:
        """Take a name apart; None where it is no volume of a subject."""
        name = BidsName.of(path.name)
        return None if name is None else cls(path, name.entities, name.suffix, name.words)

    @property
    def told(self) -> set[str]:
        """What it says that it is of."""
        return {self.entities[key] for key in ("label", "desc") if key in self.entities}

    def may_mark(self, image: _Name) -> bool:
        """Tell whether it may be a mask of an image: nothing in their names contradicts."""
        both = self.entities.keys() & image.entities.keys()
        alike = all(self.entities[key] == image.entities[key] for key in both)
        sessions = self.entities.get("ses") == image.entities.get("ses")
        return alike and sessions and set(self.words) <= {image.suffix}


def is_one(directory: Path) -> bool:
    """Tell whether a folder is a data set of this structure, with derivatives."""
    return (directory / DERIVATIVES).is_dir() and any(directory.glob("sub-*/"))


def load(directory: Path, choice: Choice) -> list[Patient]:
    """Read the images that masks belong to, one of each subject.

    Raises
    ------
    DatasetError
        There are no images or no masks, or masks of several derivatives; a mask belongs to no
        image, or several to one; a mask cannot be read, or does not fit its image.
    """
    images = [name for name in _names(directory.glob("sub-*/")) if name.suffix == _SUFFIX]
    if not images:
        raise DatasetError(f"{directory}: a BIDS data set without images sub-*/**/*_{_SUFFIX}")
    masks = _masks(directory, choice.derivative)
    subjects = {image.entities["sub"] for image in images}
    for mask in masks:
        if mask.entities["sub"] not in subjects:
            raise DatasetError(
                f"{mask.path}: is a mask of sub-{mask.entities['sub']}, of whom there is no"
                f" {_SUFFIX} image"
            )
    of_subject: defaultdict[str, list[tuple[_Name, Path]]] = defaultdict(list)
    for image in images:
        if (mask_path := _mask_of(image, masks)) is not None:
            of_subject[image.entities["sub"]].append((image, mask_path))
    if not of_subject:
        raise DatasetError(f"{directory}: no mask below {DERIVATIVES} is one of a {_SUFFIX} image")
    without = len(subjects - of_subject.keys())
    later = sum(len(own) - 1 for own in of_subject.values())
    for count, what in (
        (without, "subjects have no mask (an index.csv can say that they are tumour-free)"),
        (later, "images are further ones of subjects of whom the first with a mask is taken"),
    ):
        if count:
            say(printable(f"{directory}: {count} {what}; left out"))
    return [_patient(directory, *own[0], choice) for _, own in sorted(of_subject.items())]


def _names(folders: Iterator[Path]) -> list[_Name]:
    """Take apart the names of all volumes below folders of subjects."""
    paths = sorted(path for folder in folders for path in folder.rglob("sub-*"))
    # A link that leads nowhere is a file that was not fetched, which reading it tells.
    shown = (path for path in paths if path.is_file() or path.is_symlink())
    return [name for path in shown if (name := _Name.of(path)) is not None]


def _masks(directory: Path, wanted: str | None) -> list[_Name]:
    """Find the masks of the derivative that is wanted, or of the only one that has some."""
    found = {
        folder.name: own
        for folder in sorted((directory / DERIVATIVES).glob("*/"))
        if (own := _marking(_names(folder.glob("sub-*/"))))
    }
    named = ", ".join(found) or "none"
    if wanted is not None and wanted not in found:
        raise DatasetError(
            f"{directory}: no masks in {DERIVATIVES}/{wanted}; there are some in: {named}"
        )
    if not found:
        raise DatasetError(
            f"{directory}: no masks below {DERIVATIVES}/NAME/sub-*; an index.csv can say that its"
            " images are tumour-free"
        )
    if wanted is None and len(found) > 1:
        raise DatasetError(
            f"{directory}: several derivatives hold masks; give one of them as --derivative:"
            f" {named}"
        )
    return found[wanted if wanted is not None else next(iter(found))]


def _marking(names: Sequence[_Name]) -> list[_Name]:
    """Leave out what is no mask, and masks of something else than a tumour."""
    return [name for name in names if name.suffix in _MASKS and not name.told & _OTHER]


def _mask_of(image: _Name, masks: Sequence[_Name]) -> Path | None:
    """Find the mask of an image: one that says it is of a lesion, and in the image's own space."""
    fitting = [mask for mask in masks if mask.may_mark(image)]
    fitting = [mask for mask in fitting if mask.told & _LESION] or fitting
    own = [m for m in fitting if m.entities.get("space", "orig") in _OWN_SPACES] or fitting
    if len(own) > 1:
        raise DatasetError(
            f"{own[0].path} and {own[1].path.name}: both may be the mask of {image.path.name}; keep"
            " one, or list it in an index.csv"
        )
    return own[0].path if own else None


def _patient(directory: Path, image: _Name, mask: Path, choice: Choice) -> Patient:
    source = image.path.relative_to(directory).as_posix()
    subject = image.path.name.partition("_")[0]
    inventory = sources.scan([image.path])
    if not inventory.series:
        reason = inventory.refused[0]
        return patient_of(subject, [Image([Refusal(source, None, reason.code, reason.reason)])])
    file = replace(inventory.series[0].files[0], source=source)
    return patient_of(subject, [Image.of([file], source, mask, choice, listed=True)])
