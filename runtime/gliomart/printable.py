"""Text of others, made fit to be shown."""

from __future__ import annotations

import re

# The folders of an absolute path: POSIX, a drive, a share or a file URL. A blank may be part of
# a folder's name, so that everything up to the last separator goes.
_FOLDERS = re.compile(
    r"""(?:(?<![\w./])/(?![/\s])|\bfile:/+|\b[A-Za-z]:[\\/]|\\\\(?=\S))(?:[^\\/'"]*[\\/])*"""
)
_LONGEST_REASON = 200


def printable(text: str) -> str:
    r"""Write out what a terminal would obey, hide or reorder instead of showing it.

    Control characters, escape sequences, line breaks, bidirectional overrides, surrogates and
    the like, which is all that :meth:`str.isprintable` denies, become ``\x1b`` and so on.

    Examples
    --------
    >>> print(printable("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def said(error: BaseException) -> str:
    r"""Tell in one line what an exception of somebody else's says, without the folders it names.

    Results are passed on, and where files lie on a machine may tell who was examined on it.

    Examples
    --------
    >>> said(ValueError("cannot open '/home/jane/scan.nii'\nat all"))
    "ValueError: cannot open 'scan.nii' at all"
    """
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return printable(without_folders(line[: 10 * _LONGEST_REASON]))[:_LONGEST_REASON]


def reason_of(error: OSError) -> str:
    """Say in a few words what the operating system said, without the path that it said it of."""
    return (error.strerror or type(error).__name__).lower()


def last_line(text: str) -> str:
    """Take the last line that is not blank, which names the exception in a traceback."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def without_folders(text: str) -> str:
    """Leave the names of absolute paths in a text, and take out the folders before them."""
    return _FOLDERS.sub("", text)
