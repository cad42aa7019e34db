"""What the pages of a TIFF say before they are decoded, and what of it OpenCV does not obey.

OpenCV turns 8-bit values of which 0 is white and no others, multiplies some values with their
opacity and others not, reads the first of several grey samples, and knows nothing of files that
hold more than their directories say. The directories are therefore patched, so that it decodes what
is stored, and everything else is done here for all depths alike; see :mod:`.images`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.sources import tiff
from gliomart.sources.picture import Page, Picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart.sources.budget import Budget
    from gliomart.sources.picture import Opacity, Window
    from gliomart.sources.tiff import Directory

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _MEANING = 254, 256, 257, 258, 259, 262
_DESCRIPTION, _STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES = 270, 273, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 284, 317, 322, 323, 324, 325
_DIRECTORIES, _EXTRA, _FORMAT, _DEPTH, _TILE_DEPTH, _STACK = 330, 338, 339, 32997, 32998, 33629
_PRIVATE = 65000  # a tag that nobody gives a meaning to

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_MEANINGS = {4: "a mask", 32803: "raw values of a camera", 32844: "LogL", 32845: "LogLuv"}
_REDUCED, _MASK = 1, 4  # bits of the subfile type
_UNCOMPRESSED = 1
_BYTE_BY_BYTE = frozenset({1, 5, 8, 32773, 32946})  # none, LZW, deflate, PackBits
_UNSIGNED = 1
_MOST_SAMPLES = 4
_PACKED = frozenset({10, 12, 14})
# Depths that are decoded, by what the values are: whole numbers, signed ones, floats, untold.
_WHOLE = frozenset({8, 16, 32, 64})
_DEPTHS = {1: _WHOLE | _PACKED | {1, 4}, 2: _WHOLE, 3: frozenset({32, 64}), 4: _WHOLE | {1}}
_OPACITIES: dict[int, Opacity] = {1: "premultiplied", 2: "straight"}
_LONGEST_TEXT = 1 << 20
_MOST_SUBFILES = 64
_ADVICE = "save each slice as a page or a file of its own"


def describe(window: Window, budget: Budget) -> Picture:
    """Read the directories of all pages.

    Raises
    ------
    InputRefusedError
        ``truncated``, ``undecodable``, ``too-many-elements``, ``unsupported-format``, or
        ``volumetric-tiff`` where the file holds more slices than it has pages.
    """
    directories = list(tiff.chain(window, budget))
    if not directories:
        raise InputRefusedError("undecodable", "the TIFF has no pages")
    several = len(directories) > 1
    pages = [
        _page(directory, f"page {number}" if several else "the picture")
        for number, directory in enumerate(directories, start=1)
    ]
    Picture(pages).admit(budget)
    patches: list[tuple[int, bytes]] = []
    for directory, page in zip(directories, pages, strict=True):
        _check_blocks(directory, page, budget)
        patches += _patches(directory, page)
    _refuse_volumes(directories, pages)
    return Picture(pages, patches)


def _page(directory: Directory, name: str) -> Page:
    samples = directory.number(_SAMPLES, 1)
    bits = directory.numbers(_BITS, most=8) or [1]
    meaning = directory.number(_MEANING, -1)
    extra = directory.numbers(_EXTRA, most=8)
    grey = meaning in {_WHITE_IS_ZERO, _BLACK_IS_ZERO}
    side_by_side = grey and samples > 1
    opacity = _OPACITIES.get(extra[-1]) if extra and samples > 1 else None
    if meaning == _RGB and samples > 3:  # noqa: PLR2004  # as in PNG, where nobody says otherwise
        opacity = opacity or "straight"
    if fault := _not_read(directory, samples, bits, meaning):
        raise InputRefusedError("unsupported-format", f"{name} of the TIFF is {fault}")
    kind = directory.number(_SUBFILE, 0)
    return Page(
        width=directory.number(_WIDTH, 0),
        height=directory.number(_HEIGHT, 0),
        samples=samples if grey or meaning == _RGB else 4,
        bits=16 if bits[0] in _PACKED else bits[0],
        orientation=tiff.orientation_of(directory),
        inverted=meaning == _WHITE_IS_ZERO,
        opacity=opacity,
        side_by_side=side_by_side,
        left_out="a smaller copy of another page" if kind & _REDUCED else None,
    )


def _not_read(directory: Directory, samples: int, bits: list[int], meaning: int) -> str | None:
    """Say what is decoded wrongly or not at all; None where all is well."""
    of_eight_bits = bits[0] == 8  # noqa: PLR2004
    together = directory.number(_PLANAR, 1) == 1
    fault = None
    if directory.number(_SUBFILE, 0) & _MASK or meaning in _MEANINGS:
        fault = _MEANINGS.get(meaning, _MEANINGS[4])
    elif len(set(bits)) > 1 or bits[0] not in _DEPTHS.get(directory.number(_FORMAT, _UNSIGNED), ()):
        fault = f"of values of {' and '.join(map(str, dict.fromkeys(bits)))} bits that are not read"
    elif meaning in {_WHITE_IS_ZERO, _BLACK_IS_ZERO}:
        whole_bytes = bits[0] % 8 == 0
        plain = directory.number(_PREDICTOR, 1) == 1
        lossless = directory.number(_COMPRESSION, _UNCOMPRESSED) in _BYTE_BY_BYTE
        readable = together and whole_bytes and plain and lossless and samples <= _MOST_SAMPLES
        if samples > 1 and not readable:
            fault = f"grey of {samples} samples a pixel, packed in a way that is not read"
        elif bits[0] == 4:  # noqa: PLR2004
            fault = "grey of 4 bits"
    elif meaning == _RGB:
        if samples not in {3, 4} or not (together or of_eight_bits):
            fault = f"colour of {samples} samples of {bits[0]} bits, which are not side by side"
    elif meaning == _PALETTE:
        fault = None if samples == 1 and bits[0] in {4, 8} else f"a palette of {bits[0]} bits"
    elif meaning in {_CMYK, _YCBCR, _LAB}:
        fault = None if of_eight_bits else f"printing or video colour of {bits[0]} bits"
    else:
        fault = "of a colour space that is not read"
    return fault


def _patches(directory: Directory, page: Page) -> Iterator[tuple[int, bytes]]:
    """Let the decoder give what is stored: not turned, not inverted, not multiplied."""
    if directory.numbers(tiff.ORIENTATION):
        yield directory.patch(tiff.ORIENTATION, 1)
    if directory.number(_ROWS, 1) > page.height:  # memory is taken for as many
        yield directory.patch(_ROWS, page.height)
    if page.inverted:
        yield directory.patch(_MEANING, _BLACK_IS_ZERO)
    if page.side_by_side:
        yield directory.patch(_WIDTH, page.width * page.samples)
        yield directory.patch(_SAMPLES, 1)
        if _TILE_WIDTH in directory.fields:
            yield directory.patch(_TILE_WIDTH, directory.number(_TILE_WIDTH, 0) * page.samples)
        if _EXTRA in directory.fields:
            yield directory.rename(_EXTRA, _PRIVATE)
    elif page.opacity == "straight" and _EXTRA in directory.fields:
        yield directory.patch(_EXTRA, 1)


def _check_blocks(directory: Directory, page: Page, budget: Budget) -> None:
    """Refuse pages whose strips or tiles lie outside the file, or ask for more than the page."""
    tiled = _TILE_WIDTH in directory.fields
    across, down = page.width, min(directory.number(_ROWS, page.height), page.height)
    if tiled:
        across, down = directory.number(_TILE_WIDTH, 0), directory.number(_TILE_HEIGHT, 0)
    if across < 1 or down < 1:
        raise InputRefusedError("undecodable", "the strips or tiles of the TIFF have no size")
    if across * down * page.samples * max(1, page.bits // 8) > budget.frame_bytes:
        raise InputRefusedError(
            "too-many-pixels", "a tile of the TIFF is larger than a page may be"
        )
    planes = directory.number(_SAMPLES, 1) if directory.number(_PLANAR, 1) != 1 else 1
    count = -(-page.width // across) * -(-page.height // down) * planes
    starts = directory.numbers(_TILES if tiled else _STRIPS, most=count)
    lengths = directory.numbers(_TILE_BYTES if tiled else _STRIP_BYTES, most=count)
    if not starts:
        raise InputRefusedError("undecodable", "the TIFF does not say where its pixels are")
    ends = np.array(starts, object) + np.array((lengths + [0] * len(starts))[: len(starts)], object)
    if len(starts) < count or max(ends) > directory.window.size:
        raise InputRefusedError("truncated", "the file ends in the middle of the image")


def _refuse_volumes(directories: Sequence[Directory], pages: Sequence[Page]) -> None:
    """Refuse a file that holds more slices than it has pages, or other things than slices."""
    several = " and ".join(_stacks(directories, pages))
    if several:
        raise InputRefusedError("volumetric-tiff", f"the TIFF holds {several}; {_ADVICE}")


def _stacks(directories: Sequence[Directory], pages: Sequence[Page]) -> Iterator[str]:
    depth = max(max(d.number(_DEPTH, 1), d.number(_TILE_DEPTH, 1)) for d in directories)
    stack = directories[0].fields.get(_STACK)
    if depth > 1:
        yield f"pages that are {depth} slices deep"
    elif stack is not None and stack.length > len(pages):
        yield f"a stack of {stack.length} slices in {len(pages)} pages"
    else:
        yield from _described(directories[0].text(_DESCRIPTION, _LONGEST_TEXT), pages)
    subfiles = [sub for d in directories for sub in _subfiles(d)]
    if not all(sub.number(_SUBFILE, 0) & _REDUCED for sub in subfiles):
        yield "pictures beneath its pages"
    elif not depth > 1 and _unclaimed(directories, subfiles) >= max(map(_stored, directories)) > 0:
        yield "pixels that belong to no page, as of slices that only its own program finds"


def _described(text: str, pages: Sequence[Page]) -> Iterator[str]:
    """Tell what the programs that write stacks say of them in words: ImageJ, and OME in XML."""
    if text.startswith("ImageJ="):
        said = dict(
            re.findall(r"^(images|channels|slices|frames)=(\d{1,9})\s*$", text, re.MULTILINE)
        )
        counts = {name: int(number) for name, number in said.items()}
        channels, times = counts.get("channels", 1), counts.get("frames", 1)
        slices = max(counts.get("images", 1), counts.get("slices", 1) * channels * times)
        if times > 1 and counts.get("slices", 1) == channels == 1:
            times = 1  # ImageJ calls a plain stack frames where it was imported as one
    elif "<OME" in text[:1000]:
        pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", text)
        sizes = dict(re.findall(r"\bSize([ZCT])=[\"'](\d{1,9})[\"']", pixels[0] if pixels else ""))
        channels = int(sizes.get("C", 1)) // max(pages[0].samples, 1) or 1
        times = int(sizes.get("T", 1))
        slices = int(sizes.get("Z", 1)) * channels * times
    else:
        return
    if slices > len(pages):
        yield f"{slices} slices in {len(pages)} page{'s' if len(pages) > 1 else ''}"
    elif channels > 1 or times > 1:
        yield f"{channels} channels and {times} times of each slice"


def _subfiles(directory: Directory) -> Iterator[Directory]:
    for start in directory.numbers(_DIRECTORIES, most=_MOST_SUBFILES):
        yield tiff.directory_at(directory.window, directory.layout, start)


def _stored(directory: Directory) -> int:
    """Bytes of a page's pixels in the file; 0 where they are compressed."""
    if directory.number(_COMPRESSION, _UNCOMPRESSED) != _UNCOMPRESSED:
        return 0
    width, height = directory.number(_WIDTH, 0), directory.number(_HEIGHT, 0)
    if _TILE_WIDTH in directory.fields:
        across, down = directory.number(_TILE_WIDTH, 1), directory.number(_TILE_HEIGHT, 1)
        width, height = -(-width // across) * across, -(-height // down) * down
    row = -(-width * directory.number(_SAMPLES, 1) * directory.number(_BITS, 1) // 8)
    return row * height


def _unclaimed(directories: Sequence[Directory], subfiles: Sequence[Directory]) -> int:
    """Count the bytes of a file of uncompressed pages that belong to none of them."""
    claimed = 0
    for directory in (*directories, *subfiles):
        stored = _stored(directory)
        if stored == 0:
            return 0
        inline = directory.layout.inline
        values = sum(f.size for f in directory.fields.values() if f.size > inline)
        claimed += stored + values + directory.end - directory.start
    return directories[0].window.size - claimed
