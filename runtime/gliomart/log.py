"""What gliomart says to the standard library's logging, under the name ``gliomart``.

Records say what runs and how it goes, never on whom: no path, name, UID, score or finding is in
one, so that they may go where all other logs go. Until a handler is set they go nowhere.

=======  ======================================================================
level    message
=======  ======================================================================
ERROR    the code of each series that failed
WARNING  the provider asked for does not run or fails, and another runs
WARNING  fewer threads can be started than were to be
INFO     the model and the provider of a new detector; the code of each refusal
DEBUG    the milliseconds that each slice took, by stage
=======  ======================================================================
"""

from __future__ import annotations

import logging
from dataclasses import astuple
from typing import TYPE_CHECKING, TypeVar

from gliomart.image.slices import Refusal
from gliomart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from gliomart.findings.results import Settings, SliceResult

    _Outcome = TypeVar("_Outcome", bound=SliceResult | Refusal)

logger = logging.getLogger("gliomart")
logger.addHandler(logging.NullHandler())


def choice(settings: Settings) -> None:
    """Log what a detector runs."""
    model = printable(f"{settings.model_name} {settings.model_version}")
    provider = settings.provider
    logger.info("model %s (%s) on %s", model, settings.model_sha256, provider.effective)
    if provider.degraded:
        logger.warning("%s does not run here; using %s", provider.requested, provider.effective)


def failed(code: str) -> None:
    """Log that a series failed and the others are gone on with."""
    logger.error("a series failed: %s", code)


def outcome(item: SliceResult | Refusal) -> None:
    """Log that a slice was analysed, or why an input was not."""
    if isinstance(item, Refusal):
        logger.info("not analysed: %s", item.code)
    else:
        stages = "analysed in ms: read %.1f, preprocess %.1f, infer %.1f, score %.1f"
        logger.debug(stages, *astuple(item.ms))


def each(items: Iterable[_Outcome]) -> Generator[_Outcome, None, None]:
    """Log every item on its way."""
    for item in items:
        outcome(item)
        yield item
