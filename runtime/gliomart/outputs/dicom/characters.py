"""Text of a source's header as Unicode, whatever its Specific Character Set is (PS3.3 C.12.1.1.2).

Objects are written in UTF-8 where their text needs more than ASCII: it has every character, and no
code extensions that writers get wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydicom.charset import CODES_TO_ENCODINGS, decode_bytes, python_encoding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom import Dataset

UTF_8 = "ISO_IR 192"
# Values of these representations are in the character set; those of others are ASCII (PS3.5 6.1.2).
TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})

# What ends a code extension (PS3.5 6.1.2.5.3).
_DELIMITERS = set(b"\\^=\r\n\t\f")
# Python leaves this escape sequence in the text that follows it.
_GB_2312 = "\x1b$)A"
# Names that are none of the standard's and mean one thing all the same.
_OTHER_NAMES = {
    "UTF8": "utf-8", "ASCII": "utf-8", "USASCII": "utf-8", "LATIN1": "latin-1",
    "LATIN2": "iso8859-2", "SHIFTJIS": "shift_jis", "SJIS": "shift_jis", "EUCJP": "euc_jp",
    "EUCKR": "euc_kr", "KSC5601": "euc_kr", "GB2312": "gb18030", "BIG5": "big5", "KOI8R": "koi8_r",
}  # fmt: skip
_ISO_8859 = re.compile(r"ISO8859([1-9]|1[013-6])")
_WINDOWS = re.compile(r"(?:WINDOWS|CP)(125\d|874|932|936|949|950)")


def _plain(name: str) -> str:
    """Leave of a name what misspellings leave as well."""
    return re.sub(r"[^A-Z0-9]", "", name.upper())


_STANDARD = {_plain(name): encoding for name, encoding in python_encoding.items()}
# Both are ASCII, of which UTF-8 is the only superset that tells whether text is in it.
_STANDARD |= dict.fromkeys(("", "ISOIR6", "ISO2022IR6"), "utf-8")
_ALONE = ("utf-8", "utf8", "gb18030", "gbk")


def encodings_of(names: Sequence[str]) -> tuple[str, ...]:
    """Choose Python's encodings for the values of Specific Character Set.

    Parameters
    ----------
    names
        As a header has them: misspelt, unknown or none at all.

    Returns
    -------
    The encoding that text begins in, and those that escape sequences may change it to. Where
    nothing that is known is named, it is UTF-8, which other encodings are not taken for.
    """
    known = [encoding for name in names or [""] if (encoding := _encoding(name))]
    first = known[0] if known else "utf-8"
    if first.lower() in _ALONE and len(known) == 1:
        return (first,)
    # An escape sequence names its own encoding, declared or not.
    return (first, *CODES_TO_ENCODINGS.values())


def _encoding(name: str) -> str | None:
    plain = _plain(name)
    if plain in _STANDARD or plain in _OTHER_NAMES:
        return _STANDARD.get(plain) or _OTHER_NAMES[plain]
    if latin := _ISO_8859.fullmatch(plain):
        return f"iso8859-{latin[1]}"
    windows = _WINDOWS.fullmatch(plain)
    return f"cp{windows[1]}" if windows else None


def decoded(value: bytes, encodings: Sequence[str]) -> str | None:
    """Decode a value of text; None where it is not in its character set."""
    text = decode_bytes(value, encodings, _DELIMITERS).replace(_GB_2312, "")
    return None if "\ufffd" in text or "\x1b" in text else text


def written_out(value: bytes) -> str:
    """Write the bytes that are not ASCII as ``%FC``, so that they are not taken for text."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"%{byte:02X}" for byte in value)  # noqa: PLR2004


def needed(dataset: Dataset) -> str | None:
    """Tell which character set the text of a data set needs; None where ASCII does."""
    texts = (str(element.value) for element in dataset.iterall() if element.VR in TEXT)
    return None if all(map(str.isascii, texts)) else UTF_8
