"""The hour's tick: alarms told once, episodes opened once, closed by the version that came of them, and judged."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from modeldrop.domain.retraining.state import RetrainingState
from modeldrop.domain.versions import Status
from modeldrop.errors import Unavailable
from modeldrop.handlers.retrain_tick import in_turn, retrain_tick
from modeldrop.handlers.retraining.ask_retraining import ask_retraining
from modeldrop.ports import Write
from modeldrop.records.heartbeats import Heartbeats
from modeldrop.records.retraining import Retraining
from modeldrop.records.windows import Windows
from tests.handlers.control import FAST, MODEL, Control, metadata
from tests.handlers.prediction_log import between
from tests.handlers.reporting import HOUR, events, hour, take
from tests.handlers.test_report_quality import labels
from tests.handlers.watching import (
    BEGAN,
    POLICY,
    drift_away,
    drop,
    episodes,
    is_accepted,
    label,
    serve_v1,
    set_policy,
    state,
    tick,
    told,
)


@pytest.fixture
def live(control: Control) -> Control:
    return serve_v1(control)


# --- alarms ----------------------------------------------------------------------------------------------------


def test_what_is_as_before_leads_to_nothing(live: Control) -> None:
    take(live.services, events(0, 600))
    assert tick(live, 0).opened == {}
    assert (told(live), state(live).alarms, episodes(live)) == ([], {}, [])


def test_an_alarm_takes_two_windows_and_names_what_moved(live: Control) -> None:
    set_policy(live, FAST)  # no target: nobody is asked
    take(live.services, events(0, 600, moved=4.0))
    tick(live, 0)
    assert told(live) == []
    take(live.services, events(1, 600, moved=4.0))
    assert tick(live, 1).opened == {}
    assert told(live) == BEGAN
    why = next(news.why for news in live.news if news.what == "data drift")
    assert "amount (psi " in why and "country" not in why
    assert set(state(live).declined.values()) == {"the policy names no target (retrain.target)"}


def test_a_window_that_is_not_over_may_raise_it_but_does_not_end_it(live: Control) -> None:
    for number in (0, 1):
        take(live.services, events(number, 600, moved=4.0))
    live.clock.now = hour(1) + timedelta(minutes=59)
    assert retrain_tick(live.services).opened != {}
    assert told(live, "drift") == BEGAN
    live.clock.now = hour(2) + timedelta(minutes=30)
    take(live.services, events(2, 600)[:1800])
    for _ in range(2):
        retrain_tick(live.services)
        live.clock.forward(61)
    assert told(live, "drift") == BEGAN
    tick(live, 2)
    assert told(live, "drift") == BEGAN  # one that is well is not two
    take(live.services, events(3, 600)[:1800])
    live.clock.now = hour(3) + timedelta(minutes=50)
    retrain_tick(live.services)
    assert told(live, "drift") == BEGAN
    tick(live, 3)
    assert told(live, "drift")[len(BEGAN) :] == [("data drift is over", True), ("prediction drift is over", True)]


def test_it_is_told_once_and_its_end_as_well(live: Control) -> None:
    drift_away(live)
    for _ in range(3):
        tick(live, 1)
    assert told(live, "drift") == BEGAN
    for number in (2, 3):
        take(live.services, events(number, 600))
        tick(live, number)
    assert told(live, "drift") == [*BEGAN, ("data drift is over", True), ("prediction drift is over", True)]
    assert state(live).alarms == {}


def test_drift_that_comes_and_goes_is_one_alarm(live: Control) -> None:
    """Two windows drifted, one well, over a day: told once, not forty times."""
    for number in range(12):
        take(live.services, events(number, 400, moved=0.0 if number % 3 == 2 else 4.0))
        tick(live, number)
    assert told(live, "drift") == BEGAN
    for number in (12, 13):
        take(live.services, events(number, 400))
        tick(live, number)
    assert len(told(live, "drift")) == len(BEGAN) + 2


def test_windows_that_no_tick_looked_at_count_as_well(live: Control) -> None:
    """The scheduler stood still, or time ran out before it was this model's turn."""
    seen: list[tuple[str, bool]] = []
    for first, moved in ((0, 4.0), (3, 0.0), (6, 4.0)):
        live.clock.now = hour(first + 3)
        for number in range(first, first + 3):
            take(live.services, events(number, 400, moved=moved))
        tick(live, first + 2)
        seen, new = told(live, "drift"), told(live, "drift")[len(seen) :]
        assert {resolved for what, resolved in new if what.startswith("data drift")} == {moved == 0.0}


def test_a_version_that_no_longer_serves_takes_its_alarms_with_it(live: Control) -> None:
    drift_away(live)
    drop(live, "v2", 0.9, 2)
    tick(live, 1)
    assert told(live, "drift")[len(BEGAN) :] == [("data drift is over", True), ("prediction drift is over", True)]


def test_quality_that_dropped_is_concept_drift(live: Control) -> None:
    set_policy(live, POLICY + "quality: {metric: f1, max_drop: 0.1, min_labels: 50}\n")
    drop(live, "v2", 0.9, 2)
    label(live, 0, "v2")
    assert tick(live, 0).opened == {}  # one window is no alarm
    label(live, 1, "v2")
    report = tick(live, 1)
    assert [(each.request.cause, each.request.version) for each in episodes(live)] == [("concept_drift", "v2")]
    assert report.opened == {MODEL: episodes(live)[0].id}
    assert "f1 0.7" in episodes(live)[0].why and "/quality?version=v2" in (episodes(live)[0].request.report or "")


# --- episodes --------------------------------------------------------------------------------------------------


def test_an_episode_says_why_and_what_of(live: Control) -> None:
    drop(live, "v1", 0.5, 1, lineage={"commit": "abc"})
    opened = drift_away(live)
    (episode,) = episodes(live)
    assert (episode.id, episode.status, episode.by, episode.target) == (
        opened,
        "requested",
        "modeldrop",
        "webhook train.example.com",
    )
    request = episode.request
    assert (request.model, request.version, request.cause) == (MODEL, "v1", "prediction_drift")
    assert request.window is not None and (request.window.start, request.window.end) == (hour(0), hour(2))
    assert request.report == f"/v1/models/{MODEL}/drift?version=v1&window=2026-03-01T11:00:00Z"
    assert [slot.value.model for slot in Retraining(live.services.documents).orders()] == [MODEL]
    assert told(live, "retraining") == [("retraining asked for", False)]


def test_ticks_that_come_again_and_at_once_open_one(live: Control) -> None:
    for number in (0, 1):
        take(live.services, events(number, 600, moved=4.0))
    live.clock.now = hour(2)
    instances = [live.another_instance() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(retrain_tick, instances))
    assert all(report.errors == {} for report in reports)
    tick(live, 1)
    assert len(episodes(live)) == len(Retraining(live.services.documents).orders()) == 1
    assert sum(len(report.opened) for report in reports) == 1
    assert told(live).count(("retraining asked for", False)) == 1


def test_while_it_is_open_and_resting_no_other_is(live: Control) -> None:
    drift_away(live)
    for number in range(2, 6):
        take(live.services, events(number, 600, moved=4.0))
        assert tick(live, number).opened == {}
    assert len(episodes(live)) == 1


def test_the_version_that_came_of_it_closes_it_and_is_judged(live: Control) -> None:
    opened = drift_away(live)
    drop(live, "v2", 0.9, 2, lineage={"run_id": opened})
    tick(live, 1)
    (episode,) = episodes(live)
    assert (episode.status, episode.closed_by, state(live).open) == ("closed", "v2", None)
    assert told(live, "retraining") == [("retraining asked for", False), ("retraining closed", True)]
    tick(live, 1)
    (episode,) = episodes(live)
    assert (episode.gain, episode.outcome, state(live).without_gain) == (True, "v2 came of it, and is live", 0)


def test_a_version_that_was_rejected_closes_it_without_gain(live: Control) -> None:
    opened = drift_away(live)
    drop(live, "v2", 0.1, 2, lineage={"run_id": opened})
    assert live.version("v2").status is Status.REJECTED
    tick(live, 1)
    tick(live, 1)
    (episode,) = episodes(live)
    assert (episode.status, episode.gain, state(live).without_gain) == ("closed", False, 1)
    assert "the gate rejected it" in episode.outcome


def test_one_that_nothing_comes_of_expires(live: Control) -> None:
    drift_away(live)
    is_accepted(live)
    live.clock.forward(7 * 86_400)
    opened = tick(live, 1).opened[MODEL]  # the alarm still stands
    following, expired = episodes(live)
    assert (expired.status, expired.gain, following.id) == ("expired", False, opened)
    assert state(live).without_gain == 1
    assert ("retraining expired", False) in told(live, "retraining")


def test_it_stops_after_three_without_gain_and_somebody_is_told_once(live: Control) -> None:
    set_policy(live, POLICY.replace("cooldown_seconds: 3600", "cooldown_seconds: 0, max_per_week: 100"))
    opened = drift_away(live)
    for number in range(2, 8):
        drop(live, f"v{number}", 0.1, number, lineage={"run_id": opened})
        tick(live, 1)
        opened = tick(live, 1).opened.get(MODEL, "")
        tick(live, 1)
    assert len(episodes(live)) == state(live).without_gain == 3
    assert told(live, "retraining").count(("retraining has stopped", False)) == 1


def test_a_few_labels_more_open_no_second_episode(live: Control) -> None:
    set_policy(live, POLICY + "quality: {metric: f1, min: 0.9, min_labels: 50}\n")
    label(live, 0, "v1")
    said = label(live, 1, "v1", labelled=200)
    opened = tick(live, 1).opened[MODEL]
    drop(live, "v2", 0.1, 2, lineage={"run_id": opened})  # rejected: v1 goes on
    tick(live, 1)
    tick(live, 2)
    assert tick(live, 3).opened == {}
    assert state(live).declined["concept_drift"] == "no labels have come since the last one"
    for number, some in enumerate((said[200:201], said[201:249]), start=4):
        take(live.services, labels(some, wrong=3))
        assert tick(live, number).opened == {}
    assert state(live).declined["concept_drift"].startswith("49 labels have come since the last one, of 50")
    take(live.services, labels(said[249:250], wrong=3))
    assert tick(live, 6).opened != {}


def test_labels_that_are_forgotten_open_none(live: Control) -> None:
    set_policy(live, POLICY + "quality: {metric: f1, min: 0.9, min_labels: 50}\n")
    for number in (0, 1):
        label(live, number, "v1")
    opened = tick(live, 1).opened[MODEL]
    drop(live, "v2", 0.1, 2, lineage={"run_id": opened})
    tick(live, 1)
    live.clock.forward(92 * 86_400)
    Windows(live.services.documents).forget_expired(MODEL, live.clock.now)
    assert list(Windows(live.services.documents).label_records(MODEL)) == []
    for _ in range(2):
        assert retrain_tick(live.services).opened == {}
    assert ask_retraining(live.services, MODEL, by="ann").status == "accepted"  # a person's word, and still no labels
    drop(live, "v3", 0.1, 3, lineage={"run_id": episodes(live)[0].id})
    for _ in range(3):
        live.clock.forward(86_400)
        assert retrain_tick(live.services).opened == {}
    assert state(live).declined["concept_drift"] == "no labels have come since the last one"


def test_a_version_that_is_ill_is_a_cause(live: Control) -> None:
    live.minutes(8, v1=(100, 90))
    report = retrain_tick(live.services)
    (episode,) = episodes(live)
    assert (episode.request.cause, report.opened) == ("unhealthy", {MODEL: episode.id})
    assert "720 of 800 requests failed" in episode.why and (episode.request.report or "").endswith(f"/{MODEL}/health")


# --- a person's word -------------------------------------------------------------------------------------------


def test_a_person_asks_and_is_told_why_not(live: Control) -> None:
    reply = ask_retraining(live.services, MODEL, by="ann", why="new data")
    assert (reply.status, "webhook train.example.com" in reply.reason) == ("accepted", True)
    (episode,) = episodes(live)
    assert (episode.request.cause, episode.by, episode.why) == ("manual", "ann", "new data")
    again = ask_retraining(live.services, MODEL, by="ann")
    assert (again.status, again.reason) == ("refused", f"the episode {episode.id} is open")
    assert ask_retraining(live.services, "nobody", by="ann").status == "refused"
    set_policy(live, FAST)
    assert ask_retraining(live.services, MODEL, by="ann").reason == "the policy names no target (retrain.target)"


def test_two_who_ask_at_once_start_one(live: Control) -> None:
    instances = [live.another_instance() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda each: ask_retraining(each, MODEL, by="ann"), instances))
    assert sorted(reply.status for reply in replies) == ["accepted"] + ["refused"] * 7
    assert len(episodes(live)) == 1


# --- when things go wrong --------------------------------------------------------------------------------------


def unreachable(writes: Sequence[Write]) -> None:
    if any(write.path.startswith("training/") for write in writes):
        raise Unavailable("no answer")


def answer_lost(writes: Sequence[Write]) -> None:
    unreachable(writes)


def test_an_answer_that_was_lost_opens_no_second_one(live: Control) -> None:
    for number in (0, 1):
        take(live.services, events(number, 600, moved=4.0))
    live.clock.now = hour(2)
    services = live.another_instance()
    between(services).after = answer_lost
    assert list(retrain_tick(services).errors) == [MODEL]
    assert tick(live, 1).opened == {}
    assert len(episodes(live)) == 1
    assert told(live).count(("retraining asked for", False)) == 1


def test_a_crash_before_the_commit_leaves_nothing_half_done(live: Control) -> None:
    for number in (0, 1):
        take(live.services, events(number, 600, moved=4.0))
    live.clock.now = hour(2)
    services = live.another_instance()
    store = between(services)
    store.before = unreachable
    report = retrain_tick(services)
    assert (report.status, list(report.errors)) == ("incomplete", [MODEL])
    assert (episodes(live), state(live), told(live)) == ([], RetrainingState(), [])
    assert tick(live, 1).opened != {}


def test_a_tick_says_that_it_ran(live: Control) -> None:
    tick(live, 0)
    (beat,) = [each for each in Heartbeats(live.services.documents).all() if each.tick == "retrain_tick"]
    assert (beat.at, beat.status, beat.models, beat.errors) == (live.clock.now, "ok", 1, 0)
    assert not beat.is_stale(live.clock.now + 3 * HOUR)
    assert beat.is_stale(live.clock.now + 4 * HOUR)


def test_models_that_a_tick_did_not_reach_come_first_in_the_next(control: Control) -> None:
    for model in ("a", "b", "c", "d"):
        control.put(f"models/{model}/v1/metadata.json", json.dumps(metadata("v1", 0.5, 1, model=model)).encode())
        control.tell(f"models/{model}/v1/metadata.json")
    assert [head.model for head in in_turn(control.services.registry, None)] == ["a", "b", "c", "d"]
    assert [head.model for head in in_turn(control.services.registry, "b")] == ["c", "d", "a", "b"]
    assert [head.model for head in in_turn(control.services.registry, "d")] == ["a", "b", "c", "d"]
