"""What looks like drift and is none: features without room, features that are new, other hours, parts of a window."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from modeldrop.domain.sampling.payload import read_prediction
from modeldrop.handlers.reports.report_drift import report_drift, report_latest_windows
from modeldrop.handlers.retraining.sightings import drift_sightings
from modeldrop.records.reports import DriftRecord, Reports
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.prediction_log import DECLARED, NOW, prediction, register, sample_of
from tests.handlers.reporting import (
    COUNTRIES,
    HOUR,
    bring_reference,
    events,
    hour,
    reference_csv,
    report,
    take,
    verdicts,
)

DAY = timedelta(days=1)


def set_policy(control: Control, text: str) -> None:
    control.policy(text)
    control.tell(f"policies/{MODEL}.yaml")


def told(number: int, rows: Sequence[dict[str, Any]], version: str = "v1") -> list[dict[str, Any]]:
    """Predictions of the ``number``-th window with these features."""
    said = events(number, len(rows), version=version)
    return [event | {"features": features} for event, features in zip(said, rows, strict=True)]


def csv(rows: Sequence[dict[str, Any]]) -> bytes:
    return "\n".join([",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]).encode()


# --- features that rows have no room for -------------------------------------------------------------------------


def test_of_a_wide_version_the_same_features_are_compared_of_every_row(control: Control) -> None:
    control.clock.now = NOW + HOUR
    chance = random.Random(1)
    names = ["amount", *(f"feature_{number:03d}_x" for number in range(299))]
    register(control, "v1", features={name: {"type": "numeric"} for name in names})
    rows = [{name: round(chance.gauss(0, 1), 6) for name in names} for _ in range(700)]
    bring_reference(control, csv(rows[:350]))
    take(control.services, told(0, rows[350:]))
    made = report(control, 0)
    assert (made.verdict, set(verdicts(made).values())) == ("ok", {"ok"})
    assert len(made.features) > 180
    assert len(made.features) + made.features_left_out == 300
    assert list(verdicts(made)) == sorted(names)[: len(made.features)]


def test_long_categories_push_nothing_out_of_a_row(control: Control) -> None:
    """Which features are kept must not follow from what is in the row."""
    control.clock.now = NOW + HOUR
    chance = random.Random(2)
    names = ["amount", *(f"a_text_{number:02d}" for number in range(20)), "z_amount"]
    types = {name: {"type": "numeric" if "amount" in name else "categorical"} for name in names}
    register(control, "v1", features=types)

    def row(long: float, moved: float = 0.0) -> dict[str, Any]:
        texts = {name: "x" * (180 if chance.random() < long else 5) for name in names if "text" in name}
        return texts | {"amount": 1, "z_amount": round(chance.gauss(moved, 1), 3)}

    bring_reference(control, csv([row(0.9) for _ in range(400)]))
    take(control.services, told(0, [row(0.9) for _ in range(400)]) + told(1, [row(0.2, 3.0) for _ in range(400)]))
    control.clock.now += HOUR
    made, moved = report(control, 0), report(control, 1)
    assert (made.verdict, made.features_left_out, len(made.features)) == ("ok", 0, 22)
    assert verdicts(moved) == dict.fromkeys(names, "drifted") | {"amount": "ok"}
    assert b"x" * 40 not in sample_of(control.services).rows[0].values


def test_undeclared_features_that_were_cut_are_not_missing(control: Control) -> None:
    control.clock.now = NOW + HOUR
    register(control, "v1", features={})
    names = [f"feature_{number:03d}_x" for number in range(100)]
    chance = random.Random(3)
    rows = [{name: round(chance.gauss(0, 1), 6) for name in names} for _ in range(800)]
    bring_reference(control, csv(rows[:400]))
    take(control.services, told(0, rows[400:]))
    made = report(control, 0)
    found = verdicts(made)
    assert set(found.values()) == {"ok", "insufficient_data"}
    assert all(feature["missing"] == 0 for feature in made.features)
    assert list(found.values()).count("ok") > 60


# --- another version has other features ---------------------------------------------------------------------------


@pytest.fixture
def beside(control: Control) -> Control:
    """v1 serves; v2 declares one feature more, and another one with another type."""
    control.clock.now = NOW
    set_policy(control, FAST)
    register(control, "v1")
    control.settle()
    features = DECLARED | {"age": {"type": "numeric"}, "country": {"type": "text"}}
    control.drop("v2", 0.6, 2, features=features)
    control.tell_version("v2")
    control.settle()
    control.clock.now = NOW + HOUR
    return control


def test_a_feature_that_the_stable_version_does_not_declare_cannot_have_drifted(beside: Control) -> None:
    extra = [event["features"] | {"age": 40 + n % 9} for n, event in enumerate(events(0, 400))]
    take(beside.services, events(0, 400, version="v1") + told(0, extra, "v2"))
    made = report(beside, 0, "v2")
    assert (made.reference.kind, made.reference.version, made.verdict) == ("stable_version", "v1", "ok")
    assert verdicts(made) == {"amount": "ok", "age": "insufficient_data", "country": "insufficient_data"}
    before = report(beside, 0, "v1")
    assert (before.reference.kind, before.reference.version, verdicts(before)) == (
        "stable_version",
        "v2",
        {"amount": "ok", "country": "insufficient_data"},
    )


# --- what the policy redacts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [DECLARED | {"iban": {"type": "categorical"}}, {}], ids=["declared", "not"])
def test_what_is_redacted_later_is_in_no_report(control: Control, features: dict[str, Any]) -> None:
    control.clock.now = NOW + HOUR
    register(control, "v1", features=features)
    rows = [event["features"] | {"iban": f"DE{n % 9}"} for n, event in enumerate(events(0, 400))]
    take(control.services, told(0, rows))
    assert "iban" in verdicts(report(control, 0))
    set_policy(control, "drift: {redact: {iban: drop}}\n")
    assert set(verdicts(report(control, 0))) == {"amount", "country"}


def test_rows_from_before_a_feature_was_hashed_are_compared_as_its_hashes(control: Control) -> None:
    key = control.data / "key"
    key.write_bytes(b"a key of sixteen bytes or more")
    control.settings = replace(control.settings, redaction_key=key)
    control.services = control.another_instance()
    control.clock.now = NOW + HOUR
    register(control, "v1")
    take(control.services, events(0, 300))
    set_policy(control, "drift: {redact: {country: hash}}\n")
    bring_reference(control, reference_csv(events(-1, 400)))
    control.services = control.another_instance()
    take(control.services, events(0, 300, salt="later"))
    made = report(control, 0)
    assert (made.rows, verdicts(made)) == (600, {"amount": "ok", "country": "ok"})


def test_rows_that_were_redacted_once_are_not_missing_the_feature(control: Control) -> None:
    control.clock.now = NOW + HOUR
    set_policy(control, "drift: {redact: {amount: drop}}\n")
    register(control, "v1")
    bring_reference(control, reference_csv(events(-1, 400)))
    take(control.services, events(0, 400))
    set_policy(control, FAST)
    made = report(control, 0)
    assert verdicts(made) == {"amount": "insufficient_data", "country": "ok"}
    assert made.features[0]["missing"] == 0


def test_where_all_that_is_declared_is_redacted_the_predictions_are_left(control: Control) -> None:
    control.clock.now = NOW + HOUR
    set_policy(control, "drift: {redact: {amount: drop, country: drop}}\n")
    register(control, "v1")
    bring_reference(control, b"amount,customer,age,prediction\n" + b"".join(b"1,%d,9,0.5\n" % n for n in range(400)))
    take(control.services, events(0, 400))
    made = report(control, 0)
    assert (made.features, made.reference_rows, made.reference.problems) == ([], 400, [])
    assert made.prediction is not None and made.prediction["verdict"] == "drifted"


# --- other hours ------------------------------------------------------------------------------------------------------


def of_the_day(version: str, since: float, until: float, count: int, salt: str = "") -> list[dict[str, Any]]:
    """Predictions between two hours of the first day, whose amounts follow the hour of the day and nothing else."""
    chance = random.Random(f"{version} {since} {salt}")
    return [_at(version, chance.uniform(since, until), f"{version} {salt} {each}", chance) for each in range(count)]


def _at(version: str, hours: float, name: str, chance: random.Random) -> dict[str, Any]:
    amount = round(10 + 5 * math.sin(2 * math.pi * hours / 24) + chance.gauss(0, 1), 3)
    features = {"amount": amount, "country": chance.choice(COUNTRIES)}
    stated = (midnight() + timedelta(hours=hours)).isoformat()
    return prediction(0, version, prediction_id=name, timestamp=stated, features=features, prediction=0.5)


def midnight() -> datetime:
    return hour(-10)


@pytest.fixture
def daily(control: Control) -> Control:
    """Windows are days; v1 serves, and v2 after it."""
    control.clock.now = midnight() + HOUR
    set_policy(control, FAST + "drift: {window_seconds: 86400}\n")
    for day, version in enumerate(("v1", "v2"), 1):
        control.drop(version, 0.5 + day / 10, day, features=DECLARED)
        control.tell_version(version)
        control.settle()
    control.clock.now = midnight() + DAY + HOUR
    return control


def of_first_day(control: Control, version: str) -> DriftRecord:
    return report_drift(control.services, MODEL, version=version, window=midnight())


def test_a_version_that_served_at_other_hours_is_no_baseline(daily: Control) -> None:
    said = of_the_day("v1", 0, 12, 1500) + of_the_day("v2", 12, 24, 1500)
    strays = of_the_day("v1", 23, 24, 5, "stray") + of_the_day("v2", 0, 1, 5, "stray")  # of clocks that are wrong
    take(daily.services, said + strays)
    made = of_first_day(daily, "v2")
    assert (made.reference.kind, made.verdict) == ("none", "insufficient_data")


def test_of_the_time_that_two_versions_share_both_rows_are_compared(daily: Control) -> None:
    take(daily.services, of_the_day("v1", 0, 18, 1800) + of_the_day("v2", 10, 22, 1200))
    made = of_first_day(daily, "v2")
    assert (made.reference.kind, made.reference.version, verdicts(made)["amount"]) == ("stable_version", "v1", "ok")
    since, until = made.reference.since, made.reference.until
    assert since is not None and abs(since - midnight() - 10 * HOUR) < HOUR / 2
    assert until is not None and abs(until - midnight() - 18 * HOUR) < HOUR / 2
    assert 700 < made.rows < 900 and 700 < made.reference_rows < 900
    assert made.estimated_events == 1200


def test_less_than_half_of_a_window_is_not_enough(daily: Control) -> None:
    take(daily.services, of_the_day("v1", 0, 14, 1800) + of_the_day("v2", 10, 24, 1400))
    assert of_first_day(daily, "v2").reference.kind == "none"


# --- parts of windows, and gaps ---------------------------------------------------------------------------------------


def test_a_part_of_a_day_raises_no_alarm(control: Control) -> None:
    """Looked at each night at two, days are unlike their reference; whole, they are not."""
    control.clock.now = midnight()
    set_policy(control, "drift: {window_seconds: 86400, windows_to_alarm: 2}\n")
    register(control, "v1")
    bring_reference(control, csv([event["features"] for event in of_the_day("v1", 0, 24, 2000, "reference")]))
    for day in range(3):
        control.clock.now = midnight() + day * DAY + 2 * HOUR
        take(control.services, of_the_day("v1", 24 * day, 24 * day + 2, 400))
        made = report(control)
        assert (made.verdict, made.complete, made.alarm.data) == ("drifted", False, False)
        assert not any(
            sighting.alarmed or sighting.well for sighting in drift_sightings(control.services, made, [made])
        )
        assert set(list(made.alarm.windows.values())[:-1]) <= {"ok"}
        take(control.services, of_the_day("v1", 24 * day + 2, 24 * day + 23.9, 2400))
    control.clock.now = midnight() + 3 * DAY + HOUR
    last = report_drift(control.services, MODEL, version="v1", window=midnight() + 2 * DAY)
    assert (last.verdict, last.complete, set(last.alarm.windows.values())) == ("ok", True, {"ok"})


def test_a_report_from_before_the_end_of_its_window_is_made_anew_where_an_alarm_needs_it(control: Control) -> None:
    control.clock.now = hour(0) + timedelta(minutes=50)
    register(control, "v1")
    bring_reference(control, reference_csv(events(-1, 1_000)))
    take(control.services, events(0, 300))
    assert report(control, 0).verdict == "ok"
    take(control.services, events(0, 900, moved=6.0, salt="later"))
    control.clock.now = hour(2) + timedelta(minutes=1)
    take(control.services, events(1, 300, moved=3.0))
    made = report(control, 1)
    assert (made.alarm.data, list(made.alarm.windows.values())) == (True, ["drifted", "drifted"])


def test_a_fresh_report_does_not_outlive_the_end_of_its_window(control: Control) -> None:
    control.clock.now = hour(1) - timedelta(seconds=5)
    register(control, "v1")
    take(control.services, events(0, 300))
    ask = {"version": "v1", "window": hour(0)}
    assert not report_drift(control.services, MODEL, **ask).complete
    control.clock.forward(6)
    assert report_drift(control.services, MODEL, **ask).complete


def test_a_tick_looks_at_windows_that_are_not_over_as_well(control: Control) -> None:
    control.clock.now = NOW
    set_policy(control, FAST)
    register(control, "v1")
    control.settle()
    control.clock.now = hour(1) + timedelta(minutes=30)
    take(control.services, events(0, 300) + events(1, 300))
    assert [made.window for made in report_latest_windows(control.services, control.head, 2)] == [hour(0), hour(1)]
    kept = Reports(control.services.documents).drift(MODEL, "v1", hour(1))
    assert kept is not None and not kept.value.complete


@pytest.mark.parametrize("moved", [0.0, 3.0])
def test_a_window_that_is_not_over_may_be_the_last_of_an_alarm_but_ends_none(control: Control, moved: float) -> None:
    control.clock.now = NOW
    register(control, "v1")
    bring_reference(control, reference_csv(events(-1, 1_000)))
    control.clock.now = hour(3) - timedelta(minutes=1)
    take(control.services, events(0, 300, moved=3.0) + events(1, 300, moved=3.0) + events(2, 300, moved=moved))
    made = report_drift(control.services, MODEL, version="v1", window=hour(2))
    assert (made.complete, made.alarm.data) == (False, True)
    sightings = drift_sightings(control.services, made, [made])
    assert {sighting.alarmed for sighting in sightings} == {bool(moved)}
    assert all(sighting.well == {} for sighting in sightings)  # it ends none


def test_windows_that_are_a_day_apart_follow_one_another(control: Control) -> None:
    """A batch every night, in windows of an hour."""
    control.clock.now = NOW
    register(control, "v1")
    bring_reference(control, reference_csv(events(-1, 1_000)))
    alarms = []
    for night in range(3):
        control.clock.now = hour(24 * night + 1) + timedelta(minutes=5)
        take(control.services, events(24 * night, 400, moved=3.0))
        alarms.append(report(control, 24 * night).alarm.data)
    assert alarms == [False, True, True]


# --- the first window -------------------------------------------------------------------------------------------------


def test_timestamps_from_before_the_version_served_are_no_baseline(control: Control) -> None:
    control.clock.now = NOW
    set_policy(control, FAST)
    register(control, "v1")
    control.settle()
    control.clock.now = hour(5)
    take(control.services, events(-500, 300, moved=9.0) + events(1, 400) + events(3, 400))
    made = report(control, 3)
    assert (made.reference.kind, made.reference.window, made.verdict) == ("first_window", hour(1), "ok")


def test_a_first_window_that_is_gone_is_said_to_be(control: Control) -> None:
    control.clock.now = NOW
    register(control, "v1")
    control.clock.now = hour(9)
    take(control.services, events(0, 300) + events(1, 300) + events(2, 300))
    assert report(control, 2).reference.why == "the version's first full window"
    documents = control.services.documents
    slot = Reports(documents).first_window(MODEL, "v1")
    Reports(documents).commit(slot.write(replace_window(slot.value, hour(-1))))  # as if that one had been the first
    for _ in range(2):
        made = report(control, 2)
        assert (made.reference.window, made.reference.why) == (
            hour(0),
            "the oldest full window of the version that is left",
        )


def replace_window(first: Any, window: datetime) -> Any:
    return msgspec.structs.replace(first, window=window)


# --- values of another type -------------------------------------------------------------------------------------------


def test_a_text_where_a_number_is_declared_is_counted_and_not_kept(control: Control) -> None:
    control.clock.now = NOW + HOUR
    register(control, "v1", features=DECLARED | {"vip": {"type": "boolean"}})
    rows = [{"amount": f"secret {n}", "country": "DE", "vip": "secretly"} for n in range(400)]
    take(control.services, told(0, rows))
    kept = read_prediction(sample_of(control.services).rows[0])
    assert kept.features == {"amount": [], "country": "DE", "vip": []}
    assert all(b"secret" not in row.values for row in sample_of(control.services).rows)
    reference = [{"amount": n, "country": "DE", "vip": "true"} for n in range(400)]
    bring_reference(control, csv(reference))
    made = report(control, 0)
    assert {f["name"]: (f["other_type"], f["verdict"]) for f in made.features} == {
        "amount": (1.0, "drifted"),
        "country": (0.0, "ok"),
        "vip": (1.0, "drifted"),
    }
