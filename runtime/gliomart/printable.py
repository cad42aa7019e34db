"""Text of others, made fit to be shown."""

from __future__ import annotations


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
