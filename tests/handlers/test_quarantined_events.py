"""Poison on the topic: quarantined with its bytes, its neighbours taken, and put back when that is possible."""

import json
from collections.abc import Iterator

import pytest

from modeldrop.errors import FieldProblem, Unavailable
from modeldrop.events.prediction_events import POISON_LIMIT_BYTES, Poison
from modeldrop.handlers.predictions.log_predictions import PredictionIntake, Taken
from modeldrop.handlers.predictions.replay_quarantine import Replayed, replay_quarantine
from modeldrop.handlers.quarantine import quarantine_poison
from modeldrop.records.quarantined_events import QuarantinedEvent, QuarantinedEvents
from tests.handlers.control import Control
from tests.handlers.prediction_log import (
    NOW,
    between,
    instance,
    label,
    message,
    prediction,
    register,
    sampled,
)

DOUBTED = (FieldProblem("$", "was refused by an older release"),)


@pytest.fixture
def log(control: Control) -> Control:
    """A control plane with version v1."""
    control.clock.now = NOW
    register(control, "v1")
    return control


@pytest.fixture
def intake(log: Control) -> Iterator[PredictionIntake]:
    with instance(log.services) as intake:
        yield intake


def quarantined(log: Control) -> list[QuarantinedEvent]:
    return [slot.value for slot in QuarantinedEvents(log.services.documents).entries()]


def test_poison_is_quarantined_and_its_neighbours_are_taken(log: Control, intake: PredictionIntake) -> None:
    bad = prediction(1, timestamp="yesterday")
    data = message(prediction(2), bad, prediction(3))
    assert intake.take_now(data) == Taken(sampled=2, from_the_future=0, passed_over=0, quarantined=1)
    assert len(sampled(log.services)) == 2
    (entry,) = quarantined(log)
    assert json.loads(entry.raw) == bad
    assert [problem.field for problem in entry.problems] == ["timestamp"]
    assert not entry.is_cut
    listed = log.services.registry.quarantine()  # as the API lists it, beside uploads
    assert [row.what for _, row in listed] == ["prediction event"]


def test_the_same_poison_again_is_one_entry_and_one_write(log: Control) -> None:
    services = log.another_instance()
    store = between(services)
    with instance(services) as intake:
        for _ in range(3):
            intake.take_now(message({"model": "?"}, {"model": "?"}))
    assert (len(quarantined(log)), store.writes) == (1, 1)


def test_a_thousand_at_once(log: Control, intake: PredictionIntake) -> None:
    large = "x" * 20_000  # as much as makes several commits necessary
    data = message(*[prediction(number, features={"note": f"{number}{large}"}) for number in range(400)])
    assert intake.take_now(data).quarantined == 400
    assert len(quarantined(log)) == 400


def test_a_message_that_is_none_is_quarantined_as_a_whole(log: Control, intake: PredictionIntake) -> None:
    data = b"[" * 200_000
    assert intake.take_now(data) == Taken(0, 0, 0, 1)
    (entry,) = quarantined(log)
    assert (len(entry.raw), entry.is_cut) == (POISON_LIMIT_BYTES, True)
    assert replay_quarantine(log.services, intake) == Replayed(cut=1)


def test_a_label_without_any_time_is_quarantined(log: Control, intake: PredictionIntake) -> None:
    timeless = label(1)
    del timeless["predicted_at"]
    for _ in range(2):
        assert intake.take_now(message(timeless, prediction(1))) == Taken(1, 0, 0, 1)
    (entry,) = quarantined(log)
    assert entry.problems[0].field == "predicted_at"
    assert replay_quarantine(log.services, intake) == Replayed(still_wrong=1)
    assert len(quarantined(log)) == 1


def test_replay_puts_back_what_can_be_taken_now(log: Control, intake: PredictionIntake) -> None:
    right, early = json.dumps(prediction(1)).encode(), json.dumps(prediction(1, "v2")).encode()
    quarantine_poison(log.services, [Poison(0, right, DOUBTED), Poison(1, early, DOUBTED), Poison(2, b"{", DOUBTED)])
    log.tell("models//v1/metadata.json")  # an upload in quarantine is not ours to put back
    assert replay_quarantine(log.services, intake) == Replayed(taken=1, still_wrong=1, passed_over=1)
    assert len(sampled(log.services)) == 1
    register(log, "v2")
    log.clock.forward(5)
    assert replay_quarantine(log.services, intake) == Replayed(taken=1, still_wrong=1)
    assert len(sampled(log.services, "v2")) == 1
    assert [entry.raw for entry in quarantined(log)] == [b"{"]
    assert len(log.services.registry.quarantine()) == 2


def test_replay_removes_nothing_that_was_not_stored(log: Control) -> None:
    right = json.dumps(prediction(1)).encode()
    quarantine_poison(log.services, [Poison(0, right, DOUBTED)])
    services = log.another_instance()
    store = between(services)
    store.before = _no_shard
    with instance(services) as intake, pytest.raises(Unavailable):
        replay_quarantine(services, intake)
    assert len(quarantined(log)) == 1


def test_more_than_a_page_is_replayed(log: Control, intake: PredictionIntake) -> None:
    poison = [Poison(number, json.dumps(prediction(number)).encode(), DOUBTED) for number in range(45)]
    quarantine_poison(log.services, poison)
    assert replay_quarantine(log.services, intake) == Replayed(taken=45)
    assert quarantined(log) == []


def test_poison_that_cannot_be_recorded_is_not_acknowledged(log: Control) -> None:
    services = log.another_instance()
    store = between(services)
    store.before = _nothing
    with instance(services) as intake, pytest.raises(Unavailable):
        intake.take_now(b"{")


def _no_shard(writes: object) -> None:
    if "/shards/" in str(writes):
        raise Unavailable("no answer")


def _nothing(writes: object) -> None:
    raise Unavailable("no answer")
