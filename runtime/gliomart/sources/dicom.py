"""DICOM files: headers while scanning, pixels when a series is analysed."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from io import SEEK_END, TextIOBase
from mmap import mmap
from typing import TYPE_CHECKING, Any, cast

from gliomart.errors import InputRefusedError, UsageError
from gliomart.image.slices import Refusal, Slice, luma
from gliomart.printable import said
from gliomart.sources import codecs, modality, wall
from gliomart.sources.attributes import frames_of, text
from gliomart.sources.budget import promised
from gliomart.sources.given import IMAGE
from gliomart.sources.header import Header, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from pydicom import Dataset

    from gliomart.image.geometry import ImagePlane
    from gliomart.sources.budget import Budget
    from gliomart.sources.inventory import SourceFile

_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"


def readable_without_preamble(path: Path, budget: Budget) -> bool:
    """Tell whether a file without the "DICM" prefix is a DICOM data set all the same."""
    try:
        return "SOPClassUID" in wall.parse(path, pixels=False, budget=budget)
    except InputRefusedError:
        return False


def read_headers(path: Path, budget: Budget) -> list[Header] | Dataset:
    """Read what a file says of itself, once for every kind of image among its frames.

    Of a DICOMDIR (PS3.10 8.6) it is the data set as it is.

    Raises
    ------
    InputRefusedError
        The file is not within the budget, or ``unreadable``, ``no-pixels`` or ``bad-geometry``.
    """
    dataset = wall.parse(path, pixels=False, budget=budget)
    kind = text(dataset.file_meta, "MediaStorageSOPClassUID")
    if kind == _MEDIA_STORAGE_DIRECTORY or "DirectoryRecordSequence" in dataset:
        return dataset
    return headers_of(dataset)


def headers_of(dataset: Dataset) -> list[Header]:
    """Read what a data set says of itself, once for every kind of image among its frames.

    Raises
    ------
    InputRefusedError
        ``no-pixels`` or ``bad-geometry``.
    """
    if "Rows" not in dataset or "Columns" not in dataset:
        raise _no_image()
    return Header.each(dataset)


def read(file: SourceFile) -> Iterator[Slice | Refusal]:
    """Yield the slice of a DICOM file, or one for each frame, in the file's own order.

    Its header was interpreted when it was found, and is not once more.

    Raises
    ------
    InputRefusedError
        The file is not within the budget, ``unreadable``, ``bad-geometry``, ``undecodable``,
        ``not-greyscale``, ``missing-codec`` or ``unsupported-transfer-syntax``; ``changed`` where
        it holds other images by now.
    """
    assert file.header is not None  # noqa: S101  # no DICOM file is found without one
    dataset = file.dataset
    if dataset is None:
        dataset = wall.parse(file.path, pixels=True, budget=file.budget)
    yield from slices_of(dataset, file.header, file.source, file.series, file.budget)


def in_memory(image: Dataset | BinaryIO, budget: Budget) -> Dataset:
    """Take a data set as it is; parse a stream like a file, from where it stands to its end.

    Raises
    ------
    InputRefusedError
        As :func:`gliomart.sources.wall.parse`, ``empty-file``, ``unreadable`` or ``no-pixels``;
        of a data set ``undecodable`` or ``too-many-pixels``.
    UsageError
        It is neither, or a stream of text, or one that cannot be sought in.
    """
    from pydicom import Dataset

    if isinstance(image, Dataset):
        if all(keyword in image for keyword in ("Rows", "Columns", "PixelData")):
            budget.admit(promised(image))  # before its frames are looked at, as of a file
        return image
    stream = Stream(image)
    dataset = wall.parse_stream(cast("BinaryIO", stream), stream.size, pixels=True, budget=budget)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise _no_image()
    return dataset


class Stream:
    """A stream that a program handed over, from where it stands; nothing is believed of it.

    Raises
    ------
    InputRefusedError
        ``empty-file``; ``truncated``: it has become shorter; ``unreadable``: it is closed, or what
        it is asked for fails.
    UsageError
        It is no stream, one of text, or one that cannot be sought in.
    """

    def __init__(self, stream: Any) -> None:  # noqa: ANN401
        # Memory maps could not be asked before Python 3.13, and can be sought in.
        seeks = isinstance(stream, mmap) or hasattr(stream, "seekable")
        if isinstance(stream, (type, TextIOBase)) or not (hasattr(stream, "read") and seeks):
            raise UsageError(f"{IMAGE}; this is of type {type(stream).__name__}")
        self._stream = stream
        with _unreadable():
            if not (isinstance(stream, mmap) or stream.seekable()):
                raise UsageError(f"{IMAGE}; this stream cannot be sought in")
            start = stream.tell()
            stream.seek(0, SEEK_END)
            self.size = int(stream.tell() - start)
            stream.seek(start)
        if self.size <= 0:
            raise InputRefusedError("empty-file", "the stream holds no bytes")
        self._left = self.size

    def read(self, count: int) -> bytes:
        """Read as :meth:`io.RawIOBase.read` does; nothing at the end."""
        with _unreadable():
            content = bytes(memoryview(self._stream.read(count)))
        self._left -= len(content)
        if count and not content and self._left > 0:
            raise InputRefusedError("truncated", "the stream ends before the end that it gave")
        return content


@contextmanager
def _unreadable() -> Iterator[None]:
    """Refuse a stream whose own methods fail, whatever with."""
    try:
        yield
    except (InputRefusedError, UsageError):
        raise
    except Exception as error:
        strerror = getattr(error, "strerror", None)
        reason = strerror.lower() if strerror else said(error)
        raise InputRefusedError("unreadable", f"the stream cannot be read ({reason})") from error


def slices_of(
    dataset: Dataset, header: Header, source: str, series: str, budget: Budget
) -> Iterator[Slice | Refusal]:
    """Yield the slices of a data set that is in memory already, with its header.

    Values are modality values (PS3.3 C.11.1 and C.7.6.16.2.9, frame by frame). Those of MONOCHROME1
    change their sign, so that bright is always high; padding (C.7.5.1.1.2) becomes the darkest
    value that is none. Windows and VOI look-up tables are for people: the model scales by the
    brain's own brightness instead.
    """
    make = _maker(dataset, header, source, series)
    planes = dict(zip(header.frames, header.planes, strict=True))
    for index, words in enumerate(codecs.words(dataset, budget)):
        if index in planes:
            yield make(index, planes[index], words)


def opened(file: SourceFile) -> list[Callable[[], Slice | Refusal]] | None:
    """Read a file, and give what makes a slice of each of its frames, as often as it is asked.

    Until then they are in memory as they are stored.

    Returns
    -------
    None where they are compressed: how long it takes to decode one is not known.

    Raises
    ------
    InputRefusedError
        As :func:`read`.
    """
    header, budget = file.header, file.budget
    assert header is not None  # noqa: S101  # no DICOM file is found without one
    dataset = wall.parse(file.path, pixels=True, budget=budget)
    if codecs.syntax_of(dataset).decoder != "native":
        return None
    make = _maker(dataset, header, file.source, file.series)
    _, decode = codecs.opened(dataset, budget)

    def read(index: int, plane: ImagePlane | None) -> Slice | Refusal:
        try:
            return make(index, plane, decode(index))
        except InputRefusedError as error:
            return Refusal(file.source, index, error.code, error.reason)

    return [partial(read, *each) for each in zip(header.frames, header.planes, strict=True)]


def _maker(
    dataset: Dataset, header: Header, source: str, series: str
) -> Callable[[int, ImagePlane | None, codecs.Words], Slice | Refusal]:
    """Give what makes a slice of the words of a frame, its number and its place."""
    groups = frames_of(dataset)
    # An image of the same size may have been put in the place of the one that was found.
    found = (header.frame_count, header.shape, header.sop_instance_uid)
    if (len(groups), shape_of(dataset), text(dataset, "SOPInstanceUID")) != found:
        raise InputRefusedError("changed", "the file was changed while it was being read")

    def make(index: int, plane: ImagePlane | None, words: codecs.Words) -> Slice | Refusal:
        frame = index if len(groups) > 1 else None
        try:
            values, padding = modality.values_of(words, dataset, groups[index])
            return Slice(
                pixels=luma(values),
                source=source,
                series=series,
                frame=frame,
                spacing=plane.spacing if plane else header.spacing,
                position=plane.position if plane else None,
                orientation=plane.orientation if plane else None,
                sop_instance_uid=header.sop_instance_uid or None,
                air=padding,
            )
        except InputRefusedError as error:
            return Refusal(source, frame, error.code, error.reason)

    return make


def _no_image() -> InputRefusedError:
    return InputRefusedError("no-pixels", "the DICOM object holds no image")
