"""From the words of a DICOM image to modality values, and to which of them are padding.

What the description of the pixels says is held against the words themselves: bits beyond those
stored, a rescale slope that is no number, a padding value written in the wrong sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.greyscale import enclosed
from gliomart.printable import said
from gliomart.sources.attributes import numbers, text, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pydicom import Dataset

    from gliomart.sources.attributes import Frame
    from gliomart.sources.codecs import Words

# Overlays lie in the even groups 6000 to 601E (DICOM PS3.3 C.9.2).
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_OVERLAY_BIT_POSITION, _OVERLAY_DATA = 0x0102, 0x3000
_SMALLEST = float(np.finfo(np.float32).tiny)
_LARGEST = float(np.finfo(np.float32).max)
# Padding that differs by more than this, between dark and bright, from most of it is tissue, where
# it takes more than this of the image (a range up to half of a brain takes 2 % at most), and so is
# what is not connected to the image's border, where it takes more than this (skull takes 11 %).
_LIKE_A_HEAD, _MOST_TISSUE, _MOST_ENCLOSED = 0.12, 0.1, 0.15
# An intercept must leave at least so many levels in single precision between dark and bright.
_FEWEST_LEVELS = 256


def values_of(
    words: Words, dataset: Dataset, frame: Frame
) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_] | None]:
    """Calculate the modality values of a frame (DICOM PS3.3 C.11.1), and find its padding.

    Returns
    -------
    values, padding
        float (H, W), and bool (H, W) or None where nothing is padding, or everything. Values of
        MONOCHROME1 change their sign, so that bright is always high; those of padding become the
        darkest that is none.

    Raises
    ------
    InputRefusedError
        ``unused-bits``, ``bad-padding``, ``bad-rescale`` or ``undecodable``.
    """
    padding = padding_of(words, dataset)
    check_unused_bits(words, dataset, padding)
    slope, intercept = rescale_of(frame)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite
            values = _transformed(words.stored, dataset, slope, intercept)
    except InputRefusedError:
        raise
    except Exception as error:  # a look-up table may hold anything: whatever it does is a refusal
        reason = f"the modality values cannot be calculated: {said(error)}"
        raise InputRefusedError("undecodable", reason) from error
    if text(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        values = -values
    if padding is None or padding.all():
        return values, None
    _check_padding(words.stored, padding)
    values[padding] = values[~padding].min()
    return values, padding


def padding_of(words: Words, dataset: Dataset) -> NDArray[np.bool_] | None:
    """Find the pixels that the scanner left empty (DICOM PS3.3 C.7.5.1.1.2); None for none.

    Padding Value and Range Limit are written as US or SS, and not always as what the pixels are:
    -2000 and 63536 are the same word of 16 bits. So both are compared modulo the width of a word,
    and with the whole word, whose bits beyond those stored may be set in padding alone. Nothing is
    compared modulo the bits that are *stored*: there, -2000 is a bright value of 12 bits.
    """
    first = numbers(dataset, "PixelPaddingValue", 1)
    if first is None:
        return None
    last = numbers(dataset, "PixelPaddingRangeLimit", 1) or first
    width = 8 * words.raw.itemsize
    declared = sorted((first[0], last[0]))
    signed = words.stored.dtype.kind == "i"
    wrap = _to_signed if signed else _to_unsigned
    wrapped = sorted(wrap(end, words.bits, width) for end in (first[0], last[0]))
    # The wrong one of both reaches across most of what is possible.
    low, high = min(wrapped, declared, key=lambda ends: ends[1] - ends[0])
    found = _within(words.stored, low, high)
    if words.bits < width:
        found |= _within(
            words.raw.view(f"i{words.raw.itemsize}") if signed else words.raw, low, high
        )
    if not signed and -(2 ** (width - 1)) <= low < 0:
        found |= _within(words.raw, low + 2**width, min(high, -1) + 2**width)
    return found if found.any() else None


def _check_padding(stored: NDArray[np.integer], padding: NDArray[np.bool_]) -> None:
    """Refuse a range of padding that takes a head with it.

    Padding is one value, or a few with the noise of air. Tissue differs from it, and within itself,
    like a head from its surroundings.
    """
    taken = stored[padding]
    if taken[0] == taken[-1] and (taken == taken[0]).all():
        return
    values, counts = np.unique(taken, return_counts=True)
    usual = float(values[counts.argmax()])
    dark, bright = np.percentile(stored, (1, 99))
    apart = np.abs(values - usual) > _LIKE_A_HEAD * (bright - dark)
    share = int(counts[apart].sum()) / stored.size
    enclosed_share = float(enclosed(padding).mean())
    if share > _MOST_TISSUE or enclosed_share > _MOST_ENCLOSED:
        raise InputRefusedError(
            "bad-padding",
            f"of many values, what is declared as padding takes {max(share, enclosed_share):.0%} of"
            " the image with it that are no air",
        )


def _within(words: NDArray[np.integer], low: float, high: float) -> NDArray[np.bool_]:
    """Compare without leaving the integers' own type, which takes a tenth of the time."""
    limits = np.iinfo(words.dtype)
    low, high = max(int(np.ceil(low)), int(limits.min)), min(int(np.floor(high)), int(limits.max))
    if low > high:
        return np.zeros(words.shape, bool)
    return np.asarray(words == low if low == high else (words >= low) & (words <= high))


def _to_signed(value: float, bits: int, width: int) -> float:
    for size in (16, width, bits):  # the attribute has 16 bits, whatever the pixels have
        if 2 ** (size - 1) <= value < 2**size and size <= max(width, 16):
            value -= 2**size
    return value


def _to_unsigned(value: float, _bits: int, width: int) -> float:
    return value + 2**width if -(2 ** (width - 1)) <= value < 0 else value


def check_unused_bits(
    words: Words, dataset: Dataset, padding: NDArray[np.bool_] | None = None
) -> None:
    """Refuse words that do not fit into the bits that are said to be stored.

    A sign may be extended beyond them, padding may set them, and an overlay may lie in them that
    says so (DICOM PS3.5 8.1.1 and PS3.3 C.9.2, retired). Anything else is a value that lost its
    highest bits: what was brightest would look dark.

    Raises
    ------
    InputRefusedError
        ``unused-bits``
    """
    raw, width = words.raw, 8 * words.raw.itemsize
    if words.bits == width or words.raw.size == 0 or words.bits == 1:
        return
    signed = words.stored.dtype.kind == "i"
    if words.high_bit == words.bits - 1:
        if raw.max() < 2 ** (words.bits - signed):
            return
        if signed and np.array_equal(raw.view(words.stored.dtype), words.stored):
            return
    whole, lowest = 2**width - 1, words.high_bit - words.bits + 1
    used = (2**words.bits - 1) << lowest
    spare = whole & ~used & ~sum(1 << position for position in set(_overlay_bits(dataset, width)))
    set_bits = raw & raw.dtype.type(spare)
    odd = set_bits != 0
    if signed:
        above = spare & (whole << (words.high_bit + 1))
        odd = _unlike_signs(words, set_bits, above, padding)
    if padding is not None:
        odd &= ~padding
    if odd.any():
        raise InputRefusedError(
            "unused-bits",
            f"{int(odd.sum())} pixels do not fit into the {words.bits} bits that are said to be"
            " stored, and no overlay is declared in the others",
        )


def _unlike_signs(
    words: Words,
    set_bits: NDArray[np.unsignedinteger],
    above: int,
    padding: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """Find words that are no signed value: others than zero, or its sign, in the bits above it.

    Some writers do not extend the sign. Then a value that ran over into it has to be told from a
    negative one: negative ones begin at -1, next to zero, the others at the far end.
    """
    negative = words.stored < 0
    odd = (set_bits != 0) & ~(negative & (set_bits == above))
    if above == 0:
        return odd
    bare = negative & (set_bits == 0)
    if padding is not None:
        bare &= ~padding
    over = bare & (words.stored < -(2 ** (words.bits - 2)))
    return odd | over if 2 * np.count_nonzero(over) > np.count_nonzero(bare) else odd


def _overlay_bits(dataset: Dataset, width: int) -> Iterator[int]:
    """Tell which bits of the words hold an overlay of old: one that has no data of its own."""
    for group in _OVERLAY_GROUPS:
        element = dataset.get((group, _OVERLAY_BIT_POSITION))
        if element is None or (group, _OVERLAY_DATA) in dataset:
            continue
        try:
            position = int(element.value)
        except (TypeError, ValueError):
            continue
        if 0 <= position < width:
            yield position


def rescale_of(frame: Frame) -> tuple[float | None, float]:
    """Read Rescale Slope and Intercept (DICOM PS3.3 C.11.1.1.2); None for a slope that is missing.

    Raises
    ------
    InputRefusedError
        ``bad-rescale``: one is there, and is not one number that values can be calculated with.
    """
    slope = _number(frame, "RescaleSlope", "Rescale Slope")
    intercept = _number(frame, "RescaleIntercept", "Rescale Intercept")
    if slope == 0:
        raise _bad("the Rescale Slope is 0, which makes all pixels alike")
    if slope is not None and not _SMALLEST <= abs(slope) <= _LARGEST:
        raise _bad(f"a Rescale Slope of {slope:g} is beyond what single precision holds")
    return slope, intercept or 0.0


def _number(frame: Frame, keyword: str, name: str) -> float | None:
    if not frame.given(keyword):
        return None
    found = numbers(frame, keyword, 1)
    if found is None:
        raise _bad(f"the {name} is there, and is not one finite number")
    return found[0]


def _transformed(
    stored: NDArray[np.integer], dataset: Dataset, slope: float | None, intercept: float
) -> NDArray[np.floating[Any]]:
    from pydicom.pixels.processing import apply_modality_lut

    if slope is None:
        table = value_of(dataset, "ModalityLUTSequence")
        # pydicom takes an element without a value for one that has one.
        looked_up = apply_modality_lut(stored, dataset) if table else stored
        return np.array(looked_up, np.float32)
    step = float(np.spacing(np.float32(min(abs(intercept), _LARGEST))))
    if abs(intercept) > _LARGEST or step > abs(slope):
        span = (float(stored.max()) - float(stored.min())) * abs(slope)
        if 0 < span < _FEWEST_LEVELS * step:
            raise _bad(f"a Rescale Intercept of {intercept:g} leaves nothing of the pixels")
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _bad(reason: str) -> InputRefusedError:
    return InputRefusedError("bad-rescale", reason)
