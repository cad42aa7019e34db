from __future__ import annotations

import threading
import time
from threading import Event, Lock, get_ident

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomart.pipeline import in_order


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=20), st.integers(1, 4))
def test_results_come_in_order_however_long_each_takes(delays: list[int], workers: int) -> None:
    def work(pair: tuple[int, int]) -> int:
        number, delay = pair
        time.sleep(delay / 2000)
        return number

    assert list(in_order(work, enumerate(delays), workers=workers)) == list(range(len(delays)))


def test_items_are_worked_on_at_the_same_time() -> None:
    both = [Event(), Event()]

    def meet(number: int) -> bool:
        both[number].set()
        return both[1 - number].wait(10)

    assert list(in_order(meet, range(2), workers=2)) == [True, True]


def test_no_more_is_begun_than_is_taken() -> None:
    begun: list[int] = []
    lock = Lock()

    def note(number: int) -> int:
        with lock:
            begun.append(number)
        return number

    results = in_order(note, range(100), workers=3)
    for taken, _ in enumerate(results, start=1):
        time.sleep(0.002)
        assert len(begun) <= taken + 3
        if taken == 10:
            break
    results.close()  # type: ignore[attr-defined]  # a generator
    assert len(begun) <= 10 + 3


def test_an_error_is_raised_in_its_turn_and_ends_the_work() -> None:
    begun: list[int] = []

    def fail(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise ValueError("two")
        return number

    results = in_order(fail, range(100), workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert max(begun) <= 5


def test_the_taker_itself_does_not_work() -> None:
    assert get_ident() not in in_order(lambda _: get_ident(), range(4), workers=1)


def test_what_was_forgotten_is_collected_in_any_thread_without_waiting() -> None:
    """A collection may run in a thread that is about to start, and holds what others end by."""
    go_on = threading.Event()
    forgotten = in_order(lambda wait: wait and go_on.wait(60), [False, True, True], workers=1)
    next(forgotten)  # another is under way, which waits
    collector = threading.Thread(target=forgotten.close)
    collector.start()
    collector.join(10)
    waited = collector.is_alive()
    go_on.set()
    collector.join()
    assert not waited
