"""What surrounds the brain of a simulated head, as ellipsoids of one tissue each."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """An ellipsoid of one tissue; off the midline, it stands for its mirror image too."""

    centre: tuple[float, float, float]  # ICBM mm
    radii: tuple[float, float, float]  # mm
    yaw: float  # degrees, positive turns the front to the side
    signal: float


BENEATH_THE_SCALP = (
    Part((62, 22, -30), (8, 24, 32), 12, 0.5),  # temporal muscle
    Part((57, 46, -50), (10, 16, 14), 20, 1.7),  # fat about the cheekbone
    Part((28, 50, -66), (14, 17, 14), 0, 0.06),  # maxillary sinus
    Part((0, 46, -42), (13, 28, 14), 0, 0.12),  # ethmoid cells
    Part((0, 12, -42), (14, 13, 11), 0, 0.06),  # sphenoid sinus
    Part((0, -4, -46), (11, 5, 12), 0, 1.0),  # marrow of the clivus
    Part((11, 77, -12), (10, 5, 10), 0, 0.08),  # frontal sinus
    Part((52, -32, -46), (18, 12, 13), -20, 0.1),  # petrous bone and mastoid
)
THROUGH_THE_SKIN = (
    Part((25, 44, -38), (12, 26, 14), 25, 2.6),  # orbital fat
    Part((31, 56, -38), (15, 14, 15), 0, 2.4),
    Part((39, 48, -38), (2.5, 20, 6), 15, 0.7),  # lateral rectus muscle
    Part((20, 44, -38), (2.5, 20, 6), 15, 0.7),  # medial rectus muscle
    Part((25, 40, -38), (2.5, 18, 2.5), 25, 0.9),  # optic nerve
    Part((33, 64, -38), (13, 13, 13), 0, 0.9),  # coats of the eye
    Part((33, 64, -38), (11.6, 11.6, 11.6), 0, 0.3),  # vitreous
    Part((33, 73, -38), (5, 2.4, 5), 0, 0.55),  # lens
    Part((0, 56, -66), (13, 36, 16), 0, 0.1),  # nasal cavity
    Part((7, 52, -66), (2.5, 24, 9), 0, 1.5),  # turbinate
    Part((0, 60, -60), (1.2, 34, 22), 0, 0.9),  # nasal septum
    Part((75, -24, -50), (2.5, 9, 18), -25, 1.1),  # ear
)
