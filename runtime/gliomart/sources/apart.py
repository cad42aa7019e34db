"""Images that one series throws together, told apart by their traits."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from gliomart.image.geometry import doubles, whole_steps
from gliomart.sources.traits import OF_IMAGES, OF_REPEATS, OF_SERIES, divides, told_apart
from gliomart.sources.walk import folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gliomart.sources.inventory import Group, Image
    from gliomart.sources.traits import Value

# Fewer images are no stack.
_FEWEST = 3
# Up to this share of the images may be in the way of others before a stack is taken apart: those
# are second images of a place, and are left out by name.
_FEW = 0.1
# Where instance numbers are fewer than this share of the images, they number something else.
_NUMBERED = 0.25
# Stacks lie in each other where they share this much of the smaller one's height.
_SHARED = 0.5


def apart(whole: Group) -> list[Group]:
    """Take a group apart where its traits contradict each other, or its images are in the way."""
    groups = [whole]
    for number, trait in enumerate(OF_SERIES):
        groups = _split(groups, trait.name, partial(_of_series, number))
    for number, trait in enumerate(OF_IMAGES):
        value = partial(_of_images, number)
        groups = _split(groups, trait.name, value, absence=trait.absence)
    for number, trait in enumerate(OF_REPEATS):
        groups = _split_if_needed(groups, trait.name, partial(_of_repeats, number))
    for number, trait in enumerate(OF_SERIES):
        groups = _split_if_needed(groups, trait.name, partial(_of_series, number))
    for number, trait in enumerate(OF_IMAGES):
        groups = _split_if_needed(groups, trait.name, partial(_of_images, number))
    return _split_if_needed(groups, "folder", lambda image: folder_of(image.file.source))


def muddled(images: Sequence[Image]) -> bool:
    """Tell whether most instance numbers are there several times: images of several series."""
    return 2 * _repeated_numbers(images) >= len(images) >= 2 * _FEWEST


def _of_series(number: int, image: Image) -> Value:
    return image.header.of_series[number]


def _of_images(number: int, image: Image) -> Value:
    return image.header.of_images[number]


def _of_repeats(number: int, image: Image) -> Value:
    return image.header.of_repeats[image.at][number]


def _parts(each: Group, values: Sequence[Value], *, missing_counts: bool) -> list[Group]:
    return [
        replace(each, images=tuple(each.images[index] for index in part))
        for part in told_apart(values, missing_counts=missing_counts)
    ]


def _split(
    groups: Sequence[Group], name: str, value: Callable[[Image], Value], *, absence: bool = False
) -> list[Group]:
    """Split groups by a trait, but for one that counts their images, each of which has its own."""
    found = []
    for each in groups:
        values = [value(image) for image in each.images]
        counts = absence and divides(values) and not _whole(each.images)
        parts = _parts(each, values, missing_counts=counts)
        if len(parts) == 1 or _FEWEST <= len(parts) == len(each.images):
            found.append(each)
        else:
            found += [replace(part, apart=(*each.apart, name)) for part in parts]
    return found


def _split_if_needed(
    groups: Sequence[Group], name: str, value: Callable[[Image], Value]
) -> list[Group]:
    """Split groups by a trait where fewer images are then in each other's way.

    To lack the trait counts as well.
    """
    found = []
    for each in groups:
        values = [value(image) for image in each.images]
        parts = _parts(each, values, missing_counts=True)
        if len(parts) > 1 and _untangles([part.images for part in parts], each.images):
            found += [replace(part, apart=(*each.apart, name)) for part in parts]
        else:
            found.append(each)
    return found


def _whole(images: Sequence[Image]) -> bool:
    """Tell whether images are one even stack, none of them in another's way."""
    return whole_steps(_heights(images)) is not None and not _in_the_way(images)


def _untangles(parts: Sequence[Sequence[Image]], whole: Sequence[Image]) -> bool:
    tangled = _in_the_way(whole)
    few = _FEW * len(whole) if len(whole) > 2 * _FEWEST else 0
    if tangled > few and sum(map(_in_the_way, parts)) < tangled:
        return True
    stacks = [_heights(part) for part in parts]
    if min(map(len, stacks)) < _FEWEST or whole_steps(_heights(whole)) is not None:
        return False
    return all(whole_steps(stack) is not None for stack in stacks) and _interleave(stacks)


def _in_the_way(images: Sequence[Image]) -> int:
    """Count images that lie where another one lies, or have its instance number."""
    return max(len(doubles(_heights(images))), _repeated_numbers(images))


def _heights(images: Sequence[Image]) -> list[float]:
    return sorted(image.plane.height for image in images if image.plane is not None)


def _repeated_numbers(images: Sequence[Image]) -> int:
    numbers = [i.header.number for i in images if i.frame is None and i.header.number is not None]
    distinct = len(set(numbers))
    return len(numbers) - distinct if distinct > max(1, _NUMBERED * len(numbers)) else 0


def _interleave(stacks: Sequence[Sequence[float]]) -> bool:
    """Tell whether two stacks lie in each other, rather than above each other."""
    ordered = sorted(stacks, key=lambda stack: stack[0])
    for below, above in pairwise(ordered):
        shared = min(below[-1], above[-1]) - above[0]
        if shared > _SHARED * min(below[-1] - below[0], above[-1] - above[0]):
            return True
    return False
