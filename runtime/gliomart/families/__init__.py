"""How kinds of models look at images: a small protocol, and one file for each kind.

A card names the family of its model. Those that come with gliomart are in :data:`FAMILIES`; another
package adds one through the entry-point group ``gliomart.families``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from gliomart.errors import ModelCardError
from gliomart.model.contents import SLICE, VOLUME
from gliomart.printable import said

if TYPE_CHECKING:
    from gliomart.families.family import Family

GROUP = "gliomart.families"
# Where the class of each family is, by the name that cards give it.
FAMILIES = {
    SLICE: "gliomart.families.slicewise:Slicewise",
    VOLUME: "gliomart.families.volumewise:Volumewise",
}


def family_of(name: str) -> type[Family]:
    """Find the class of a family by the name that a card gives it.

    Raises
    ------
    ModelCardError
        There is none of this name.
    """
    if name in FAMILIES:
        module, _, found = FAMILIES[name].partition(":")
        family: type[Family] = getattr(import_module(module), found)
        return family
    from importlib.metadata import entry_points  # takes its time, and is rarely needed

    for entry in entry_points(group=GROUP, name=name):
        try:
            return entry.load()
        except Exception as error:
            reason = f"the model's family {name!r:.40} does not load ({said(error)})"
            raise ModelCardError(reason) from error
    known = ", ".join(sorted(FAMILIES))
    raise ModelCardError(f"the model is of the family {name!r:.40}, and known are {known}")
