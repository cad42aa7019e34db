"""Options that several commands share, and what was asked for by them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gliomart.cli.arguments import limit, place, positive, threads
from gliomart.host import streams
from gliomart.image.sequence import GIVEN
from gliomart.providers.choice import PROVIDERS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from _typeshed import DataclassInstance

    from gliomart.detector import Detector
    from gliomart.providers import Requested
    from gliomart.sources import Budget, Inventory

_AUTO = Path("auto")
_Group = TypeVar("_Group", bound="DataclassInstance")


@dataclass(frozen=True)
class DetectorOptions:
    """The detector that was asked for; see :class:`~gliomart.detector.Detector`.

    Attributes
    ----------
    limits
        Names and values for :class:`~gliomart.sources.Budget`.
    """

    model: Path | None = None
    provider: Requested = "auto"
    allow_fallback: bool = False
    false_alarm_rate: float | None = None
    force: bool = False
    limits: Sequence[tuple[str, float]] = ()
    threads: int | None = None
    register: bool = False

    @property
    def budget(self) -> Budget:
        """What reading one file may take."""
        from gliomart.sources import DEFAULT

        return DEFAULT.but(dict(self.limits))

    def suited(self, inventory: Inventory | None, *, quiet: bool = False) -> DetectorOptions:
        """Choose a model by the images, where none was asked for; companions are told.

        Parameters
        ----------
        inventory
            What is to be analysed; None for what the usual model is for.
        quiet
            Say nothing.
        """
        from gliomart.families.pairing import suited
        from gliomart.model.built_in import DEFAULT, OF_SERIES

        if self.model is not None and (self.model != _AUTO or self.model.exists()):
            return self
        name, count = suited(inventory.series if inventory else ())
        if name == DEFAULT:
            return replace(self, model=None)
        if not quiet and name != OF_SERIES:
            beside = "another sequence beside it" if count == 1 else "other sequences beside them"
            streams.note(f"{count} series with {beside}: {name}")
        return replace(self, model=Path(name))

    def open(
        self, *, plane: int | None = None, sequence: str | None = None, quiet: bool = False
    ) -> Detector:
        """Open the detector, and say on standard error where it runs on less than was asked for.

        Parameters
        ----------
        plane
            Colour plane of pictures, from 1.
        sequence
            MR sequence that images are given as.
        quiet
            Say nothing.
        """
        from gliomart.detector import Detector

        detector = Detector(
            self.model,
            provider=self.provider,
            allow_fallback=self.allow_fallback,
            false_alarm_rate=self.false_alarm_rate,
            threads=self.threads,
            force=self.force,
            budget=self.budget,
            plane=plane,
            sequence=sequence,
            register=self.register,
        )
        chosen = detector.settings.provider
        if chosen.degraded and not quiet:
            streams.note(f"{self.provider} does not run here; using {chosen.effective}")
        return detector


@dataclass(frozen=True)
class Destination:
    """Where results go, and how much of them is printed.

    Attributes
    ----------
    out
        The output folder; None for a new one under ``gliomart-results``.
    overwrite, resume
        What becomes of results that are there already.
    json, quiet
        Print results.json, or nothing, instead of a summary.
    """

    out: Path | None
    overwrite: bool
    resume: bool
    json: bool
    quiet: bool


def asked(group: type[_Group], options: argparse.Namespace) -> _Group:
    """Take a group of options from all that were parsed."""
    values: dict[str, Any] = {each.name: getattr(options, each.name) for each in fields(group)}
    return group(**values)


def add_destination(parser: argparse.ArgumentParser) -> None:
    """Add the options that :class:`Destination` holds."""
    parser.add_argument(
        "--out", type=place, metavar="DIR", help="output folder (default: gliomart-results/<time>)"
    )
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--json", action="store_true", help="print results.json, and nothing else")
    printed.add_argument(
        "--quiet", action="store_true",
        help="print nothing but errors; the exit status tells how it ended",
    )  # fmt: skip
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace earlier results in DIR")
    existing.add_argument("--resume", action="store_true", help="go on with an interrupted run")


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that :class:`DetectorOptions` holds."""
    parser.add_argument(
        "--model", type=place, metavar="MODEL",
        help="model file, or the name of one that comes along (gliomart info lists them); default:"
        " auto, by the images",
    )  # fmt: skip
    parser.add_argument(
        "--provider", choices=PROVIDERS, default="auto",
        help="execution provider (default: auto, the fastest that runs)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-fallback", action="store_true",
        help="use the CPU where the provider asked for by name does not run",
    )  # fmt: skip
    parser.add_argument(
        "--false-alarm-rate", type=float, metavar="RATE",
        help="share of tumour-free slices that may be flagged (default: the model's own, such as"
        " 0.05)",
    )  # fmt: skip
    parser.add_argument(
        "--force", action="store_true",
        help="analyse images that the model was not made for as well",
    )  # fmt: skip
    parser.add_argument(
        "--register", action="store_true",
        help="move further sequences of an examination onto the series that they stand beside,"
        " where they do not lie on it (extra registration)",
    )  # fmt: skip
    add_limits(parser)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the bounds of reading a file, and of the processors that are used."""
    parser.add_argument(
        "--limit", dest="limits", type=limit, action="append", default=[], metavar="NAME=VALUE",
        help="limit on reading one file, such as seconds=5; may be given several times (see"
        " docs/dicom.md)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=threads, metavar="N",
        help="CPU threads (default: one for each processor)",
    )  # fmt: skip


def add_plane(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a colour plane."""
    parser.add_argument(
        "--plane", type=positive, metavar="N",
        help="colour plane of pictures to analyse, from 1 (default: refuse pictures whose planes"
        " differ)",
    )  # fmt: skip


def add_sequence(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a sequence."""
    parser.add_argument(
        "--sequence", choices=tuple(GIVEN),
        help="MR sequence of images that do not say it: pictures, volumes, DICOM without a hint;"
        " what says another is refused (t1c: T1 after contrast)",
    )  # fmt: skip
