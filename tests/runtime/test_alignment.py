from __future__ import annotations

import sys
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from alignment import heads_of, moved
from gliomart import sources
from gliomart.errors import InputRefusedError, MissingExtraError
from gliomart.image import registration
from gliomart.image.alignment import alignment
from gliomart.image.resampling import Rigid, Stack
from gliomart.image.slices import Slice
from samples import GOLDEN, SHARED, needs_real_images

AXES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


@cache
def head() -> Stack:
    """Read the simulated study: 24 slices of a head, 5 mm apart."""
    (series,) = sources.scan([GOLDEN]).series
    read = sources.read_series(series.files, series.source)
    return Stack.of([item for item in read if isinstance(item, Slice)])


def other_contrast(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Show what is bright as dark and the other way round, with noise and a shading of its own."""
    level = voxels / np.percentile(voxels, 99)
    noise = np.random.default_rng(0).normal(0, 0.03, voxels.shape)
    shading = np.linspace(0.95, 1.05, voxels.shape[2])
    return np.asarray((level * np.exp(1 - 2 * level) + noise) * shading * 700, np.float32)


@cache
def other() -> Stack:
    return Stack(other_contrast(head().voxels), head().planes)


def _code(one: Stack, two: Stack, movement: Rigid | None = None) -> str | None:
    concern = alignment(one, two, movement).concern
    assert concern is None or "\n" not in concern.reason
    return concern.code if concern else None


def test_a_series_of_another_contrast_lies_on_its_own_head() -> None:
    assert _code(head(), other()) is None
    assert _code(other(), head()) is None


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("size", [5, -5])
def test_a_head_that_has_moved_is_told(axis: tuple[int, ...], size: float) -> None:
    way = (size * np.array(axis)).tolist()
    centre = head().centre.tolist()
    for movement in (Rigid.of(turn=way, centre=centre), Rigid.of(translation=way)):
        assert _code(head(), moved(other(), movement)) == "not-aligned"
        # And it lies on the other one again where the movement is known.
        assert _code(head(), moved(other(), movement), movement) is None


def test_another_orientation_is_no_other_place() -> None:
    """Thick sagittal slices of the same head lie where the axial ones do."""
    planes = []
    sagittal = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    lead = head()
    shape = (160, 200)
    for x in np.arange(-70, 70, 4.0):
        place = np.add(lead.centre, (x, -100, 80))
        planes.append(type(lead.planes[0])(tuple(place.tolist()), sagittal, (1.0, 1.0)))
    voxels = np.stack([other().sampled(plane, shape)[0] for plane in planes])
    turned = Stack(voxels, tuple(planes))
    assert _code(lead, turned) is None
    assert _code(lead, moved(turned, Rigid.of(translation=(5, 0, 0)))) == "not-aligned"


def test_what_shows_half_of_the_head_is_told() -> None:
    count, width = len(other().planes) // 2, other().voxels.shape[2] // 2
    for part in (
        Stack(other().voxels[:count], other().planes[:count]),
        Stack(other().voxels[count:], other().planes[count:]),
        Stack(other().voxels[:, :, :width], other().planes),
        moved(other(), Rigid.of(translation=(90, 0, 0))),
        moved(other(), Rigid.of(translation=(1000, 0, 0))),
    ):
        assert _code(head(), part) == "partly-covered"
    assert alignment(head(), part).offset_mm is None
    assert alignment(head(), part).covered == 0


def test_what_shows_nothing_of_the_head_does_not_lie_on_it() -> None:
    nothing = np.zeros_like(other().voxels)
    noise = np.random.default_rng(0).random(nothing.shape, np.float32)
    turned = np.ascontiguousarray(other().voxels[:, ::-1])
    for voxels in (nothing, noise, turned, other().voxels[::-1]):
        assert _code(head(), Stack(voxels, other().planes)) == "not-aligned"


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_slices_are_enough_or_told(count: int) -> None:
    middle = slice(12, 12 + count)
    lead = Stack(head().voxels[middle], head().planes[middle])
    same = Stack(other().voxels[middle], other().planes[middle])
    assert _code(lead, other()) is None
    if count > 1:
        assert _code(lead, same) is None
    assert _code(head(), same) == "partly-covered"
    assert _code(lead, moved(other(), Rigid.of(translation=(5, 0, 0)))) == "not-aligned"


@pytest.mark.parametrize("shape", [(24, 1, 1), (24, 3, 3), (24, 256, 256)])
def test_without_a_head_nothing_is_measured(shape: tuple[int, ...]) -> None:
    for voxels in (np.zeros(shape, np.float32), np.ones(shape, np.float32)):
        with pytest.raises(InputRefusedError) as refusal:
            alignment(Stack(voxels, head().planes), other())
        assert refusal.value.code == "no-head"


@needs_real_images
def test_real_series_lie_on_each_other_where_the_patient_lay_still() -> None:
    """One T1 was taken after its patient had moved by 2.4 mm, as SimpleITK finds, too."""
    pytest.importorskip("nibabel")
    found = [
        _code(each["lead"], each[name])
        for each in heads_of(SHARED, "ms_ljubljana")
        for name in ("T1w", "T2w")
    ]
    assert found == [None, None, None, None, "not-aligned", None]


def test_registration_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingExtraError, match=r"gliomart\[registration\]"):
        registration.registered(head(), other())


def test_registration_finds_how_a_head_has_moved_and_always_the_same() -> None:
    sitk = pytest.importorskip("SimpleITK")
    movement = Rigid.of((3, -2, 4), (4, -3, 2), head().centre.tolist())
    away = moved(other(), movement)
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for number in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
            found.append(registration.registered(head(), away))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert found[0] == found[1]
    points = np.random.default_rng(0).normal(head().centre, 40, (500, 3))
    apart = np.linalg.norm(found[0](points) - movement(points), axis=1)
    assert np.sqrt((apart**2).mean()) < 1
    nowhere = np.zeros(3)
    turned = Rigid(found[0].rotation @ movement.rotation.T, nowhere, nowhere)
    assert turned.angle < 1


def test_a_registration_that_ends_in_no_agreement_is_not_used() -> None:
    pytest.importorskip("SimpleITK")
    noise = np.random.default_rng(0).random(other().voxels.shape, np.float32)
    with pytest.raises(InputRefusedError, match="after registration") as refusal:
        registration.registered(head(), Stack(noise, other().planes))
    assert refusal.value.code in {"not-aligned", "partly-covered"}
    beside = moved(other(), Rigid.of(translation=(2000, 0, 0)))
    with pytest.raises(InputRefusedError, match="registration"):
        registration.registered(head(), beside)
