"""What an interrupted run is continued from: its finished series, and results that are complete.

Series are told by keys that do not depend on the order in which inputs are given.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from contextlib import contextmanager
from os import SEEK_END
from typing import TYPE_CHECKING, Any, TypedDict, cast

from gliomart.errors import GliomartError, UsageError
from gliomart.outputs import folder as output
from gliomart.outputs import records
from gliomart.outputs.documents import (  # noqa: TC001  # types are read at run time
    RefusalEntry,
    SeriesEntry,
    SliceEntry,
)
from gliomart.outputs.provenance import Provider  # noqa: TC001  # as above
from gliomart.outputs.records import SeriesRecord
from gliomart.outputs.written import MissingOutput  # noqa: TC001  # as above

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gliomart.outputs.documents import Results
    from gliomart.outputs.folder import OutputFolder
    from gliomart.sources import SeriesFiles

_KEY_DIGITS = 16


class JournalHead(TypedDict):
    """The first line of a journal: which run it is of.

    Attributes
    ----------
    run
        SHA-256 of what a run has in common with those that may go on with it: software, model,
        settings and inputs, whatever the order in which these were given.
    series
        Keys of its series, in the order in which their outputs were named.
    """

    run: str
    series: list[str]


class JournalEntry(TypedDict):
    """Every further line of a journal: a finished series.

    Attributes
    ----------
    key
        Of the series, whatever its place among the inputs.
    provider
        What it was finished on; null where it was not analysed.
    series, slices, not_analysed, not_written
        What results.json says of it.
    """

    key: str
    provider: Provider | None
    series: list[SeriesEntry]
    slices: list[SliceEntry]
    not_analysed: list[RefusalEntry]
    not_written: list[MissingOutput]


def keys_of(every_series: Sequence[SeriesFiles]) -> list[str]:
    """Tell series apart by their identities and first files, in whatever order they come.

    Returns
    -------
    For each a part of a SHA-256 in hexadecimal, which fits into a file name.
    """
    seen: Counter[tuple[str, str]] = Counter()
    keys = []
    for series in every_series:
        identity = (series.id, series.files[0].source if series.files else series.source)
        text = json.dumps([*identity, seen[identity]])
        seen[identity] += 1
        keys.append(hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS])
    return keys


class Journal:
    """Finished series of an unfinished run, one JSON line each after a line that names the run."""

    def __init__(self, folder: OutputFolder, run: str) -> None:
        self._folder, self._run = folder, run
        self._path = folder.path / output.JOURNAL

    def exists(self) -> bool:
        """Tell whether there is one."""
        return self._path.exists()

    def begin(self, keys: Sequence[str]) -> tuple[list[str], dict[str, SeriesRecord]]:
        """Go on with a run of the same series, or begin one.

        Returns
        -------
        order, finished
            The keys in the order in which the run named its outputs, and its finished series.

        Raises
        ------
        UsageError
            It is of a different run, or damaged.
        """
        with damage(self._path):
            lines = self._path.read_bytes().splitlines(keepends=True) if self.exists() else []
            whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
            if not whole:
                head: JournalHead = {"run": self._run, "series": list(keys)}
                self._write("wb", head)
                return head["series"], {}
            order = self._order(whole[0], keys)
            if len(whole) < len(lines):  # the last line was cut off: its series is done again
                self._folder.write(output.JOURNAL, b"".join(lines[: len(whole)]))
            finished = {entry.pop("key"): SeriesRecord(**entry) for entry in whole[1:]}
            if not finished.keys() <= set(order):
                raise ValueError(self._path)
            return order, finished

    def add(self, key: str, record: SeriesRecord) -> None:
        """Add a finished series."""
        entry: JournalEntry = {
            "key": key,
            "provider": record.provider,
            "series": record.series,
            "slices": record.slices,
            "not_analysed": record.not_analysed,
            "not_written": record.not_written,
        }
        self._write("r+b", entry)  # not "ab", which makes it anew where it was taken away

    def remove(self) -> None:
        """End it: the results are complete."""
        self._path.unlink(missing_ok=True)

    def _order(self, head: dict[str, Any], keys: Sequence[str]) -> list[str]:
        if head.get("run") != self._run or sorted(head["series"]) != sorted(keys):
            raise _different_run(self._path.parent)
        return list(head["series"])

    def _write(self, mode: str, values: Mapping[str, object]) -> None:
        with (
            self._folder.still_there(),
            output.output_errors(self._path),
            self._path.open(mode) as stream,
        ):
            stream.seek(0, SEEK_END)
            stream.writelines(map(str.encode, _line(values)))


def _line(values: Mapping[str, object]) -> Iterator[str]:
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


def complete(path: Path, run: str, kept: Journal) -> Results | None:
    """Read the results of a run that is complete already; None where there are none.

    Nor are there any where a run was killed before it removed its journal and inputs are now given
    in another order: the journal tells whether it is the same run, and has all that it finished.

    Raises
    ------
    UsageError
        They are of a different run, or damaged.
    """
    if not path.exists():
        return None
    with damage(path):
        document = cast("Results", json.loads(path.read_bytes()))
        if records.run_identity(document) == run:
            return document
    if kept.exists():
        return None
    raise _different_run(path.parent)


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn what reading a damaged file raises into a usage error."""
    try:
        yield
    except GliomartError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: is damaged; give --overwrite") from error


def _different_run(folder: Path) -> UsageError:
    return UsageError(
        f"{folder}: holds a different run (other inputs, model, provider or settings);"
        " give --overwrite"
    )
