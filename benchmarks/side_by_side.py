"""What the measurements of several systems share: naming and opening them, brains, tables, files.

A system is an exported model, or a training run that was exported, each of whose folds analyses
the patients that it held out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gliomart.bench import machine
from gliomart.errors import GliomartError, InputRefusedError, UsageError
from gliomart.host.streams import say
from gliomart.image.grid import uncrop
from gliomart.image.normalisation import estimate_normalisations, normalisation_of
from gliomart.image.preprocess import prepare
from gliomart.outputs.folder import write_atomically
from gliomart.outputs.target import check_target
from gliomart_training.brain import brain_masks
from gliomart_training.evaluation import comparison
from gliomart_training.evaluation.metrics import Bootstrap
from gliomart_training.evaluation.panel import Candidate
from gliomart_training.evaluation.text_table import figure_cell
from gliomart_training.record import read_record, run_folder
from gliomart_training.stress import BETWEEN_SLICES, MODERATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.image.normalisation import Normalisation
    from gliomart.image.steps import Preprocessing
    from gliomart_training.evaluation.documents import FigureEntry
    from gliomart_training.evaluation.metrics import Figure
    from gliomart_training.evaluation.panel import Panel
    from gliomart_training.patients import Patient
    from gliomart_training.record import Record

NOTHING = "–"
STRESSES = MODERATE | BETWEEN_SLICES
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class System:
    """An exported model file, or the folder of an exported run, and what it is called here."""

    name: str
    path: Path

    @classmethod
    def of(cls, text: str) -> System:
        """Take ``NAME=PATH``, or a path, whose name without its ending is then the system's."""
        name, equals, path = text.partition("=")
        found = cls(name, Path(path)) if equals else cls(Path(text).stem, Path(text))
        if not _NAME.fullmatch(found.name):
            raise argparse.ArgumentTypeError(f"{found.name!r} is no name of a system")
        if not found.path.exists():
            raise argparse.ArgumentTypeError(f"{found.path} does not exist")
        return found

    @property
    def model(self) -> Path:
        """The model file; of a run, the first fold's."""
        return self.path / "fold-1.onnx" if self.path.is_dir() else self.path

    @property
    def record(self) -> Record | None:
        """The run's record; of a model file, that of the run which lies beside it, if one does."""
        folder = self.path if self.path.is_dir() else run_folder(self.path)
        return read_record(folder) if folder.is_dir() else None


def parser(description: str) -> argparse.ArgumentParser:
    """Make a parser of what all these measurements take."""
    made = argparse.ArgumentParser(
        description=description.partition("\n")[0], epilog="A system is [NAME=]A.onnx|RUN."
    )
    made.add_argument("data", type=Path)
    made.add_argument("--runs", type=System.of, nargs="+", required=True, metavar="SYSTEM")
    made.add_argument("--split", help="of the data set; a run has one of its own")
    made.add_argument(
        "--against", nargs="+", default=[], metavar="NAME", help="systems that all are set against"
    )
    made.add_argument("--patients", type=int, metavar="N", help="only the first N, for a trial")
    made.add_argument(
        "--stress",
        metavar="NAME",
        choices=STRESSES,
        help="show all series as another scanner would: " + ", ".join(STRESSES),
    )
    made.add_argument("--resamples", type=int, default=1000)
    made.add_argument("--out", type=Path, required=True, help="JSON file to write")
    return made


def check(options: argparse.Namespace) -> None:
    """See that names are clear, and that the results can be written."""
    names = [system.name for system in options.runs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two systems are called {name}; call one otherwise (NAME=PATH)")
    for name in options.against:
        if name not in names:
            raise UsageError(f"--against {name}: is none of {', '.join(names)}")
    check_target(options.out, [options.data, *(system.path for system in options.runs)])


def panels(options: argparse.Namespace, directory: Path) -> dict[str, Panel]:
    """Open all systems on the same patients."""
    opened = comparison.panels(
        [Candidate.of(directory, each.path, options.split, "cpu") for each in options.runs]
    )
    patients = opened[0].patients[: options.patients]
    if options.stress is not None:
        patients = [STRESSES[options.stress].apply(patient) for patient in patients]
    detectors = [[detector for _, detector in panel.pairs[: len(patients)]] for panel in opened]
    return {
        system.name: replace(panel, pairs=tuple(zip(patients, each, strict=True)))
        for system, panel, each in zip(options.runs, opened, detectors, strict=True)
    }


def provenance(panel: Panel) -> dict[str, Any]:
    """Tell which model files ran: of a run, one for each fold."""
    settings = [detector.settings for _, detector in panel.pairs]
    return {
        "name": settings[0].model_name,
        "version": settings[0].model_version,
        "sha256": list(dict.fromkeys(each.model_sha256 for each in settings)),
        "network": panel.pairs[0][1].card.network.get("name"),
        "held_out_by": panel.run,
    }


def document(options: argparse.Namespace, panel: Panel, protocol: Mapping[str, str]) -> Any:
    """Begin what is written: what measured whom, and how."""
    return {
        "schema": 1,
        "software": machine.versions(),
        "machine": machine.description(),
        "dataset": {
            "folder": panel.directory.resolve().name,
            "split": panel.split,
            "stress": options.stress and {options.stress: asdict(STRESSES[options.stress])},
            "patients": [patient.id for patient in panel.patients],
        },
        "protocol": dict(protocol),
        "against": options.against,
        "bootstrap": Bootstrap(options.resamples).described(),
    }


def write(file: Path, written: Mapping[str, Any]) -> None:
    """Write a document whole, or not at all."""
    write_atomically(file, (json.dumps(written, indent=1) + "\n").encode())


@dataclass(frozen=True)
class Seen:
    """A slice as a patient's brain lies in it, found by rules that no system has a part in.

    Attributes
    ----------
    brain
        bool (H, W) on the source's grid.
    norm
        Of its series.
    """

    brain: NDArray[np.bool_]
    norm: Normalisation

    @property
    def level(self) -> float:
        """The brain's brightness above black, in the source's units."""
        return self.norm.brain - self.norm.black


def seen(patient: Patient, spec: Preprocessing) -> dict[int, Seen]:
    """Find the brain in a patient's slices, by number; blank ones are left out."""
    norms = estimate_normalisations(patient.slices, spec)
    prepared = {}
    for number, each in enumerate(patient.slices):
        with suppress(InputRefusedError):
            norm = normalisation_of(each, number, norms)
            prepared[number] = (prepare(each, norm, spec), norm)
    masks = brain_masks(
        [shown.plain for shown, _ in prepared.values()],
        [shown.head for shown, _ in prepared.values()],
    )
    found = {}
    for (number, (shown, norm)), mask in zip(prepared.items(), masks, strict=True):
        height, width = shown.source.pixels.shape
        brain = uncrop(mask.astype(np.float32), norm.box, (height, width)) > 0.5
        found[number] = Seen(brain, norm)
    return found


def differences(
    figures: Mapping[str, Mapping[str, Figure]], others: Mapping[str, Mapping[str, Figure]]
) -> dict[str, dict[str, Any]]:
    """Set figures by group and name against those of another system, on the same resamples."""
    pairs = {
        group: {name: comparison.pair(name, others[group][name], of) for name, of in each.items()}
        for group, each in figures.items()
    }
    return {
        group: {
            name: {**pair["difference"], "better": pair["better"]} for name, pair in each.items()
        }
        for group, each in pairs.items()
    }


def cell(figure: FigureEntry | None, layout: str = ".3f") -> str:
    """Write a figure with its interval as the pages do: without zeros before the point."""
    text = re.sub(r"(?<!\d)0(?=\.)", "", figure_cell(figure, layout))
    return NOTHING if text == "-" else text


def markdown(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay out a table of Markdown, and an empty line."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def ended(main: Callable[[], None]) -> NoReturn:
    """Run a script to its exit status; what goes wrong is said in one line."""
    try:
        main()
    except GliomartError as error:
        say(str(error))
        sys.exit(error.exit_status)
    sys.exit(0)
