"""The pictures of one slice in the report: a few ten kilobytes, kept until the run is over."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.errors import OutputError
from gliomart.image.grid import uncrop
from gliomart.outputs import pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.findings.results import SliceResult
    from gliomart.model.card import ModelCard

# Longest side in pixels; reconstruction and map have no more than this to show: the map is smooth.
_SOURCE_SIDE, _MODEL_SIDE, _MAP_SIDE = 352, 256, 128
_JPEG_QUALITY = 75


@dataclass(frozen=True)
class ReportSlice:
    """The pictures of one slice, ready for the page.

    Attributes
    ----------
    width, height
        Of the source, in pixels.
    source, reconstruction
        8-bit grey JPEG in Base64, on the source's grid at reduced size, both windowed as the
        overlays are. The latter is empty where the model gives none.
    anomaly_map
        8-bit grey PNG in Base64; 255 stands for the card's ``display_limit`` and above.
    regions, structures
        Outlines as SVG path data, in source pixels; empty where there are none. Those of structures
        are by their names.
    """

    width: int
    height: int
    source: str
    reconstruction: str
    anomaly_map: str
    regions: str
    structures: dict[str, str]

    @classmethod
    def of(cls, result: SliceResult, card: ModelCard) -> ReportSlice:
        """Encode one slice.

        Parameters
        ----------
        result
            As it comes from the detector.
        card
            Of the model it comes from, calibrated.
        """
        assert card.calibration is not None  # noqa: S101  # no detector runs without one
        norm = result.normalisation
        height, width = result.slice.pixels.shape
        strength = np.clip(result.anomaly_map / card.calibration.display_limit, 0, 1) * 255
        return cls(
            width=width,
            height=height,
            source=_jpeg(_fitted(pictures.window(result.slice.pixels, norm), _SOURCE_SIDE)),
            reconstruction=_reconstruction(result, card.preprocessing.brain_level),
            anomaly_map=_text(pictures.png(_fitted(strength, _MAP_SIDE))),
            regions=_outline(result.mask),
            structures={
                name: _outline(finding.mask) for name, finding in result.structures.items()
            },
        )


def _reconstruction(result: SliceResult, brain_level: float) -> str:
    """Show what the model expects, in the source's grey levels and on its grid."""
    if result.reconstruction is None:
        return ""
    norm = result.normalisation
    expected = uncrop(result.reconstruction, norm.box, result.slice.pixels.shape)
    expected = norm.black + expected * ((norm.brain - norm.black) / brain_level)
    return _jpeg(_fitted(pictures.window(expected, norm), _MODEL_SIDE))


def to_json(slices: Sequence[ReportSlice | None]) -> bytes:
    """Serialise the pictures of a series, to be kept until the report is written."""
    return json.dumps([each and asdict(each) for each in slices]).encode()


def from_json(content: bytes) -> list[ReportSlice | None]:
    """Read what :func:`to_json` wrote.

    Raises
    ------
    ValueError, TypeError
        It is something else.
    """
    return [values and ReportSlice(**values) for values in json.loads(content)]


def _fitted(levels: NDArray[np.floating | np.integer], side: int) -> NDArray[np.uint8]:
    """Reduce (H, W) grey levels to at most ``side`` pixels a side, uint8."""
    height, width = levels.shape
    scale = side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        levels = cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    return np.rint(levels).astype(np.uint8)


def _jpeg(picture: NDArray[np.uint8]) -> str:
    encoded, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not encoded:
        raise OutputError("a picture could not be encoded as JPEG")
    return _text(content.tobytes())


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _outline(mask: NDArray[np.bool_]) -> str:
    """Draw a mask's outer contours, through the centres of its outermost pixels, as SVG path."""
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    paths = []
    for contour in contours:
        points = " ".join(f"{x + 0.5:g},{y + 0.5:g}" for x, y in contour[:, 0].tolist())
        paths.append(f"M{points}Z")
    return "".join(paths)
