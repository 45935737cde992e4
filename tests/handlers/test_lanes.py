"""Lanes: what hangs or fails keeps others from nothing, and whatever is put in is run once or skipped once."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from modeldrop.handlers.outbox.lanes import MOST_OF_A_LANE, MOST_STUMBLES, WORKERS, Lanes, Outcome


@dataclass
class Work:
    """An errand that notes what happens to it."""

    name: str
    notes: list[str]
    act: Callable[[], Outcome] = field(default=lambda: "works")

    def run(self) -> Outcome:
        self.notes.append(f"run {self.name}")
        return self.act()

    def skip(self) -> None:
        self.notes.append(f"skip {self.name}")


def soon() -> float:
    return time.monotonic() + 10


def test_everything_is_run_once() -> None:
    notes: list[str] = []
    with Lanes(soon()) as lanes:
        for number in range(300):
            lanes.put(f"lane {number % 7}", Work(str(number), notes))
    assert Counter(notes) == Counter(f"run {number}" for number in range(300))
    assert lanes.not_reached == 0


def test_a_lane_nobody_knows_yet_gets_one_worker() -> None:
    notes: list[str] = []
    others_are_done, left = threading.Event(), threading.Semaphore(0)

    def hang() -> Outcome:
        assert others_are_done.wait(10)
        return "fails"

    def other() -> Outcome:
        left.release()
        return "works"

    with Lanes(soon()) as lanes:
        for number in range(20):
            lanes.put("hangs", Work(f"hangs {number}", notes, hang))
        for number in range(20):
            lanes.put("works", Work(f"works {number}", notes, other))
        assert all(left.acquire(timeout=10) for _ in range(20))
        assert [note for note in notes if "hangs" in note] == ["run hangs 0"]
        others_are_done.set()
    assert Counter(note for note in notes if "hangs" in note) == Counter(
        ["run hangs 0", *[f"skip hangs {number}" for number in range(1, 20)]]
    )


@pytest.mark.parametrize("later", ["works", "unknown"])
def test_a_lane_that_works_gets_more_but_not_all(later: Outcome) -> None:
    notes: list[str] = []
    running, most = 0, 0
    guard = threading.Condition()

    def act() -> Outcome:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
            guard.notify_all()
            guard.wait_for(lambda: most >= MOST_OF_A_LANE, 0.05)
            running -= 1
        return later

    with Lanes(soon()) as lanes:
        lanes.put("lane", Work("first", notes))
        for number in range(40):
            lanes.put("lane", Work(str(number), notes, act if number else lambda: "unknown"))
    assert most == MOST_OF_A_LANE < WORKERS


def test_a_lane_that_failed_gets_nothing_any_more() -> None:
    notes: list[str] = []
    failed = threading.Event()

    def fail() -> Outcome:
        failed.set()
        return "fails"

    with Lanes(soon()) as lanes:
        lanes.put("lane", Work("first", notes, fail))
        assert failed.wait(10)
        for number in range(5):
            lanes.put("lane", Work(str(number), notes))
    assert notes[0] == "run first"
    assert Counter(notes[1:]) == Counter(f"skip {number}" for number in range(5))


def test_a_lane_that_stumbles_is_closed_after_several_in_a_row() -> None:
    notes: list[str] = []
    with Lanes(soon()) as lanes:
        for number in range(MOST_STUMBLES + 5):
            lanes.put("lane", Work(str(number), notes, lambda: "stumbles"))
    assert notes[:MOST_STUMBLES] == [f"run {number}" for number in range(MOST_STUMBLES)]
    left = range(MOST_STUMBLES, MOST_STUMBLES + 5)
    assert Counter(notes[MOST_STUMBLES:]) == Counter(f"skip {number}" for number in left)


def test_a_lane_that_stumbles_now_and_then_goes_on_with_one_worker_until_it_works() -> None:
    notes: list[str] = []
    with Lanes(soon()) as lanes:
        for number in range(5 * MOST_STUMBLES):
            lanes.put("lane", Work(str(number), notes, lambda n=number: "stumbles" if n % MOST_STUMBLES else "works"))
    assert Counter(notes) == Counter(f"run {number}" for number in range(5 * MOST_STUMBLES))


def test_a_failure_closes_a_lane_that_stumbled() -> None:
    notes: list[str] = []
    outcomes: list[Outcome] = ["stumbles", "stumbles", "fails"]
    with Lanes(soon()) as lanes:
        for number in range(5):
            lanes.put("lane", Work(str(number), notes, lambda: outcomes.pop(0) if outcomes else "works"))
    assert Counter(notes) == Counter(["run 0", "run 1", "run 2", "skip 3", "skip 4"])


def test_what_says_nothing_of_its_lane_leaves_it_as_it_was() -> None:
    notes: list[str] = []
    with Lanes(soon()) as lanes:
        for number in range(10):
            lanes.put("lane", Work(str(number), notes, lambda: "unknown"))
    assert Counter(notes) == Counter(f"run {number}" for number in range(10))


def test_nothing_is_begun_once_the_time_is_over() -> None:
    notes: list[str] = []
    until = time.monotonic() + 0.2

    def slow() -> Outcome:
        threading.Event().wait(until - time.monotonic())
        return "works"

    with Lanes(until) as lanes:
        for number in range(5):
            lanes.put("lane", Work(str(number), notes, slow))
    assert lanes.is_over
    assert lanes.not_reached == 4
    assert Counter(notes) == Counter(["run 0", *[f"skip {number}" for number in range(1, 5)]])


def test_what_an_errand_raises_ends_the_round() -> None:
    notes: list[str] = []
    began = time.monotonic()

    def raise_it() -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Lanes(soon()) as lanes:
        for number in range(5):
            lanes.put("lane", Work(str(number), notes, raise_it))
    assert notes == ["run 0"]
    assert time.monotonic() - began < 5  # nobody waits for what will not come
