"""The circuit breaker: its decisions with time as an argument, and the same shared by threads."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from hypothesis import given
from hypothesis import strategies as st

from modeldrop.serving.gemini.circuit_breaker import (
    BreakerRules,
    Circuit,
    ask,
    failed,
    given_up,
    seconds_left,
    succeeded,
)
from modeldrop.serving.gemini.shared_breaker import SharedBreaker

RULES = BreakerRules(failures_to_open=3, open_seconds=10.0)


def after_failures(count: int, now: float = 100.0) -> Circuit:
    circuit = Circuit()
    for _ in range(count):
        circuit = failed(circuit, circuit.ticket, now, RULES)
    return circuit


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    assert ask(after_failures(2), 100.0, RULES)[1] is not None
    assert ask(after_failures(3), 100.0, RULES)[1] is None


def test_a_success_between_failures_counts_from_nothing_again() -> None:
    circuit = succeeded(after_failures(2), 0)
    circuit = failed(failed(circuit, 0, 100.0, RULES), 0, 100.0, RULES)
    assert ask(circuit, 100.0, RULES)[1] is not None


def test_after_its_time_one_call_is_let_through() -> None:
    circuit = after_failures(3)
    assert seconds_left(circuit, 104.0, RULES) == 6.0
    assert ask(circuit, 109.9, RULES)[1] is None
    circuit, ticket = ask(circuit, 110.0, RULES)
    assert ticket is not None
    assert ask(circuit, 110.0, RULES)[1] is None
    assert seconds_left(circuit, 111.0, RULES) == 9.0


def test_the_probe_decides() -> None:
    circuit, ticket = ask(after_failures(3), 110.0, RULES)
    assert ticket is not None
    closed = succeeded(circuit, ticket)
    assert closed.opened_at is None
    assert ask(failed(closed, closed.ticket, 110.0, RULES), 110.0, RULES)[1] is not None
    opened = failed(circuit, ticket, 113.0, RULES)
    assert ask(opened, 122.9, RULES)[1] is None
    assert ask(opened, 123.0, RULES)[1] is not None


def test_a_probe_that_never_comes_back_is_followed_by_another() -> None:
    circuit, first = ask(after_failures(3), 110.0, RULES)
    assert ask(circuit, 119.9, RULES)[1] is None
    circuit, second = ask(circuit, 120.0, RULES)
    assert None not in (first, second)
    assert first != second
    assert failed(circuit, first or 0, 120.0, RULES) == circuit  # too late to say anything


def test_a_probe_nobody_waited_for_makes_room_at_once() -> None:
    circuit, ticket = ask(after_failures(3), 110.0, RULES)
    assert ask(given_up(circuit, ticket or 0), 110.0, RULES)[1] is not None


def test_giving_up_says_nothing_about_a_closed_circuit() -> None:
    assert given_up(after_failures(2), 0) == after_failures(2)


def test_calls_from_before_it_opened_do_not_close_it() -> None:
    opened = after_failures(3)
    assert succeeded(opened, 0) == opened
    assert failed(opened, 0, 200.0, RULES) == opened
    half_open, _ = ask(opened, 110.0, RULES)
    assert succeeded(half_open, 0) == half_open


@given(st.lists(st.tuples(st.sampled_from(["ask", "good", "bad", "gone"]), st.floats(0, 15)), max_size=60))
def test_whatever_happens_it_asks_again_in_time(steps: list[tuple[str, float]]) -> None:
    """At no time is it further than open_seconds from letting a call through, and an open one lets one at a time."""
    circuit, now, tickets = Circuit(), 0.0, [0]
    for step, seconds in steps:
        now += seconds
        if step == "ask":
            circuit, ticket = ask(circuit, now, RULES)
            tickets += [] if ticket is None else [ticket]
            assert circuit.opened_at is None or ask(circuit, now, RULES)[1] is None
        elif step == "good":
            circuit = succeeded(circuit, tickets[-1])
        elif step == "bad":
            circuit = failed(circuit, tickets[-1], now, RULES)
        else:
            circuit = given_up(circuit, tickets[-1])
        left = seconds_left(circuit, now, RULES)
        assert 0 <= left <= RULES.open_seconds + 1e-6
        assert ask(circuit, now + left + 1e-6, RULES)[1] is not None


def test_threads_share_one_probe() -> None:
    time = [0.0]
    breaker = SharedBreaker(RULES, lambda: time[0])
    for _ in range(3):
        breaker.failed(breaker.ask() or 0)
    assert (breaker.ask(), breaker.seconds_left()) == (None, 10.0)
    time[0] = 10.0
    all_here = Barrier(8)

    def probe(_: int) -> int | None:
        all_here.wait()
        return breaker.ask()

    with ThreadPoolExecutor(8) as threads:
        tickets = [ticket for ticket in threads.map(probe, range(8)) if ticket is not None]
    assert len(tickets) == 1
    breaker.given_up(tickets[0])
    (second,) = [breaker.ask()]
    assert second is not None
    breaker.succeeded(second)
    assert breaker.seconds_left() == 0.0


def test_threads_count_every_failure() -> None:
    breaker = SharedBreaker(BreakerRules(failures_to_open=801, open_seconds=10.0), lambda: 0.0)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: breaker.failed(0), range(800)))
    assert breaker.ask() is not None
    breaker.failed(0)
    assert breaker.ask() is None
