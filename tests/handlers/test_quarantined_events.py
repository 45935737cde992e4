"""Poison on the topic: quarantined with its bytes, its neighbours taken, and put back when that is possible."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from modeldrop.errors import FieldProblem, Unavailable
from modeldrop.events.prediction_events import Poison
from modeldrop.handlers.predictions.keep_poison import MOST_A_MINUTE, PoisonKeeper
from modeldrop.handlers.predictions.known_versions import KnownVersions
from modeldrop.handlers.predictions.log_predictions import PredictionIntake, Taken
from modeldrop.handlers.predictions.replay_quarantine import Replayed, replay_quarantine
from modeldrop.handlers.quarantine import quarantine_poison
from modeldrop.records.passed_over import PATH, PassedOver
from modeldrop.records.quarantined_events import (
    KEPT,
    MOST_ENTRIES,
    POISON_LIMIT_BYTES,
    ROOM_PATH,
    QuarantinedEvent,
    QuarantinedEvents,
    Room,
)
from modeldrop.records.stored import Stored, stored
from tests.handlers.control import MODEL, Control
from tests.handlers.prediction_log import (
    DECLARED,
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
    assert (len(quarantined(log)), store.writes) == (1, 2)  # itself, and the room it takes


def test_as_much_as_makes_several_commits_necessary(log: Control) -> None:
    poison = [Poison(number, f"{number}".encode() * 30_000, DOUBTED) for number in range(120)]
    assert quarantine_poison(log.services, poison) == []
    assert len(quarantined(log)) == 120


def test_a_message_that_is_none_is_quarantined_as_a_whole(log: Control, intake: PredictionIntake) -> None:
    data = b"[" * 200_000
    assert intake.take_now(data) == Taken(0, 0, 0, 1)
    (entry,) = quarantined(log)
    assert (len(entry.raw), entry.is_cut) == (POISON_LIMIT_BYTES, True)
    assert replay_quarantine(log.services, intake) == Replayed(cut=1)


# --- no more than there is room for ----------------------------------------------------------------------------


def flood(count: int, first: int = 0) -> bytes:
    return message(*[prediction(number, timestamp="yesterday") for number in range(first, first + count)])


def counted(log: Control) -> dict[str, int]:
    """Poison that was only counted, by reason."""
    document = log.services.documents.get(PATH)
    entries = [] if document is None else stored(document, PassedOver).value.entries
    return {entry.reason: entry.events for entry in entries}


def test_of_a_flood_an_instance_keeps_a_hundred_and_counts_the_others(log: Control, intake: PredictionIntake) -> None:
    assert intake.take_now(flood(350)) == Taken(0, 0, 0, 350)
    assert len(quarantined(log)) == MOST_A_MINUTE
    (reason,) = counted(log)
    assert reason.startswith("not_kept: ")
    assert counted(log)[reason] == 350 - MOST_A_MINUTE
    with instance(log.another_instance()) as other:
        other.take_now(flood(50, first=1_000))
    assert len(quarantined(log)) == MOST_A_MINUTE + 50


def test_room_for_more_comes_with_time(log: Control) -> None:
    seconds = iter([0.0, 0.0, 30.0, 3_000.0])
    keeper = PoisonKeeper(log.services, KnownVersions(log.services), lambda: next(seconds))
    poison = [Poison(number, f"{number}".encode(), DOUBTED) for number in range(1_000)]
    assert keeper.keep(poison[:300]).total() == 300 - MOST_A_MINUTE
    assert keeper.keep(poison[300:400]).total() == 100 - MOST_A_MINUTE // 2
    assert keeper.keep(poison[400:]).total() == 600 - MOST_A_MINUTE


def test_reasons_that_differ_by_names_and_figures_are_one(log: Control) -> None:
    keeper = PoisonKeeper(log.services, KnownVersions(log.services), lambda: 0.0)
    keeper.keep([Poison(number, f"{number}".encode(), DOUBTED) for number in range(MOST_A_MINUTE)])
    reasons = [f"an object has the key 'k{number}' twice, byte {number:,}" for number in range(0, 9_000, 3_000)]
    some = [Poison(0, reason.encode(), (FieldProblem(reason, reason),)) for reason in reasons]
    assert keeper.keep(some) == {("", "", "not_kept: an object has the key … twice, byte …"): 3}


def test_what_the_instance_quarantined_already_costs_nothing(log: Control) -> None:
    services = log.another_instance()
    store = between(services)
    with instance(services) as intake:
        intake.take_now(flood(90))
        reads = store.reads
        for _ in range(5):
            intake.take_now(flood(90))
        assert store.reads == reads
        intake.take_now(flood(10, first=90))
    assert len(quarantined(log)) == 100
    assert counted(log) == {}


def test_all_instances_together_keep_what_there_is_room_for(log: Control) -> None:
    log.services.documents.commit([Stored(ROOM_PATH, Room(0, NOW)).write(Room(45, NOW))])
    with instance(log.services) as one, instance(log.another_instance()) as other:
        one.take_now(flood(30))
        other.take_now(flood(30, first=30))
        assert len(quarantined(log)) == 45
        assert sum(counted(log).values()) == 15
        log.clock.forward(KEPT.total_seconds() / MOST_ENTRIES * 2.5)
        one.take_now(flood(10, first=60))
    assert len(quarantined(log)) == 47


def test_instances_at_once_do_not_take_the_same_room(log: Control) -> None:
    log.services.documents.commit([Stored(ROOM_PATH, Room(0, NOW)).write(Room(100, NOW))])
    poison = [Poison(number, f"{number}".encode(), DOUBTED) for number in range(160)]
    instances = [log.another_instance() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        some = [poison[first : first + 40] for first in range(0, 160, 40)]
        left = list(threads.map(quarantine_poison, instances, some))
    assert (len(quarantined(log)), sum(map(len, left))) == (100, 60)


# --- what must not be kept -------------------------------------------------------------------------------------


@pytest.fixture
def private(log: Control) -> Control:
    """Version v2 has a text, and features that must not be stored."""
    log.policy("drift: {redact: {iban: drop, country: hash}}\n")
    log.tell(f"policies/{MODEL}.yaml")
    features = {"note": {"type": "text"}, "iban": {"type": "categorical"}}
    log.drop("v2", 0.7, 2, features=DECLARED | features)
    log.tell_version("v2")
    return log


SECRETS = {"note": "SECRET note", "iban": "SECRET iban", "country": "SECRET country", "undeclared": "SECRET other"}


@pytest.mark.parametrize("size", [0, 200_000], ids=["small", "large"])
def test_quarantine_holds_nothing_that_must_not_be_stored(private: Control, size: int) -> None:
    features = SECRETS | {"amount": 7, "undeclared": "SECRET" + "x" * size}
    bad = prediction(1, "v2", timestamp="yesterday", features=features, status="SECRET", comment="SECRET")
    long_label = label(1, predicted_at="yesterday", label="SECRET " * 20)
    with instance(private.another_instance()) as intake:
        assert intake.take_now(message(bad, long_label)).quarantined == 2
    first, second = sorted(quarantined(private), key=lambda entry: b"label" in entry.raw)
    assert json.loads(first.raw)["features"] == {"amount": 7}
    assert first.is_cut
    assert second.is_cut
    kept = first.raw + second.raw
    assert kept.count(b"SECRET") == kept.count(b'"status": "SECRET"') == 1  # that is what is wrong, and short
    assert "SECRET" not in str((first.problems, second.problems))


def test_a_text_of_any_length_is_no_poison(private: Control) -> None:
    with instance(private.another_instance()) as intake:
        data = message(prediction(1, "v2", features={"note": "x" * 1_000_000}))
        assert intake.take_now(data) == Taken(1, 0, 0, 0)
    assert sampled(private.services, "v2")[0].features["note"] == [1_000_000, 1, 0, 0]


def test_what_would_not_be_taken_anyway_is_not_missed(private: Control) -> None:
    """The event is put back as it would have been stored."""
    dropped = {name: SECRETS[name] for name in ("iban", "undeclared")}
    poison = Poison(0, json.dumps(prediction(1, "v2", features=dropped | {"amount": 7})).encode(), DOUBTED)
    services = private.another_instance()
    keeper = PoisonKeeper(services, KnownVersions(services))
    keeper.keep([poison])
    (entry,) = quarantined(private)
    assert (b"SECRET" in entry.raw, entry.is_cut) == (False, False)
    with instance(services) as intake:
        assert replay_quarantine(services, intake) == Replayed(taken=1)
    assert sampled(private.services, "v2")[0].features["amount"] == 7


def test_neither_is_what_is_dropped_where_nothing_is_declared(private: Control) -> None:
    private.drop("v3", 0.8, 3, features={})
    private.tell_version("v3")
    services = private.another_instance()
    bad = prediction(1, "v3", timestamp="yesterday", features={"iban": "SECRET", "amount": 7})
    with instance(services) as intake:
        intake.take_now(message(bad))
    (entry,) = quarantined(private)
    assert (json.loads(entry.raw)["features"], entry.is_cut) == ({"amount": 7}, False)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model": "fraud", "version": "v2", "prediction_id": 7, "features": {"amount": NaN}}',
        b'{"model": "fraud", "version": "v2", "prediction_id": 7, "features": {"amount": 1.50}}',
        b'{"model": "fraud", "version": "v9", "features": {"anything": "x"}, "comment": "y"}',
        b'{"model": "fraud", "version": "v2", "features": {"a": 1, "a": 2}}',
        b'{"model": ["fraud"], "version": {}}',
        b'{"model": "a/b", "version": "v2"}',
        b"[[[",
        b"[1]",
        b"\xff",
        b"9" * 5_000,
    ],
)
def test_what_is_harmless_or_unreadable_is_kept_as_it_came(private: Control, raw: bytes) -> None:
    services = private.another_instance()
    PoisonKeeper(services, KnownVersions(services)).keep([Poison(0, raw, DOUBTED)])
    assert [(entry.raw, entry.is_cut) for entry in quarantined(private)] == [(raw, False)]


# --- putting back ----------------------------------------------------------------------------------------------


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


def test_what_is_put_back_makes_room(log: Control, intake: PredictionIntake) -> None:
    log.services.documents.commit([Stored(ROOM_PATH, Room(0, NOW)).write(Room(10, NOW))])
    poison = [Poison(number, json.dumps(prediction(number)).encode(), DOUBTED) for number in range(12)]
    assert len(quarantine_poison(log.services, poison)) == 2
    assert QuarantinedEvents(log.services.documents).room(NOW).value.left(NOW) == 0
    assert replay_quarantine(log.services, intake).taken == 10
    assert QuarantinedEvents(log.services.documents).room(NOW).value.left(NOW) == 10


def test_a_long_quarantine_is_gone_through_call_by_call(log: Control, intake: PredictionIntake) -> None:
    wrong = [Poison(number, f"{number}".encode(), DOUBTED) for number in range(30)]
    right = [Poison(number, json.dumps(prediction(number)).encode(), DOUBTED) for number in range(5)]
    quarantine_poison(log.services, [*wrong, *right])
    after: str | None = None
    answers = []
    while not answers or after is not None:
        answers.append(replay_quarantine(log.services, intake, after=after, budget_seconds=0))
        after = answers[-1].next
    assert len(answers) == 35
    assert all(one.taken + one.still_wrong == 1 for one in answers)
    assert sum(one.taken for one in answers) == 5
    assert len(quarantined(log)) == 30


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
