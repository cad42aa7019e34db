"""What scanners do to a series: one head as another scanner, protocol or export would show it.

One hospital cannot show how hospitals differ. A stressed copy of a patient stands in for a hospital
that nobody has been to: calibration scores such copies beside the series as they were scanned, and
``gliomart evaluate --stress`` measures a model on one change at a time.

How far each change goes is written down in :data:`EFFECTS`, from the literature. It was set before
any score was seen, and is not tuned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.steps import Preprocessing
from gliomart_training.generator import generator_of
from gliomart_training.patients import Example

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from gliomart.image.slices import Slice
    from gliomart_training.patients import Ellipse, Patient

    Volume = NDArray[np.float32]

# What is brighter than this is head, in units of the brain's brightness.
_HEAD = 0.25
# Grey and white matter of FLAIR lie within about this of the brain's median.
_TISSUES = 0.25
# Percentiles of a slice that a window of its own makes black and white, and its grey levels.
_WINDOW, _GREYS = (0.5, 99.5), 255


@dataclass(frozen=True)
class Stress:
    """What one scanner, protocol or export does to a series; by default nothing.

    Brightness is in units of the brain's median above black, lengths in source pixels. What is
    random about a change (the shape of the shading, the noise) is drawn by the patient's name.

    Attributes
    ----------
    contrast
        How much further grey matter lies from white matter, as a fraction; -0.5 halves the
        difference.
    thickness
        How many times as thick slices are, 1 to 2: their neighbours are averaged into them.
    along
        Shading along the body: logarithm of the gain of the highest slice; that of the lowest is
        its negative, and those between lie on a line.
    across
        Shading across the body: half of the range of a smooth logarithm of the gain in the head.
    blur
        Standard deviation of the point spread in the plane that is added.
    field
        How many times as wide the field of view is on the same matrix, 1 or more.
    noise
        Standard deviation of the noise in either channel of the receiver; what is stored is the
        magnitude, and so Rician.
    gamma
        Logarithm of an exponent of brightness; the brain's median stays.
    interleaving
        How much brighter every second slice is, as a fraction.
    windowed
        Every slice is exported by itself: 8 bits between its own darkest and brightest pixels; one
        that shows no head is black.
    """

    contrast: float = 0.0
    thickness: float = 1.0
    along: float = 0.0
    across: float = 0.0
    blur: float = 0.0
    field: float = 1.0
    noise: float = 0.0
    gamma: float = 0.0
    interleaving: float = 0.0
    windowed: bool = False

    @classmethod
    def draw(cls, random: np.random.Generator) -> Stress:
        """Draw a scanner from all of what is written in :data:`EFFECTS`."""
        windowed = random.random() < _WINDOWED_OFTEN
        drawn = {
            effect.name: random.triangular(effect.least, getattr(cls, effect.name), effect.most)
            for effect in EFFECTS
            if random.random() < effect.often
        }
        return cls(windowed=windowed, **drawn)

    def apply(self, patient: Patient, name: str = "") -> Patient:
        """Show a patient as this scanner would.

        Parameters
        ----------
        patient
            All slices of it; those of one shape are one volume. A volume in which no head is found
            stays as it is.
        name
            Another one draws another shading and noise for the same patient.

        Returns
        -------
        Patient
            Masks and marks of the pons lie where the head does; refused slices stay refused.
        """
        examples = self._of_series(patient.examples, generator_of(f"{patient.id}/{name}"))
        for sequence in patient.companions:
            random = generator_of(f"{patient.id}/{name}/{sequence}")
            having = [n for n, example in enumerate(examples) if sequence in example.companions]
            shown = [examples[n].companions[sequence] for n in having]
            alone = [Example(each, None, tumour_free=False) for each in shown]
            for number, changed in zip(having, self._of_series(alone, random), strict=True):
                companions = {**examples[number].companions, sequence: changed.slice}
                examples[number] = replace(examples[number], companions=companions)
        return replace(patient, examples=tuple(examples))

    def _of_series(self, examples: Sequence[Example], random: np.random.Generator) -> list[Example]:
        """Change slices of one sequence, volume by volume."""
        found = list(examples)
        for shape in dict.fromkeys(e.slice.pixels.shape for e in examples):
            numbers = [n for n, e in enumerate(examples) if e.slice.pixels.shape == shape]
            changed = self._of_volume([examples[n] for n in numbers], random)
            for number, example in zip(numbers, changed, strict=True):
                found[number] = example
        return found

    def _of_volume(
        self, examples: Sequence[Example], random: np.random.Generator
    ) -> Sequence[Example]:
        slices = [example.slice for example in examples]
        try:
            norm = estimate_normalisation(slices, Preprocessing(shading=None))
        except InputRefusedError:
            return examples
        unit = norm.brain - norm.black
        volume = (np.stack([s.pixels for s in slices]) - np.float32(norm.black)) / np.float32(unit)
        volume = self._at_scanner(np.maximum(volume, 0), random)
        placed = [_wider(example, self.field) for example in examples]
        if self.windowed:
            stored = np.stack([_own_window(plane) for plane in volume])
        else:
            stored = volume * np.float32(unit) + np.float32(norm.black)
        return [
            replace(example, slice=replace(example.slice, pixels=pixels))
            for example, pixels in zip(placed, stored, strict=True)
        ]

    def _at_scanner(self, volume: Volume, random: np.random.Generator) -> Volume:
        """Change float32 (Z, H, W) in units of the brain, in the order in which a scanner would."""
        if self.contrast:
            volume = _with_contrast(volume, self.contrast)
        if self.thickness > 1:
            volume = _thicker(volume, self.thickness)
        if self.along or self.across:
            volume = volume * _shading(volume, self.along, self.across, random)
        if self.blur:
            volume = _each(volume, lambda plane: cv2.GaussianBlur(plane, (0, 0), self.blur))
        if self.field > 1:
            volume = _each(volume, lambda plane: _shrunk(plane, self.field, cv2.INTER_LINEAR))
        if self.interleaving:
            volume = volume * (1 + np.float32(self.interleaving) * _every_second(volume))
        if self.noise:
            real, imaginary = self.noise * random.standard_normal((2, *volume.shape), np.float32)
            volume = np.hypot(volume + real, imaginary)
        if self.gamma:
            volume = volume ** np.float32(np.exp(self.gamma))
        return np.asarray(volume, np.float32)


class Effect(NamedTuple):
    """One change, how far it goes, and where that is from.

    Attributes
    ----------
    name
        The field of :class:`Stress`.
    least, most
        It is drawn from between these; the ends are rare, and no change at all is likeliest
        (triangular).
    often
        Fraction of scanners that have it.
    source
        Where the range is from.
    """

    name: str
    least: float
    most: float
    often: float
    source: str


EFFECTS = (
    Effect(
        "contrast", -0.75, 0.75, 1.0,
        "signal equation of inversion recovery with the relaxation times of Stanisz et al., MRM"
        " 2005;54:507: grey over white matter is .93 (3 T, TE 90 ms, TI 2.5 s) to 1.29 (1.5 T, TE"
        " 120 ms, TI 2.2 s)",
    ),
    Effect(
        "thickness", 1.0, 2.0, 0.5,
        "slices of 3 to 5 mm: Ellingson et al., Neuro-Oncology 2015;17:1188, ask for 4 mm at most,"
        " and many hospitals scan 5",
    ),
    Effect(
        "along", -0.2, 0.2, 1.0,
        "brightness varies by 10 to 40 % over a head: Vovk et al., IEEE TMI 2007;26:405, and"
        " Simmons et al., MRM 1994;32:121",
    ),
    Effect(
        "across", 0.0, 0.2, 1.0,
        "as above; BrainWeb's 20 % and 40 % are half ranges of .1 and .2 (Kwan et al., IEEE TMI"
        " 1999;18:1085)",
    ),
    Effect(
        "blur", 0.0, 1.0, 0.5,
        "matrices of 192 to 256 over 240 mm, and echo trains (Constable and Gore, MRM 1992;28:9):"
        " a point spread of 1 to 2.5 mm at half maximum",
    ),
    Effect("field", 1.0, 1.2, 0.5, "fields of view of 220 to 280 mm where heads fill one of 240"),
    Effect(
        "noise", 0.0, 0.05, 1.0,
        "BrainWeb's 0 to 9 % of the brightest tissue; Rician: Gudbjartsson and Patz, MRM"
        " 1995;34:910",
    ),
    Effect(
        "gamma", -0.16, 0.16, 1.0,
        "repetition, inversion and echo times move fluid, brain and fat against each other;"
        " e^±.3 is usual in training (Pérez-García et al., TorchIO, 2021), half of it is taken",
    ),
    Effect(
        "interleaving", 0.0, 0.1, 0.25,
        "cross-talk of interleaved slices without a gap: Kucharczyk et al., AJNR 1988;9:443",
    ),
)  # fmt: skip
# Of a series of pictures, this fraction was exported with a window of its own for every slice.
_WINDOWED_OFTEN = 0.05

# Single changes of moderate strength: half of what is drawn at most.
MODERATE = {
    "contrast less": Stress(contrast=-0.375),
    "contrast more": Stress(contrast=0.375),
    "half as thick again": Stress(thickness=1.5),
    "brighter with height": Stress(along=0.1),
    "darker with height": Stress(along=-0.1),
    "shading across": Stress(across=0.1),
    "blur": Stress(blur=0.5),
    "wider field of view": Stress(field=1.1),
    "noise": Stress(noise=0.025),
    "gamma less": Stress(gamma=-0.08),
    "gamma more": Stress(gamma=0.08),
}
# Changes from slice to slice, as far as they go.
BETWEEN_SLICES = {
    "darkens with height": Stress(along=-0.2),
    "every second slice brighter": Stress(interleaving=0.1),
    "each slice its own window": Stress(windowed=True),
}


def at_drawn_scanner(patient: Patient, name: str) -> Patient:
    """Show a patient at a scanner that is drawn by a name, the same one at every call."""
    return Stress.draw(generator_of(f"{patient.id}/scanner {name}")).apply(patient, name)


def _with_contrast(volume: Volume, amount: float) -> Volume:
    """Spread what is near the brain's median, and leave fluid and fat: a rising tone curve."""
    away = volume - 1
    return np.asarray(volume + amount * away * np.exp(-((away / _TISSUES) ** 2) / 2), np.float32)


def _thicker(volume: Volume, times: float) -> Volume:
    """Average neighbouring slices into each; twice as thick takes a quarter of either."""
    share = np.float32((times - 1) / 4)
    around = np.pad(volume, ((1, 1), (0, 0), (0, 0)), "edge")
    return np.asarray((1 - 2 * share) * volume + share * (around[:-2] + around[2:]), np.float32)


def _shading(
    volume: Volume, along: float, across: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """Make a gain of the shape of a volume: a ramp over height, and cosines of half a wave or one.

    The cosines vary in the plane and, more slowly, with height.
    """
    depth, height, width = volume.shape
    weights = random.standard_normal((2, 3, 3))
    weights[:, 0, 0] = 0
    waves = (_cosines(n, k) for n, k in ((depth, 2), (height, 3), (width, 3)))
    smooth = np.einsum("zi,yj,xk,ijk->zyx", *waves, weights, optimize=True)
    in_head = smooth[volume > _HEAD]
    low, high = np.percentile(in_head, (5, 95)) if len(in_head) else (-1.0, 1.0)
    smooth = (smooth - (high + low) / 2) * (2 * across / (high - low))
    ramp = np.linspace(-along, along, depth)[:, None, None]
    return np.exp(ramp + smooth).astype(np.float32)


def _cosines(points: int, count: int) -> NDArray[np.float64]:
    place = (np.arange(points) + 0.5) / points
    return np.cos(np.pi * place[:, None] * np.arange(count))


def _every_second(volume: Volume) -> NDArray[np.float32]:
    return (np.arange(len(volume), dtype=np.float32) % 2)[:, None, None]


def _each(volume: Volume, change: Callable[[NDArray[np.float32]], Any]) -> Volume:
    return np.stack([change(plane) for plane in volume])


def _own_window(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = np.percentile(plane, _WINDOW)
    if high < _HEAD:  # nothing but air, which a window would turn into bright noise
        return np.zeros_like(plane)
    return np.rint(np.clip((plane - low) / (high - low), 0, 1) * _GREYS).astype(np.float32)


def _about_centre(shape: tuple[int, ...], field: float) -> NDArray[np.float64]:
    """Where pixels go as the field of view widens, (2, 3)."""
    centre = (np.array(shape[::-1]) - 1) / 2
    return np.column_stack([np.eye(2) / field, centre * (1 - 1 / field)])


def _shrunk(plane: NDArray[np.float32], field: float, how: int) -> NDArray[np.float32]:
    """Show a plane in a wider field of view; what is new in it is black."""
    warp, size = _about_centre(plane.shape, field), plane.shape[::-1]
    return cast("NDArray[np.float32]", cv2.warpAffine(plane, warp, size, flags=how))


def _wider(example: Example, field: float) -> Example:
    """Move what is known of a slice, and where it lies, to a wider field of view."""
    if field <= 1:
        return example
    marks = None if example.marks is None else _shrunk_mask(example.marks, field)
    pons = None if example.pons is None else _moved(example.pons, example.slice, field)
    return replace(example, slice=_placed(example.slice, field), marks=marks, pons=pons)


def _shrunk_mask(mask: NDArray[np.bool_], field: float) -> NDArray[np.bool_]:
    return _shrunk(mask.astype(np.float32), field, cv2.INTER_LINEAR) >= 0.5  # noqa: PLR2004


def _moved(ellipse: Ellipse, source: Slice, field: float) -> Ellipse:
    (across, _, right), (_, down, below) = _about_centre(source.pixels.shape, field)
    return replace(
        ellipse,
        cx=float(across * ellipse.cx + right),
        cy=float(down * ellipse.cy + below),
        rx=ellipse.rx / field,
        ry=ellipse.ry / field,
    )


def _placed(source: Slice, field: float) -> Slice:
    """Give a slice the pixel spacing and place of its wider field of view, where it has them."""
    spacing = source.spacing and (source.spacing[0] * field, source.spacing[1] * field)
    corner = -field * _about_centre(source.pixels.shape, field)[:, 2]
    plane = source.plane
    position = tuple(plane.to_patient(corner[None])[0].tolist()) if plane else source.position
    air = source.air
    if air is not None:
        air = ~_shrunk_mask(~air, field)
    return replace(source, spacing=spacing, position=position, air=air)
