"""Whether images look like what a model knows, told from their appearance.

A card may say how the kinds of images that a model was not made for differ from those it was:
linear discriminants of :func:`gliomart.image.appearance.appearance`, fitted on training patients
and changed copies of them, each with a bound that good scans seldom pass. A series is judged by the
median of some of its slices, an image alone by itself, with a bound of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gliomart.image.appearance import NUMBERS, SIDE, appearance
from gliomart.image.background import filled
from gliomart.image.grid import crop
from gliomart.image.head import head_mask
from gliomart.image.preprocess import normalise
from gliomart.image.sampling import evenly_spaced
from gliomart.image.slices import Concern
from gliomart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.image.normalisation import Normalisation
    from gliomart.image.preprocess import ModelInput
    from gliomart.image.slices import Slice
    from gliomart.image.steps import Preprocessing
    from gliomart.model.familiar import Familiar, Unfamiliar

# The code of a slice in which a model does not find its brain.
BRAIN_NOT_FOUND = "brain-not-found"
# Slices of a series that are looked at, and the fewest that are judged as one.
LOOKED_AT, FEWEST = 12, 6
# Where brain is found in such a part of the head, it is found.
_PLENTY = 0.6


def appearances(
    slices: Sequence[Slice], norm: Normalisation, spec: Preprocessing
) -> NDArray[np.float32]:
    """Describe some evenly spaced slices of one shape, (N, NUMBERS); no blank ones."""
    looks = [look(item, norm, spec) for item in evenly_spaced(slices, LOOKED_AT)]
    found = [each for each in looks if each is not None]
    return np.stack(found) if found else np.empty((0, NUMBERS), np.float32)


def look(item: Slice, norm: Normalisation, spec: Preprocessing) -> NDArray[np.float32] | None:
    """Describe one slice, (NUMBERS,); None where it shows no head, or only its very edge.

    It is described under the light that it was scanned in, which changes edges and texture little.
    """
    pixels = filled(item, norm.background)
    as_lit = replace(norm, field=None)
    plain = normalise(crop(pixels, norm.box, SIDE, norm.black), as_lit, spec)
    if head_mask(plain, spec.head_level * spec.brain_level).mean() < spec.minimum_head:
        return None
    return appearance(plain)


def unfamiliar(looks: NDArray[np.float32], familiar: Familiar) -> list[Concern]:
    """Tell as what slices look that a model was not made for, one concern for each code.

    What is no head is nothing else.
    """
    if not len(looks):
        return []
    whole = len(looks) >= FEWEST
    over: dict[str, tuple[float, Unfamiliar]] = {}
    for kind in familiar.kinds:
        bound = kind.series_bound if whole else kind.image_bound
        if bound is None:
            continue
        score = float(np.median(looks @ np.array(kind.weights, np.float32)) + kind.offset)
        if score > bound and score - bound > over.get(kind.code, (0.0, kind))[0]:
            over[kind.code] = score - bound, kind
    if "not-a-head" in over:
        over = {"not-a-head": over["not-a-head"]}
    what = "the series looks" if whole else "the image looks"
    names = {code: printable(kind.name) for code, (_, kind) in over.items()}
    return [Concern(code, f"{what} like {name}") for code, name in names.items()]


def missed_brain(
    prepared: ModelInput,
    norm: Normalisation,
    spec: Preprocessing,
    found: float,
    familiar: Familiar,
) -> str | None:
    """Say that a slice shows far more brain than a model finds in it; None where it does not.

    Parameters
    ----------
    prepared, norm, spec
        The slice, and how it was brought onto the model's grid and scale.
    found
        Fraction of the model's grid that the model takes for brain.
    familiar
        Of the card.
    """
    rules = familiar.brain
    if rules is None or found > _PLENTY * prepared.head.mean():
        return None
    looks = look(prepared.source, norm, spec)
    if looks is None:
        return None
    expected = float(looks @ np.array(rules.weights, np.float32)) + rules.offset
    if expected - found <= rules.bound:
        return None
    return (
        f"the slice shows a head, about {expected:.0%} of the picture being brain, and the model"
        f" finds {found:.0%}: nothing can be found outside of that"
    )
