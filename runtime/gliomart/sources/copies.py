"""DICOM images that are met twice, told from different ones under one SOP Instance UID."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.slices import Refusal
from gliomart.sources import codecs, wall

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from gliomart.sources.inventory import SourceFile


class _Instance:
    """A file under its SOP Instance UID; what it holds is read only if another one claims that."""

    def __init__(self, file: SourceFile) -> None:
        self.source = file.source
        self._file = file

    @cached_property
    def content(self) -> str | None:
        """SHA-256 of the values of all frames; None where they cannot be read."""
        try:
            return _content(self._file)
        except (InputRefusedError, OSError):
            return None


def left_out(found: Sequence[SourceFile], refused: list[Refusal]) -> Iterator[SourceFile]:
    """Leave out files that hold the same image as an earlier one, and tell of each once.

    The same image is one of the same instance, owner, place and values, however it is compressed:
    a UID that de-identification put in place of many says nothing by itself.
    """
    known: defaultdict[Hashable, list[_Instance]] = defaultdict(list)
    originals: dict[str, str | None] = {}
    for file in found:
        claim = _claim(file)
        if claim is None:
            yield file
            continue
        if file.source not in originals:  # else it holds several kinds of images, and was looked at
            instance = _Instance(file)
            same = (other for other in known[claim] if _same(other, instance))
            original = next(same, None)
            originals[file.source] = original.source if original else None
            if original is None:
                known[claim].append(instance)
            else:
                reason = f"the same SOP instance as {original.source}"
                refused.append(Refusal(file.source, None, "duplicate", reason))
        if originals[file.source] is None:
            yield file


def _claim(file: SourceFile) -> tuple[Any, ...] | None:
    """Tell which image a file says it holds; None where it does not say that."""
    header = file.header
    if header is None or not header.sop_instance_uid:
        return None
    # Copies may have been written with other digits, and with more or less of the patient.
    places = [None if plane is None else np.round(plane.position, 1) for plane in header.planes]
    where = tuple(None if place is None else tuple(place.tolist()) for place in places)
    owner = header.patient[0], header.study, header.series
    return header.sop_instance_uid, owner, where, header.shape, header.frame_count


def _same(one: _Instance, other: _Instance) -> bool:
    return one.content is not None and one.content == other.content


def _content(file: SourceFile) -> str:
    dataset = wall.parse(file.path, pixels=True, budget=file.budget)
    digest = hashlib.sha256()
    try:
        for values in codecs.frames(dataset, file.budget):
            digest.update(np.ascontiguousarray(values).tobytes())
    except InputRefusedError:  # what cannot be decoded here is compared as it is
        digest.update(bytes(dataset.get("PixelData") or b""))
    return digest.hexdigest()
