"""Orders that no target carries out: the episode ends, and people are told, once."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from modeldrop.domain.backoff import MOST_REFUSALS
from modeldrop.domain.retraining.episode import FAILED, REQUESTED, RUNNING
from modeldrop.domain.targets import WebhookTarget
from modeldrop.handlers.retraining.carry_out_orders import carry_out_orders
from modeldrop.ports import Create, Write
from modeldrop.records.retraining import Retraining
from tests.handlers.control import MODEL, Control
from tests.handlers.ordering import (
    carry_out,
    episode,
    keys,
    open_episode,
    orders,
    set_target,
    state,
    stored_episode,
    told,
    webhook,
)
from tests.servers.receiver import Receiver, Reply

SECRET = "env:MODELDROP_SECRET_HOOK"


def test_a_target_that_refuses_ends_the_episode_and_people_are_told(control: Control, receiver: Receiver) -> None:
    receiver.always(Reply(404, b"no such pipeline"))
    opened = open_episode(control, webhook(receiver))
    before = state(control)
    assert carried_out(control, opened)[-1].startswith(f"failed: refused {MOST_REFUSALS} times: ")
    assert carry_out(control.services).done == {}
    ended = episode(control)
    assert (ended.status, ended.ended_at, ended.gain) == (FAILED, control.clock.now, False)
    assert "404 no such pipeline" in ended.outcome and "hidden" not in ended.outcome
    (item,) = told(control)
    assert (item.news.version, item.news.what, item.news.why) == (
        "v1",
        "retraining failed",
        f"{ended.outcome} ({opened})",
    )
    after = msgspec.structs.replace(before, changes=before.changes + 1, open=None, without_version=opened)
    assert (state(control), orders(control), len(receiver.received)) == (after, {}, MOST_REFUSALS)


def test_a_secret_that_is_missing_is_said_and_nothing_is_sent(control: Control, receiver: Receiver) -> None:
    opened = open_episode(control, webhook(receiver, secret=SECRET))
    assert carried_out(control, opened)[-1].startswith(f"failed: refused {MOST_REFUSALS} times: ")
    assert "MODELDROP_SECRET_HOOK" in episode(control).outcome
    assert (receiver.received, state(control).without_gain) == ([], 0)


def test_a_secret_that_comes_late(control: Control, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_episode(control, webhook(receiver, secret=SECRET))
    assert carry_out(control.services).done[opened].startswith("waiting: ")
    monkeypatch.setenv("MODELDROP_SECRET_HOOK", "secret")
    control.clock.forward(60)
    assert carry_out(control.another_instance()).done == {opened: "started"}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_that_is_repaired(control: Control, receiver: Receiver, status: int) -> None:
    receiver.then(*[Reply(status)] * (MOST_REFUSALS - 1))
    opened = open_episode(control, webhook(receiver))
    said = carried_out(control, opened)
    assert ([each.startswith("waiting: ") for each in said], said[-1]) == ([True] * 5 + [False], "started")
    assert (state(control).open, told(control)) == (opened, [])


def test_refusals_after_a_long_outage_have_their_attempts_too(control: Control, receiver: Receiver) -> None:
    receiver.then(*[Reply(503)] * (2 * MOST_REFUSALS), *[Reply(404)] * (MOST_REFUSALS - 1))
    opened = open_episode(control, webhook(receiver))
    assert carried_out(control, opened)[-1] == "started"
    assert len(receiver.received) == 3 * MOST_REFUSALS


def test_after_the_episodes_time_nobody_is_asked(control: Control, receiver: Receiver) -> None:
    receiver.then(Reply(500))
    opened = open_episode(control, webhook(receiver))
    carry_out(control.services)
    control.clock.now = episode(control).until
    assert carry_out(control.services).done[opened].startswith("failed: the target did not take it in time: ")
    assert len(receiver.received) == 1


def test_a_target_that_left_the_policy(control: Control, receiver: Receiver) -> None:
    for number, left in enumerate((None, WebhookTarget("https://elsewhere.example.com/")), start=1):
        opened = open_episode(control, webhook(receiver), number=number)
        set_target(control, left)
        assert carry_out(control.services).done == {opened: "failed: the target is no longer in the policy"}
    assert (receiver.received, state(control).without_gain) == ([], 0)


def test_a_target_that_was_asked_is_asked_again_whatever_the_policy_says_now(
    control: Control, receiver: Receiver
) -> None:
    """Its answer was lost: perhaps the run is there."""
    receiver.then(Reply(503))
    opened = open_episode(control, webhook(receiver))
    carry_out(control.services)
    set_target(control, None)
    assert carried_out(control, opened) == ["started"]
    assert (len(receiver.received), state(control).open) == (2, opened)


def test_a_target_that_refused_has_no_run_to_be_followed(control: Control, receiver: Receiver) -> None:
    receiver.then(Reply(404))
    opened = open_episode(control, webhook(receiver))
    carry_out(control.services)
    set_target(control, None)
    assert carried_out(control, opened) == ["failed: the target is no longer in the policy"]
    assert (len(receiver.received), state(control).without_gain) == (1, 0)


def test_an_order_that_cannot_be_read_keeps_no_other_waiting(control: Control, receiver: Receiver) -> None:
    """A newer modeldrop wrote it, say, before somebody went back to this one."""
    control.services.documents.commit([Create("training/a-20260101000000-1", {"model": "a", "number": "one"})])
    opened = open_episode(control, webhook(receiver))
    for _ in range(2):
        report = carry_out_orders(control.services, 10.0)
        assert list(report.errors) == ["a-20260101000000-1"]
    assert (len(receiver.received), episode(control).status) == (1, RUNNING)
    assert control.services.documents.get("training/a-20260101000000-1") is not None
    assert opened in keys(receiver)


def test_a_target_that_is_the_same_to_people_is_asked_as_the_policy_says_now(
    control: Control, receiver: Receiver
) -> None:
    opened = open_episode(control, webhook(receiver, "/old"))
    set_target(control, webhook(receiver, "/new"))
    assert carry_out(control.services).done == {opened: "started"}
    assert [request.path for request in receiver.received] == ["/new"]


def test_the_state_changes_while_an_episode_fails(control: Control, receiver: Receiver) -> None:
    """Both changes stay, it is told once, and the target is not asked again for it."""
    opened = open_episode(control, webhook(receiver))
    carry_out(control.services)
    slot = stored_episode(control)
    over = msgspec.structs.replace(slot.value, until=control.clock.now, status=REQUESTED)
    Retraining(control.services.documents).commit([slot.write(over)])
    control.clock.forward(60)
    records = Retraining(control.services.documents)

    def meanwhile(writes: Sequence[Write]) -> None:
        if any(write.path.startswith("outbox/") for write in writes) and not state(control).declined:
            slot = records.state(MODEL)
            records.commit_about(slot, msgspec.structs.replace(slot.value, declined={"data_drift": "cooling"}))

    services = control.another_instance()
    services.__dict__["documents"] = BeforeCommit(services.documents, meanwhile)
    assert carry_out(services).done[opened].startswith("failed: ")
    assert (state(control).declined, state(control).without_gain) == ({"data_drift": "cooling"}, 1)
    assert (len(told(control)), len(receiver.received), orders(control)) == (1, 1, {})


def carried_out(control: Control, opened: str) -> list[str]:
    """What comes of the order, attempt by attempt, until it waits no longer."""
    said: list[str] = []
    while not said or said[-1].startswith("waiting: "):
        control.clock.forward(3600)
        said.append(carry_out(control.services).done[opened])
    return said


class BeforeCommit:
    """The documents, with something that happens before each commit."""

    def __init__(self, real: Any, happens: Callable[[Sequence[Write]], None]) -> None:
        self._real = real
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def commit(self, writes: Sequence[Write]) -> None:
        self._happens(writes)
        self._real.commit(writes)
