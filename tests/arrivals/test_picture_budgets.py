"""What asks for too much is refused before it is decoded, in little time and memory."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliomart import sources
from gliomart.errors import InputRefusedError
from gliomart.image.slices import Refusal, Slice
from gliomart.sources import Budget
from gliomart.sources.picture import Page, Picture
from niftis import affine, volume
from pictures import chunk
from samples import draw_head
from tiffs import page, tiff

_BASE = affine(10)
_MEGABYTES = 300
_SECONDS = 1.0

# Reads files in a process of its own, one after the other; prints the codes, the seconds and the
# growth of its peak memory for each.
_MEASURE = """
import json, resource, sys, time
from pathlib import Path
from gliomart import sources
def all_of(path):
    inventory = sources.scan([path])
    items = list(inventory.refused)
    for series in inventory.series:
        for file in series.files:
            items += sources.read(file)
    return [getattr(item, "code", "read") for item in items]
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
def measure(path):
    before, begin = peak(), time.perf_counter()
    codes = all_of(path)
    return sorted(set(codes)), time.perf_counter() - begin, peak() - before
all_of(Path(sys.argv[1]))  # what is imported on the way is not the attack
begin = peak()
found = {path.name: measure(path) for path in sorted(Path(sys.argv[2]).iterdir())}
print(json.dumps([found, peak() - begin]))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Read all files; see what each takes, and give their codes."""
    usual, hostile = tmp_path_factory.mktemp("usual"), tmp_path_factory.mktemp("hostile")
    (usual / "a.png").write_bytes(_png(64, 64, bytes(65 * 64 - 1) + b"\1"))
    (usual / "a.tif").write_bytes(tiff([page(draw_head((64, 64)))]))
    (usual / "a.nii.gz").write_bytes(gzip.compress(volume(s=(_BASE, 1))))
    for name, content in (_TOO_LARGE | _TOO_MANY).items():
        (hostile / name).write_bytes(content())
    for name, (_, contradictory) in _CONTRADICTORY.items():
        (hostile / name).write_bytes(contradictory())
    for name, start in _HUGE.items():
        with (hostile / name).open("wb") as stream:
            stream.write(start)
            stream.truncate(3 << 30)
    command = [sys.executable, "-c", _MEASURE, str(usual), str(hostile)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found, grown = json.loads(done.stdout.splitlines()[-1])
    assert grown < _MEGABYTES, {name: mb for name, (_, _, mb) in found.items() if mb > 10}
    assert {name: seconds for name, (_, seconds, _) in found.items() if seconds > _SECONDS} == {}
    return {name: codes for name, (codes, _, _) in found.items()}


def _png(
    width: int, height: int, raw: bytes, *, depth: int = 8, colour: int = 0, more: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(raw, 9))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def _deflated_tiff(
    width: int, height: int, *, pages: int = 1, big: bool = False, **tags: Any
) -> bytes:
    """Describe large pages, all of them of one small strip of zeros."""
    content = zlib.compress(bytes(1 << 24), 9)
    described = page(np.zeros((1, 1), np.uint16), {
        256: ("long", [width]), 257: ("long", [height]), 259: ("short", [8]),
        278: ("long", [height]), 279: ("long", [len(content)]),
        **{int(tag[1:]): value for tag, value in tags.items()},
    })[1]  # fmt: skip
    return tiff(
        [(content, described)] + [(b"", {**described, 273: ("long", [0])})] * (pages - 1), big=big
    )


def _sof(width: int, height: int, components: int = 3) -> bytes:
    parts = b"".join(bytes((number, 0x11, 0)) for number in range(1, components + 1))
    frame = struct.pack(">BHHB", 8, height, width, components) + parts
    return b"\xff\xd8\xff\xc2" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda\0\2\xff\xd9"


def _loop() -> bytes:
    content = bytearray(tiff([page(draw_head((64, 64)))]))
    struct.pack_into("<I", content, len(content) - 4, struct.unpack_from("<I", content, 4)[0])
    return bytes(content)


_TOO_LARGE = {
    "square.png": lambda: _png(20000, 20000, bytes(1 << 26)),
    "deep.png": lambda: _png(20000, 20000, bytes(1 << 26), depth=16, colour=6),
    "wide.png": lambda: _png(2**31 - 1, 1, b""),
    "high.png": lambda: _png(1, 2**31 - 1, b""),
    "no.jpg": lambda: _sof(65535, 65535),
    "grey.jpg": lambda: _sof(65535, 64, 1),
    "square.tif": lambda: _deflated_tiff(20000, 20000),
    "big.tif": lambda: _deflated_tiff(2**31, 2**31, big=True),
    "long8.tif": lambda: _deflated_tiff(1, 1, big=True, t256=("long8", [2**60])),
    "later.tif": lambda: tiff([
        page(draw_head((64, 64))), page(draw_head((64, 64)), {256: ("long", [20000])}),
    ]),
    "wide.nii": lambda: volume(s=(_BASE, 1), dim=[3, 32767, 2, 1, 1, 1, 1, 1]),
    "wide.nii.gz": lambda: gzip.compress(volume(s=(_BASE, 1), dim=[3, 32767, 2, 1, 1, 1, 1, 1])),
}  # fmt: skip
_TOO_MANY = {
    "rgba.png": lambda: _png(8192, 8192, bytes(1 << 20), depth=16, colour=6),
    "la.png": lambda: _png(8192, 8192, bytes(1 << 20), colour=4),
    "colour.jpg": lambda: _sof(8192, 8192),
    "float.tif": lambda: _deflated_tiff(8192, 8192, t258=("short", [32])),
    "pages.tif": lambda: _deflated_tiff(8000, 8000, pages=20),
    "eight.tif": lambda: _deflated_tiff(6000, 6000, pages=40, t258=("short", [8])),
    "one.tif": lambda: _deflated_tiff(8192, 8192, pages=30, t258=("short", [8])),
    "colours.tif": lambda: _deflated_tiff(
        6000, 6000, pages=16, t258=("short", [8]), t262=("short", [2]), t277=("short", [3])
    ),
    "bigpages.tif": lambda: _deflated_tiff(8000, 8000, pages=20, big=True),
    "palette.tif": lambda: _deflated_tiff(8192, 8192, t258=("short", [8]), t262=("short", [3])),
    "tile.tif": lambda: _deflated_tiff(
        64, 64, t322=("long", [1 << 20]), t323=("long", [1 << 10]), t324=("long", [0]),
        t325=("long", [100]),
    ),
    "vast.nii": lambda: volume(s=(_BASE, 1), dim=[3, 8000, 8000, 30, 1, 1, 1, 1]),
    "vast.nii.gz": lambda: gzip.compress(volume(s=(_BASE, 1), dim=[3, *[32000] * 3, *[1] * 4])),
    "vast2.nii": lambda: volume(s=(_BASE, 1), two=True, dim=[3, 2**40, 2**40, 2**40] + [1] * 4),
}  # fmt: skip
_CONTRADICTORY = {
    "short.nii": ("undecodable", lambda: volume(s=(_BASE, 1), dim=[3, 4000, 4000, 30] + [1] * 4)),
    "short.nii.gz": (
        "undecodable",
        lambda: gzip.compress(volume(s=(_BASE, 1), dim=[3, 4000, 4000, 30] + [1] * 4)),
    ),
    "more.nii.gz": (
        "not-a-volume", lambda: gzip.compress(volume(s=(_BASE, 1)) + bytes(1 << 28)),
    ),
    "extension.nii.gz": (
        "unreadable",
        lambda: gzip.compress(
            volume(s=(_BASE, 1), vox_offset=2e9)[:348] + b"\1\0\0\0"
            + struct.pack("<ii", 1 << 30, 6) + bytes(1 << 28)
        ),
    ),
    "loop.tif": ("undecodable", _loop),
    "fields.tif": ("truncated", lambda: b"II*\0\x08\0\0\0\xff\x0f" + bytes(100)),
    "many.tif": ("undecodable", lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(1 << 20)),
    "bigfields.tif": ("undecodable", lambda: b"II+\0\x08\0\0\0\x10" + bytes(7) + b"\xff" * 64),
    "frames.png": (
        "truncated",
        lambda: _png(64, 64, bytes(65 * 64), more=chunk(b"acTL", struct.pack(">II", 2**31, 0))),
    ),
    "chunks.png": (
        "too-many-elements",
        lambda: _png(64, 64, bytes(65 * 64), more=chunk(b"abCd", b"") * 510_000),
    ),
    "noise.png": ("truncated", lambda: b"\x89PNG\r\n\x1a\n" + b"\xff" * 4000),
    "fill.jpg": ("too-many-elements", lambda: b"\xff\xd8" + b"\xff" * 700_000 + b"\xff\xd9"),
    "scans.jpg": (
        "too-many-elements",
        lambda: _sof(2000, 2000, 1)[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0\0" * 2000 + b"\xff\xd9",
    ),
}  # fmt: skip


_HUGE = {
    "huge.png": b"\x89PNG\r\n\x1a\n", "huge.jpg": b"\xff\xd8\xff", "huge.tif": b"II*\0",
    "huge.nii": b"\x5c\1\0\0", "huge.nii.gz": b"\x1f\x8b",
}  # fmt: skip


@pytest.mark.parametrize("name", _TOO_LARGE)
def test_what_is_too_large_is_refused_before_it_is_decoded(measured: Any, name: str) -> None:
    assert measured[name] == ["too-large"]


@pytest.mark.parametrize("name", _TOO_MANY)
def test_too_many_pixels_are_refused_before_they_are_decoded(measured: Any, name: str) -> None:
    assert measured[name] == ["too-many-pixels"]


@pytest.mark.parametrize("name", _CONTRADICTORY)
def test_promises_that_a_file_does_not_keep_cost_little(measured: Any, name: str) -> None:
    assert measured[name] == [_CONTRADICTORY[name][0]]


@pytest.mark.parametrize("name", _HUGE)
def test_a_file_that_is_too_large_is_not_read(measured: Any, name: str) -> None:
    assert measured[name] == ["too-many-bytes"]


def test_a_page_of_eight_bits_is_held_in_thirty_two() -> None:
    page, limit = Page(8192, 8192, 1, 8), Budget()
    Picture([page]).admit(limit)
    Picture([page] * 8).admit(limit)
    with pytest.raises(InputRefusedError) as caught:
        Picture([page] * 9).admit(limit)
    assert caught.value.code == "too-many-pixels"
    for bits, samples, size in ((1, 1, 4), (8, 3, 4), (16, 3, 6), (64, 1, 8), (32, 4, 16)):
        assert Page(10, 10, samples, bits).held_bytes == 100 * size


def test_the_budget_of_pictures_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff([page(draw_head((64, 64)))] * 3))
    size = 64 * 64 * 4
    for budget, code in (
        (Budget(), None),
        (Budget(frame_bytes=size, pixel_bytes=3 * size), None),
        (Budget(frame_bytes=size - 1), "too-many-pixels"),
        (Budget(pixel_bytes=3 * size - 1), "too-many-pixels"),
        (Budget(file_bytes=3 * size), "too-many-bytes"),
        (Budget(elements=30), "too-many-elements"),
    ):
        (series,) = sources.scan([tmp_path / "a.tif"], budget).series
        items = list(sources.read(series.files[0]))
        if code is None:
            assert [type(item) for item in items] == [Slice] * 3
        else:
            assert [item.code for item in items if isinstance(item, Refusal)] == [code]
