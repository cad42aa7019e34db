"""DICOM images that are met twice, told from different ones under one SOP Instance UID."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.slices import Refusal
from gliomart.sources import codecs, wall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart.sources.inventory import SourceFile


def left_out(found: Sequence[SourceFile], refused: list[Refusal]) -> Iterator[SourceFile]:
    """Leave out files that hold the same image as an earlier one, and tell of each once."""
    known: defaultdict[str, dict[str, SourceFile]] = defaultdict(dict)
    copies: set[str] = set()
    for file in found:
        uid = file.header.sop_instance_uid if file.header else ""
        if file.source in copies:  # its other kinds of images are copies as well
            continue
        if not uid or file.source in known[uid]:
            yield file
            continue
        original = next((each for each in known[uid].values() if _same(each, file)), None)
        if original is None:
            known[uid][file.source] = file
            yield file
        else:
            copies.add(file.source)
            reason = f"the same SOP instance as {original.source}"
            refused.append(Refusal(file.source, None, "duplicate", reason))


def _same(one: SourceFile, other: SourceFile) -> bool:
    """Tell whether two files of one SOP Instance UID hold one image: of one person, pixel by pixel.

    They may be compressed differently. A UID that a constant was put in place of says nothing.
    """
    headers = [
        (header.patient, header.study, header.series, header.planes, header.shape)
        for header in (one.header, other.header)
        if header is not None
    ]
    if headers[0] != headers[1]:
        return False
    try:
        return _content(one) == _content(other)
    except OSError:
        return False


def _content(file: SourceFile) -> list[bytes]:
    """Read the values of all frames; of what cannot be decoded, the bytes."""
    try:
        dataset = wall.parse(file.path, pixels=True, budget=file.budget)
    except InputRefusedError as error:
        return [error.reason.encode(), file.path.read_bytes()]
    try:
        frames = codecs.frames(dataset, file.budget)
        return [np.ascontiguousarray(values).tobytes() for values in frames]
    except InputRefusedError:
        return [bytes(dataset.get("PixelData") or b"")]
