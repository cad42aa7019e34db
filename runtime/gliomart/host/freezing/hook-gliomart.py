"""What a frozen program takes along of gliomart: all of it, and the decoders that are installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

_OPTIONAL = ("gdcm", "highdicom", "jpeg_ls", "nibabel", "onnxruntime", "openjpeg")


def _metadata(distribution: str) -> list[tuple[str, str]]:
    try:
        return copy_metadata(distribution)
    except PackageNotFoundError:  # run from a checkout
        return []


datas = collect_data_files("gliomart", excludes=["**/freezing"])
# By which commands of other packages are found, and which ONNX Runtime is installed.
for distribution in ("gliomart", "onnxruntime", "onnxruntime-gpu"):
    datas += _metadata(distribution)
# They are imported by name where they are used.
hiddenimports = collect_submodules("gliomart", lambda name: "freezing" not in name)
for module in filter(find_spec, _OPTIONAL):
    hiddenimports += collect_submodules(module) if module == "openjpeg" else [module]
