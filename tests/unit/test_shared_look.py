"""Many who want a look share one, and none waits without end."""

import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from modeldrop.serving.shared_look import LookRules, SharedLook


class Looks:
    """Each look begins when it may, and ends when it is let go; its outcome is its number."""

    def __init__(self, rules: LookRules) -> None:
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.moments: list[float] = []
        self.shared = SharedLook(self._look, rules)

    def ask(self) -> str:
        return self.shared.outcome(lambda reason: reason)

    def _look(self) -> str:
        self.moments.append(monotonic())
        self.began.release()
        assert self.may_end.acquire(timeout=20)
        return str(len(self.moments))


def until_waiting(looks: Looks, count: int) -> None:
    deadline = monotonic() + 10
    while looks.shared._waiting < count:
        assert monotonic() < deadline


def test_all_who_ask_meanwhile_share_the_next_look() -> None:
    """Not the one under way: that may have looked before they wrote what they want to be seen."""
    looks = Looks(LookRules(0.0, 20.0, 8))
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(looks.ask)
        assert looks.began.acquire(timeout=10)
        others = [threads.submit(looks.ask) for _ in range(5)]
        until_waiting(looks, 6)
        looks.may_end.release()
        assert first.result(10) == "1"
        looks.may_end.release()
        assert [other.result(10) for other in others] == ["2"] * 5
    assert len(looks.moments) == 2


def test_who_has_waited_long_enough_is_told_and_the_look_goes_on() -> None:
    looks = Looks(LookRules(0.0, 0.05, 8))
    began = monotonic()
    assert looks.ask() == "there was no outcome within 0.05 s; it goes on by itself"
    assert looks.ask() == "there was no outcome within 0.05 s; it goes on by itself"
    assert 0.1 <= monotonic() - began < 4
    looks.may_end.release(3)
    deadline = monotonic() + 10
    while looks.ask() not in ("2", "3"):
        assert monotonic() < deadline


def test_no_more_wait_than_may() -> None:
    """A thread that waits answers nobody: with all of them waiting, not even health would be."""
    looks = Looks(LookRules(0.0, 20.0, 3))
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(looks.ask) for _ in range(3)]
        until_waiting(looks, 3)
        assert looks.ask() == "3 other callers wait for this already"
        looks.may_end.release(2)
        assert {one.result(10) for one in waiting} <= {"1", "2"}
    looks.may_end.release()
    assert looks.ask() in ("2", "3")


def test_what_a_look_raises_reaches_all_who_wait_and_the_next_is_made() -> None:
    outcomes = iter([ValueError("no"), "fine"])

    def look() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    shared = SharedLook(look, LookRules(0.0))
    with pytest.raises(ValueError, match="no"):
        shared.outcome(str)
    assert shared.outcome(str) == "fine"


def test_there_is_a_pause_between_looks() -> None:
    looks = Looks(LookRules(0.2, 20.0, 8))
    looks.may_end.release(3)
    assert [looks.ask() for _ in range(3)] == ["1", "2", "3"]
    pauses = [later - earlier for earlier, later in zip(looks.moments, looks.moments[1:], strict=False)]
    assert min(pauses) >= 0.2
