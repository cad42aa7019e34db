"""Which labels of masks mark the tumour, and what a mask marks in each slice of its image."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import DatasetError, InputRefusedError
from gliomart.image.slices import Slice
from gliomart.printable import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.image.slices import Refusal

FULL = "marks every pixel; a mask is 0 where no tumour is"


@dataclass(frozen=True)
class Choice:
    """What of a data set counts as truth, where it holds more than one kind.

    Attributes
    ----------
    labels
        Numbers of labels, or names of the segments of DICOM segmentations, that mark the tumour;
        empty for every label but 0.
    derivative
        Folder below ``derivatives`` of a BIDS data set that masks are taken from; None for the only
        one that holds some.
    """

    labels: tuple[str, ...] = ()
    derivative: str | None = None

    def among(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Tell which of the labels (H, W), numbers of any type, mark the tumour; bool (H, W).

        Raises
        ------
        InputRefusedError
            ``not-finite``.
        """
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputRefusedError("not-finite", "some values are NaN or infinite")
        if not self.labels:
            return np.asarray(values != 0)
        numbers = [float(label) for label in self.labels if _is_number(label)]
        return np.asarray(np.isin(values, numbers) & (values != 0))

    def takes(self, number: int, *names: str) -> bool:
        """Tell whether a segment marks the tumour, by its number and the names that it has."""
        if not self.labels:
            return True
        wanted = {label.casefold().strip() for label in self.labels}
        return str(number) in wanted or any(name.casefold().strip() in wanted for name in names)


@dataclass(frozen=True)
class Marks:
    """What a mask marks in its image.

    Attributes
    ----------
    planes
        bool (H, W) for each slice or refusal of the image, None for the latter.
    labels
        Those that were told apart and count as tumour; empty where the mask tells none apart.
    """

    planes: Sequence[NDArray[np.bool_] | None]
    labels: frozenset[str] = frozenset()

    def without_refused(self, items: Sequence[Slice | Refusal]) -> Marks:
        """Leave out what is marked in slices that were refused."""
        pairs = zip(items, self.planes, strict=True)
        kept = [plane if isinstance(item, Slice) else None for item, plane in pairs]
        return replace(self, planes=kept)

    @property
    def fraction(self) -> float:
        """The part of all slices' pixels that is marked; 0 where every slice was refused."""
        parts = [plane.mean() for plane in self.planes if plane is not None]
        return float(np.mean(parts)) if parts else 0.0


def labels_of(values: NDArray[np.generic], marked: NDArray[np.bool_]) -> frozenset[str]:
    """Name the labels that are marked in an array of them."""
    return frozenset(f"{value:g}" for value in np.unique(values[marked]).tolist())


@contextmanager
def errors(path: Path) -> Iterator[None]:
    """Turn why a file cannot be read as a mask into the dataset's error."""
    try:
        yield
    except (InputRefusedError, OSError) as error:
        why = reason_of(error) if isinstance(error, OSError) else str(error)
        raise DatasetError(f"{path}: not a mask that can be read: {why}") from error


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True
