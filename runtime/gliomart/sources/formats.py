"""Kinds of files that are not read: archives, images of other formats, and what is no image.

An archive or an image that is not read is refused by name, since somebody may expect it to be
analysed. What is no image is counted by its kind.
"""

from __future__ import annotations

from gliomart.errors import InputRefusedError

# How much of a file tells what it is: a tar archive says so at 257, NIfTI at 344.
HEAD = 2048

# Where in the file which bytes lie, and what that makes it.
_ARCHIVES = (
    (0, b"PK\x03\x04", "ZIP"), (0, b"PK\x05\x06", "ZIP"), (0, b"PK\x07\x08", "ZIP"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"), (0, b"Rar!\x1a\x07", "RAR"), (257, b"ustar", "tar"),
    (0, b"MSCF\0\0\0\0", "cabinet"),
)  # fmt: skip
_COMPRESSED = (
    (0, b"\x1f\x8b\x08", "gzip"), (4, b"1AY&SY", "bzip2"), (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard"), (0, b"\x04\x22\x4d\x18", "LZ4"), (0, b"LZIP", "lzip"),
)  # fmt: skip
_IMAGES = (
    (0, b"GIF87a", "GIF"), (0, b"GIF89a", "GIF"), (8, b"WEBPVP8", "WebP"),
    (0, b"8BPS", "Photoshop"),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"), (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"JXL \r\n\x87\n", "JPEG XL"), (0, b"#?RADIANCE", "Radiance"),
    (4, b"ftypavi", "AVIF"), (4, b"ftyphei", "HEIC"), (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIF"), (4, b"ftypmsf1", "HEIF"),
    (0, b"NRRD000", "NRRD"), (0, b"ObjectType =", "MetaImage"), (0, b"NDims =", "MetaImage"),
    (344, b"ni1\0", "NIfTI pair (.hdr and .img)"), (0, b"MATRIX7", "ECAT"),
    (0, b"CDF\x01", "MINC or NetCDF"), (0, b"CDF\x02", "MINC or NetCDF"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"), (0, b"MATLAB 5.0 MAT", "MATLAB"),
    (0, b"\x93NUMPY", "NumPy"), (0, b"SIMPLE  =", "FITS"),
    (0, b"mrtrix image", "MRtrix"), (0, b"#!/usr/local/fdf/startup", "Varian FDF"),
    (0, b"ZISRAWFILE", "Zeiss CZI"),
    (0, b"# === DATA DESCRIPTION FILE", "Philips PAR/REC"), (0, b"# vtk DataFile", "VTK"),
)  # fmt: skip
_NIFTI = ((344, b"n+1\0", "NIfTI"), (4, b"n+2\0\r\n\x1a\n", "NIfTI"))
# Bitmaps begin with two letters alone: the size of their second header belongs to it.
_BITMAP, _BITMAP_HEADERS = b"BM", (12, 40, 52, 56, 64, 108, 124)

# Analyze begins with the length of its header, in either byte order, which NIfTI's is as well.
_ANALYZE = 348
_ANALYZE_SIZES = (_ANALYZE.to_bytes(4, "little"), _ANALYZE.to_bytes(4, "big"))

_ARCHIVE_SUFFIXES = (
    ".zip", ".7z", ".rar", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst",
    ".lz4", ".lz", ".z", ".cab", ".iso", ".dmg", ".gpg", ".pgp", ".enc",
)  # fmt: skip
# Files in a ZIP archive that hold a document or a program.
_NO_ARCHIVES = (
    ".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".epub", ".jar", ".war", ".apk", ".whl",
    ".egg", ".xpi", ".vsix", ".keras", ".pt", ".pth",
)  # fmt: skip
# Formats whose name tells what they are, and those whose name may stand for anything else too.
_IMAGE_SUFFIXES = {
    ".bmp": "BMP", ".gif": "GIF", ".webp": "WebP", ".jp2": "JPEG 2000", ".j2k": "JPEG 2000",
    ".jxl": "JPEG XL", ".heic": "HEIC", ".heif": "HEIF", ".avif": "AVIF", ".nrrd": "NRRD",
    ".nhdr": "NRRD", ".mha": "MetaImage", ".mhd": "MetaImage", ".mgh": "MGH", ".mgz": "MGH",
    ".mnc": "MINC", ".mif": "MRtrix", ".fdf": "Varian FDF", ".nia": "NIfTI in ASCII",
    ".czi": "Zeiss CZI", ".brik": "AFNI", ".head": "AFNI",
    ".npy": "NumPy", ".npz": "NumPy", ".h5": "HDF5", ".hdf5": "HDF5",
    ".fits": "FITS", ".psd": "Photoshop", ".pgm": "PGM", ".ppm": "PPM", ".pnm": "PNM",
}  # fmt: skip
_VAGUE_SUFFIXES = {
    ".hdr": "Analyze", ".img": "Analyze", ".par": "Philips PAR/REC", ".rec": "Philips PAR/REC",
    ".mat": "MATLAB", ".raw": "raw", ".zraw": "raw", ".vtk": "VTK", ".nc": "NetCDF",
}  # fmt: skip
# What results call a kind by its suffix. Other suffixes may be part of a person's name.
_ORDINARY = frozenset((
    *_NO_ARCHIVES,
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".htm", ".css", ".js", ".md",
    ".rst", ".pdf", ".doc", ".xls", ".ppt", ".rtf", ".log", ".ini", ".inf", ".cfg", ".conf",
    ".toml", ".yaml", ".yml", ".py", ".pyc", ".ipynb", ".sh", ".bat", ".cmd", ".ps1", ".exe",
    ".dll", ".so", ".bin", ".dat", ".db", ".sqlite", ".c", ".h", ".cpp", ".hpp", ".java", ".m",
    ".r", ".svg", ".ico", ".mp4", ".avi", ".mov", ".mp3", ".wav", ".bval", ".bvec", ".onnx",
    ".class", ".lnk", ".url", ".md5", ".sha256", ".bak", ".tmp", ".part", ".sql", ".lock",
))  # fmt: skip


def claim(name: str) -> str | None:
    """Tell which format that is not read a file's name says that it has."""
    return _IMAGE_SUFFIXES.get(_suffix(name))


def refuse(name: str, head: bytes) -> None:
    """Refuse what may hold images and is not read.

    Parameters
    ----------
    name
        Of the file.
    head
        Its first bytes, none where it is empty.

    Raises
    ------
    InputRefusedError
        ``archive``, ``unsupported-format``, or ``mislabelled`` for NIfTI of another name.
    """
    suffix = _suffix(name)
    if suffix in _NO_ARCHIVES:
        return
    if _found(head, _NIFTI):
        reason = "its content is NIfTI: give it a name that ends in .nii"
        raise InputRefusedError("mislabelled", reason)
    named = _IMAGE_SUFFIXES.get(suffix) or _VAGUE_SUFFIXES.get(suffix)
    if image := _image(head) or named:
        reason = f"{image} is not read: convert it to DICOM, NIfTI, PNG or TIFF"
        raise InputRefusedError("unsupported-format", reason)
    if archive := _found(head, _ARCHIVES):
        raise InputRefusedError("archive", f"an archive ({archive}): unpack it first")
    if (packed := _found(head, _COMPRESSED)) and not _is_ordinary(name.removesuffix(suffix)):
        raise InputRefusedError("archive", f"a compressed file ({packed}): unpack it first")
    if suffix in _ARCHIVE_SUFFIXES and not _is_ordinary(name.removesuffix(suffix)):
        raise InputRefusedError("archive", "named like an archive: unpack it first")


def kind_of_other(name: str) -> str:
    """Name the kind of a file that is no image, without what may be part of a person's name."""
    suffix = _suffix(name)
    if suffix in _ORDINARY or suffix in _ARCHIVE_SUFFIXES:
        return suffix
    return "other suffix" if suffix else "no suffix"


def may_be_an_image(name: str) -> bool:
    """Tell whether an empty file's name does not say that it is something else."""
    suffix = _suffix(name)
    return not suffix or suffix in {*_IMAGE_SUFFIXES, *_VAGUE_SUFFIXES, *_ARCHIVE_SUFFIXES}


def _suffix(name: str) -> str:
    """Read a suffix, in lower case; a number is the end of a UID or an image's own number."""
    stem, dot, last = name.rpartition(".")
    return f".{last.lower()}" if stem and dot and last and not last.isdigit() else ""


def _is_ordinary(name: str) -> bool:
    return _suffix(name) in _ORDINARY


def _image(head: bytes) -> str | None:
    if head.startswith(_BITMAP) and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS:
        return "BMP"
    is_analyze = len(head) >= _ANALYZE and head[:4] in _ANALYZE_SIZES
    return _found(head, _IMAGES) or ("Analyze" if is_analyze else None)


def _found(head: bytes, known: tuple[tuple[int, bytes, str], ...]) -> str | None:
    return next((what for start, magic, what in known if head.startswith(magic, start)), None)
