"""Retraining, deliveries and ticks over the API: the rows, their pages, and who may ask for a retraining."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modeldrop.cli.tables.models import tick_warnings
from modeldrop.cli.tables.retraining import proposal_lines
from modeldrop.domain.news import News
from modeldrop.domain.retraining.episode import Episode, Run, TimeRange, TrainingRequest, episode_id
from modeldrop.domain.retraining.state import RaisedAlarm, RetrainingState
from modeldrop.domain.retraining.threshold import Proposal
from modeldrop.errors import Unavailable
from modeldrop.records.heartbeats import Heartbeat, Heartbeats
from modeldrop.records.outbox import Delivery, Outbox, dispatch, into_log, outgoing
from modeldrop.records.proposals import ProposalRecord, Proposals, new_proposal
from modeldrop.records.retraining import Retraining, new_episode
from modeldrop.web.reading.operations import MOST_WAITING
from tests.functions.api_calls import client_of_function
from tests.handlers.control import FAST, MODEL, Control

TARGET = "retrain: {target: {type: webhook, url: 'https://train.example.com/hook?key=1'}}\n"
OPENED = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = TimeRange(OPENED - timedelta(hours=2), OPENED)


@pytest.fixture
def control(function_folder: Path) -> Control:
    """A model with a live version and a place to train it; the function reads the same folder."""
    control = Control(function_folder)
    control.policy(FAST + TARGET)
    control.make_live("v1", 0.7, day=1)
    return control


def bring_episodes(control: Control, number: int) -> None:
    """Episodes from 1 on, a day after another."""
    records = Retraining(control.services.documents)
    for each in range(1, number + 1):
        opened = OPENED + timedelta(days=each)
        asked = TrainingRequest(
            episode_id(MODEL, each, opened), MODEL, "v1", "concept_drift", "/v1/report", WINDOW, {"commit": "abc"}
        )
        episode = Episode(asked, "f1 fell", "modeldrop", opened, opened + timedelta(days=7), "airflow dag")
        records.commit(new_episode(each, episode))


# --- retraining ------------------------------------------------------------------------------------------------


def test_nothing_was_ever_asked_for(client: Any) -> None:
    answer = client.get(f"/v1/models/{MODEL}/retraining").json
    nothing = {"open": None, "alarms": {}, "without_gain": 0, "stopped": False, "declined": {}, "judging": None}
    assert (answer["episodes"], answer["next"], answer["state"]) == ([], None, nothing)


def test_an_episode_with_all_that_is_known_of_it(client: Any, control: Control) -> None:
    bring_episodes(control, 1)
    records = Retraining(control.services.documents)
    slot = records.episode(MODEL, 1)
    assert slot is not None
    run = Run("run-7", "https://airflow.example.com/run-7", "running", "the DAG is paused")
    changes = {
        "status": "closed",
        "run": run,
        "ended_at": OPENED,
        "closed_by": "v2",
        "gain": True,
        "outcome": "v2 came",
    }
    records.commit([slot.write(Episode(*(changes.get(n, getattr(slot.value, n)) for n in Episode.__struct_fields__)))])
    (row,) = client.get(f"/v1/models/{MODEL}/retraining").json["episodes"]
    assert row == {
        "id": "fraud-20260302000000-1",
        "cause": "concept_drift",
        "why": "f1 fell",
        "by": "modeldrop",
        "version": "v1",
        "status": "closed",
        "target": "airflow dag",
        "run": {"id": "run-7", "url": run.url, "state": "running", "why": "the DAG is paused"},
        "opened_at": "2026-03-02T00:00:00Z",
        "until": "2026-03-09T00:00:00Z",
        "ended_at": "2026-03-01T00:00:00Z",
        "closed_by": "v2",
        "gain": True,
        "outcome": "v2 came",
        "window": {"start": "2026-02-28T22:00:00Z", "end": "2026-03-01T00:00:00Z"},
        "report": "/v1/report",
    }


def test_what_is_remembered_of_a_model(client: Any, control: Control) -> None:
    records = Retraining(control.services.documents)
    alarms: Any = {"data_drift": RaisedAlarm("v1", OPENED, WINDOW.start, "amount moved")}
    state = RetrainingState(alarms=alarms, without_gain=2, declined={"data_drift": "not yet"}, openings=[OPENED])
    records.commit_about(records.state(MODEL), state)
    said = client.get(f"/v1/models/{MODEL}/retraining").json["state"]
    assert said["alarms"]["data_drift"]["why"] == "amount moved"
    assert (said["without_gain"], said["declined"]) == (2, {"data_drift": "not yet"})
    assert "openings" not in said


def test_episodes_by_page_the_newest_first(client: Any, control: Control) -> None:
    bring_episodes(control, 5)
    seen, query = [], {"limit": 2}
    while True:
        page = client.get(f"/v1/models/{MODEL}/retraining", query_string=query).json
        seen.append([row["id"].rpartition("-")[2] for row in page["episodes"]])
        if page["next"] is None:
            break
        query["before"] = page["next"]
    assert seen == [["5", "4"], ["3", "2"], ["1"]]


def propose(control: Control, *versions: str) -> None:
    """A threshold for each of them, one after the other."""
    proposals, figures = Proposals(control.services.documents), Proposal(0.43, 0.2, 0.31, 0.2, 400, 500)
    for number, version in enumerate(versions):
        at = OPENED + timedelta(hours=number)
        name = f"{version}-threshold-1"
        record = ProposalRecord(name, MODEL, version, "0a", at, "package", 0.5, 0.5, figures, at)
        open_ = proposals.open(MODEL)
        waiting = proposals.find(MODEL, open_.value.name) if open_.value.name else None
        proposals.commit(new_proposal(record, open_, waiting))


def test_what_people_are_proposed_the_newest_first(client: Any, control: Control) -> None:
    propose(control, "v9", "v10")
    newest, before = client.get(f"/v1/models/{MODEL}/retraining").json["proposals"]
    assert (newest["name"], newest["status"], newest["proposal"]["threshold"]) == ("v10-threshold-1", "proposed", 0.43)
    assert "Approve v10-threshold-1 to apply it" in newest["text"]
    assert (before["name"], before["status"]) == ("v9-threshold-1", "superseded")


def test_somebody_asks_for_a_retraining(client: Any) -> None:
    asked = client.post(f"/v1/models/{MODEL}:retrain", json={"why": "new data"}).json
    answer = client.get(f"/v1/models/{MODEL}/retraining").json
    (row,) = answer["episodes"]
    assert asked["status"] == "accepted"
    assert row["id"] in asked["reason"]
    assert (row["cause"], row["why"], row["by"], row["status"]) == ("manual", "new data", "local operator", "requested")
    assert (row["target"], answer["state"]["open"]) == ("webhook train.example.com", row["id"])
    again = client.post(f"/v1/models/{MODEL}:retrain", json={}).json
    assert (again["status"], row["id"] in again["reason"]) == ("refused", True)
    assert "key=1" not in client.get(f"/v1/models/{MODEL}/retraining").text


@pytest.mark.parametrize("body", [b"{", b'{"why":7}', b'{"version":"v1"}', b'{"why":"' + b"a" * 1001 + b'"}'])
def test_bodies_that_are_none(client: Any, body: bytes) -> None:
    answer = client.post(f"/v1/models/{MODEL}:retrain", data=body, content_type="application/json")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert client.get(f"/v1/models/{MODEL}/retraining").json["episodes"] == []


# --- deliveries ------------------------------------------------------------------------------------------------


def tell(control: Control, model: str, number: int, *, told: bool = False) -> None:
    """News number so much of a model, in the outbox; with ``told`` in the log."""
    outbox = Outbox(control.services.documents)
    item = dispatch(model, News("drift", "v1", f"news {number}", "amount moved"), OPENED + timedelta(minutes=number))
    path = f"outbox/{model}~{number + 1000:010d}~drift"
    outbox.commit([outgoing(model, number + 1000, item)])
    if told:
        slot = outbox.find(path)
        assert slot is not None
        dead = Delivery("0a", "slack", "dead", 12, None, "503 Service Unavailable", OPENED)
        done = [Delivery("0b", "email ada@example.com", "delivered", 1, at=OPENED), dead]
        outbox.commit(into_log(slot, type(item)(item.model, item.news, item.at, item.expire_at, done)))


def empty_outbox(control: Control) -> None:
    outbox = Outbox(control.services.documents)
    for slot in outbox.waiting():
        outbox.commit(into_log(slot, slot.value)[1:])


def test_who_was_told_what(client: Any, control: Control) -> None:
    empty_outbox(control)
    tell(control, MODEL, 1, told=True)
    answer = client.get(f"/v1/models/{MODEL}/deliveries").json
    (row,) = answer["deliveries"]
    assert (answer["waiting"], answer["next"]) == ([], None)
    assert (row["at"], row["kind"], row["version"], row["what"], row["why"], row["resolved"]) == (
        "2026-03-01T00:01:00Z",
        "drift",
        "v1",
        "news 1",
        "amount moved",
        False,
    )
    assert [(one["to"], one["status"], one["attempts"], one["error"]) for one in row["deliveries"]] == [
        ("email ada@example.com", "delivered", 1, ""),
        ("slack", "dead", 12, "503 Service Unavailable"),
    ]


def test_deliveries_by_page_the_newest_first(client: Any, control: Control) -> None:
    for number in range(5):
        tell(control, MODEL, number, told=True)
    first = client.get(f"/v1/models/{MODEL}/deliveries?limit=3").json
    rest = client.get(f"/v1/models/{MODEL}/deliveries", query_string={"limit": 3, "before": first["next"]}).json
    assert [row["what"] for row in first["deliveries"]] == ["news 4", "news 3", "news 2"]
    assert [row["what"] for row in rest["deliveries"]] == ["news 1", "news 0"]
    assert rest["next"] is None


def test_what_waits_is_this_models_alone_and_bounded(client: Any, control: Control) -> None:
    empty_outbox(control)
    for model in ("frau", "fraud-b", "fraude", "fraud0", "a", "z"):
        tell(control, model, 0)
    assert client.get(f"/v1/models/{MODEL}/deliveries").json["waiting"] == []
    for number in range(MOST_WAITING + 1):
        tell(control, MODEL, number)
    waiting = client.get(f"/v1/models/{MODEL}/deliveries").json["waiting"]
    assert [row["what"] for row in waiting] == [f"news {number}" for number in range(MOST_WAITING)]
    assert {row["id"].split("~")[0] for row in waiting} == {MODEL}


# --- ticks -----------------------------------------------------------------------------------------------------


def test_ticks_that_come_and_one_that_does_not(client: Any, control: Control) -> None:
    control.clock.now = datetime.now(UTC)
    control.tick()
    late = Heartbeat("retrain_tick", datetime.now(UTC) - timedelta(hours=4), 1.5, "incomplete", 7, 2, 3600.0)
    Heartbeats(control.services.documents).beat(late)
    health, retrain = client.get("/v1/ticks").json["ticks"]
    fields = {"tick", "at", "seconds", "status", "models", "errors", "interval_seconds", "stale"}
    assert health.keys() == retrain.keys() == fields
    assert (health["tick"], health["status"], health["models"], health["errors"]) == ("health_tick", "ok", 1, 0)
    assert (health["interval_seconds"], health["stale"]) == (60.0, False)
    assert (retrain["tick"], retrain["status"], retrain["stale"]) == ("retrain_tick", "incomplete", True)
    assert client.get("/v1/models").json["ticks"] == {
        "stale": ["retrain_tick"],
        "never": ["outbox_tick"],
        "incomplete": ["retrain_tick"],
        "oldest_news": None,
    }


def test_news_that_wait_for_long(client: Any, control: Control) -> None:
    empty_outbox(control)
    outbox = Outbox(control.services.documents)
    now = datetime.now(UTC).replace(microsecond=0)
    for number, minutes in enumerate((1, 14)):
        item = dispatch(MODEL, News("drift", "v1", "drift", "amount moved"), now - timedelta(minutes=minutes))
        outbox.commit([outgoing(MODEL, number, item)])
    assert client.get("/v1/models").json["ticks"]["oldest_news"] is None
    for number in range(120):  # more than a page before it
        item = dispatch("aaa", News("drift", "v1", "drift", "amount moved"), now)
        outbox.commit([outgoing("aaa", number, item)])
    oldest = now - timedelta(minutes=16)
    outbox.commit([outgoing("zzz", 1, dispatch("zzz", News("drift", "v1", "drift", "amount moved"), oldest))])
    assert client.get("/v1/models").json["ticks"]["oldest_news"] == oldest.isoformat().replace("+00:00", "Z")


def test_what_is_said_of_ticks_and_proposals_on_a_terminal(client: Any, control: Control) -> None:
    ticks = {"stale": ["a"], "never": ["b"], "incomplete": ["c"], "oldest_news": "2026-03-01T00:00:00Z"}
    for line, word in zip(
        tick_warnings({"ticks": ticks}), ("a has not", "b has never", "c could not", "2026-03-01"), strict=True
    ):
        assert line.startswith("warning: ")
        assert word in line
    assert tick_warnings({"ticks": {"stale": [], "never": [], "incomplete": [], "oldest_news": None}}) == []
    propose(control, "v9", "v10")
    newest, before = proposal_lines(client.get(f"/v1/models/{MODEL}/retraining").json)
    assert newest.startswith("v10-threshold-1 is proposed: ")
    assert newest.endswith("Approve v10-threshold-1 to apply it")
    assert before == "v9-threshold-1 is superseded: v10-threshold-1 took its place"
    for table in (tick_warnings, proposal_lines):
        with pytest.raises(Unavailable):
            table({"models": []})


@pytest.mark.usefixtures("function_folder")
def test_ticks_that_never_came() -> None:
    client = client_of_function()
    assert client.get("/v1/ticks").json == {"ticks": []}
    never = client.get("/v1/models").json["ticks"]["never"]
    assert never == ["health_tick", "outbox_tick", "retrain_tick"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/nobody/retraining", 404),
        ("/v1/models/nobody/deliveries", 404),
        (f"/v1/models/{MODEL}/retraining?before=a/b", 400),
        (f"/v1/models/{MODEL}/deliveries?before=a/b", 400),
        (f"/v1/models/{MODEL}/deliveries?limit=0", 400),
        (f"/v1/models/{MODEL}:retrain", 405),
    ],
)
def test_problems(client: Any, path: str, status: int) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.json["detail"]
