"""The pictures of one series for the report: of those it may show, and no more."""

from __future__ import annotations

from heapq import heappush, heapreplace
from typing import TYPE_CHECKING, Any

from gliomart.outputs.page import MOST_PICTURES, ReportSlice, least_likely_first, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gliomart.findings.results import SliceResult


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
        score = {"p_value": round(result.p_value, 6), "score": round(result.score, 6)}
        return self._is_among(score)

    def add(self, entry: Mapping[str, Any], picture: ReportSlice | None) -> None:
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

    def _is_among(self, entry: Mapping[str, Any]) -> bool:
        if len(self._heap) < MOST_PICTURES:
            return True
        p, score = least_likely_first(entry)
        return (-p, -score) > self._heap[0][:2]
