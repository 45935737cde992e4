"""Orders that no target carries out: the episode ends, and people are told, once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from modeldrop.domain.retraining.episode import FAILED
from modeldrop.domain.targets import WebhookTarget
from modeldrop.ports import Write
from modeldrop.records.retraining import Retraining
from tests.handlers.control import MODEL, Control
from tests.handlers.ordering import (
    carry_out,
    episode,
    open_episode,
    orders,
    set_target,
    state,
    told,
    webhook,
)
from tests.servers.receiver import Receiver, Reply

SECRET = "env:MODELDROP_SECRET_HOOK"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_a_target_that_refuses_ends_the_episode_and_people_are_told(control: Control, receiver: Receiver) -> None:
    receiver.always(Reply(404, b"no such pipeline"))
    opened = open_episode(control, webhook(receiver))
    before = state(control)
    assert carry_out(control.services).done[opened].startswith("failed: ")
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
    after = msgspec.structs.replace(before, changes=before.changes + 1, open=None, without_gain=1)
    assert (state(control), orders(control), len(receiver.received)) == (after, {}, 1)


def test_a_secret_that_is_missing_is_said_and_nothing_is_sent(control: Control, receiver: Receiver) -> None:
    opened = open_episode(control, webhook(receiver, secret=SECRET))
    assert carry_out(control.services).done[opened].startswith("failed: ")
    assert "MODELDROP_SECRET_HOOK" in episode(control).outcome
    assert receiver.received == []


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
    assert (receiver.received, state(control).without_gain) == ([], 2)


def test_a_target_that_is_the_same_to_people_is_asked_as_the_policy_says_now(
    control: Control, receiver: Receiver
) -> None:
    opened = open_episode(control, webhook(receiver, "/old"))
    set_target(control, webhook(receiver, "/new"))
    assert carry_out(control.services).done == {opened: "started"}
    assert [request.path for request in receiver.received] == ["/new"]


def test_the_state_changes_while_an_episode_fails(control: Control, receiver: Receiver) -> None:
    """Both changes stay, it is told once, and the target is not asked again for it."""
    receiver.always(Reply(404))
    open_episode(control, webhook(receiver))
    records = Retraining(control.services.documents)

    def meanwhile(writes: Sequence[Write]) -> None:
        if any(write.path.startswith("outbox/") for write in writes) and not state(control).declined:
            slot = records.state(MODEL)
            records.commit_about(slot, msgspec.structs.replace(slot.value, declined={"data_drift": "cooling"}))

    services = control.another_instance()
    services.__dict__["documents"] = BeforeCommit(services.documents, meanwhile)
    carry_out(services)
    assert (state(control).declined, state(control).without_gain) == ({"data_drift": "cooling"}, 1)
    assert (len(told(control)), len(receiver.received), orders(control)) == (1, 1, {})


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
