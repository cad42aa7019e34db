"""The tables of a dataset folder: CSV files that people and spreadsheets write.

They are taken as they come where there is one way to read them: separated by commas, semicolons or
tabs, in UTF-8 or, with its byte order mark, UTF-16, columns in any order and case. What can be read
in two ways is refused.
"""

from __future__ import annotations

import codecs
import csv
import os.path
import unicodedata
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from gliomart.errors import DatasetError
from gliomart.printable import reason_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_SEPARATORS = (",", ";", "\t", "|")
_EMPTY = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "none", "null", "nil", "nat", "-"})
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Row:
    """One row: its line in the file, and its values by column, without spaces around them."""

    line: int
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        """Look at a value; empty where the table has no such column."""
        return self.values.get(column, "")


def find(directory: Path, name: str) -> Path | None:
    """Find a table in a folder by its name, in whatever case; None where there is none.

    Raises
    ------
    DatasetError
        There are several, or the folder cannot be read.
    """
    try:
        found = sorted(path for path in directory.iterdir() if path.name.lower() == name)
        files = [path for path in found if path.is_file()]
    except OSError as error:
        raise DatasetError(f"{directory}: cannot be read: {reason_of(error)}") from error
    if len(files) > 1:
        raise DatasetError(f"{files[0]} and {files[1].name}: which is meant? Keep one of them")
    return files[0] if files else None


def read(path: Path, columns: Collection[str]) -> list[Row]:
    """Read a table that has these columns, and perhaps others; rows without values are left out.

    Raises
    ------
    DatasetError
        It cannot be read, in one way only.
    """
    text = _text(path)
    if text.lstrip('"').lower().startswith("sep=") and "\n" in text:  # a hint for a spreadsheet
        text = text[text.index("\n") + 1 :]
        hint = 1
    else:
        hint = 0
    separator = _separator(text, columns)
    try:
        records = list(_records(text, separator))
    except csv.Error as error:
        raise DatasetError(f"{path}: not a table that can be read: {error}") from error
    names = [name.strip().lower() for name in records[0][1]] if records else []
    if missing := set(columns) - set(names):
        raise DatasetError(f"{path}: no column {', '.join(sorted(missing))}")
    if doubled := [name for name in columns if names.count(name) > 1]:
        raise DatasetError(f"{path}: two columns {doubled[0]}")
    rows = []
    for line, values in records[1:]:
        if len(values) < len(names) or any(value.strip() for value in values[len(names) :]):
            raise DatasetError(
                f"{path}: line {line + hint} has {len(values)} values for {len(names)} columns"
            )
        stripped = (value.strip() for value in values)
        rows.append(Row(line + hint, dict(zip(names, stripped, strict=False))))
    return rows


def number(text: str) -> float:
    """Read a number, with a point or, as spreadsheets of many countries write it, a comma."""
    return float(text if "." in text else text.replace(",", "."))


def is_empty(value: str) -> bool:
    """Tell whether a value is none, as people and programs write it (``nan``, ``NA``)."""
    return value.casefold() in _EMPTY


def identity(written: str) -> str:
    """Bring two ways to write one path of a table to the same form."""
    return unicodedata.normalize("NFC", os.path.normpath(written.replace("\\", "/")))


def located(directory: Path, written: str, *, folder: bool = False) -> Path | None:
    """Find the file that a table names, relative to the table's folder; None where it is not there.

    With ``folder`` it may be a folder, too. Backslashes, and letters whose accents another system
    writes apart, are tried as well.
    """
    for way in (written, written.replace("\\", "/")):
        for form in (way, unicodedata.normalize("NFC", way), unicodedata.normalize("NFD", way)):
            try:
                path = directory / form
                if path.is_file() or (folder and path.is_dir()):
                    return path
            except (OSError, ValueError):  # too long for a name, or none at all
                continue
    return None


def not_there(directory: Path, table: Path, row: Row, column: str) -> DatasetError:
    """Make the error of a file that a table names and that is not there."""
    written = row[column]
    elsewhere = PureWindowsPath(written).drive or Path(written).is_absolute()
    hint = "; give paths relative to the dataset folder" if elsewhere else ""
    where = written if elsewhere else directory / written
    line = f"{table.name}, line {row.line}, {column}"
    return DatasetError(f"{where}: listed in the index but not there ({line}){hint}")


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: not a table that can be read: {reason_of(error)}") from error
    encoding = "utf-16" if data.startswith(_UTF_16) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: not in UTF-8, so that its letters are uncertain; save it as CSV in UTF-8"
        ) from error
    if "\0" in text:
        raise DatasetError(
            f"{path}: not a table that can be read: it holds bytes of 0; is it text?"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _separator(text: str, columns: Collection[str]) -> str:
    """Take the separator with which the first line names most of the columns."""
    first = next((line for line in text.split("\n") if line.strip()), "")

    def named(separator: str) -> int:
        names = {name.strip().strip('"').strip().lower() for name in first.split(separator)}
        return len(names & set(columns))

    return max(_SEPARATORS, key=named)  # the first of equals: a comma


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line that each record ends on, and its values; none of blank ones."""
    reader = csv.reader(
        StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    for values in reader:
        if any(value.strip() for value in values):
            yield reader.line_num, values
