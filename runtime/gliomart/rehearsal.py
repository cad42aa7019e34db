"""A slice of the simulated study that comes along, to try things out on."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from gliomart import sources
from gliomart.preprocess import estimate_frame, prepare
from gliomart.slices import Slice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gliomart.preprocess import Preprocessing


def simulated_slice() -> Slice:
    """Read a slice that shows brain, pons and a lesion, so that every output is at work."""
    with resources.as_file(resources.files("gliomart") / "golden" / "slice_006.dcm") as file:
        (series,) = sources.scan([file]).series
        (item,) = sources.read(series.files[0])
    assert isinstance(item, Slice)  # noqa: S101  # it comes along, and is one
    return item


def simulated_image(spec: Preprocessing) -> NDArray[np.float32]:
    """Prepare it as a model takes it: float32 (size, size, channels) in [0, 1]."""
    one = simulated_slice()
    return prepare(one, estimate_frame([one], spec), spec).image
