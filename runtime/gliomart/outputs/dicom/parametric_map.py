"""The anomaly map of a series as a Parametric Map: float32, on the source's own grid."""

from __future__ import annotations

import highdicom
import numpy as np
from highdicom.pm import DerivedPixelContrastValues, ImageFlavorValues, ParametricMap
from highdicom.pm.content import RealWorldValueMapping

from gliomart.outputs.dicom import terms
from gliomart.outputs.dicom.stack import Stack, name_body_part, with_all_sources


def parametric_map(stack: Stack) -> ParametricMap:
    """Make the map; it is displayed on the overlays' scale, not up to its own maximum."""
    maps = np.stack([result.anomaly_map for result in stack.results])
    image = ParametricMap(
        pixel_array=maps,
        # Nothing but what departs from the reconstruction, inside the brain: no face.
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label="ANOMALY",
                lut_explanation="Anomaly score of a pixel: higher is more anomalous",
                unit=terms.NO_UNITS,
                value_range=(float(maps.min()), float(maps.max())),
                slope=1.0,
                intercept=0.0,
                quantity_definition=terms.SCORE,
            )
        ],
        voi_lut_transformations=[
            highdicom.VOILUTTransformation(
                window_center=stack.display_limit / 2,
                window_width=stack.display_limit,
                window_explanation="ANOMALY",
                # Widths below 1 are not for plain LINEAR (PS3.3 C.11.2.1.2).
                voi_lut_function=highdicom.VOILUTFunctionValues.LINEAR_EXACT,
            )
        ],
        image_flavor=ImageFlavorValues.VOLUME,
        derived_pixel_contrast=DerivedPixelContrastValues.QUANTITY,
        content_label="ANOMALY_MAP",
        content_description=f"Anomaly map. {terms.RESEARCH_ONLY}",
        **stack.derived(),
        **stack.filed("map"),
    )
    name_body_part(image, stack.header)
    return with_all_sources(image, stack)
