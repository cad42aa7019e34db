"""One slice, from pixels and a frame to what a model makes of it."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from gliomart.families.reading import ms_since
from gliomart.findings import pons, scoring, suitability
from gliomart.findings.results import Milliseconds, Settings, SliceResult
from gliomart.image import background
from gliomart.image.normalisation import Normalisation
from gliomart.image.preprocess import prepare

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gliomart.errors import InputRefusedError
    from gliomart.findings.content import Content
    from gliomart.findings.pons import Pons
    from gliomart.image.grid import Box
    from gliomart.image.slices import Concern, Slice
    from gliomart.model.model import Model
    from gliomart.model.prediction import Prediction


def analyse(
    source: Slice,
    frame: Normalisation | InputRefusedError,
    model: Model,
    settings: Settings,
    *,
    content: Content,
    concerns: tuple[Concern, ...],
    notes: tuple[Concern, ...],
    read_ms: float,
    shared_ms: float,
) -> SliceResult:
    """Prepare a slice, run the model on it, and score what comes out.

    Parameters
    ----------
    source, frame
        The slice, and the frame of its series or the reason why there is none.
    model, settings
        A calibrated model, and what results depend on beside the slice; the provider is told anew.
    content, concerns, notes
        What the pixels say, what speaks against the slice, and what has to be told of it.
    read_ms, shared_ms
        Milliseconds that reading took, and the slice's part of what its series shares.

    Raises
    ------
    InputRefusedError
        What the pixels say speaks against it, or there is no frame.
    ModelError, ProviderError
        As :meth:`gliomart.model.model.Model.run`.
    """
    if content.concerns and not settings.forced:
        raise suitability.refused(content.concerns)
    started = perf_counter()
    card, calibration = model.card, model.card.calibration
    assert calibration is not None  # noqa: S101  # a detector is made of no other model
    prepared = prepare(source, frame, card.preprocessing)
    assert isinstance(frame, Normalisation)  # noqa: S101  # prepare raises the reason there is none
    pixels = background.filled(source, frame.background)
    if pixels is not source.pixels:
        source = replace(source, pixels=pixels)
    preprocess_ms = shared_ms + ms_since(started)

    started = perf_counter()
    outputs = model.run(prepared.image)
    infer_ms = ms_since(started)
    settings = replace(settings, provider=model.provider)  # a GPU may have been lost meanwhile

    started = perf_counter()
    score = scoring.slice_score(outputs.anomaly_map, card.scoring)
    height, width = source.pixels.shape
    on_source, pixels_per_pixel = scoring.to_source(outputs.anomaly_map, frame.box, (height, width))
    mask, regions = scoring.find_regions(
        on_source,
        calibration.pixel_threshold,
        card.scoring.minimum_area_px * pixels_per_pixel,
        source.spacing,
        source.plane,
    )
    p = scoring.p_value(score, calibration.slice_scores)
    return SliceResult(
        slice=source,
        normalisation=frame,
        reconstruction=outputs.reconstruction,
        brain=outputs.brain,
        anomaly_map=on_source,
        mask=mask,
        regions=regions,
        score=score,
        p_value=p,
        flagged=p <= settings.false_alarm_rate,
        pons=_pons(
            prepared.image[..., 0],
            outputs,
            on_source,
            box=frame.box,
            model=model,
            settings=settings,
        ),
        concerns=concerns + content.concerns,
        notes=notes + content.notes,
        settings=replace(settings, provider=model.provider),  # a GPU may have been lost meanwhile
        ms=Milliseconds(read_ms, preprocess_ms, infer_ms, ms_since(started)),
    )


def _pons(
    image: NDArray[np.float32],
    outputs: Prediction,
    anomaly_map: NDArray[np.float32],
    *,
    box: Box,
    model: Model,
    settings: Settings,
) -> Pons | None:
    rules = model.card.pons
    if rules is None:
        return None
    rate = settings.false_alarm_rate
    return pons.look(image, outputs, anomaly_map, box=box, rules=rules, false_alarm_rate=rate)
