"""Whether pixels were compressed with loss, now or earlier, told without looking at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.sources.attributes import words

if TYPE_CHECKING:
    from pydicom import Dataset

_JPEG = "1.2.840.10008.1.2.4."
# Transfer syntaxes (PS3.5 section 10, PS3.6 table A-1) that always lose: JPEG but its lossless
# processes, JPEG-LS Near-Lossless, MPEG and HEVC, JPEG XL made from JPEG.
LOSSY_SYNTAXES = frozenset(
    _JPEG + end
    for end in (
        "50", "51", "52", "53", "54", "55", "56", "59", "60", "61", "62", "63", "64", "81",
        "100", "100.1", "101", "101.1", "102", "102.1", "103", "103.1", "104", "104.1", "105",
        "105.1", "106", "106.1", "107", "108", "111",
    )
)  # fmt: skip
# Those that may lose or not: JPEG 2000, its Part 2, High-Throughput JPEG 2000, JPEG XL.
EITHER_SYNTAXES = frozenset(_JPEG + end for end in ("91", "93", "112", "203"))

_YES = frozenset({"01", "1", "YES", "Y", "TRUE"})
_NO = frozenset({"00", "0", "NO", "N", "FALSE"})


def was_lossy(dataset: Dataset) -> bool:
    """Tell whether an image has ever been compressed with loss (PS3.3 C.7.6.1.1.5).

    The first of these that says anything decides: a transfer syntax that always loses; Lossy Image
    Compression; the largest Lossy Image Compression Ratio, above 1 or not; a Lossy Image
    Compression Method; a transfer syntax that may lose counts as one that does. Derivation
    Description is free text and no evidence.
    """
    meta = getattr(dataset, "file_meta", None) or {}  # a data set made in memory has none
    syntax = str(meta.get("TransferSyntaxUID") or "")
    if syntax in LOSSY_SYNTAXES:
        return True
    said = {word.upper() for word in _values(dataset, "LossyImageCompression")}
    if said & (_YES | _NO):
        return bool(said & _YES)
    ratios = _values(dataset, "LossyImageCompressionRatio")
    if ratios:
        return _largest(ratios) > 1
    return bool(_values(dataset, "LossyImageCompressionMethod")) or syntax in EITHER_SYNTAXES


def _values(dataset: Dataset, keyword: str) -> list[str]:
    """Read the values of an attribute as text; none where it is missing or cannot be parsed."""
    return [word.strip() for word in words(dataset, keyword) if word.strip()]


def _largest(ratios: list[str]) -> float:
    """Take what is no number for loss: a ratio is written of what was lost."""
    try:
        return max(map(float, ratios))
    except ValueError:
        return float("inf")
