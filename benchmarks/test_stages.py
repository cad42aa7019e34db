"""Every stage of one slice of the simulated study, and the model on every provider that runs.

Run with ``pytest benchmarks``; keep a result with ``--benchmark-json``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliomart import sources
from gliomart.detector import Detector
from gliomart.errors import ProviderError
from gliomart.findings import scoring
from gliomart.image.normalisation import SAMPLED_SLICES, estimate_normalisation
from gliomart.image.preprocess import prepare
from gliomart.image.sampling import evenly_spaced
from gliomart.image.shading import estimate_field
from gliomart.image.slices import Slice
from gliomart.image.steps import Shading
from gliomart.model.model import Model
from gliomart.outputs import pictures
from gliomart.outputs.folder import write_atomically

# Slices of a series, and milliseconds within which its field is found, on two cores: a scanner's
# usual series, a 3D FLAIR, and one image.
FIELDS = {24: 60.0, 176: 200.0, 1: 3.0}
GOLDEN = Path(sources.__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(provider="cpu")


@pytest.fixture(scope="module")
def files() -> tuple[sources.SourceFile, ...]:
    return sources.scan([GOLDEN]).series[0].files


def _slice(file: sources.SourceFile) -> Slice:
    (one,) = sources.read(file)
    assert isinstance(one, Slice)
    return one


@pytest.fixture(scope="module")
def image(detector: Detector, files: tuple[sources.SourceFile, ...]) -> np.ndarray:
    one = _slice(files[5])
    spec = detector.card.preprocessing
    return prepare(one, estimate_normalisation([one], spec), spec).image


def test_read(within_budget: Any, files: tuple[sources.SourceFile, ...]) -> None:
    (one,) = within_budget("ms.read.p95", lambda: list(sources.read(files[5])))
    assert one.pixels.shape == (256, 256)


def test_preprocess(
    within_budget: Any, detector: Detector, files: tuple[sources.SourceFile, ...]
) -> None:
    one = _slice(files[5])
    spec = detector.card.preprocessing
    normalisation = estimate_normalisation([one], spec)
    prepared = within_budget("ms.preprocess.p95", prepare, one, normalisation, spec)
    assert prepared.image.shape[:2] == (spec.size, spec.size)


@pytest.mark.parametrize(("count", "at_most"), FIELDS.items())
def test_field(
    within_budget: Any,
    detector: Detector,
    files: tuple[sources.SourceFile, ...],
    count: int,
    at_most: float,
) -> None:
    """Of a series, as far as it is sampled: how long it is does not matter any more."""
    spec = replace(detector.card.preprocessing, shading=Shading())
    series = [_slice(file) for file in files]
    norm = estimate_normalisation(series, spec)
    numbers = evenly_spaced(range(count), SAMPLED_SLICES)
    planes = [series[number * len(series) // count].pixels for number in numbers]
    levels = norm.black, norm.brain
    field = within_budget(
        "field", estimate_field, planes, numbers, norm.box, levels, spec, at_most=at_most
    )
    assert field.log.shape[0] == min(count, SAMPLED_SLICES)


@pytest.mark.parametrize("provider", ["cpu", "cuda", "tensorrt"])
def test_infer(within_budget: Any, image: np.ndarray, provider: Any) -> None:
    try:
        model = Model(provider=provider)
    except ProviderError as error:
        pytest.skip(str(error))
    outputs = within_budget("ms.infer.p95", model.run, image)
    assert outputs.anomaly_map.shape == image.shape[:2]


def test_score(
    within_budget: Any, detector: Detector, files: tuple[sources.SourceFile, ...]
) -> None:
    one = _slice(files[5])
    spec = detector.card.preprocessing
    normalisation = estimate_normalisation([one], spec)
    prepared = prepare(one, normalisation, spec)
    anomaly_map = Model(provider="cpu").run(prepared.image).anomaly_map

    def score() -> float:
        on_source, _ = scoring.to_source(anomaly_map, normalisation.box, (256, 256))
        scoring.find_regions(on_source, 0.05, 20, one.spacing)
        return scoring.slice_score(anomaly_map, detector.card.scoring)

    assert within_budget("ms.score.p95", score) >= 0


def test_write(
    within_budget: Any, detector: Detector, files: tuple[sources.SourceFile, ...], tmp_path: Path
) -> None:
    result = detector.detect(files[5].path)
    path = tmp_path / "overlay.png"

    def write() -> None:
        write_atomically(path, pictures.png(pictures.overlay(result, 0.2)))

    within_budget("ms.write.p95", write)
    assert path.stat().st_size > 1000


def test_slice(
    within_budget: Any, detector: Detector, files: tuple[sources.SourceFile, ...]
) -> None:
    result = within_budget("ms.slice.p95", detector.detect, files[5].path)
    assert result.slice.spacing is not None
