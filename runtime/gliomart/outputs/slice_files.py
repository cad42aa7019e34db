"""The files of one slice, and what is kept of it until its series is written."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from gliomart.findings.photometry import photometry_of
from gliomart.host.clock import ms_since
from gliomart.outputs import pictures, records
from gliomart.outputs.report_slice import ReportSlice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gliomart.findings.results import SliceResult
    from gliomart.outputs.documents import SliceEntry
    from gliomart.outputs.folder import SeriesFolder
    from gliomart.outputs.plan import SeriesPlan
    from gliomart.outputs.written import Kind, MissingOutput


@dataclass(frozen=True)
class WrittenSlice:
    """What was made of a slice.

    Attributes
    ----------
    entry, not_written
        What results.json says of it.
    picture
        What the report shows of it; None where that is not wanted.
    tile
        uint8 (side, side, 3), BGR: its part of the overview.
    result
        What its series is judged by, and DICOM objects are made of.
    """

    entry: SliceEntry
    not_written: list[MissingOutput]
    picture: ReportSlice | None
    tile: NDArray[np.uint8]
    result: SliceResult


@dataclass(frozen=True)
class SliceWriter:
    """Writes the files of slices; any number of threads may share one.

    Attributes
    ----------
    folder
        Where they go.
    plan
        Which there are to be.
    """

    folder: SeriesFolder
    plan: SeriesPlan

    def write(self, result: SliceResult, name: PurePosixPath, *, wanted: bool) -> WrittenSlice:
        """Write what is asked for of one slice.

        Parameters
        ----------
        result
            What was found in it.
        name
            What its files are called, without folder and suffix.
        wanted
            Whether the report may show it.
        """
        started = perf_counter()
        overlay = pictures.overlay(result, self.plan.display_limit)
        paths: dict[Kind, str | None] = dict.fromkeys(("overlay", "map", "mask"))
        not_written = []
        for kind, place, content in self._contents(result, name, overlay):
            if trouble := self.folder.write(place, content):
                shown, cause = result.slice, (trouble.code, trouble.reason)
                missed = records.missing_output(shown.source, shown.frame, kind, cause)
                not_written.append(missed)
            else:
                paths[kind] = place
        picture = ReportSlice.of(result, self.plan.card) if wanted else None
        tile = pictures.tile(result, overlay)
        entry = records.slice_entry(result, paths, ms_since(started))
        if self.plan.watched:
            entry["photometry"] = records.photometry_entry(photometry_of(result))
        return WrittenSlice(
            entry=entry,
            not_written=not_written,
            picture=picture,
            tile=tile,
            # Neither is needed any more, and half of what a result takes is theirs.
            result=replace(result, reconstruction=None, brain=None),
        )

    def _contents(
        self, result: SliceResult, name: PurePosixPath, overlay: NDArray[np.uint8]
    ) -> list[tuple[Kind, str, bytes]]:
        """Make the files: kind, place and content of each."""
        wanted = self.plan.options.overlays
        contents: list[tuple[Kind, str, bytes]] = []
        if wanted == "all" or (wanted == "flagged" and result.flagged):
            contents.append(("overlay", _place("overlays", name, ".png"), pictures.png(overlay)))
        if self.plan.options.maps:
            mask = result.mask.astype(np.uint8) * 255
            contents.append(("map", _place("maps", name, ".npy"), _npy(result.anomaly_map)))
            contents.append(("mask", _place("masks", name, ".png"), pictures.png(mask)))
        return contents


def _place(folder: str, name: PurePosixPath, suffix: str) -> str:
    return str(PurePosixPath(folder) / name.with_name(name.name + suffix))


def _npy(values: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()
