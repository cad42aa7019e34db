"""Whether an image was made after a contrast agent was given."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gliomart.sources.acquisition import Acquisition

# Words are looked for in lower case, with one space for all but letters, digits, +, -, / and &.
_AGENT = (
    r"(?:c|ce|gd(?:dtpa|ta|w)?|gad\w*|km|[ck]ontrast\w*|mdc|pdc|inj\w*|iv|dotarem|magnevist|prohance"
    r"|omniscan|multihance|clariscan|vueway|elucirem|\N{CYRILLIC SMALL LETTER KA}"
    r"\N{CYRILLIC SMALL LETTER U})\b"
)
_WITH = r"(?:w|with|mit|avec|con|com|met)\b"
_WITHOUT = r"(?:w ?/ ?o|wo|without|ohne|sans|senza|sin|sem|zonder)\b"
_AND = r"(?:and|und|et|e|y|or|oder)?\b"
_GAP = r"[\W]{0,3}"
# Both of it: the name of a whole examination, which says nothing of one series.
_BOTH = (
    rf"\b{_WITH}{_GAP}{_AND}{_GAP}{_WITHOUT}|\b{_WITHOUT}{_GAP}{_AND}{_GAP}{_WITH}"
    rf"|\bpre{_GAP}{_AND}{_GAP}post\b|\+ ?/ ?-"
)
# What else comes before or after something, or is left out: an operation, fat, a saturation.
_OF_ANOTHER = (
    rf"(?!{_GAP}(?:op|surg|treat|th|rt|rad|chem|biop|proc|trau|nat|ict|part|mort|fix|fossa|scan|sat"
    r"|pulse|fs\b|fat|spa?ir|stir|mt|flow|motion|comp|grappa|sense|angul|gap|filt|norm))"
)
_NOT_GIVEN = (
    rf"\b{_WITHOUT}{_OF_ANOTHER}"
    rf"|\b(?:no|non|kein\w*|nicht|bez|before|avant|vor|prima|antes)[ -]?{_AGENT}"
    rf"|\bpre(?:{_AGENT}|\b{_OF_ANOTHER})|\bnativ\w*|\bnat\b|\bplain\b|\bunenhanced\b"
    r"|\bc ?-(?= |$)|(?:^| )- ?c\b|\bt1w?n\b"
)
_GIVEN = (
    rf"\+ ?{_AGENT}|\bc ?\+|\bt1w?{_AGENT}|\bpost(?:{_AGENT}|\b{_OF_ANOTHER})"
    r"|(?<!phase )(?<!transfer )(?<!tissue )(?<!high )(?<!low )\b[ck]ontrast"
    rf"|(?<!\w)(?!c\b|iv\b|[ck]ontrast){_AGENT}"
)


def after_contrast(acquisition: Acquisition) -> bool | None:
    """Take a T1 for one after contrast (T1C) where its name or a contrast agent says so.

    Series Description comes first, Protocol Name where there is none: gd, +c, km, ce, post and the
    like; pre, native, without contrast, w/o and the like deny it, and both together say nothing.
    Then Contrast/Bolus Agent, its sequence, ingredient, phase, and whether it was administered:
    these are often filled in for a whole examination.
    """
    said = contrast_in(acquisition.description or acquisition.protocol)
    return acquisition.agent if said is None else said


def contrast_in(text: str) -> bool | None:
    """Tell whether words say that contrast was given, or that it was not; None for neither.

    Examples
    --------
    >>> contrast_in("T1 ax +C"), contrast_in("T1 pre Gd"), contrast_in("brain w/wo contrast T1")
    (True, False, None)
    """
    said = " ".join(re.sub(r"[^\w+/&-]+|_+", " ", text.lower()).split())
    both, not_given, given = _patterns()
    if examination := both.search(said):
        said = said[: examination.start()]
    if not_given.search(said):
        return False
    return True if given.search(said) else None


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Compile the patterns once they are needed, which takes as long as a slice."""
    return tuple(map(re.compile, (_BOTH, _NOT_GIVEN, _GIVEN)))
