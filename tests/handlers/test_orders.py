"""Orders at a webhook over the wire: asked once, whoever asks, and whatever the target answers."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from modeldrop.domain.backoff import MOST_ATTEMPTS
from modeldrop.domain.retraining.episode import FAILED, REQUESTED, RUNNING
from modeldrop.domain.targets import PubsubTarget
from modeldrop.handlers.outbox.lanes import WORKERS
from modeldrop.handlers.retraining.carry_out_orders import OrdersReport
from tests.handlers.control import MODEL, Control
from tests.handlers.ordering import (
    carry_out,
    episode,
    impatient,
    keys,
    open_episode,
    orders,
    state,
    told,
    until,
    webhook,
)
from tests.servers.receiver import DROP, HANG, Receiver, Reply


@pytest.fixture
def other() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


# --- asked once ------------------------------------------------------------------------------------------------


def test_a_target_is_asked_once_with_all_that_it_needs(control: Control, receiver: Receiver) -> None:
    opened = open_episode(control, webhook(receiver))
    assert carry_out(control.services).done == {opened: "started"}
    assert carry_out(control.services).done == {}
    (request,) = receiver.received
    assert request.headers["idempotency-key"] == opened
    assert request.json() == {
        "episode": opened,
        "model": MODEL,
        "version": "v1",
        "cause": "data_drift",
        "report": None,
        "window": None,
        "lineage": {"commit": "abc"},
    }
    assert (episode(control).status, episode(control).run.state) == (RUNNING, "accepted")
    assert told(control) == []


def test_a_target_that_does_not_tell_is_not_followed(control: Control, receiver: Receiver) -> None:
    opened = open_episode(control, webhook(receiver))
    carry_out(control.services)
    control.clock.forward(60)
    assert carry_out(control.services).done == {opened: "over: the target does not tell"}
    assert (orders(control), episode(control).status, state(control).open) == ({}, RUNNING, opened)


def test_many_ticks_at_once_ask_once(control: Control, receiver: Receiver) -> None:
    receiver.always(Reply(kind="late", seconds=0.1))
    opened = open_episode(control, webhook(receiver))
    instances = [control.another_instance() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        reports = list(pool.map(carry_out, instances))
    assert keys(receiver) == [opened]
    assert [report.done.get(opened) for report in reports].count("started") == 1
    assert (episode(control).status, orders(control)[MODEL].claimed_until) == (RUNNING, None)


def test_a_message_on_a_topic_is_a_target_as_well(control: Control) -> None:
    opened = open_episode(control, PubsubTarget("retrain"))
    assert carry_out(control.services).done == {opened: "started"}
    assert episode(control).status == RUNNING


# --- what may work later ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [Reply(500), Reply(429), HANG, DROP])
def test_what_may_work_later_is_asked_again_with_the_same_key(
    control: Control, receiver: Receiver, trouble: Reply
) -> None:
    receiver.then(trouble)
    opened, services = open_episode(control, webhook(receiver)), impatient(control)
    assert carry_out(services).done[opened].startswith("waiting: ")
    order = orders(control)[MODEL]
    assert (episode(control).status, order.attempts, order.claimed_until) == (REQUESTED, 1, None)
    assert (order.asked_at, bool(order.error), "hidden" in order.error) == (control.clock.now, True, False)
    control.clock.forward(5)
    assert carry_out(services).done == {opened: "started"}
    assert keys(receiver) == [opened, opened]
    order = orders(control)[MODEL]
    assert (order.attempts, order.error, order.next_at) == (0, "", control.clock.now + timedelta(seconds=60))


def test_the_pauses_are_kept_and_after_the_last_attempt_it_has_failed(control: Control, receiver: Receiver) -> None:
    receiver.always(Reply(503))
    opened = open_episode(control, webhook(receiver))
    for attempt in range(1, MOST_ATTEMPTS):
        assert carry_out(control.services).done[opened].startswith("waiting: ")
        due = orders(control)[MODEL].next_at
        assert due is not None
        assert timedelta() <= due - control.clock.now <= timedelta(seconds=min(5 * 2 ** (attempt - 1), 3600))
        control.clock.now = due - timedelta(microseconds=1)
        assert carry_out(control.services).done == {}
        control.clock.now = due
    assert carry_out(control.services).done[opened].startswith(f"failed: given up after {MOST_ATTEMPTS} attempts: ")
    assert keys(receiver) == [opened] * MOST_ATTEMPTS
    assert (orders(control), episode(control).status) == ({}, FAILED)


def test_one_that_hangs_keeps_no_other_waiting(control: Control, receiver: Receiver, other: Receiver) -> None:
    """However many of its orders are due: one is tried, the others are left as they are."""
    receiver.always(HANG)
    hanging = [open_episode(control, webhook(receiver), f"a{number:02d}") for number in range(2 * WORKERS)]
    open_episode(control, webhook(other), "b")
    reports: list[OrdersReport] = []
    tick = threading.Thread(target=lambda: reports.append(carry_out(impatient(control, 2.0))))
    tick.start()
    try:
        until(lambda: episode(control, "b").status == RUNNING, "b is running")
        assert tick.is_alive()
    finally:
        tick.join()
    (report,) = reports
    assert [name for name in hanging if name in report.done] == hanging[:1]
    assert (sorted(report.left), report.in_time) == (hanging[1:], True)
    assert [orders(control)[f"a{number:02d}"].attempts for number in range(2 * WORKERS)] == [1] + [0] * 15


def test_those_that_were_left_come_before_those_that_had_their_turn(control: Control, receiver: Receiver) -> None:
    receiver.always(Reply(503))
    opened = [open_episode(control, webhook(receiver), model) for model in ("a", "b", "c")]
    for _ in opened:
        carry_out(control.services)
        control.clock.forward(5)
    assert keys(receiver) == opened
    assert {order.attempts for order in orders(control).values()} == {1}


def test_a_target_that_works_is_asked_for_all(control: Control, receiver: Receiver) -> None:
    receiver.then(Reply(404))  # an answer, too
    opened = [open_episode(control, webhook(receiver), f"m{number}") for number in range(5)]
    report = carry_out(control.services)
    assert (sorted(keys(receiver)), report.left, len(report.done)) == (opened, [], 5)
