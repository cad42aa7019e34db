"""A simulated head: axial FLAIR slices of known anatomy, with or without a pontine glioma.

The brain is the ICBM 152 template that ships inside nilearn, its T1 intensities turned into
FLAIR intensities; skull, scalp, orbits and skull base are built around it, because the template
has none. A seed gives each head its own size, pose, shape, coil shading and noise. The pixels
show no person, and since the anatomy is known the pons and the lesion come with them.

Sizes, signals and noise were matched to axial FLAIR slices of adults; a signal is given as a share
of white matter's. The template is an average of 152 brains, smoother and tidier than anybody's.
Use it to show, to time and to test software, never to claim sensitivity.

The template comes with this notice:

    Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological
    Institute, McGill University. Permission to use, copy, modify, and distribute this software
    and its documentation for any purpose and without fee is hereby granted, provided that the
    above copyright notice appear in all copies. The authors and McGill University make no
    representations about the suitability of this software for any purpose. It is provided "as
    is" without express or implied warranty. The authors are not responsible for any data loss,
    equipment damage, property loss, or injury to subjects or patients resulting from the use or
    misuse of this software package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from nilearn.datasets import load_mni152_template
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from gliomart_training.head_parts import BENEATH_THE_SCALP, THROUGH_THE_SKIN, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Mask = NDArray[np.bool_]
Values = NDArray[np.floating[Any]]

# The head is built once on a grid of 1 mm voxels in ICBM space: x to the right, y to the front,
# z to the top, in mm from the anterior commissure.
GRID_ORIGIN = np.array((-100.0, -136.0, -86.0))
GRID_SHAPE = (201, 253, 203)

FIELD_OF_VIEW = 240.0  # mm, square
FIELD_CENTRE = np.array((0.0, -13.0, 0.0))  # the ICBM point at the scanner's zero
SULCUS = 6.0  # mm: gaps of the brain up to twice this wide belong to it
LOWEST, HIGHEST = -66.0, 90.0  # mm, the ends of the stack: medulla to vertex
THICKEST_SLICE = 5.0  # mm
USUAL_SIZE = np.array((0.91, 0.99, 0.96))  # the ICBM head is larger than most, wider above all
WHITE_MATTER = 400.0  # stored value; fat then reaches about 1100 of the 4095 of 12 bits
NOISE = 0.03  # standard deviation in each quadrature channel, as a share of white matter

# The pons: an ellipsoid that leans forwards as it rises, in ICBM mm.
PONS_CENTRE = np.array((0.0, -28.0, -36.0))
PONS_RADII = np.array((18.0, 14.0, 15.0))
PONS_LEAN = 0.33  # mm forwards per mm upwards
# The middle of the basilar artery: heights above the pons' centre and ways in front of it, mm.
BASILAR_ARTERY = (-14.0, -6.0, 2.0, 14.0), (7.0, 12.5, 16.0, 17.0)

T1_KNOTS = (0.25, 0.42, 0.56, 0.62, 0.68, 0.80, 1.00)  # fluid ... cortex ... white matter
FLAIR_KNOTS = (0.18, 0.30, 1.00, 1.14, 1.15, 1.04, 0.95)
BRAIN_NOT_FLUID = 0.6
BRAIN_NOT_ORBIT = 0.5


@dataclass(frozen=True)
class PontineGlioma:
    """A diffuse pontine glioma as it shows on FLAIR.

    The shares quoted are of 357 baseline MRI (Leach et al., Neuro-Oncology 2020;22:1647, table 3).

    Parameters
    ----------
    fraction : float, default=0.9
        Share of the pons that the lesion takes, above 0 and at most 1; over half in 99 %.
    signal : float, default=0.6
        How much brighter than normal pons the lesion is, as a share of the latter: 0.5 is half as
        bright again. T2-bright in 96 %; how bright was set by eye.
    expansion : float, default=1.2
        How many times wider the pons is than without lesion, 1 to 1.4. It narrows the fourth
        ventricle and engulfs the basilar artery, both typical of the disease.
    margin : float, default=10.0
        Distance over which the lesion fades out, mm; well-defined margins in only 4 %.
    """

    fraction: float = 0.9
    signal: float = 0.6
    expansion: float = 1.2
    margin: float = 10.0


@dataclass(frozen=True)
class SimulatedHead:
    """Axial slices, lowest first; rows run to the back, columns to the patient's left.

    Parameters
    ----------
    pixels : numpy.ndarray
        FLAIR signal, (Z, H, W) float32, white matter about 400.
    lesion : numpy.ndarray
        Where the glioma is within the pons, (Z, H, W) bool; nowhere without one.
    pons : numpy.ndarray
        Where the pons is, glioma included, (Z, H, W) bool.
    brain : numpy.ndarray
        Where the brain is, ventricles and sulci included, (Z, H, W) bool.
    spacing : tuple of float
        Distance of neighbouring rows and of neighbouring columns, mm.
    slice_thickness : float
        Thickness of the tissue averaged into a slice, mm.
    slice_spacing : float
        Distance of neighbouring slices' centres, mm.
    lowest : float
        Height of the first slice's centre, mm; each slice is centred on x = y = 0.
    """

    pixels: NDArray[np.float32]
    lesion: Mask
    pons: Mask
    brain: Mask
    spacing: tuple[float, float]
    slice_thickness: float
    slice_spacing: float
    lowest: float


def simulate_head(
    *, slices: int = 24, size: int = 256, seed: int = 0, lesion: PontineGlioma | None = None
) -> SimulatedHead:
    """Simulate one head.

    Parameters
    ----------
    slices : int, default=24
        Number of slices from medulla to vertex. They are 5 mm thick, or as thick as they are
        apart where that is less.
    size : int, default=256
        Rows and columns; the field of view stays 240 mm.
    seed : int, default=0
        Decides size, pose, shape, shading and noise: the same seed gives the same pixels.
    lesion : PontineGlioma or None, default=None
        The glioma to add; the rest of the head stays as the seed made it.
    """
    # One stream per purpose, so that a lesion leaves the anatomy and the noise as they were.
    anatomy, growth, shading, noise = np.random.default_rng(seed).spawn(4)
    flair, pons, glioma = _brainstem(lesion, growth)
    to_icbm = _individual(anatomy)
    shade = _smooth_field(shading, outputs=1, wavelength=320.0)

    slice_spacing = (HIGHEST - LOWEST) / slices
    heights = LOWEST + (np.arange(slices) + 0.5) * slice_spacing
    thickness = min(THICKEST_SLICE, slice_spacing)
    planes = max(1, round(thickness))
    within = ((np.arange(planes) + 0.5) / planes - 0.5) * thickness
    pitch = FIELD_OF_VIEW / size
    across = (np.arange(size) - (size - 1) / 2) * pitch

    pixels = np.empty((slices, size, size), np.float32)
    pons_mask, lesion_mask, brain_mask = np.zeros((3, *pixels.shape), np.bool_)
    for index, height in enumerate(heights):
        z = (height + within)[:, None, None]
        points = to_icbm(*np.broadcast_arrays(-across, -across[:, None], z))
        middle = points[:, planes // 2, None]
        signal = _sample(flair, points).mean(axis=0) * (1 + 0.06 * shade(middle)[0, 0])
        real, imaginary = NOISE * noise.standard_normal((2, size, size), np.float32)
        pixels[index] = WHITE_MATTER * np.hypot(signal + real, imaginary)
        brain_mask[index] = _sample(_brain(), middle)[0] > 0.5  # noqa: PLR2004
        if np.abs(middle[2] - PONS_CENTRE[2]).min() < 2 * PONS_RADII.max():
            pons_mask[index] = _sample(pons, middle)[0].round()
            lesion_mask[index] = _sample(glioma, middle)[0].round()
    return SimulatedHead(
        pixels=pixels,
        lesion=lesion_mask,
        pons=pons_mask,
        brain=brain_mask,
        spacing=(pitch, pitch),
        slice_thickness=thickness,
        slice_spacing=slice_spacing,
        lowest=float(heights[0]),
    )


def _sample(volume: Values, points: Values) -> Values:
    """Read a volume at ICBM points (3, ...) in mm; zero outside the grid."""
    indices = points - GRID_ORIGIN[:, None, None, None]
    return np.asarray(ndimage.map_coordinates(volume, indices, order=1), np.float32)


def _individual(rng: np.random.Generator) -> Callable[..., Values]:
    """Draw one head's size, pose and shape: the map from the scanner's mm to ICBM mm."""
    size = USUAL_SIZE * rng.uniform(0.96, 1.04, 3)
    nod_tilt_turn = rng.uniform((-4, -2, -3), (4, 2, 3))
    pose = Rotation.from_euler("xyz", nod_tilt_turn, degrees=True).as_matrix() / size
    centre = (FIELD_CENTRE + rng.uniform(-3, 3, 3))[:, None, None, None]
    bend = _smooth_field(rng, outputs=3, wavelength=90.0)

    def to_icbm(*scanner: Values) -> Values:
        points = centre + np.tensordot(pose, np.stack(scanner), 1)
        # A slice is thin beside the bends: its middle plane speaks for all of it.
        return np.asarray(points + 1.6 * bend(points[:, points.shape[1] // 2, None]))

    return to_icbm


def _smooth_field(
    rng: np.random.Generator, *, outputs: int, wavelength: float
) -> Callable[[Values], Values]:
    """Draw a random function of points, (3, ...) to (outputs, ...), of deviation 1: plane waves."""
    waves = rng.standard_normal((8, 3)) * 2 * np.pi / (wavelength * np.sqrt(3))
    phases = rng.uniform(0, 2 * np.pi, (8, 1, 1, 1))
    weights = rng.standard_normal((outputs, 8)) / 2
    return lambda points: np.tensordot(weights, np.sin(np.tensordot(waves, points, 1) + phases), 1)


def _brainstem(lesion: PontineGlioma | None, rng: np.random.Generator) -> tuple[Values, ...]:
    """Return the FLAIR signal, the pons and the glioma (0 or 1) on the grid."""
    flair = _untouched_head().copy()
    pons, glioma = np.zeros_like(flair), np.zeros_like(flair)
    box, (x, y, z) = _around(PONS_CENTRE, 45.0)
    reach = _ellipsoid(x, y - PONS_LEAN * z, z, radii=PONS_RADII)
    if lesion is None:
        pons[box] = (reach < 1) & (flair[box] > BRAIN_NOT_FLUID)
    else:
        # In a swollen pons every point came from nearer the centre. The push fades out over one
        # more radius, which narrows the fourth ventricle and the cistern in front.
        fading = np.clip(1 + lesion.expansion - reach, 0, 1)
        came_from = 1 - (1 - 1 / lesion.expansion) * fading**2 * (3 - 2 * fading)
        points = PONS_CENTRE[:, None, None, None] + np.stack([a * came_from for a in (x, y, z)])
        flair[box] = _sample(flair, points)
        reach *= came_from
        pons[box] = (reach < 1) & (flair[box] > BRAIN_NOT_FLUID)
        # The glioma takes its share of the pons: what lies nearest to the centre, by a distance
        # that random waves make uneven.
        uneven, mottled = _smooth_field(rng, outputs=2, wavelength=22.0)(points)
        growth = reach + 0.15 * uneven
        edge = np.quantile(growth[pons[box] > 0], lesion.fraction)
        glioma[box] = (growth <= edge) * pons[box]
        depth = (edge - growth) * PONS_RADII.mean() * lesion.expansion
        brighter = lesion.signal * np.clip(0.5 + depth / lesion.margin, 0, 1)
        flair[box] *= 1 + brighter * (1 + 0.08 * mottled)
    # The artery stays where it is: in front of a normal pons, engulfed by a swollen one.
    front = np.interp(z, *BASILAR_ARTERY, left=np.inf, right=np.inf)
    flair[box] = _cover(flair[box], 0.05, 1.7 - np.hypot(x, y - front))
    return flair, pons, glioma


@lru_cache(maxsize=1)
def _untouched_head() -> Values:
    """Build the FLAIR signal of the whole head on the grid, tissue over tissue."""
    t1 = _template()
    coarse_brain = t1[::2, ::2, ::2] > 0
    brain_depth = _depth(coarse_brain)
    hull_depth = _depth(_closed(coarse_brain, 14))
    head_depth = _depth(_head_outline(coarse_brain))
    rng = np.random.default_rng(152)
    coarse, fine = _mirrored_noise(rng, 5.0), _mirrored_noise(rng, 2.0)
    z = _axes()[2]
    # Below the skull: muscle between planes of fat, with bone and air.
    flair = 0.5 + 0.1 * fine
    flair = _cover(flair, 2.2 + 0.2 * fine, 3 * (0.2 - np.abs(coarse)))
    flair = _cover(flair, 0.12, 2 * (fine - 0.9))
    # Bone with a little marrow in its middle, then a film of cerebrospinal fluid on the brain.
    marrow = 0.4 * np.exp(-(((hull_depth + 4.5) / 1.3) ** 2))
    flair = _cover(flair, 0.1 + marrow, np.interp(z, (-30, 0), (8, 25)) + hull_depth)
    flair = _cover(flair, 0.18, 1.8 + brain_depth)
    for part in BENEATH_THE_SCALP:
        _paint(flair, part)
    # Fat, thicker low down, then skin and air.
    scalp = np.interp(z, (-60, 0), (7.5, 4.4)) + 0.7 * coarse
    flair = _cover(flair, 2.5 + 0.2 * fine, scalp - head_depth)
    flair = _cover(flair, 1.0, 1.2 - head_depth)
    flair = _cover(flair, 0.0, -0.5 - head_depth)
    for part in THROUGH_THE_SKIN:
        _paint(flair, part)
    sharpened = t1 + 1.4 * (t1 - ndimage.gaussian_filter(t1, 2.0))
    brain = np.interp(sharpened, T1_KNOTS, FLAIR_KNOTS)
    inside = ndimage.gaussian_filter((t1 > 0).astype(np.float32), 0.6)
    return _cover(flair, brain, inside - 0.5)


@lru_cache(maxsize=1)
def _brain() -> Values:
    """Return where the brain is on the grid, 1 there; gaps closed, orbit and bone left out."""
    tissue = _template() > 0
    others = np.zeros(tissue.shape, np.float32)
    for part in (*BENEATH_THE_SCALP, *THROUGH_THE_SKIN):
        _paint(others, part._replace(signal=1.0))
    closed = _depth(_closed(tissue[::2, ::2, ::2], SULCUS)) > 0
    return np.asarray(tissue | closed & (others < BRAIN_NOT_ORBIT), np.float32)


def _template() -> Values:
    """Load the skull-stripped T1 template, 0 to 1, onto the grid."""
    image = load_mni152_template(resolution=1)
    t1 = np.asarray(image.dataobj, np.float32)
    before = np.round(image.affine[:3, 3] - GRID_ORIGIN).astype(int)
    after = np.array(GRID_SHAPE) - before - t1.shape
    t1 = np.pad(t1, list(zip(before, after, strict=True)))
    # The template ends at the medulla; its last but one plane goes on downwards as the cord.
    t1[:, :, : before[2] + 1] = t1[:, :, before[2] + 1, None]
    return t1


def _head_outline(brain: Mask) -> Mask:
    """Return where the head is, on every second voxel of the grid."""
    x, y, z = (axis[::2, ::2, ::2] for axis in _axes())
    cranium = _grown(_closed(brain, 22), 12)
    temples = _ellipsoid(x, y + 8, z + 20, radii=(77, 90, 50)) < 1
    face = _ellipsoid(x, y - 18, np.maximum(z + 55, 0), radii=(70, 70, 50)) < 1
    neck = _ellipsoid(x, y + 40, np.maximum(z + 50, 0), radii=(74, 72, 20)) < 1
    nose = _ellipsoid(x, y - 84, z + 64, radii=(14, 24, 22)) < 1
    head = (cranium | temples | face | neck).astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(head, 3.0).round() + nose > 0)


def _grown(mask: Mask, reach: float) -> Mask:
    """Widen a mask of every second voxel by `reach` mm."""
    return np.asarray(2 * ndimage.distance_transform_edt(~mask) < reach)


def _closed(mask: Mask, reach: float) -> Mask:
    """Fill the gaps narrower than twice `reach` mm in a mask of every second voxel."""
    return ~_grown(~_grown(mask, reach), reach)


def _depth(mask: Mask) -> Values:
    """Return how deep in a mask of every second voxel the grid lies, mm, negative outside."""
    depth = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return _fine(ndimage.gaussian_filter(2 * depth.astype(np.float32), 1.0))


def _mirrored_noise(rng: np.random.Generator, grain: float) -> Values:
    """Draw smooth noise of standard deviation 1 on the grid, the same left and right."""
    white = rng.standard_normal([(length + 1) // 2 for length in GRID_SHAPE], np.float32)
    smooth = ndimage.gaussian_filter(white + white[::-1], grain / 2)
    return _fine(smooth / smooth.std())


def _fine(volume: Values) -> Values:
    """Interpolate a volume of every second voxel to the grid."""
    for _ in range(3):  # each turn refines the first axis and puts it last
        twice = np.repeat(np.moveaxis(volume, 0, -1), 2, axis=-1)
        volume = (twice[..., :-1] + twice[..., 1:]) / 2
    return volume


def _paint(flair: Values, part: Part) -> None:
    """Paint a part of the head, and its mirror image if it lies to one side."""
    for side in (1, -1) if part.centre[0] else (1,):
        centre = np.array(part.centre) * (side, 1, 1)
        box, (x, y, z) = _around(centre, max(part.radii) + 1)
        yaw = side * np.deg2rad(part.yaw)
        along = x * np.cos(yaw) - y * np.sin(yaw), x * np.sin(yaw) + y * np.cos(yaw), z
        reach = _ellipsoid(*along, radii=part.radii)
        flair[box] = _cover(flair[box], part.signal, (1 - reach) * min(part.radii))


def _ellipsoid(*place: Values, radii: Sequence[float] | Values) -> Values:
    """Return how far a place is from an ellipsoid's centre; 1 is on its surface."""
    return np.asarray(np.sqrt(sum((a / r) ** 2 for a, r in zip(place, radii, strict=True))))


def _axes() -> list[Values]:
    """Return the ICBM x, y and z of the grid, shaped to broadcast."""
    axes = (o + np.arange(n) for o, n in zip(GRID_ORIGIN, GRID_SHAPE, strict=True))
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def _around(centre: Values, reach: float) -> tuple[tuple[slice, ...], list[Values]]:
    """Return the box of voxels about an ICBM point, and x, y and z from that point in it."""
    x, y, z = (axis - c for axis, c in zip(_axes(), centre, strict=True))
    near = (np.flatnonzero(np.abs(axis) <= reach) for axis in (x, y, z))
    box = tuple(slice(along[0], along[-1] + 1) for along in near)
    return box, [x[box[0]], y[:, box[1]], z[:, :, box[2]]]


def _cover(flair: Values, tissue: Values | float, depth: Values) -> Values:
    """Lay a tissue over the voxels where `depth`, mm inside its edge, is above 0; in part at 0."""
    return np.asarray(flair + np.clip(depth + 0.5, 0, 1) * (tissue - flair), np.float32)
