"""What a terminal is shown and a pipe is not: colours, and text cut to its width.

Colours stand for four things alone, and never carry what the words beside them do not say.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliomart.host.streams import usable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

# In ASCII, since a terminal's encoding may have nothing else.
_LEFT_OUT = "..."
_COLUMNS = 80


@dataclass(frozen=True)
class Ink:
    """ANSI colours (ECMA-48, SGR), or none where they would be noise."""

    coloured: bool

    @classmethod
    def of(cls, stream: TextIO | None) -> Ink:
        """Colour what goes to a terminal, unless ``NO_COLOR`` is set (https://no-color.org)."""
        dumb = os.environ.get("TERM") == "dumb"
        return cls(is_terminal(stream) and not dumb and not os.environ.get("NO_COLOR"))

    def flagged(self, text: str) -> str:
        """Mark what a model flagged."""
        return self._inked("1;35", text)

    def warning(self, text: str) -> str:
        """Mark what has to be known before a result is used."""
        return self._inked("33", text)

    def error(self, text: str) -> str:
        """Mark what ended a command."""
        return self._inked("31", text)

    def faint(self, text: str) -> str:
        """Step back behind what matters more."""
        return self._inked("2", text)

    def _inked(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured else text


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether somebody is looking; None is a stream that was closed."""
    stream = usable(stream)
    return stream is not None and hasattr(stream, "isatty") and stream.isatty()


def columns(stream: TextIO | None) -> int:
    """Width of the terminal that a stream goes to, in character cells.

    As :func:`shutil.get_terminal_size`, which knows of standard output alone.
    """
    text = os.environ.get("COLUMNS", "")
    if text.isdecimal() and int(text):
        return int(text)
    if stream is not None and is_terminal(stream):
        try:
            return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
        except OSError:  # of a terminal that is none of the system's
            return _COLUMNS
    return _COLUMNS


def cells(text: str) -> int:
    """Count the character cells that printable text takes."""
    return sum(map(_cells_of, text))


def shortened(text: str, width: int) -> str:
    """Cut text to a width in cells; its end, which tells names apart, stays longest.

    Examples
    --------
    >>> shortened("study/series_0001/slice_012.dcm", 20)
    'study...lice_012.dcm'
    """
    if cells(text) <= width:
        return text
    room = max(width - len(_LEFT_OUT), 0)
    end = _taken(reversed(text), room - room // 3)[::-1]
    return _taken(text, room - cells(end)) + _LEFT_OUT[:width] + end


def _taken(text: Iterable[str], width: int) -> str:
    """Take the first characters that fit."""
    taken = ""
    for character in text:
        width -= _cells_of(character)
        if width < 0:
            break
        taken += character
    return taken


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
