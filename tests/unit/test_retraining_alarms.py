"""Alarms: told when they begin, told when they are over, and never twice."""

from datetime import UTC, datetime, timedelta

import pytest

from modeldrop.domain.retraining.alarms import AlarmChange, Sighting, change_alarms
from modeldrop.domain.retraining.episode import TimeRange
from modeldrop.domain.retraining.state import AlarmKind, RaisedAlarm

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
WINDOW = TimeRange(NOW - timedelta(hours=1), NOW)
RAISED = RaisedAlarm("v1", NOW - timedelta(hours=5), NOW - timedelta(hours=6), "amount moved")


def sighting(alarmed: bool, kind: AlarmKind = "data_drift", version: str = "v1", well: str = "") -> Sighting:
    """``well``: of the latest windows whether they were well, ``o``, or not, ``d``; the oldest first."""
    seen = {start(number - len(well)): said == "o" for number, said in enumerate(well)}
    return Sighting(kind, version, alarmed, WINDOW, "amount (psi 0.4 > 0.2) moved", "/v1/models/fraud/drift", seen)


def start(number: int) -> str:
    """Of a window; the one before now is -1."""
    return (NOW + number * timedelta(hours=1)).isoformat()


def change(
    alarms: dict[AlarmKind, RaisedAlarm], production: str | None, *sightings: Sighting, to_end: int = 2
) -> AlarmChange:
    return change_alarms(alarms, production, sightings, to_end, NOW)


def test_an_alarm_that_begins_is_told_with_its_reason() -> None:
    made = change({}, "v1", sighting(True))
    assert made.alarms == {"data_drift": RaisedAlarm("v1", NOW, WINDOW.start, "amount (psi 0.4 > 0.2) moved")}
    assert [(n.kind, n.what, n.resolved) for n in made.news] == [("drift", "data drift", False)]
    assert [each.kind for each in made.began] == ["data_drift"]


@pytest.mark.parametrize(
    "said", [sighting(True), sighting(False), sighting(False, well="do"), sighting(False, well="o")]
)
def test_one_that_goes_on_is_not_told_again(said: Sighting) -> None:
    made = change({"data_drift": RAISED}, "v1", said)
    assert (set(made.alarms), made.news, made.began) == ({"data_drift"}, [], [])


def test_one_that_is_over_is_told_as_well() -> None:
    made = change({"data_drift": RAISED}, "v1", sighting(False, well="doo"))
    assert made.alarms == {}
    assert [(n.what, n.resolved) for n in made.news] == [("data drift is over", True)]


def test_windows_that_were_well_are_counted_over_several_looks() -> None:
    """Few are at hand at a time; those in between that could not be judged break nothing."""
    alarms: dict[AlarmKind, RaisedAlarm] = {"data_drift": RAISED}
    for number, said in enumerate("ododoo"):
        seen = Sighting("data_drift", "v1", False, WINDOW, "", "", {start(number): said == "o"})
        before, made = alarms, change(alarms, "v1", seen, to_end=2)
        alarms = made.alarms
    assert (set(before), alarms, len(made.news)) == ({"data_drift"}, {}, 1)


def test_windows_before_it_began_do_not_end_it() -> None:
    began = RaisedAlarm("v1", NOW, NOW - timedelta(hours=1), "")
    assert change({"data_drift": began}, "v1", sighting(False, well="ooo"), to_end=2).news == []


def test_one_that_a_window_under_way_keeps_up_is_not_over() -> None:
    assert change({"data_drift": RAISED}, "v1", sighting(True, well="oo")).news == []


def test_a_window_that_is_judged_anew_counts_as_it_is_now() -> None:
    alarms = change({"data_drift": RAISED}, "v1", sighting(False, well="o")).alarms
    seen = sighting(False, well="dd")  # what came late changed it
    assert change(alarms, "v1", seen).alarms["data_drift"].well == {start(-2): False, start(-1): False}


@pytest.mark.parametrize("said", ["", "o", "oo"])
def test_what_never_began_is_not_over(said: str) -> None:
    made = change({}, "v1", sighting(False, well=said))
    assert (made.alarms, made.news, made.began) == ({}, [], [])


def test_kinds_are_apart() -> None:
    made = change({"data_drift": RAISED}, "v1", sighting(False, well="oo"), sighting(True, "concept_drift"))
    assert set(made.alarms) == {"concept_drift"}
    assert [(n.what, n.resolved) for n in made.news] == [("data drift is over", True), ("concept drift", False)]


@pytest.mark.parametrize("production", ["v2", None])
def test_alarms_of_a_version_that_no_longer_serves_are_over(production: str | None) -> None:
    made = change({"data_drift": RAISED}, production)
    assert made.alarms == {}
    assert [(n.version, n.resolved, n.why) for n in made.news] == [("v1", True, "it no longer serves")]


def test_the_next_version_may_drift_at_once() -> None:
    made = change({"data_drift": RAISED}, "v2", sighting(True, version="v2"))
    assert made.alarms["data_drift"].version == "v2"
    assert [(n.version, n.resolved) for n in made.news] == [("v1", True), ("v2", False)]
