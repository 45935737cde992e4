"""Alarms: told when they begin, told when they are over, and never twice."""

from datetime import UTC, datetime, timedelta

import pytest

from modeldrop.domain.retraining.alarms import Sighting, change_alarms
from modeldrop.domain.retraining.episode import TimeRange
from modeldrop.domain.retraining.state import AlarmKind, RaisedAlarm

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
WINDOW = TimeRange(NOW - timedelta(hours=1), NOW)
RAISED = RaisedAlarm("v1", NOW - timedelta(hours=5), NOW - timedelta(hours=6), "amount moved")


def sighting(alarmed: bool | None, kind: AlarmKind = "data_drift", version: str = "v1") -> Sighting:
    return Sighting(kind, version, alarmed, WINDOW, "amount (psi 0.4 > 0.2) moved", "/v1/models/fraud/drift")


def test_an_alarm_that_begins_is_told_with_its_reason() -> None:
    change = change_alarms({}, "v1", [sighting(True)], NOW)
    assert change.alarms == {"data_drift": RaisedAlarm("v1", NOW, WINDOW.start, "amount (psi 0.4 > 0.2) moved")}
    assert [(n.kind, n.what, n.resolved) for n in change.news] == [("drift", "data drift", False)]
    assert [each.kind for each in change.began] == ["data_drift"]


@pytest.mark.parametrize("said", [True, None])
def test_one_that_goes_on_is_not_told_again(said: bool | None) -> None:
    change = change_alarms({"data_drift": RAISED}, "v1", [sighting(said)], NOW)
    assert (change.alarms, change.news, change.began) == ({"data_drift": RAISED}, [], [])


def test_one_that_is_over_is_told_as_well() -> None:
    change = change_alarms({"data_drift": RAISED}, "v1", [sighting(False)], NOW)
    assert change.alarms == {}
    assert [(n.what, n.resolved) for n in change.news] == [("data drift is over", True)]


@pytest.mark.parametrize("said", [False, None])
def test_what_never_began_is_not_over(said: bool | None) -> None:
    change = change_alarms({}, "v1", [sighting(said)], NOW)
    assert (change.alarms, change.news, change.began) == ({}, [], [])


def test_kinds_are_apart() -> None:
    change = change_alarms({"data_drift": RAISED}, "v1", [sighting(False), sighting(True, "concept_drift")], NOW)
    assert set(change.alarms) == {"concept_drift"}
    assert [(n.what, n.resolved) for n in change.news] == [("data drift is over", True), ("concept drift", False)]


@pytest.mark.parametrize("production", ["v2", None])
def test_alarms_of_a_version_that_no_longer_serves_are_over(production: str | None) -> None:
    change = change_alarms({"data_drift": RAISED}, production, [], NOW)
    assert change.alarms == {}
    assert [(n.version, n.resolved, n.why) for n in change.news] == [("v1", True, "it no longer serves")]


def test_the_next_version_may_drift_at_once() -> None:
    change = change_alarms({"data_drift": RAISED}, "v2", [sighting(True, version="v2")], NOW)
    assert change.alarms["data_drift"].version == "v2"
    assert [(n.version, n.resolved) for n in change.news] == [("v1", True), ("v2", False)]
