"""The judges that cards name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.findings import pons

if TYPE_CHECKING:
    from gliomart.findings.structures import Judge, Structure
    from gliomart.model.card import ModelCard

_KINDS = {pons.STRUCTURE.name: pons.PonsJudge}
STRUCTURES: tuple[Structure, ...] = (pons.STRUCTURE,)


def judges_of(card: ModelCard) -> tuple[Judge, ...]:
    """Make the judges that a card names, in its order."""
    return tuple(_KINDS[each.name](each) for each in card.judges)
