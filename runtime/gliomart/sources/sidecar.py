"""JSON files beside volumes that tell how they were acquired, as BIDS and dcm2niix write them.

A sidecar is believed value by value: what is no value of its kind is left out, and told.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from gliomart.errors import InputRefusedError
from gliomart.image.slices import Concern
from gliomart.printable import printable, reason_of
from gliomart.sources.acquisition import Acquisition, names_an_agent, tesla
from gliomart.sources.changes import Stamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gliomart.sources.budget import Budget

CODE = "bad-sidecar"
_SUFFIXES = (".nii.gz", ".nii", ".NII.GZ", ".NII")
# Those that hold all of a DICOM header (dcmstack, heudiconv) take a few MB at most.
_LARGEST = 1 << 23
# Times are in seconds (BIDS 1.10, "Magnetic Resonance Imaging"); no larger one is an echo's,
# an inversion's or a repetition's: it was written in milliseconds.
_LONGEST_S = {"EchoTime": 1.0, "InversionTime": 20.0, "RepetitionTime": 60.0}
_LONGEST_CODE = 16  # of a Code String (PS3.5 6.2)
_MODALITY = re.compile(r"[A-Z]{2}")
_CODES = re.compile(r"[A-Z]+")


class Sidecar(NamedTuple):
    """What lies beside a volume.

    Attributes
    ----------
    path, stamp
        Where it is, and what it was when it was read.
    acquisition
        What it says; None where it cannot be read.
    notes
        What of it was not read, and why.
    """

    path: Path
    stamp: Stamp
    acquisition: Acquisition | None
    notes: tuple[Concern, ...] = ()


def path_of(volume: Path) -> Path:
    """Tell where the sidecar of a volume would be (BIDS 1.10, "Key-value files")."""
    name = volume.name
    suffix = next(each for each in _SUFFIXES if name.lower().endswith(each))
    return volume.with_name(f"{name[: -len(suffix)]}.json")


def is_one(path: Path) -> bool:
    """Tell whether a file lies beside a volume as its sidecar."""
    stem, suffix = os.path.splitext(path)  # noqa: PTH122  # of every file that is no image
    return suffix == ".json" and any(os.path.lexists(stem + each) for each in _SUFFIXES)


def read(volume: Path, budget: Budget) -> Sidecar | None:
    """Read what lies beside a volume; None where nothing does.

    Text is held to the budget's ``value_bytes``, as that of a DICOM header is.
    """
    path = path_of(volume)
    try:
        stamp = Stamp.of(path)
    except OSError:
        nowhere = "it is a link that leads nowhere"
        return _unread(path, Stamp(0, 0), nowhere) if path.is_symlink() else None
    try:
        values = _parsed(_content(path))
    except InputRefusedError as error:
        return _unread(path, stamp, error.reason)
    except OSError as error:
        return _unread(path, stamp, reason_of(error))
    reader = _Reader(values, budget)
    acquisition = reader.acquisition()
    return Sidecar(path, stamp, acquisition, tuple(_note(path, f) for f in reader.faults))


def _unread(path: Path, stamp: Stamp, reason: str) -> Sidecar:
    return Sidecar(path, stamp, None, (_note(path, f"{reason}; nothing of it was read"),))


def _note(path: Path, reason: str) -> Concern:
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    return Concern(CODE, f"{printable(name)}: {reason}")


def _content(path: Path) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputRefusedError(CODE, "it is not a regular file")
        if status.st_size > _LARGEST:
            raise InputRefusedError(CODE, f"it holds {status.st_size} bytes, more than {_LARGEST}")
        return stream.read(_LARGEST)


def _parsed(content: bytes) -> dict[str, Any]:
    """Parse an object of JSON.

    Raises
    ------
    InputRefusedError
        It is no UTF-8 or no JSON, says something twice, or holds no object.
    """
    try:
        values = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_once)
    except InputRefusedError:
        raise
    except UnicodeDecodeError as error:
        raise InputRefusedError(CODE, "it is not UTF-8") from error
    except RecursionError as error:
        raise InputRefusedError(CODE, "it is nested too deeply") from error
    except ValueError as error:
        raise InputRefusedError(CODE, "it is not valid JSON") from error
    if not isinstance(values, dict):
        raise InputRefusedError(CODE, "it holds no object")
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise InputRefusedError(CODE, "it says something twice")
    return values


class _Reader:
    """Reads values as what they should be; ``faults`` says which are not."""

    def __init__(self, values: dict[str, Any], budget: Budget) -> None:
        self._values, self._longest = values, budget.value_bytes
        self.faults: list[str] = []

    def acquisition(self) -> Acquisition:
        """Read what a sidecar says of how its volume was acquired."""
        inversions = self._times("InversionTime")
        modality = self._text("Modality").upper()
        return Acquisition(
            modality={"MRI": "MR"}.get(modality, modality if _MODALITY.fullmatch(modality) else ""),
            image_type=tuple(word.upper() for word in self._words("ImageType")),
            description=self._text("SeriesDescription"),
            protocol=self._text("ProtocolName"),
            sequence_name=self._joined("SequenceName", "PulseSequenceName", "PulseSequenceType"),
            examination=self._joined("StudyDescription", "ProcedureStepDescription"),
            body_part=self._text("BodyPartExamined") or self._text("BodyPart"),
            repetition_time=max(self._times("RepetitionTime"), default=None),
            echo_time=next(iter(self._times("EchoTime")), None),
            inversion_time=max(inversions, default=None),
            inversion_times=inversions,
            field_strength=tesla(next(iter(self._positive("MagneticFieldStrength")), None)),
            b_value=max(self._positive("DiffusionBValue"), default=None),
            # Several are a list, or joined by an underscore or a backslash (dcm2niix).
            scanning_sequence=frozenset(_CODES.findall(self._text("ScanningSequence").upper())),
            acquisition_contrast=self._text("AcquisitionContrast").upper(),
            complex_component=self._text("ComplexImageComponent").upper()[:_LONGEST_CODE],
            agent=self._agent(),
        )

    def _agent(self) -> bool | None:
        said = map(self._text, ("ContrastBolusIngredient", "ContrastBolusAgent"))
        return next((each for each in map(names_an_agent, said) if each is not None), None)

    def _joined(self, *keys: str) -> str:
        return " | ".join(filter(None, map(self._text, keys)))

    def _text(self, key: str) -> str:
        return " ".join(self._words(key))

    def _words(self, key: str) -> tuple[str, ...]:
        found = self._all(key, "text", lambda value: isinstance(value, str))
        if sum(map(len, found)) > self._longest:
            self.faults.append(f"{key} is longer than {self._longest} bytes, and was not read")
            return ()
        return tuple(map(printable, found))

    def _times(self, key: str) -> tuple[float, ...]:
        """Read times in ms; 0 stands for none."""
        most = _LONGEST_S[key]
        seconds = self._positive(key)
        if seconds and max(seconds) >= most:
            self.faults.append(f"{key} {max(seconds):g} is no time in seconds, and was not read")
            return ()
        return tuple(1e3 * each for each in seconds)

    def _positive(self, key: str) -> tuple[float, ...]:
        return tuple(float(value) for value in self._all(key, "a number", _is_number) if value > 0)

    def _all(self, key: str, what: str, fits: Callable[[Any], bool]) -> list[Any]:
        """Take a value, or each of several; none where one is of another kind."""
        value = self._values.get(key)
        found = value if isinstance(value, list) else [] if value is None else [value]
        if all(map(fits, found)):
            return found
        self.faults.append(f"{key} is not {what}, and was not read")
        return []


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value) and value >= 0
    except OverflowError:
        return False
