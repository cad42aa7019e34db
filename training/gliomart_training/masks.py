"""Tumour masks: where a file marks something, whatever program wrote it.

Any label but 0 counts, in any number of bits, as a number, a colour, an index into a palette or
opacity. A mask that cannot be read without a guess is an error, or a tumour would be taken for
healthy.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.errors import DatasetError, InputRefusedError
from gliomart.image.slices import Refusal, Slice
from gliomart.printable import reason_of
from gliomart.sources import DEFAULT, SourceFile, codecs, images, nifti, wall
from gliomart.sources import masks as names
from gliomart.sources.kinds import kind_of_content
from gliomart.sources.volumes import stacked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

# Files that say something about a mask or an image, and are neither.
_NOTES = frozenset({
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".md", ".pdf", ".log", ".yaml",
    ".yml", ".md5", ".sha256", ".bak",
})  # fmt: skip
# What surely calls a file or folder masks, and what probably does.
_SURELY = re.compile(r"(?:.*[-_. ])?(?:masks?|segs?|segmentations?)")
_PROBABLY = re.compile(
    r"(?:(?P<before>.*)[-_. ])?(?:masks?|segs?|segmentations?|gt|(?:ground[-_ ]?)?truth|labels?"
    r"|label[-_ ]?maps?|annotations?|rois?|contours?|consensus)(?:[-_. ](?P<after>.*))?"
)
# Bytes that tell the kind of a file.
_HEAD = 132
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Kinds that may have been compressed with loss, which leaves faint traces about every edge.
_LOSSY = (b"\xff\xd8\xff", b"RIFF", b"\0\0\0\x0cjP  ")
_DICOM_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66."
_HALF_WHITE = 127
# Traces of loss away from the edges of labels are darker, or smaller than a patch (pixels).
_TRACES, _EDGE, _PATCH, _PATCH_OF_COLOUR = 20, (7, 7), (3, 3), (5, 5)
_FULL = "marks every pixel; a mask is 0 where no tumour is"
# Of TIFF: Photometric Interpretation with two of its values, and Samples per Pixel.
_PHOTOMETRIC, _BLACK_IS_ZERO, _PALETTE, _SAMPLES = 262, 1, 3, 277


def is_nifti(path: Path) -> bool:
    """Tell by its name whether a file is a NIfTI volume."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def stem(path: Path) -> Path:
    """Leave out the suffix of a path, and lower the case of its name: masks differ in both."""
    return path.with_name(names.stem(path.name))


def pairs(folder: Path) -> dict[Path, Path]:
    """Find the masks that lie beside their images in a folder: by the :func:`stem` of the image.

    Raises
    ------
    DatasetError
        A file ``x_mask`` lacks its image, or an image has several masks; a file is probably the
        mask of an image (``x_gt``), and not called so.
    """
    files = [path for path in sorted(folder.iterdir()) if _counts(path)]
    there = {stem(path) for path in files}
    images = names.Images(path.name for path in there)
    found: dict[Path, Path] = {}
    for path in files:
        masked = images.of(stem(path).name)
        if not masked:
            _check_name(path, there)
        for name in masked:
            if (other := found.setdefault(path.with_name(name), path)) != path:
                raise DatasetError(f"{other} and {path.name}: both are called the mask of {name}")
    return found


def probable(path: Path, root: Path) -> bool:
    """Tell whether a file of a dataset is called like a mask, or lies in a folder of masks."""
    return _called_mask(stem(path).name) or any(
        _called_mask(part.lower()) for part in path.relative_to(root).parts[:-1]
    )


def check_folders(root: Path) -> None:
    """Refuse folders of masks in a dataset folder: nothing tells which image each belongs to.

    Raises
    ------
    DatasetError
        A folder is surely one of masks (``masks``, ``x_seg``), or probably (``labels``) with files
        that are called like images elsewhere.
    """
    folders: dict[Path, set[str]] = {}
    for at, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        folder = Path(at)
        paths = [folder / name for name in files if _counts(folder / name)]
        folders[folder] = {stem(path).name for path in paths}
    of_masks = [
        folder
        for folder in folders
        if any(_called_mask(part.lower()) for part in folder.relative_to(root).parts)
    ]
    of_images = set().union(*(folders[folder] for folder in folders.keys() - set(of_masks)))
    for folder in of_masks:
        surely = any(_SURELY.fullmatch(part.lower()) for part in folder.relative_to(root).parts)
        if folders[folder] and (surely or folders[folder] & of_images):
            raise DatasetError(
                f"{folder}: is called a folder of masks, and nothing tells which images they belong"
                " to; list both in an index.csv, or put each beside its image as x_mask"
            )


def _counts(path: Path) -> bool:
    """Tell whether a file may be an image or a mask."""
    return not path.name.startswith(".") and path.suffix.lower() not in _NOTES and not path.is_dir()


def _called_mask(name: str) -> bool:
    return bool(_PROBABLY.fullmatch(name))


def _check_name(path: Path, images: Collection[Path]) -> None:
    """Refuse a file that is called a mask where its image is not there, or not certain."""
    name = stem(path).name
    if _SURELY.fullmatch(name):
        raise DatasetError(
            f"{path}: is called a mask, but no image of that name is beside it; rename it, or list"
            " both in an index.csv"
        )
    named = _PROBABLY.fullmatch(name)
    for image in filter(None, (named["before"], named["after"]) if named else ()):
        if path.with_name(image) in images:
            raise DatasetError(
                f"{path}: is it the mask of {image}? Call it {image}_mask, or list both in an"
                " index.csv"
            )


def read(path: Path, items: Sequence[Slice | Refusal]) -> list[NDArray[np.bool_] | None]:
    """Read the mask of an image; bool (H, W) for each of its slices, None for a refused one.

    Raises
    ------
    DatasetError
        It cannot be read as a mask, is not of the size of its image, or marks everything.
    """
    with _errors(path):
        data = path.read_bytes()
        if not data:
            raise InputRefusedError("empty-file", "the file holds no bytes")
        if kind_of_content(data[:_HEAD]) == "dicom" or path.suffix.lower() in {
            ".dcm",
            ".dicom",
            ".ima",
        }:
            planes = _dicom_planes(path)
        else:
            planes = _labels(data)
        if data.startswith(_LOSSY):
            planes = [_without_traces(plane) for plane in planes]
        marks = [_marked(plane) for plane in planes]
    if len(marks) != len(items):
        raise DatasetError(f"{path}: has {len(marks)} slices, its image {len(items)}")
    for item, plane in zip(items, marks, strict=True):
        if isinstance(item, Slice):
            _check_size(path, plane, item)
    if any(plane.all() for plane in marks):
        raise DatasetError(f"{path}: {_FULL}")
    pairs = zip(items, marks, strict=True)
    return [plane if isinstance(item, Slice) else None for item, plane in pairs]


def read_volume(path: Path, items: Sequence[Slice | Refusal]) -> list[NDArray[np.bool_] | None]:
    """Read the NIfTI mask of a NIfTI volume; bool (H, W) for each slice, None for a refused one.

    Both are turned to axial slices in the same way, and have to lie in the same place.

    Raises
    ------
    DatasetError
        As of :func:`read`, or it lies elsewhere than its image.
    """
    with _errors(path):
        places = nifti.describe(path, DEFAULT).placement.planes
        found = list(nifti.read(SourceFile(path, str(path), "nifti", str(path), planes=places)))
        planes = [item for item in found if isinstance(item, Slice)]
        for item in found:
            if isinstance(item, Refusal):
                raise InputRefusedError(item.code, item.reason)
        whole = all([_marked(plane.pixels).all() for plane in planes])  # noqa: C419  # look at all
    if whole:
        raise DatasetError(f"{path}: {_FULL}")
    if len(planes) != len(items):
        raise DatasetError(f"{path}: has {len(planes)} slices, its image {len(items)}")
    axial = list(stacked(planes, str(path)))
    heights = np.array([_height(plane) for plane in axial])
    marks: list[NDArray[np.bool_] | None] = []
    for item in items:
        if isinstance(item, Refusal):
            marks.append(None)
            continue
        mask = axial[int(np.abs(heights - _height(item)).argmin())]
        _check_size(path, mask.pixels, item)
        if not _same_place(mask, item):
            raise DatasetError(f"{path}: lies elsewhere in the patient than its image")
        marks.append(_marked(mask.pixels))
    return marks


def _check_size(path: Path, mask: NDArray[np.generic], image: Slice) -> None:
    if mask.shape != image.pixels.shape:
        (height, width), (rows, columns) = mask.shape, image.pixels.shape
        raise DatasetError(
            f"{path}: {width}x{height} pixels, not of the size of its image {image.source},"
            f" {columns}x{rows}"
        )


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turn why a file cannot be read into the dataset's error."""
    try:
        yield
    except (InputRefusedError, OSError) as error:
        why = reason_of(error) if isinstance(error, OSError) else str(error)
        raise DatasetError(f"{path}: not a mask that can be read: {why}") from error


def _height(image: Slice) -> float:
    return image.plane.height if image.plane else 0.0


def _same_place(mask: Slice, image: Slice) -> bool:
    if mask.plane is None or image.plane is None:
        return mask.plane is image.plane
    apart = np.subtract(mask.plane.position, image.plane.position)
    turned = np.subtract(mask.plane.orientation, image.plane.orientation)
    finest = min(image.plane.spacing)
    return bool(np.abs(apart).max() < finest / 2 and np.abs(turned).max() < 0.01)  # noqa: PLR2004


def _dicom_planes(path: Path) -> list[NDArray[np.generic]]:
    dataset = wall.parse(path, pixels=True, budget=DEFAULT)
    if str(dataset.get("SOPClassUID", "")).startswith(_DICOM_SEGMENTATION):
        raise InputRefusedError("unsupported", "a DICOM segmentation; save it as PNG or NIfTI")
    return list(codecs.frames(dataset, DEFAULT))


def _marked(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Tell where values of any type, (H, W) or (H, W, channels), mark something; bool (H, W)."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputRefusedError("not-finite", "some values are NaN or infinite")
    if values.ndim == 2:  # noqa: PLR2004
        return np.asarray(values != 0)
    colour, opacity = values[..., :3], values[..., 3:]
    coloured = np.asarray((colour != 0).any(axis=-1))
    if (opacity == opacity[:1, :1]).all():  # or there is none
        return coloured
    opaque = np.asarray((opacity != 0).any(axis=-1))
    return opaque if (colour == colour[0, 0]).all() else coloured & opaque


def _without_traces(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Take off what lossy compression leaves: all below half of the usual white."""
    sure = np.asarray(values) > _HALF_WHITE
    if values.any() and (not sure.any() or _has_faint_labels(values)):
        raise InputRefusedError(
            "lossy", "its faint labels cannot be told from traces of compression; save it as PNG"
        )
    return np.where(sure, values, 0)


def _has_faint_labels(values: NDArray[np.generic]) -> bool:
    """Tell whether a patch is darker than labels and too bright for traces.

    Traces of this brightness lie along the edges of labels, and are thin elsewhere; less so in
    colours, which lossy compression stores more coarsely.
    """
    channels = np.atleast_3d(np.asarray(values, np.float32))[..., :3]
    brightest = channels.max(axis=-1)
    is_grey = (brightest - channels.min(axis=-1) < _TRACES).all()
    patch = _PATCH if is_grey else _PATCH_OF_COLOUR
    edges = cv2.dilate((brightest > _HALF_WHITE).astype(np.uint8), np.ones(_EDGE, np.uint8))
    faint = ((brightest > _TRACES) & (edges == 0)).astype(np.uint8)
    return bool(cv2.erode(faint, np.ones(patch, np.uint8), borderValue=0).any())


def _labels(data: bytes) -> list[NDArray[np.generic]]:
    """Decode an image; one in colours of a palette to its indices, since those are the labels."""
    changed = data
    if data.startswith(_PNG):
        changed = _png_with_labels(data)
    elif data.startswith(_TIFF):
        changed = _tiff_with_labels(data)
    planes: list[NDArray[np.generic]] = list(images.labels(changed))
    if changed != data:
        for indices, colours in zip(planes, images.labels(data), strict=True):
            labelled, coloured = indices != 0, _marked(colours)
            # Index 0 has a colour, and another index is black: either may stand for no tumour.
            if (coloured & ~labelled).any() and (labelled & ~coloured).any():
                raise InputRefusedError(
                    "palette", "its palette calls black something else than 0; save it in grey"
                )
    return planes


def _png_with_labels(data: bytes) -> bytes:
    """Declare a PNG of colour type 3 to be grey, and leave its palette out (PNG 11.2)."""
    if len(data) < 33 or data[25] != 3:  # noqa: PLR2004
        return data
    header = data[12:25] + b"\0" + data[26:29]
    chunks = [chunk for kind, chunk in _chunks(data[33:]) if kind not in (b"PLTE", b"tRNS")]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + b"".join(chunks)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = 0
    while start + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        yield data[start + 4 : start + 8], data[start : start + 12 + length]
        start += 12 + length


def _tiff_with_labels(data: bytes) -> bytes:
    """Declare every page of a TIFF with a palette to be grey (TIFF 6.0 section 8)."""
    changed = bytearray(data)
    try:
        for order, tag, place in _tiff_fields(data):
            (value,) = struct.unpack_from(order + "H", data, place)
            if (tag, value) == (_SAMPLES, 2):
                raise InputRefusedError("unsupported", "grey with opacity in TIFF; save it as PNG")
            if (tag, value) == (_PHOTOMETRIC, _PALETTE):
                struct.pack_into(order + "H", changed, place, _BLACK_IS_ZERO)
    except struct.error:
        return data  # cut off, which decoding it says
    return bytes(changed)


def _tiff_fields(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Walk the fields of all pages: byte order, tag, where the value is; BigTIFF has wider ones."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count, size, link, first = ("Q", 20, "Q", 8) if big else ("H", 12, "I", 4)
    (page,) = struct.unpack_from(order + link, data, first)
    seen: set[int] = set()
    while page and page not in seen:
        seen.add(page)
        (entries,) = struct.unpack_from(order + count, data, page)
        fields = page + struct.calcsize(order + count)
        for field in range(fields, fields + size * entries, size):
            (tag,) = struct.unpack_from(order + "H", data, field)
            yield order, tag, field + size - struct.calcsize(link)
        (page,) = struct.unpack_from(order + link, data, fields + size * entries)
