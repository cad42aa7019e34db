"""The pictures of series for the report: of those it may show, and no more.

They are kept in the output folder, a file per finished series, until the report is written.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from heapq import heappush, heapreplace
from typing import TYPE_CHECKING

from gliomart.errors import UnwritableError
from gliomart.outputs.folder import PICTURES, OutputFolder, output_errors
from gliomart.outputs.journal import damage
from gliomart.outputs.page import MOST_PICTURES
from gliomart.outputs.records import least_likely_first, rounded
from gliomart.outputs.report_slice import ReportSlice, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gliomart.findings.results import SliceResult
    from gliomart.outputs.records import Ranked


class Gallery:
    """Pictures of the most anomalous slices of a series, as many as a whole report shows.

    More are not kept, nor drawn once it is known: memory does not grow with the series. One thread
    adds slices; others may ask at the same time whether one is wanted.
    """

    def __init__(self) -> None:
        self._count = 0
        self._pictures: dict[int, ReportSlice] = {}
        # The likeliest of those kept comes first: negative, since a heap begins with the least.
        self._heap: list[tuple[float, float, int]] = []

    def wants(self, result: SliceResult) -> bool:
        """Tell whether a slice may come to be shown; what is not wanted now never is."""
        return self._is_among({"p_value": rounded(result.p_value), "score": rounded(result.score)})

    def add(self, entry: Ranked, picture: ReportSlice | None) -> None:
        """Add the next slice of the series: its entry of results.json, its picture if wanted."""
        number, self._count = self._count, self._count + 1
        if picture is None or not self._is_among(entry):
            return
        p, score = least_likely_first(entry)
        place = (-p, -score, -number)
        self._pictures[number] = picture
        if len(self._heap) < MOST_PICTURES:
            heappush(self._heap, place)
        else:
            _, _, out = heapreplace(self._heap, place)
            del self._pictures[-out]

    def to_json(self) -> bytes:
        """Serialise it, to be kept until the report is written; null for what it does not hold."""
        return to_json([self._pictures.get(number) for number in range(self._count)])

    def without_pictures(self) -> Gallery:
        """Make one of as many slices that shows none of them."""
        empty = Gallery()
        empty._count = self._count
        return empty

    def _is_among(self, entry: Ranked) -> bool:
        if len(self._heap) < MOST_PICTURES:
            return True
        p, score = least_likely_first(entry)
        return (-p, -score) > self._heap[0][:2]


@dataclass(frozen=True)
class Galleries:
    """The pictures of finished series, by the keys of these, in an output folder."""

    folder: OutputFolder

    def keep(self, key: str, gallery: Gallery) -> UnwritableError | None:
        """Keep a series' pictures, or none and the error where they are too large to be kept."""
        try:
            self.folder.write(_place(key), gallery.to_json())
        except UnwritableError as error:
            self.folder.write(_place(key), gallery.without_pictures().to_json())
            return error
        return None

    def read(self, keys: Iterable[str]) -> Iterator[ReportSlice | None]:
        """Read the pictures of these series, one series at a time.

        Raises
        ------
        UsageError
            They are not all there, or damaged.
        """
        for key in keys:
            path = self.folder.path / _place(key)
            with damage(path):
                shown = from_json(path.read_bytes())
            yield from shown

    def remove(self) -> None:
        """Remove them: the report is written."""
        path = self.folder.path / PICTURES
        if path.is_dir():
            with output_errors(path):
                shutil.rmtree(path)


def _place(key: str) -> str:
    return f"{PICTURES}/{key}.json"
