"""The models that come with gliomart, by their names."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from gliomart.errors import ModelNotFoundError
from gliomart.providers.probe import would_use_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gliomart.providers import Requested

# The default one sees slices by themselves; the other, slices of a series with their neighbours.
DEFAULT, OF_SERIES = "flair-dae", "flair-dae-volume"
# The sequences that each takes: the first is required, others stand beside it where they are there.
MODELS = {DEFAULT: ("FLAIR",), OF_SERIES: ("FLAIR",), "flair-t1-dae": ("FLAIR", "T1", "T1C")}
_FOLDER = "models"


def name_of(model: Path | None) -> str | None:
    """Tell which of them is asked for: the default one by no path; None where it is a file.

    A file that is called like one of them, and is there, is that file.
    """
    if model is None:
        return DEFAULT
    return str(model) if str(model) in MODELS and not model.exists() else None


def default_model(provider: Requested = "cpu", name: str = DEFAULT) -> Path:
    """Path of one of them: in integers for CPUs, in floats for GPUs.

    Where gliomart is imported from an archive, there is no file at it.
    """
    on_gpu = would_use_gpu() if provider == "auto" else provider != "cpu"
    file = f"{name}-fp32.onnx" if on_gpu else f"{name}.onnx"
    return Path(str(resources.files("gliomart") / _FOLDER / file))


def files_of(model: Path | None) -> tuple[Path, ...]:
    """Give a file that is asked for; of one of these both of its files, that in integers first."""
    name = name_of(model)
    if name is None:
        assert model is not None  # noqa: S101  # no path is the default one
        return (model,)
    return default_model("cpu", name), default_model("cuda", name)


@contextmanager
def built_in_file(provider: Requested, name: str = DEFAULT) -> Iterator[Path]:
    """Give the file of one of them; a copy where that is in an archive."""
    file = default_model(provider, name).name
    try:
        with resources.as_file(resources.files("gliomart") / _FOLDER / file) as path:
            yield path
    except FileNotFoundError as error:
        raise _missing(file) from error


def content_of(file: str) -> bytes:
    """Read the file of one of them, from an archive as well.

    Raises
    ------
    ModelNotFoundError
        gliomart was installed without it.
    """
    try:
        return (resources.files("gliomart") / _FOLDER / file).read_bytes()
    except OSError as error:
        raise _missing(file) from error


def _missing(file: str) -> ModelNotFoundError:
    return ModelNotFoundError(f"{file}: gliomart came without this model of its own")
