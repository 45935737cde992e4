"""Labels find their predictions in windows beside their own, and corrected labels stay corrected."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from modeldrop.client.event_ids import Uuid7Ids
from modeldrop.domain.sampling.payload import read_label
from modeldrop.handlers.reports.report_quality import report_quality
from modeldrop.records.reports import QualityRecord
from modeldrop.records.windows import Windows
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.prediction_log import (
    NOW,
    WINDOW,
    between,
    instance,
    label,
    message,
    prediction,
    register,
    stored_paths,
)
from tests.handlers.reporting import HOUR, take

QUALITY = "quality: {metric: accuracy, min: 0.5, min_labels: 20}\n"
MINUTE = timedelta(minutes=1)


def following(control: Control, drift: str) -> None:
    """From now on this policy holds, and instances know it."""
    control.policy(FAST + QUALITY + f"drift: {{{drift}}}\n")
    assert control.tell(f"policies/{MODEL}.yaml") == "in force"
    control.clock.forward(31)


@pytest.fixture
def serving(control: Control) -> Control:
    control.clock.now = NOW
    register(control, "v1")
    return control


def said(count: int, begin: datetime, seconds: float, first: int = 0) -> list[dict[str, Any]]:
    """Predictions spread over that time; every other one says yes."""
    return [
        prediction(
            number,
            prediction_id=f"order-{first + number}",
            timestamp=(begin + timedelta(seconds=number * seconds / count)).isoformat(),
            prediction=number % 2 == 0,
        )
        for number in range(count)
    ]


def true_labels(events: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    return [
        label(0, prediction_id=e["prediction_id"], predicted_at=e["timestamp"], label=e["prediction"]) | changes
        for e in events
    ]


def quality(control: Control, window: datetime) -> QualityRecord:
    control.clock.forward(61)
    (made,) = report_quality(control.services, MODEL, version="v1", window=window)
    return made


def labelled(control: Control, window: datetime) -> tuple[int, float | None]:
    made = quality(control, window)
    return made.labelled, made.coverage


# --- the windows before and after ------------------------------------------------------------------------------


def test_ids_that_were_made_some_time_before_the_prediction(serving: Control) -> None:
    following(serving, "window_seconds: 60")
    events, labels = [], []
    for number in range(240):
        begin = WINDOW + timedelta(seconds=number)
        ids = Uuid7Ids(lambda begin=begin: int(begin.timestamp()) * 10**9)
        later = (begin + timedelta(seconds=12)).isoformat()
        events.append(prediction(number, prediction_id=ids.new(), timestamp=later, prediction=True))
        labels.append(label(number, prediction_id=events[-1]["prediction_id"], label=True))
        del labels[-1]["predicted_at"]
    take(serving.services, events + labels)
    assert [labelled(serving, WINDOW + n * MINUTE) for n in range(4)] == [(48, 1), (60, 1), (60, 1), (60, 1)]


def test_an_app_that_states_a_later_time_for_the_label(serving: Control) -> None:
    events = said(200, WINDOW, 3600)
    late = [e | {"timestamp": (datetime.fromisoformat(e["timestamp"]) + 5 * MINUTE).isoformat()} for e in events]
    take(serving.services, events + true_labels(late))
    assert labelled(serving, WINDOW) == (200, 1)


def test_labels_two_windows_away_are_not_looked_for(serving: Control) -> None:
    events = said(30, WINDOW, 3600)
    serving.clock.now = WINDOW + 3 * HOUR
    take(serving.services, events + true_labels(events, predicted_at=(WINDOW + 2 * HOUR).isoformat()))
    assert labelled(serving, WINDOW) == (0, 0)


def test_a_busy_window_beside_a_quiet_one_costs_no_pairs(serving: Control) -> None:
    """Its sample reaches no farther than a few hundredths of all hashes."""
    following(serving, "sample_size: 64")
    events = said(60, WINDOW, 3600)
    busy = said(3_000, WINDOW - HOUR, 3600, first=10_000)
    take(serving.services, events + true_labels(events) + true_labels(busy))
    assert labelled(serving, WINDOW) == (60, 1)


def test_a_report_is_made_anew_when_labels_come_next_door(serving: Control) -> None:
    events = said(30, WINDOW, 3600)
    take(serving.services, events)
    assert labelled(serving, WINDOW) == (0, 0)
    take(serving.services, true_labels(events, predicted_at=(WINDOW - MINUTE).isoformat()))
    assert labelled(serving, WINDOW) == (30, 1)


# --- a policy that changes the length of windows ---------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(600, 3600), (3600, 600), (60, 3600), (3600, 60), (3000, 3600)])
def test_labels_that_come_after_the_length_was_changed(serving: Control, before: int, after: int) -> None:
    following(serving, f"window_seconds: {before}")
    events = said(400, WINDOW, 3000)
    take(serving.services, events + true_labels(events[::4]))
    following(serving, f"window_seconds: {after}")
    take(serving.services, true_labels(events))
    windows = list(Windows(serving.services.documents).records(MODEL, "v1"))
    found = [quality(serving, record.start) for record in windows]
    assert sum(made.labelled for made in found) == sum(made.rows for made in found) == 400
    assert {made.coverage for made in found} == {1}


def test_few_documents_are_read_for_it(serving: Control) -> None:
    events = said(30, WINDOW, 3600)
    take(serving.services, events + true_labels(events))
    services = serving.another_instance()
    store = between(services)
    serving.clock.forward(61)
    report_quality(services, MODEL, version="v1", window=WINDOW)
    assert store.reads == 3 + 2 * 16  # windows of labels; shards of predictions and of the one there is


# --- corrections -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [lambda some: some, lambda some: some[::-1]], ids=["in order", "backwards"])
def test_the_label_that_was_known_last_stays(
    serving: Control, order: Callable[[list[list[dict[str, Any]]]], list[list[dict[str, Any]]]]
) -> None:
    events = said(100, WINDOW, 3600)
    wrong = [each | {"label": not each["label"]} for each in true_labels(events)]
    known = [(wrong, None), (wrong, NOW - 2 * MINUTE), (true_labels(events), NOW - MINUTE)]
    tellings = [
        [each | ({} if moment is None else {"labelled_at": moment.isoformat()}) for each in some]
        for some, moment in known
    ]
    take(serving.services, events)
    for telling in order(tellings):
        take(serving.services, telling)
    made = quality(serving, WINDOW)
    assert (made.labelled, made.metrics["accuracy"]) == (100, 1)


def test_a_label_known_before_1970_does_not_stay_for_ever(serving: Control) -> None:
    """Of negative numbers, earlier ones would be larger bytes."""
    ancient = label(1, label="ancient", labelled_at="1066-10-14T09:00:00Z")
    take(serving.services, [ancient, label(1, label="new", labelled_at=NOW.isoformat())])
    sample = Windows(serving.services.documents).labels(MODEL, WINDOW)
    assert sample is not None
    (kept,) = map(read_label, sample.rows)
    assert (kept.label, kept.label_time_ms) == ("new", NOW.timestamp() * 1000)


# --- versions of which nothing is known ------------------------------------------------------------------------


def test_nothing_is_kept_of_a_version_whose_metadata_could_not_be_read(serving: Control) -> None:
    serving.drop("v2", 0.7, 2, features=[f"secret {uuid.uuid4()}"])
    serving.tell_version("v2")
    assert serving.version("v2").metadata is None
    before = stored_paths(serving.data)
    with instance(serving.services) as intake:
        taken = intake.take_now(message(prediction(1, "v2", features={"iban": "SECRET"})))
    assert (taken.sampled, taken.passed_over) == (0, 1)
    assert set(stored_paths(serving.data)) == {*before, "unknown/events"}
