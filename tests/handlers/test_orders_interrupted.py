"""Orders among others: episodes that end elsewhere, claims, budgets, and processes that end at any moment."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from modeldrop.domain.backoff import MOST_ATTEMPTS, MOST_REFUSALS
from modeldrop.domain.retraining.episode import CLOSED, FAILED, RUNNING
from modeldrop.handlers.retraining.carry_out_order import CLAIM
from modeldrop.handlers.retraining.carry_out_orders import PAGE, carry_out_orders
from modeldrop.ports import Write
from modeldrop.records.retraining import Retraining
from tests.handlers.control import MODEL, Control
from tests.handlers.ordering import (
    PATIENCE_SECONDS,
    carry_out,
    episode,
    impatient,
    keys,
    open_episode,
    orders,
    set_target,
    state,
    stored_episode,
    told,
    webhook,
)
from tests.servers.receiver import HANG, Receiver, Reply

# --- ended elsewhere, claims, budgets --------------------------------------------------------------------------


def test_an_episode_that_ended_elsewhere_is_asked_for_nowhere(control: Control, receiver: Receiver) -> None:
    opened = open_episode(control, webhook(receiver))
    slot = stored_episode(control)
    records = Retraining(control.services.documents)
    records.commit([slot.write(msgspec.structs.replace(slot.value, status=CLOSED))])
    assert carry_out(control.services).done == {opened: "over"}
    assert (receiver.received, orders(control), episode(control).status) == ([], {}, CLOSED)


def test_it_ends_elsewhere_while_the_target_is_asked(control: Control, receiver: Receiver) -> None:
    receiver.then(Reply(kind="late", seconds=0.3))
    opened = open_episode(control, webhook(receiver))
    tick = threading.Thread(target=carry_out, args=(control.another_instance(),))
    tick.start()
    try:
        receiver.wait_for(1)
        slot = stored_episode(control)
        closed = msgspec.structs.replace(slot.value, status=CLOSED)
        Retraining(control.services.documents).commit([slot.write(closed)])
    finally:
        tick.join()
    assert episode(control) == closed
    control.clock.forward(CLAIM.total_seconds())
    assert carry_out(control.services).done == {opened: "over"}
    assert orders(control) == {}


def test_what_is_somebody_elses_is_left_to_them(control: Control, receiver: Receiver) -> None:
    open_episode(control, webhook(receiver))
    records = Retraining(control.services.documents)
    (slot,) = records.orders()
    theirs = msgspec.structs.replace(slot.value, claimed_until=control.clock.now + CLAIM)
    records.commit([slot.write(theirs)])
    control.clock.forward(CLAIM.total_seconds() - 1)
    assert carry_out(control.services).done == {}
    control.clock.forward(1)
    assert list(carry_out(control.services).done.values()) == ["started"]


def test_nothing_is_begun_when_the_time_is_over(control: Control, receiver: Receiver) -> None:
    opened = open_episode(control, webhook(receiver))
    report = carry_out(control.services, 0.0)
    assert (report.done, report.left, report.in_time, receiver.received) == ({}, [opened], False, [])
    assert orders(control)[MODEL].attempts == 0


def test_every_page_of_orders_is_read(control: Control, receiver: Receiver) -> None:
    models = [f"m{number:03d}" for number in range(PAGE + 1)]
    for model in models:
        open_episode(control, webhook(receiver), model)
    set_target(control, None, models[-1])
    report = carry_out(control.services)
    assert len(report.done) == PAGE + 1
    assert episode(control, models[-1]).status == FAILED
    assert sorted(set(keys(receiver))) == sorted(keys(receiver))
    assert len(receiver.received) == PAGE


# --- crashes ---------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("answer", [200, 404])
def test_a_crash_at_any_commit_leaves_what_another_can_go_on_with(
    control: Control, receiver: Receiver, answer: int, side: str
) -> None:
    receiver.always(Reply(answer))
    for number in range(1, 10):
        opened = open_episode(control, webhook(receiver), f"m{number}")
        services = control.another_instance()
        crashing = Crashing(services.documents, number, side)
        services.__dict__["documents"] = crashing
        with suppress(Crash):
            carry_out_orders(services, 10.0)
        if not crashing.happened:
            break
        for _ in range(1 if answer == 200 else MOST_REFUSALS):
            control.clock.forward(3600)
            carry_out(control.services)
        ended = episode(control, f"m{number}")
        assert (ended.status, keys(receiver)[-1]) == (RUNNING if answer == 200 else FAILED, opened)
        assert keys(receiver).count(opened) <= (1 if answer == 200 else MOST_REFUSALS) + 1
        assert len(told(control, f"m{number}")) == (answer == 404)
        assert (state(control, f"m{number}").open is None) == (answer == 404)
    assert number > 3  # claim, intent, outcome


class Crashing:
    """Documents of a process that ends at the n-th commit, before or after it is carried out."""

    def __init__(self, real: Any, number: int, side: str) -> None:
        self._real, self._left, self._side = real, number, side
        self.happened = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def commit(self, writes: Sequence[Write]) -> None:
        self._left -= 1
        if self._left > 0:
            return self._real.commit(writes)
        if self._left == 0 and self._side == "after":
            self._real.commit(writes)
        self.happened = True
        raise Crash


def test_whoever_asks_has_said_so_before(control: Control, receiver: Receiver) -> None:
    """While the target is being asked, it is already on record that it may have been."""
    receiver.always(HANG)
    open_episode(control, webhook(receiver))
    tick = threading.Thread(target=carry_out, args=(impatient(control, 2 * PATIENCE_SECONDS),))
    tick.start()
    try:
        receiver.wait_for(1)
        order = orders(control)[MODEL]
    finally:
        tick.join()
    assert (order.asked_at, order.attempts) == (control.clock.now, 1)
    assert order.claimed_until == control.clock.now + CLAIM


def test_attempts_that_always_end_the_process_come_to_an_end(control: Control, receiver: Receiver) -> None:
    opened = open_episode(control, webhook(receiver))
    for _ in range(MOST_ATTEMPTS):
        services = control.another_instance()
        services.__dict__["documents"] = Crashing(services.documents, 3, "before")
        with pytest.raises(Crash):
            carry_out_orders(services, 10.0)
        control.clock.forward(CLAIM.total_seconds())
    assert (
        carry_out(control.services).done[opened].startswith(f"failed: none of {MOST_ATTEMPTS} attempts came to an end")
    )
    assert len(receiver.received) == MOST_ATTEMPTS
