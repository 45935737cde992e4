"""The API through functions-framework, over a registry that the real handlers filled."""

from pathlib import Path
from typing import Any

import pytest

from tests.handlers.control import FAST, MODEL, Control


@pytest.fixture
def control(function_folder: Path) -> Control:
    """A model with a live version and a rejected one; the function reads the same folder."""
    control = Control(function_folder)
    control.policy(FAST)
    control.make_live("v1", 0.7, day=1)
    control.make_live("v2", 0.6, day=2)
    return control


def test_models(client: Any) -> None:
    (model,) = client.get("/v1/models").json["models"]
    assert (model["model"], model["production"], model["endpoint"]) == (MODEL, "v1", {"traffic": {"v1": 100}})
    one = client.get(f"/v1/models/{MODEL}").json
    assert one["aliases"] == {"production": "v1", "previous": None, "staging": None, "latest": "v2"}


def test_versions_by_page(client: Any) -> None:
    first = client.get(f"/v1/models/{MODEL}/versions?limit=1").json
    second = client.get(f"/v1/models/{MODEL}/versions", query_string={"limit": 1, "before": first["next"]}).json
    assert [row["version"] for row in (*first["versions"], *second["versions"])] == ["v2", "v1"]
    one = client.get(f"/v1/models/{MODEL}/versions/v2").json
    assert (one["status"], one["decision"]["rule"]) == ("rejected", "no_improvement")


def test_a_decision_explained(client: Any) -> None:
    decision = client.get(f"/v1/models/{MODEL}/versions/v2/explain").json
    assert {"verdict", "rule", "score", "compared_with", "terms", "reasons"} <= decision.keys()
    assert {"metric", "value", "weight", "direction", "scaled", "contribution", "passed"} <= decision["terms"][0].keys()


def test_rollouts(client: Any) -> None:
    (rollout,) = client.get(f"/v1/models/{MODEL}/rollouts").json["rollouts"]
    assert rollout["phase"] == "live"
    assert client.get(f"/v1/models/{MODEL}/rollouts/{rollout['id']}").json == rollout


def test_what_is_quarantined(client: Any, control: Control) -> None:
    control.put("models/Bad Name/v1/metadata.json", b"{")
    control.tell("models/Bad Name/v1/metadata.json")
    (row,) = client.get("/v1/quarantine").json["quarantine"]
    assert row["what"] == "models/Bad Name/v1/metadata.json"
    assert [problem["field"] for problem in row["problems"]] == ["model", "$"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/nobody", 404),
        ("/v1/models/nobody/versions", 404),
        (f"/v1/models/{MODEL}/versions/v9", 404),
        (f"/v1/models/{MODEL}/rollouts/9", 404),
        ("/v1/models/..%2f", 404),
        ("/v1//models", 404),
        ("/v2", 404),
        ("/v1/models?limit=0", 400),
        ("/v1/models?limit=00000199999999999999999999", 400),
        (f"/v1/models/{MODEL}/versions?before=a/b", 400),
    ],
)
def test_problems(client: Any, path: str, status: int) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.json["detail"]


def test_promotion_by_force_and_its_trace(client: Any, control: Control) -> None:
    refused = client.post(f"/v1/models/{MODEL}:promote", json={"version": "v2"}).json
    assert (refused["status"], "0.6000 against 0.7000" in refused["reason"]) == ("refused", True)
    forced = client.post(f"/v1/models/{MODEL}:promote", json={"version": "v2", "force": True}).json
    assert forced["status"] == "accepted"
    before = control.clock.now.isoformat()
    control.clock.forward(60)
    control.settle()
    assert control.traffic == {"v2": 100}
    history = client.get(f"/v1/models/{MODEL}/history").json["history"]
    assert [entry["what"] for entry in history][:2] == ["live", "baking"]
    (promoted,) = [entry for entry in history if entry["what"] == "promoted"]
    assert (promoted["version"], promoted["by"]) == ("v2", "local operator")
    then = client.get(f"/v1/models/{MODEL}/history", query_string={"at": before}).json["served"]
    now = client.get(f"/v1/models/{MODEL}/history", query_string={"at": control.clock.now.isoformat()}).json["served"]
    assert (then["version"], then["by"], now["version"], now["by"]) == ("v1", "gate", "v2", "local operator")
    assert "first model" in then["why"]
    assert now["why"] == "promoted by local operator; the gate had it rejected"
    assert client.get(f"/v1/models/{MODEL}/history?at=2020-01-01").json["served"] is None


def post(client: Any, command: str, body: dict[str, Any] | None = None) -> tuple[str, str]:
    reply = client.post(f"/v1/models/{MODEL}:{command}", json=body or {})
    assert (reply.status_code, reply.json.keys()) == (200, {"status", "reason"})
    return reply.json["status"], reply.json["reason"]


def test_rollback_pause_and_resume(client: Any, control: Control) -> None:
    assert post(client, "rollback") == ("refused", "there is no earlier version to go back to from v1")
    assert post(client, "resume")[0] == "refused"
    assert post(client, "pause") == ("accepted", "nothing begins until it is resumed")
    assert client.get(f"/v1/models/{MODEL}").json["paused"] == "paused by local operator"
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    assert client.get(f"/v1/models/{MODEL}").json["rollout"] is None
    assert post(client, "resume") == ("accepted", "it goes on")
    control.settle()
    assert control.traffic == {"v3": 100}
    reply = post(client, "rollback", {"to": "v1", "why": "customers complain"})
    assert reply == ("accepted", "v3 is rolled back; v1 serves again")
    assert post(client, "rollback", {"to": "v1", "why": "customers complain"})[0] == "accepted"
    control.settle()
    assert control.traffic == {"v1": 100}
    assert post(client, "rollback", {"to": "v9"})[0] == "refused"
    history = client.get(f"/v1/models/{MODEL}/history").json["history"]
    (entry,) = [entry for entry in history if entry["what"] == "rolled back"]
    assert (entry["version"], entry["by"], entry["why"]) == ("v3", "local operator", "to v1: customers complain")


@pytest.mark.parametrize("command", ["rollback", "pause", "resume"])
def test_commands_for_a_model_nobody_knows(client: Any, command: str) -> None:
    reply = client.post(f"/v1/models/nobody:{command}", json={}).json
    assert reply == {"status": "refused", "reason": "there is no model nobody"}


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("rollback", b"{"),
        ("rollback", b"[]"),
        ("rollback", b'{"to":7}'),
        ("rollback", b'{"to":""}'),
        ("rollback", b'{"too":"v1"}'),
        ("rollback", b'{"to":"v1","force":true}'),
        ("rollback", b'{"why":"' + b"a" * 1001 + b'"}'),
        ("pause", b'{"version":"v1"}'),
        ("resume", b'{"force":true}'),
    ],
)
def test_bodies_that_are_none(client: Any, control: Control, command: str, body: bytes) -> None:
    before = control.head
    answer = client.post(f"/v1/models/{MODEL}:{command}", data=body, content_type="application/json")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert control.head == before


def test_an_empty_body_will_do(client: Any) -> None:
    answer = client.post(f"/v1/models/{MODEL}:pause", data=b"", content_type="application/json")
    assert answer.json["status"] == "accepted"


@pytest.mark.parametrize("command", ["rollback", "pause", "resume"])
def test_a_web_page_cannot_give_commands_nor_can_they_be_read(client: Any, command: str) -> None:
    path = f"/v1/models/{MODEL}:{command}"
    assert client.post(path, data=b"{}", content_type="text/plain").status_code == 415
    assert client.get(path).status_code == 405


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"version":"v1","forse":true}', "application/json", 400),
        (b'{"version":7}', "application/json", 400),
        (b'{"version":"v1"}', "text/plain", 415),
        (b'{"version":"v1"}', "application/x-www-form-urlencoded", 415),
    ],
)
def test_commands_that_are_none(client: Any, body: bytes, content_type: str, status: int) -> None:
    answer = client.post(f"/v1/models/{MODEL}:promote", data=body, content_type=content_type)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


def test_only_commands_can_be_posted(client: Any) -> None:
    assert client.post("/v1/models", json={}).status_code == 405
    assert client.post(f"/v1/models/{MODEL}:explode", json={}).status_code == 404
    assert client.get(f"/v1/models/{MODEL}:promote").status_code == 405


def test_quarantined_events_are_replayed(client: Any) -> None:
    nothing = {"taken": 0, "still_wrong": 0, "passed_over": 0, "cut": 0, "next": None}
    assert client.post("/v1/quarantine:replay", json={}).json == nothing
    assert client.post("/v1/quarantine:replay", json={"after": "f" * 64}).json == nothing
    assert client.post("/v1/quarantine:replay", json={"after": "../x"}).status_code == 400


def test_a_rollback_may_name_what_is_to_fall(client: Any, control: Control) -> None:
    control.make_live("v3", 0.9, day=3)
    late = client.post(f"/v1/models/{MODEL}:rollback", json={"falling": "v1"}).json
    assert late == {"status": "refused", "reason": "v1 is not what would be rolled back any more"}
    assert client.post(f"/v1/models/{MODEL}:rollback", json={"falling": "v3", "to": "v1"}).json["status"] == "accepted"


def test_what_waits_for_approval_is_seen_in_the_list(client: Any, control: Control) -> None:
    assert client.get("/v1/models").json["models"][0]["newest"] == {"version": "v2", "status": "rejected"}
    control.policy(FAST + "gate: {approval: manual}\n")
    control.make_live("v3", 0.9, day=3)
    assert client.get("/v1/models").json["models"][0]["newest"] == {"version": "v3", "status": "awaiting_approval"}
    assert "awaits approval" in client.get("/").text
