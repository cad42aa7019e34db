"""What an interrupted run is continued from: its finished series, and results that are complete."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gliomart.errors import GliomartError, UsageError
from gliomart.outputs import folder as output
from gliomart.outputs import records
from gliomart.outputs.records import SeriesRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Journal:
    """Finished series of an unfinished run, one JSON line each after a line that names the run."""

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        self._path, self._run = path, run

    def finished(self) -> list[SeriesRecord]:
        """Read what an interrupted run of the same kind finished; start the journal otherwise."""
        with damage(self._path):
            lines = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
            whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
            if not whole:
                self._write("wb", self._run)
                return []
            if whole[0] != self._run:
                raise _different_run(self._path.parent)
            if len(whole) < len(lines):  # the last line was cut off: its series is done again
                output.write_atomically(self._path, b"".join(lines[: len(whole)]))
            return [SeriesRecord(**values) for values in whole[1:]]

    def add(self, record: SeriesRecord) -> None:
        """Add a finished series."""
        self._write("ab", vars(record))

    def remove(self) -> None:
        """End it: the results are complete."""
        self._path.unlink(missing_ok=True)

    def _write(self, mode: str, values: dict[str, Any]) -> None:
        with output.output_errors(self._path), self._path.open(mode) as stream:
            stream.writelines(map(str.encode, _line(values)))


def _line(values: dict[str, Any]) -> Iterator[str]:
    """Serialise to one line, lists member by member: a long series has ten thousand."""
    separator = "{"
    for name, value in values.items():
        yield f"{separator}{json.dumps(name)}: "
        if isinstance(value, list):
            yield "["
            for number, member in enumerate(value):
                yield (", " if number else "") + json.dumps(member, allow_nan=False)
            yield "]"
        else:
            yield json.dumps(value, allow_nan=False)
        separator = ", "
    yield "}\n"


def complete(path: Path, run: dict[str, Any]) -> dict[str, Any] | None:
    """Read the results of a run that is complete already; None where there are none."""
    if not path.exists():
        return None
    with damage(path):
        document: dict[str, Any] = json.loads(path.read_bytes())
        if records.what_makes_a_run({key: document[key] for key in run}) != run:
            raise _different_run(path.parent)
    return document


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn what reading a damaged file raises into a usage error."""
    try:
        yield
    except GliomartError:
        raise
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: is damaged; give --overwrite") from error


def _different_run(folder: Path) -> UsageError:
    return UsageError(
        f"{folder}: holds a different run (other inputs, model, provider or settings);"
        " give --overwrite"
    )
