"""One detector, many threads or coroutines: the results are those of one after the other."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from threading import Barrier

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGLSLossless

from gliomart import Detector, SeriesResult, SliceResult
from samples import GOLDEN

FILES = sorted(GOLDEN.glob("*.dcm"))
# By itself the last one, a piece of scalp, is no head.
ALONE = FILES[:-1]
THREADS = 8


@pytest.fixture(scope="module")
def detector() -> Detector:
    """The built-in model, which has not run yet: the first runs are concurrent as well."""
    return Detector(provider="cpu")


def _same(one: SliceResult, other: SliceResult) -> bool:
    assert one.pons is not None
    assert other.pons is not None
    return (
        (one.score, one.p_value, one.flagged) == (other.score, other.p_value, other.flagged)
        and one.regions == other.regions
        and (one.pons.score, one.pons.box) == (other.pons.score, other.pons.box)
        and np.array_equal(one.anomaly_map, other.anomaly_map)
        and np.array_equal(one.reconstruction, other.reconstruction)
    )


def _compressed(file: Path) -> BytesIO:
    """Encode it without loss; one process decodes for all threads."""
    dataset, stream = pydicom.dcmread(file), BytesIO()
    dataset.decompress(generate_instance_uid=False)
    if find_spec("jpeg_ls"):
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    dataset.save_as(stream)
    stream.seek(0)
    return stream


def test_threads_share_a_detector(detector: Detector) -> None:
    together = Barrier(THREADS)

    def images(number: int) -> list[object]:
        """Each thread its own order, and each image in another form."""
        turned = ALONE[3 * number :] + ALONE[: 3 * number]
        forms = (Path, lambda file: BytesIO(file.read_bytes()), pydicom.dcmread, _compressed)
        return [forms[(number + place) % 4](file) for place, file in enumerate(turned)]

    def look(number: int) -> list[SliceResult]:
        together.wait()
        return [detector.detect(image) for image in images(number)]  # type: ignore[arg-type]

    with ThreadPoolExecutor(THREADS) as pool:
        concurrent = list(pool.map(look, range(THREADS)))
    sequential = {file: detector.detect(file) for file in ALONE}
    assert len({result.score for result in sequential.values()}) == len(ALONE)
    for number, results in enumerate(concurrent):
        turned = ALONE[3 * number :] + ALONE[: 3 * number]
        for file, result in zip(turned, results, strict=True):
            assert _same(result, sequential[file])


def test_threads_share_a_detector_for_series(detector: Detector) -> None:
    alone = detector.detect_series(GOLDEN)
    together = Barrier(3)

    def look(_: int) -> SeriesResult:
        together.wait()
        return detector.detect_series(GOLDEN)

    with ThreadPoolExecutor(3) as pool:
        for result in pool.map(look, range(3)):
            assert result.verdict == alone.verdict
            assert result.pons == alone.pons
            assert all(map(_same, result.slices, alone.slices))
            assert len(result.slices) == len(FILES)


def test_threads_make_detectors_of_their_own() -> None:
    together = Barrier(THREADS)

    def look(_: int) -> float:
        together.wait()
        return Detector(provider="cpu", threads=1).detect(FILES[11]).score

    with ThreadPoolExecutor(THREADS) as pool:
        assert len(set(pool.map(look, range(THREADS)))) == 1


def test_coroutines_await_a_detector_that_never_blocks_their_loop(detector: Detector) -> None:
    running, most = 0, 0

    async def look(file: Path, places: asyncio.Semaphore) -> SliceResult:
        nonlocal running, most
        async with places:
            running += 1
            most = max(most, running)
            result = await asyncio.to_thread(detector.detect, file)
            running -= 1
            return result

    async def look_at_all() -> tuple[list[SliceResult], int]:
        places = asyncio.Semaphore(2)
        looking = asyncio.gather(*(look(file, places) for file in ALONE))
        turns = 0
        while not looking.done():
            turns += 1  # the loop has other things to do, and gets to them
            await asyncio.sleep(0.001)
        return await looking, turns

    results, turns = asyncio.run(look_at_all())
    assert most == 2
    assert turns > len(ALONE)
    for file, result in zip(ALONE, results, strict=True):
        assert _same(result, detector.detect(file))
