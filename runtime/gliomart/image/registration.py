"""How a head has moved between two series (extra ``registration``): SimpleITK finds it.

A rigid movement is looked for that lets mutual information be largest (Mattes et al., *IEEE
Transactions on Medical Imaging* 22, 2003), on coarse images first. Pixels are taken at regular
places and in one thread, so that the same images always give the same movement.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.host import extras
from gliomart.image.alignment import alignment
from gliomart.image.geometry import ImagePlane, usual_step
from gliomart.image.resampling import Rigid, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

# Of each of three passes: images are this many times coarser, smoothed by so many pixels, and this
# part of their pixels is taken.
_PIXEL_MM = 1.5
_COARSER = (4, 2, 1)
_SMOOTHING_PX = (2.0, 1.0, 0.0)
_TAKEN = (0.5, 0.3, 0.2)
_LEVELS = 32
_FIRST_STEP_MM, _LAST_STEP_MM, _MOST_STEPS = 2.0, 0.005, 100
_SEED = 1


def check() -> None:
    """See that series can be registered at all.

    Raises
    ------
    MissingExtraError, BrokenExtraError
        SimpleITK is not installed, or does not load.
    """
    with extras.needed("registration", "registration", "SimpleITK"):
        import SimpleITK  # noqa: F401


def registered(lead: Stack, other: Stack) -> Rigid:
    """Find how to move from places in one series to the same tissue's in another one.

    Returns
    -------
    The movement, as :meth:`gliomart.image.resampling.Stack.sampled` takes it. With it both series
    lie on each other, by :func:`gliomart.image.alignment.alignment`.

    Raises
    ------
    MissingExtraError, BrokenExtraError
        SimpleITK is not installed, or does not load.
    InputRefusedError
        ``not-aligned`` or ``partly-covered``: none was found with which they do. ``no-head``: there
        is nothing of a head's size in the lead.
    """
    with extras.needed("registration", "registration", "SimpleITK"):
        import SimpleITK as sitk  # noqa: N813
    with _one_thread(sitk):
        moved = _best(sitk, lead.coarser(_PIXEL_MM), other.coarser(_PIXEL_MM), lead.centre)
    concern = alignment(lead, other, moved).concern
    if concern is not None:
        raise InputRefusedError(concern.code, f"after registration {concern.reason}")
    return moved


@contextmanager
def _one_thread(sitk: ModuleType) -> Iterator[None]:
    """Let sums be taken in one order; ITK does not keep to a method's own number of threads."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _best(sitk: ModuleType, lead: Stack, other: Stack, centre: Any) -> Rigid:  # noqa: ANN401
    fixed, inside = _image(sitk, lead)
    moving, moving_inside = _image(sitk, other)
    start = sitk.Euler3DTransform()
    start.SetCenter(centre.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_LEVELS)
    method.SetMetricFixedMask(inside)
    method.SetMetricMovingMask(moving_inside)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentagePerLevel(_TAKEN, _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(_FIRST_STEP_MM, _LAST_STEP_MM, _MOST_STEPS)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(_COARSER)
    method.SetSmoothingSigmasPerLevel(_SMOOTHING_PX)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(start, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError as error:  # such as no pixel of one within the other
        reason = "registration failed: the images overlap or show too little"
        raise InputRefusedError("not-aligned", reason) from error
    rotation = np.reshape(start.GetMatrix(), (3, 3))
    return Rigid(rotation, np.array(start.GetTranslation()), np.asarray(centre, np.float64))


def _image(sitk: ModuleType, stack: Stack) -> tuple[Any, Any]:
    """Hand a stack to SimpleITK in even steps, and what of it is inside."""
    first, last = stack.planes[0], stack.planes[-1]
    step = usual_step([plane.height for plane in stack.planes]) or 1.0
    count = max(1, round((last.height - first.height) / step) + 1)
    way = np.subtract(last.position, first.position) / max(count - 1, 1)
    way = way if way.any() else first.axes[0] * step
    shape = (stack.voxels.shape[1], stack.voxels.shape[2])
    places = [tuple((first.position + n * way).tolist()) for n in range(count)]
    sampled = [
        stack.sampled(ImagePlane(place, first.orientation, first.spacing), shape)
        for place in places
    ]
    row, column = np.reshape(first.orientation, (2, 3))
    length = float(np.linalg.norm(way))
    images = []
    for part, kind in ((0, np.float32), (1, np.uint8)):
        image = sitk.GetImageFromArray(np.stack([each[part] for each in sampled]).astype(kind))
        image.SetOrigin(first.position)
        image.SetSpacing((first.spacing[1], first.spacing[0], length))
        image.SetDirection(np.stack([row, column, way / length], axis=1).ravel().tolist())
        images.append(image)
    return images[0], images[1]
