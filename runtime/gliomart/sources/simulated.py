"""The simulated study that comes along, to try things out on."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import resources
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.preprocess import prepare
from gliomart.image.slices import Slice, settled
from gliomart.sources import dicom
from gliomart.sources.budget import DEFAULT
from gliomart.sources.header import Header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    import numpy as np
    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing

_NAME = "golden"


@contextmanager
def simulated_study() -> Iterator[Path]:
    """Have the study in a folder of that name, for as long as this lasts.

    Where gliomart is imported from an archive, that takes room among temporary files.

    Raises
    ------
    OSError
        There is none.
    """
    study: Traversable = resources.files("gliomart") / _NAME
    if isinstance(study, Path):
        yield study
        return
    with TemporaryDirectory() as place:
        folder = Path(place) / _NAME
        folder.mkdir()
        for file in study.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        yield folder


def simulated_slice() -> Slice:
    """Read a slice that shows brain, pons and a lesion, so that every output is at work."""
    content = (resources.files("gliomart") / _NAME / "slice_006.dcm").read_bytes()
    dataset = dicom.in_memory(BytesIO(content), DEFAULT)
    (item,) = dicom.slices_of(dataset, Header.of(dataset), _NAME, _NAME, DEFAULT)
    assert isinstance(item, Slice)  # noqa: S101  # it comes along, and is one
    return settled(item)


def simulated_image(spec: Preprocessing) -> NDArray[np.float32]:
    """Prepare it as a model takes it: float32 (size, size, channels) in [0, 1]."""
    one = simulated_slice()
    return prepare(one, estimate_normalisation([one], spec), spec).image
