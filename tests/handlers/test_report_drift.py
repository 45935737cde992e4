"""Drift reports: what is compared with what, when a report is made anew, and what does not change it."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from modeldrop.domain.model_head import ModelHead, Serving
from modeldrop.domain.policy import DriftPolicy, Policy
from modeldrop.errors import NotFound
from modeldrop.handlers.reports.choose_baseline import stable_version
from modeldrop.handlers.reports.report_drift import report_drift, report_latest_windows
from modeldrop.records.registry import PolicyRecord
from modeldrop.records.reports import DriftRecord, Reports
from modeldrop.records.windows import Windows, new_window
from tests.handlers.control import MODEL, Control
from tests.handlers.prediction_log import NOW, between, register
from tests.handlers.reporting import (
    HOUR,
    as_bytes,
    bring_reference,
    events,
    hour,
    reference_csv,
    report,
    take,
    verdicts,
)

OVER = NOW + 12 * HOUR
SCORES = {"intercept": 0.0, "coefficients": {"age": 0.5}}


@pytest.fixture
def watched(control: Control) -> Control:
    """v1 is registered and declares two features; twelve windows of the day are over."""
    control.clock.now = NOW
    register(control, "v1")
    control.clock.now = OVER
    return control


@pytest.fixture
def serving(control: Control) -> Control:
    """v1 serves, and v2 after it; both declare one feature."""
    control.clock.now = NOW
    control.make_live("v1", 0.5, day=1)
    control.make_live("v2", 0.6, day=2)
    control.clock.now = OVER
    return control


# --- the package's own rows ------------------------------------------------------------------------------------


def test_the_same_as_the_reference_is_no_drift(watched: Control) -> None:
    bring_reference(watched, reference_csv(events(-1, 2_000)))
    take(watched.services, events(0, 1_500))
    made = report(watched, 0)
    assert (made.verdict, verdicts(made)) == ("ok", {"amount": "ok", "country": "ok"})
    assert made.prediction is not None
    assert (made.prediction["verdict"], made.prediction["type"]) == ("ok", "numeric")
    assert (made.rows, made.reference_rows, made.estimated_events, made.relative_error) == (1_500, 2_000, 1_500, 0.0)
    reference = made.reference
    assert (reference.kind, reference.file) == ("package", f"models/{MODEL}/v1/reference.csv")
    assert (reference.file_rows, len(reference.digest or ""), reference.problems) == (2_000, 64, [])


def test_what_moved_is_named(watched: Control) -> None:
    bring_reference(watched, reference_csv(events(-1, 2_000)))
    take(watched.services, events(0, 1_500, moved=3.0))
    made = report(watched, 0)
    assert (made.verdict, verdicts(made)) == ("drifted", {"amount": "drifted", "country": "ok"})
    assert made.prediction is not None and made.prediction["verdict"] == "drifted"
    amount = made.features[0]
    assert amount["psi"] > 0.2 and amount["ks"] > 0.3 and amount["test"] == "psi" and amount["p_value"] < 1e-9
    stored = Reports(watched.services.documents).drift(MODEL, "v1", hour(0))
    assert stored is not None and stored.value == made


def test_a_reference_goes_the_way_of_the_events(watched: Control) -> None:
    """What is redacted or a text is compared as it is stored; what is not declared is not compared."""
    key = watched.data / "key"
    key.write_bytes(b"a key of sixteen bytes or more")
    declared = {"iban": "categorical", "note": "text", "age": "numeric", "zip": "numeric"}
    watched.policy("drift: {redact: {iban: hash, age: drop, zip: hash}}\n")
    watched.tell(f"policies/{MODEL}.yaml")
    watched.settings = replace(watched.settings, redaction_key=key)
    watched.services = watched.another_instance()
    watched.drop("v2", 0.9, 3, features={name: {"type": kind} for name, kind in declared.items()}, parameters=SCORES)
    watched.tell_version("v2")
    said = [
        event | {"features": {"iban": f"DE{n % 7}", "note": f"order {n % 9} " * 9, "age": 7, "zip": n % 5, "x": "y"}}
        for n, event in enumerate(events(0, 600, version="v2"))
    ]
    lines = [msgspec.json.encode(event["features"] | {"prediction": event["prediction"]}) for event in said]
    bring_reference(watched, b"\n".join(lines), "reference.jsonl", "v2")
    take(watched.services, said)
    made = report(watched, 0, "v2")
    assert {f["name"]: (f["type"], f["verdict"]) for f in made.features} == {
        "iban": ("categorical", "ok"),
        "note": ("text", "ok"),
        "zip": ("categorical", "ok"),
    }
    assert all(feature["value"] == 0 for feature in made.features)
    text = msgspec.json.encode(made)
    assert b"DE1" not in text and b"order" not in text


def test_nothing_declared_then_what_the_rows_have_is_compared(control: Control) -> None:
    control.clock.now = OVER
    register(control, "v1", features={})
    bring_reference(control, reference_csv(events(-1, 1_000)))
    take(control.services, events(0, 1_000, moved=2.0))
    made = report(control, 0)
    types = {feature["name"]: (feature["type"], feature["verdict"]) for feature in made.features}
    assert types == {"amount": ("numeric", "drifted"), "country": ("categorical", "ok")}


def test_features_beyond_a_thousand_are_counted(control: Control) -> None:
    control.clock.now = OVER
    register(control, "v1", features={})
    take(control.services, [e | {"features": {"a": 1, f"x{n}": 1}} for n, e in enumerate(events(0, 1_200))])
    made = report(control, 0)
    assert (len(made.features), made.features_left_out) == (1_000, 201)
    assert made.features[0]["name"] == "a"


def test_another_reference_makes_another_report(watched: Control) -> None:
    bring_reference(watched, reference_csv(events(-1, 1_000)))
    take(watched.services, events(0, 1_000))
    assert report(watched, 0).verdict == "ok"
    bring_reference(watched, reference_csv(events(-1, 1_000, moved=3.0)))
    assert report(watched, 0).verdict == "drifted"


# --- other baselines -------------------------------------------------------------------------------------------


def test_without_a_file_a_canary_is_compared_with_production(serving: Control) -> None:
    serving.drop("v3", 0.65, 3)
    serving.tell_version("v3")
    take(serving.services, events(0, 400, version="v2") + events(0, 400, version="v3", moved=4.0))
    made = report(serving, 0, "v3")
    assert (made.reference.kind, made.reference.version, made.reference.window) == ("stable_version", "v2", hour(0))
    assert (made.verdict, made.reference_rows, made.rows) == ("drifted", 392, 392)  # 1 % at either end may be strays


def test_production_is_compared_with_the_version_before_it(serving: Control) -> None:
    take(serving.services, events(0, 400, version="v1") + events(0, 400, version="v2"))
    made = report(serving, 0, None)
    assert (made.version, made.reference.kind, made.reference.version) == ("v2", "stable_version", "v1")


def test_without_rows_of_another_version_the_first_full_window_it_is(serving: Control) -> None:
    take(serving.services, events(0, 30, version="v2") + events(1, 300, version="v2"))
    take(serving.services, events(2, 300, version="v2") + events(3, 300, version="v2", moved=4.0))
    assert [report(serving, number, "v2").verdict for number in (2, 3)] == ["ok", "drifted"]
    made = report(serving, 3, "v2")
    assert (made.reference.kind, made.reference.version, made.reference.window) == ("first_window", "v2", hour(1))
    itself = report(serving, 1, "v2")
    assert (itself.verdict, itself.reference.kind, itself.reference.window) == ("insufficient_data", "none", hour(1))
    assert "later ones are compared with" in itself.reference.why
    # Once chosen it stays, even if an earlier one fills up later.
    take(serving.services, events(0, 300, version="v2", salt="late"))
    assert report(serving, 3, "v2").reference.window == hour(1)


def test_a_window_that_is_not_over_is_no_baseline(serving: Control) -> None:
    serving.clock.now = hour(1) + timedelta(minutes=50)
    take(serving.services, events(0, 30, version="v2") + events(1, 300, version="v2"))
    made = report(serving, 0, "v2")
    assert (made.verdict, made.reference.kind, made.reference.window) == ("insufficient_data", "none", None)
    assert made.features[0]["verdict"] == "insufficient_data"
    serving.clock.forward(3600)
    assert report(serving, 0, "v2").reference.window == hour(1)


def test_a_version_that_fell_is_no_yardstick() -> None:
    began = Serving("v1", "k1", NOW), Serving("v2", "k2", NOW), Serving("v2", "k2", NOW, fallen=True)
    older, newer, fell = began
    assert stable_version(ModelHead(MODEL, production=newer, previous=older), "v2") == "v1"
    assert stable_version(ModelHead(MODEL, production=older, previous=fell), "v1") is None
    assert stable_version(ModelHead(MODEL, production=older, previous=fell), "v2") == "v1"
    assert stable_version(ModelHead(MODEL), "v1") is None


def test_many_thin_windows_are_searched_bit_by_bit(serving: Control) -> None:
    serving.clock.now = hour(60)
    for number in range(50):
        take(serving.services, events(number, 3, version="v2"))
    take(serving.services, events(50, 300, version="v2") + events(51, 300, version="v2"))
    kinds = [report(serving, 51, "v2").reference.kind for _ in range(3)]
    assert (kinds[0], kinds[-1]) == ("none", "first_window")


# --- which window, which version -------------------------------------------------------------------------------


def test_the_latest_window_is_the_one_with_rows(watched: Control) -> None:
    take(watched.services, events(0, 50) + events(3, 60))
    assert report(watched).window == hour(3)
    windows = Windows(watched.services.documents)
    windows.open([new_window(MODEL, "v1", hour(4), DriftPolicy(), OVER)])  # and then nothing was stored in it
    assert report(watched).window == hour(3)
    empty = report(watched, 4)
    assert (empty.rows, empty.estimated_events, empty.verdict) == (0, 0, "insufficient_data")


def test_what_is_not_there(watched: Control) -> None:
    ask = watched.services
    with pytest.raises(NotFound, match="no predictions"):
        report_drift(ask, MODEL, version="v1")
    with pytest.raises(NotFound, match="no window"):
        report_drift(ask, MODEL, version="v1", window=hour(7))
    with pytest.raises(NotFound, match="no version v9"):
        report_drift(ask, MODEL, version="v9")
    with pytest.raises(NotFound, match="no model"):
        report_drift(ask, "nobody")


# --- when a report is made ---------------------------------------------------------------------------------------


def test_at_most_once_an_interval_and_only_if_something_changed(watched: Control) -> None:
    bring_reference(watched, reference_csv(events(-1, 500)))
    take(watched.services, events(0, 300))
    first = report(watched, 0)
    store = between(watched.services)
    take(watched.another_instance(), events(0, 100, moved=9.0, salt="more"))
    watched.clock.forward(59)
    assert report_drift(watched.services, MODEL, version="v1", window=hour(0)) == first
    assert store.writes == 0
    second = report(watched, 0)
    assert (second.rows, second.inputs != first.inputs) == (400, True)
    assert store.writes == 2  # the report, and beside it its verdict: another one than before
    third = report(watched, 0)
    assert (as_bytes(third), third.looked_at > second.looked_at) == (as_bytes(second), True)


def test_another_policy_makes_another_report(watched: Control) -> None:
    bring_reference(watched, reference_csv(events(-1, 500)))
    take(watched.services, events(0, 300))
    assert report(watched, 0).verdict == "ok"
    watched.policy("drift: {min_rows: 301}\n")
    watched.tell(f"policies/{MODEL}.yaml")
    assert report(watched, 0).verdict == "insufficient_data"


def test_a_policy_that_does_not_fit_is_said_in_the_report(watched: Control) -> None:
    """No file brings one in any more; it may have been taken before."""
    slot = watched.services.registry.policy(MODEL)
    policy = Policy(drift=DriftPolicy(tests={"categorical": "ks"}))
    watched.services.registry.commit([slot.write(PolicyRecord(policy))])
    bring_reference(watched, reference_csv(events(-1, 500)))
    take(watched.services, events(0, 300))
    made = report(watched, 0)
    assert (made.verdict, [problem.field for problem in made.problems]) == (
        "insufficient_data",
        ["drift.tests.categorical"],
    )


def test_two_at_once_write_the_same(watched: Control) -> None:
    bring_reference(watched, reference_csv(events(-1, 500)))
    take(watched.services, events(0, 300))
    instances = [watched.another_instance() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda one: report_drift(one, MODEL, version="v1", window=hour(0)), instances))
    stored = Reports(watched.services.documents).drift(MODEL, "v1", hour(0))
    assert stored is not None
    assert {as_bytes(each) for each in made} == {as_bytes(stored.value)}


@pytest.mark.parametrize("seed", range(3))
def test_order_and_duplicates_change_no_byte(tmp_path: Path, seed: int) -> None:
    said = events(0, 700) + events(1, 900, moved=3.0)
    plain = _told(Control(tmp_path / "plain"), said)
    chance = random.Random(seed)
    again = said + chance.sample(said, 500) + chance.sample(said, 500)
    chance.shuffle(again)
    shuffled = _told(Control(tmp_path / "shuffled"), again, instances=3)
    assert [as_bytes(each) for each in shuffled] == [as_bytes(each) for each in plain]
    assert plain[1].verdict == "drifted"


def _told(control: Control, said: list[dict[str, object]], instances: int = 1) -> list[DriftRecord]:
    control.clock.now = OVER
    control.policy("drift: {sample_size: 512}\n")
    control.tell(f"policies/{MODEL}.yaml")
    register(control, "v1")
    for part in range(instances):
        take(control.another_instance(), said[part::instances])
    control.clock.now = OVER
    return [report(control, number) for number in (0, 1)]


# --- alarms ------------------------------------------------------------------------------------------------------


def test_windows_in_a_row_add_up_to_an_alarm(watched: Control) -> None:
    bring_reference(watched, reference_csv(events(-1, 1_000)))
    for number, moved in enumerate((3.0, 0.0, 3.0, 3.0)):
        take(watched.services, events(number, 300, moved=moved))
    alarms = [report(watched, number).alarm for number in range(4)]
    assert [(each.data, each.prediction) for each in alarms] == [(False, False)] * 3 + [(True, True)]
    assert alarms[3].windows["2026-03-01T12:00:00Z"] == "drifted"
    assert alarms[3].windows_to_alarm == 2


def test_a_window_that_could_not_be_judged_breaks_no_row(watched: Control) -> None:
    bring_reference(watched, reference_csv(events(-1, 1_000)))
    for number, count in enumerate((300, 5, 300)):
        take(watched.services, events(number, count, moved=3.0))
    assert [report(watched, number).alarm.data for number in range(3)] == [False, False, True]


def test_a_tick_reports_on_all_that_serve_the_oldest_window_first(serving: Control) -> None:
    bring_reference(serving, reference_csv(events(-1, 1_000)), version="v2")
    for number in range(4):
        take(serving.services, events(number, 300, version="v2", moved=3.0) + events(number, 300, version="v1"))
    made = report_latest_windows(serving.services, serving.head, 2)
    assert [(each.version, each.window, each.alarm.data) for each in made] == [
        ("v2", hour(1), True),  # nobody has looked at the one before it yet: it is looked at now
        ("v2", hour(2), True),
        ("v2", hour(3), True),
    ]
    assert Reports(serving.services.documents).latest_drifts({MODEL: "v2"}) == {MODEL: "drifted"}


def test_reports_go_with_their_windows(watched: Control) -> None:
    take(watched.services, events(0, 30) + events(5, 30))
    assert {report(watched, number).window for number in (0, 5)} == {hour(0), hour(5)}
    reports = Reports(watched.services.documents)
    assert reports.forget_expired(MODEL, hour(3) + timedelta(days=90)) == 1
    assert reports.drift(MODEL, "v1", hour(0)) is None
    assert reports.drift(MODEL, "v1", hour(5)) is not None
