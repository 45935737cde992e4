"""Prediction events become samples: what is kept, what is not, and what an acknowledgement means."""

import asyncio
import json
import logging
import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modeldrop.client.redaction import Redaction
from modeldrop.domain.sampling.hashing import hash_id
from modeldrop.domain.sampling.labels import join_labels
from modeldrop.domain.sampling.payload import read_label
from modeldrop.errors import ConfigurationError, Unavailable
from modeldrop.handlers.predictions.log_predictions import PredictionIntake, Taken
from modeldrop.records.passed_over import MOST_ENTRIES, PATH, PassedOver
from modeldrop.records.stored import stored
from modeldrop.records.windows import RETENTION, Windows
from modeldrop.wiring import Services
from tests.handlers.control import MODEL, Control
from tests.handlers.prediction_log import (
    DECLARED,
    NOW,
    WINDOW,
    Between,
    Failing,
    as_bytes,
    between,
    in_arrays,
    instance,
    label,
    message,
    prediction,
    register,
    sample_of,
    sampled,
    stored_paths,
)

HOUR = timedelta(hours=1)
LONG_TEXT = "please pay 250 € to " + "my good friend " * 20
KEY = b"a key of sixteen bytes or more"


@pytest.fixture
def log(control: Control) -> Control:
    """A control plane with version v1, in the last minute of the window."""
    control.clock.now = NOW
    register(control, "v1")
    return control


def take(services: Services, *events: dict[str, Any]) -> Taken:
    """One message, to a new instance."""
    with instance(services) as intake:
        return intake.take_now(message(*events))


def policy(control: Control, text: str) -> None:
    control.policy(text)
    assert control.tell(f"policies/{MODEL}.yaml") == "in force"


# --- what is kept ----------------------------------------------------------------------------------------------


def test_a_prediction_is_in_the_sample_of_its_window(log: Control) -> None:
    taken = take(log.services, prediction(1), prediction(2))
    assert taken == Taken(sampled=2, from_the_future=0, passed_over=0, quarantined=0)
    sample = sample_of(log.services)
    assert (sample.is_complete, sample.estimated_events) == (True, 2)
    first = sampled(log.services)[0]
    assert first.features == {"amount": 0.25, "country": "FR"}
    assert (first.prediction, first.latency_ms, first.status) == (0.5, 6, "ok")
    record = Windows(log.services.documents).record(MODEL, "v1", WINDOW)
    assert record is not None
    assert (record.seconds, record.sample_size, record.expire_at) == (3600, 4096, WINDOW + HOUR + RETENTION)


def test_only_declared_features_are_kept(log: Control) -> None:
    take(log.services, prediction(1, features={"amount": 1, "iban": "DE00 1234"}))
    assert sampled(log.services)[0].features == {"amount": 1, "country": None}
    register(log, "v2", features={})
    take(log.services, prediction(1, "v2", features={"amount": 1, "iban": "DE00 1234"}))
    assert sampled(log.services, "v2")[0].features == {"amount": 1, "iban": "DE00 1234"}


def test_a_text_is_never_stored(log: Control) -> None:
    register(log, "v2", features=DECLARED | {"note": {"type": "text"}})
    register(log, "v3", features={})
    take(
        log.services,
        prediction(1, "v2", features={"note": "short secret", "country": LONG_TEXT}, prediction=LONG_TEXT),
        prediction(1, "v3", features={"anything": LONG_TEXT}),
        label(1, label=LONG_TEXT),
    )
    (kept,) = sampled(log.services, "v2")
    assert kept.features["note"] == [12, 2, 0, 0]
    assert kept.features["country"] == kept.prediction == [len(LONG_TEXT), 65, 3 / len(LONG_TEXT), 1 / len(LONG_TEXT)]
    files = b"".join(path.read_bytes() for path in log.data.glob("documents.sqlite*"))
    assert b"order-1" not in files  # the id is a hash by now
    assert not [text for text in (b"short secret", b"good friend") if text in files]


def test_redaction(log: Control, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    policy(log, "drift: {redact: {amount: drop, country: hash}}\n")
    with caplog.at_level(logging.ERROR), instance(log.another_instance()) as intake:
        intake.take_now(message(prediction(1)))
        log.clock.forward(31)
        intake.take_now(message(prediction(2)))
    assert [kept.features for kept in sampled(log.services)] == [{}, {}]
    assert [record.message for record in caplog.records if "REDACTION_KEY" in record.message] == caplog.messages
    assert len(caplog.messages) == 1  # once, however often it is looked up
    key = tmp_path / "key"
    key.write_bytes(KEY + b"\n")
    services = Services(replace(log.settings, redaction_key=key), log.clock)
    take(services, prediction(3, features={"amount": 1, "country": "DE"}), prediction(4, features={"country": None}))
    hashed = Redaction({"country": "hash"}, KEY).applied("country", "DE")
    assert [kept.features for kept in sampled(log.services)[2:]] == [{"country": hashed}, {"country": None}]


@pytest.mark.parametrize("content", [None, b"too short"])
def test_a_redaction_key_that_is_none(log: Control, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigurationError, match="REDACTION_KEY"):
        PredictionIntake(Services(replace(log.settings, redaction_key=tmp_path / "key")), 0)


def test_a_wide_version_keeps_as_many_features_as_a_row_has_room_for(log: Control) -> None:
    names = [f"feature-{number:03d}" for number in range(900)]
    register(log, "v2", features={name: {"type": "numeric"} for name in [*names, "amount"]})
    floats, whole = dict.fromkeys(names, 5.0), dict.fromkeys(reversed(names), 5)
    take(log.services, prediction(1, "v2", features=floats), prediction(2, "v2", features=whole))
    one, other = sampled(log.services, "v2")
    kept = len(one.features)
    assert kept > 180
    assert one.features == other.features == {"amount": None} | dict.fromkeys(names[: kept - 1], 5)
    take(log.services, prediction(1, "v2", features=whole))
    assert sample_of(log.services, "v2").conflicts == 0


# --- windows ---------------------------------------------------------------------------------------------------


def test_late_events_go_to_their_own_window(log: Control) -> None:
    log.clock.now = WINDOW + HOUR + RETENTION - timedelta(seconds=1)
    assert take(log.services, prediction(1)).sampled == 1
    assert len(sampled(log.services)) == 1
    log.clock.forward(1)
    assert take(log.services, prediction(2)) == Taken(0, 0, 1, 0)
    assert [(e.model, e.version, e.reason, e.events) for e in passed(log).entries] == [(MODEL, "v1", "too_old", 1)]
    assert len(sampled(log.services)) == 1


def test_events_from_the_future_go_to_the_window_of_now(log: Control) -> None:
    far = (NOW + timedelta(days=3000)).isoformat()
    tolerated = (NOW + timedelta(minutes=5)).isoformat()
    taken = take(log.services, prediction(1, timestamp=far), prediction(2, timestamp=tolerated), prediction(3))
    assert (taken.sampled, taken.from_the_future) == (3, 1)
    assert len(sampled(log.services)) == 2
    assert len(sampled(log.services, start=WINDOW + HOUR)) == 1
    flagged = sampled(log.services)[-1]  # by its own time, which lies beyond the window it is in
    assert flagged.event_time_ms > (WINDOW + HOUR).timestamp() * 1000


def test_the_future_begins_at_the_same_time_for_all_events_of_a_message(log: Control) -> None:
    later = [(NOW + timedelta(minutes=minutes)).isoformat() for minutes in (2, 30)]  # both in the next window
    taken = take(log.services, *[prediction(number, timestamp=moment) for number, moment in enumerate(later)])
    assert (taken.sampled, taken.from_the_future) == (2, 1)
    assert len(sampled(log.services)) == len(sampled(log.services, start=WINDOW + HOUR)) == 1


def test_windows_and_sample_sizes_follow_the_policy(log: Control) -> None:
    policy(log, "drift: {window_seconds: 600, sample_size: 64}\n")
    services = log.another_instance()
    with instance(services) as intake:
        intake.take_now(message(*[prediction(number) for number in range(500)]))
        assert len(sample_of(services).rows) == 64
        policy(log, "drift: {window_seconds: 3600, sample_size: 4096}\n")
        late = WINDOW + timedelta(minutes=30)
        intake.take_now(message(prediction(501, timestamp=late.isoformat())))
        assert len(sampled(services, start=late)) == 1  # the old policy, for half a minute
        log.clock.forward(31)
        intake.take_now(message(prediction(502, timestamp=late.isoformat())))
    record = Windows(services.documents).record(MODEL, "v1", WINDOW)
    assert record is not None
    assert (record.seconds, record.sample_size) == (3600, 64)  # lengthened; the sample stays as large as it was


def test_an_instance_that_knows_the_shorter_window_lengthens_it(log: Control) -> None:
    policy(log, "drift: {window_seconds: 600, sample_size: 64}\n")
    services = log.another_instance()
    store = between(services)
    with instance(services) as intake:
        intake.take_now(message(*map(prediction, range(100))))
        policy(log, "drift: {window_seconds: 3600}\n")
        log.clock.forward(31)
        intake.take_now(message(*map(prediction, range(100))))
        asked = store.reads
        intake.take_now(message(*map(prediction, range(100))))
        assert store.reads == asked  # once is enough
    assert [record.seconds for record in Windows(services.documents).records(MODEL)] == [3600]


# --- labels ----------------------------------------------------------------------------------------------------


def test_labels_join_their_predictions_whichever_comes_first(log: Control) -> None:
    take(log.services, label(1), prediction(2))
    take(log.services, label(2), prediction(1), label(7))
    labels = Windows(log.services.documents).labels(MODEL, WINDOW)
    assert labels is not None
    joined = join_labels(sample_of(log.services), labels)
    assert {row.hash: read_label(known).label for row, known in joined.pairs} == {
        hash_id("order-1"): False,
        hash_id("order-2"): True,
    }
    assert joined.coverage == 1


def test_the_id_of_a_label_may_tell_its_time(log: Control) -> None:
    milliseconds = int(WINDOW.timestamp() * 1000) + 5
    made = str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62))
    told = label(1, prediction_id=made)
    del told["predicted_at"]
    assert take(log.services, told).sampled == 1
    assert Windows(log.services.documents).labels(MODEL, WINDOW) is not None


# --- what is not sampled ---------------------------------------------------------------------------------------


def passed(control: Control) -> PassedOver:
    document = control.services.documents.get(PATH)
    return PassedOver() if document is None else stored(document, PassedOver).value


def test_unknown_models_get_no_documents(log: Control) -> None:
    before = stored_paths(log.data)
    chance = random.Random(1)
    with instance(log.services, 0.01) as intake:
        for _ in range(3):
            strangers = [f"stranger-{chance.randrange(10**9)}" for _ in range(200)]
            events = [prediction(1, model=name) for name in strangers] + [label(1, model=name) for name in strangers]
            taken = intake.take_now(message(*events, prediction(1, "v99")))
            assert (taken.passed_over, taken.sampled) == (401, 0)
    assert stored_paths(log.data) == sorted([*before, PATH])
    assert len(passed(log).entries) == MOST_ENTRIES
    # Of 600 names the record has 100; every event is in it, but for those that wait for the next commit.
    assert sum(entry.events for entry in passed(log).entries) + passed(log).others in (401, 802, 1203)


def test_a_name_is_counted_before_its_event_is_acknowledged(log: Control) -> None:
    with instance(log.services) as intake:
        intake.take_now(message(prediction(1, "v98")))
        intake.take_now(message(*[prediction(number, "v98") for number in range(50)]))  # waits for the next commit
        intake.take_now(message(prediction(1, "v99")))
    assert {(e.version, e.events) for e in passed(log).entries} == {("v98", 51), ("v99", 1)}


def test_a_version_registered_later_is_noticed(log: Control) -> None:
    with instance(log.services) as intake:
        assert intake.take_now(message(prediction(1, "v2"))).passed_over == 1
        register(log, "v2")
        assert intake.take_now(message(prediction(1, "v2"))).passed_over == 1
        log.clock.forward(5)
        assert intake.take_now(message(prediction(1, "v2"))).sampled == 1


# --- without need, without I/O ---------------------------------------------------------------------------------


@pytest.fixture
def small(log: Control) -> tuple[Services, Between]:
    """An instance with samples of 64 rows, and what its store is asked."""
    policy(log, "drift: {sample_size: 64}\n")
    services = log.another_instance()
    return services, between(services)


def test_events_above_the_threshold_cost_no_io(small: tuple[Services, Between]) -> None:
    services, store = small
    events = [prediction(number) for number in range(1000)]
    with instance(services) as intake:
        intake.take_now(message(*events))
        threshold = sample_of(services).threshold
        above = [e for e in map(prediction, range(1000, 2000)) if hash_id(e["prediction_id"]) > threshold + 1]
        assert len(above) > 900
        asked = (store.reads, store.writes)
        assert intake.take_now(message(*above)).sampled == len(above)
        intake.take_now(message(*events))  # known to be stored, or above
        assert (store.reads, store.writes) == asked
    ordered = sorted(hash_id(event["prediction_id"]) for event in events)
    assert [row.hash for row in sample_of(services).rows] == ordered[:64]


def test_single_events_above_the_threshold_cost_no_io_either(small: tuple[Services, Between], log: Control) -> None:
    services, store = small
    with instance(services) as intake:
        intake.take_now(message(*map(prediction, range(1000))))
        threshold = sample_of(services).threshold
        above = [e for e in map(prediction, range(1000, 1100)) if hash_id(e["prediction_id"]) > threshold + 1]
        below = next(e for e in map(prediction, range(1100, 9**9)) if hash_id(e["prediction_id"]) < threshold / 2)
        asked = (store.reads, store.writes)
        taken = {intake.take_now(json.dumps(event).encode()) for event in above}
        assert taken == {Taken(sampled=1, from_the_future=0, passed_over=0, quarantined=0)}
        assert (store.reads, store.writes) == asked
        intake.take_now(json.dumps(below).encode())
        assert hash_id(below["prediction_id"]) in [row.hash for row in sample_of(services).rows]


def test_single_events_follow_time_and_policy(small: tuple[Services, Between], log: Control) -> None:
    services, _ = small
    with instance(services) as intake:
        log.clock.now = WINDOW + timedelta(minutes=1)
        intake.take_now(message(*map(prediction, range(1000))))
        above = max(map(prediction, range(1000, 1100)), key=lambda event: hash_id(event["prediction_id"]))
        soon, late = (WINDOW + timedelta(minutes=minutes) for minutes in (7, 20))

        def one(moment: datetime) -> Taken:
            return intake.take_now(json.dumps(above | {"timestamp": moment.isoformat()}).encode())

        assert (one(WINDOW).from_the_future, one(soon).from_the_future) == (0, 1)
        log.clock.now = late
        assert (one(soon).from_the_future, one(late).from_the_future) == (0, 0)
        policy(log, "drift: {window_seconds: 600, sample_size: 64}\n")
        log.clock.forward(31)
        assert one(late).sampled == 1
    assert len(sample_of(services, start=late).rows) == 1  # there is such a window now, and it has room


def test_what_comes_together_is_committed_together(log: Control) -> None:
    services = log.another_instance()
    store = between(services)
    messages = [message(prediction(number)) for number in range(400)]
    with instance(services, 0.3) as intake:
        intake.take_now(messages[0])
        writes = store.writes

        async def all_at_once() -> list[Taken]:
            return await asyncio.gather(*map(intake.take, messages))

        assert sum(taken.sampled for taken in asyncio.run(all_at_once())) == 400
    assert len(sample_of(services).rows) == 400
    assert store.writes - writes <= 2 * 16  # shards; a busy machine may need a second round


def test_writes_grow_with_the_logarithm(small: tuple[Services, Between]) -> None:
    services, store = small
    events = [prediction(number) for number in range(20_000)]
    written = []
    with instance(services) as intake:
        for half in in_arrays(events[:10_000], 50), in_arrays(events[10_000:], 50):
            before = store.writes
            for data in half:
                intake.take_now(data)
            written.append(store.writes - before)
    assert 64 / 50 < written[0] <= 1 + 200
    assert written[1] <= 70  # 65 ln 2 = 45 rows are expected to enter
    assert abs(sample_of(services).estimated_events / 20_000 - 1) < 0.4  # three standard errors


# --- what an acknowledgement means -----------------------------------------------------------------------------


def test_two_instances_at_once_lose_nothing(log: Control) -> None:
    events = [prediction(number) for number in range(3000)]
    one, other = log.another_instance(), log.another_instance()
    with instance(one) as first, instance(other) as second, ThreadPoolExecutor(4) as pool:
        halves = in_arrays(events[::2], 100), in_arrays(events[1::2], 100)
        done = [pool.submit(i.take_now, m) for i, ms in zip((first, second), halves, strict=True) for m in ms]
        assert sum(future.result().sampled for future in done) == 3000
    assert [row.hash for row in sample_of(one).rows] == sorted(hash_id(event["prediction_id"]) for event in events)


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_commit_without_an_answer_is_repeated(small: tuple[Services, Between], side: str) -> None:
    services, store = small
    setattr(store, side, Failing(2))
    assert take(services, *map(prediction, range(40))).sampled == 40
    assert len(sample_of(services).rows) == 40
    assert store.writes == 1 + 1  # the window, its shard: what had happened was seen, and not done again


def test_what_cannot_be_stored_is_not_acknowledged(small: tuple[Services, Between]) -> None:
    services, store = small
    failing = Failing(10**9)
    store.before = failing
    with instance(services) as intake:
        with pytest.raises(Unavailable):
            intake.take_now(message(prediction(1)))
        failing.left = 0
        assert intake.take_now(message(prediction(1))).sampled == 1  # delivered again
    assert len(sample_of(services).rows) == 1


def test_a_crash_between_commit_and_acknowledgement(log: Control) -> None:
    class Killed(BaseException):
        pass

    def kill(writes: Any) -> None:
        if any("/shards/" in write.path for write in writes):
            raise Killed

    events = [prediction(number) for number in range(100)]
    dying = log.another_instance()
    between(dying).after = kill
    with instance(dying) as intake, pytest.raises(Killed):
        intake.take_now(message(*events))
    with instance(log.another_instance()) as intake:
        intake.take_now(message(*events))
    crashed = as_bytes(sample_of(log.services))
    register(log, "v2")
    take(log.services, *[prediction(number, "v2") for number in range(100)])
    assert crashed == as_bytes(sample_of(log.services, "v2"))


def test_one_who_gives_up_waiting_does_not_harm_the_others(log: Control) -> None:
    services = log.another_instance()
    store = between(services)
    held, go_on = threading.Event(), threading.Event()

    def hold(writes: Any) -> None:
        if any("/shards/" in write.path for write in writes):
            held.set()
            assert go_on.wait(20)

    async def scene(intake: PredictionIntake) -> Taken:
        first = asyncio.create_task(intake.take(message(prediction(1))))
        second = asyncio.create_task(intake.take(message(prediction(1))))
        assert await asyncio.to_thread(held.wait, 20)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go_on.set()
        return await second

    with instance(services) as intake:
        intake.take_now(message(prediction(2, "v99")))  # versions are known, the window is not
        store.before = hold
        assert asyncio.run(scene(intake)).sampled == 1
    assert len(sample_of(services).rows) == 1


@pytest.mark.parametrize("tellings", [[0.1, 0.2], [0.2, 0.1, 0.2]])
def test_tellings_that_differ_merge_the_same_way(log: Control, tellings: list[float]) -> None:
    for told in tellings:
        take(log.another_instance(), prediction(1, prediction=told))
    assert [kept.prediction for kept in sampled(log.services)] == [0.2]
    assert sample_of(log.services).conflicts == 1


Change = Callable[[dict[str, Any]], object]
HOSTILE: dict[str, Change] = {
    "numbers": lambda event: event.update(features={"amount": 10**18, "country": 2**63 - 1}),
    "year 9999": lambda event: event.update(timestamp="9999-12-31T23:59:59Z"),
    "year 1": lambda event: event.update(timestamp="0001-01-01T00:00:00Z"),
    "controls": lambda event: event.update(prediction_id="\x00\x1f/../__x__", features={"amount": "\x00", "a/b": 1}),
    "wide": lambda event: event.update(features={f"{n}": "x" * 60 for n in range(1000)}),
    "long name": lambda event: event.update(features={"ä" * 128: "ö" * 64}),
    "no features": lambda event: event.update(features={}),
    "long answer": lambda event: event.update(prediction="ü" * 10_000),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("features", [None, {}])
def test_odd_events_are_taken_with_their_neighbours(log: Control, name: str, features: Any) -> None:
    register(log, "v2", features=features)
    odd = prediction(1, "v2")
    HOSTILE[name](odd)
    taken = take(log.services, odd, prediction(2, "v2"))
    assert taken.sampled + taken.passed_over == 2
    assert taken.quarantined == 0
    assert hash_id("order-2") in [row.hash for row in sample_of(log.services, "v2").rows]
