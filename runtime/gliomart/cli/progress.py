"""How far a run is, on standard error, where that is a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gliomart.cli.terminal import is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def bar(*, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar, which goes away at the end, where standard error is a terminal.

    Yields
    ------
    A function that is told how many slices are done, and of how many; None where there is no bar.
    """
    if not (shown and is_terminal(sys.stderr)):
        yield None
        return
    from tqdm import tqdm  # takes its time, and a pipe has no bar

    class Bar(tqdm):
        """A bar without the thread that tqdm would watch it from."""

        monitor_interval = 0

    made: list[Bar] = []

    def tell(done: int, total: int) -> None:
        if not made:
            made.append(
                Bar(
                    total=total,
                    initial=done,
                    unit="slice",
                    file=sys.stderr,
                    leave=False,
                    dynamic_ncols=True,
                )
            )
        made[0].update(done - made[0].n)

    try:
        yield tell
    finally:
        for each in made:
            each.close()
