"""Every route and who may call it: nobody, strangers, viewers, operators and approvers; also by calls inside calls."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldrop.domain.audit_chain import AuditEntry
from modeldrop.ports import Create
from modeldrop.records.audit import AuditTrail
from modeldrop.web.callers import Caller
from modeldrop.web.in_process import reader_for
from modeldrop.web.problem import Problem
from modeldrop.web.routes import ROUTES, Route
from modeldrop.wiring import Services
from tests.functions.api_calls import call, checked_token, client_of_function, content_of, environment, iam_services
from tests.handlers.control import FAST, MODEL, Control

OPERATE = ("promote", "rollback", "pause", "resume", "retrain")
BODIES: dict[str, Any] = {"promote": {"version": "v9"}, "approve": {"version": "v9"}}
PEOPLE = {"ada@example.com": "operator", "bob@example.com": "approver", "eve@example.com": "viewer"}
PATHS = {"{model}": MODEL, "{version}": "v1", "{rollout}": "1", "{command}": "pause", "{name}": "style.css"}
PAUSED = {"status": "accepted", "reason": "nothing begins until it is resumed"}


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with environment(tmp_path):
        control = Control(tmp_path)
        control.policy(FAST)
        control.make_live("v1", 0.7, day=1)
        yield control


def behind_cloud_run(control: Control) -> Services:
    return iam_services(control, operators="ada@example.com", approvers="bob@example.com", viewers="eve@example.com")


@pytest.fixture
def cloud(control: Control) -> Services:
    return behind_cloud_run(control)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Control:
    """For tests that change nothing, or find out that they do."""
    control = Control(tmp_path_factory.mktemp("untouched"))
    control.policy(FAST)
    control.make_live("v1", 0.7, day=1)
    return control


def trail(control: Control) -> list[AuditEntry]:
    """The newest last."""
    return AuditTrail(control.services.documents).latest()[::-1]


def filled(route: Route) -> str:
    """The route's path with names in it."""
    path = route.path
    for name, text in PATHS.items():
        path = path.replace(name, text)
    return path


@pytest.mark.parametrize("command", [*OPERATE, "approve"])
@pytest.mark.parametrize("who", PEOPLE)
def test_commands_are_for_those_who_have_the_role(cloud: Services, control: Control, who: str, command: str) -> None:
    path = f"/v1/models/{MODEL}:{command}"
    reply = call(cloud, "POST", path, BODIES.get(command, {}), checked_token(who))
    may = PEOPLE[who] == ("approver" if command == "approve" else "operator")
    assert reply.status == (200 if may else 403)
    if may:
        asked, done = trail(control)
        assert (asked.caller, asked.call, asked.outcome, asked.status) == (who, f"POST {path}", "asked", 0)
        assert (done.answers, done.status, done.outcome) == (asked.number, 200, content_of(reply)["status"])
    elif entries := trail(control):  # at most one a second
        assert [(e.caller, e.call, e.outcome, e.status) for e in entries] == [(who, f"POST {path}", "refused", 403)]


@pytest.mark.parametrize("route", [r for r in ROUTES if r.name != "call" and not r.public], ids=lambda r: r.name)
def test_nothing_is_answered_to_nobody(untouched: Control, route: Route) -> None:
    cloud, before = behind_cloud_run(untouched), untouched.head
    reply = call(cloud, route.method, filled(route), {} if route.changes else None)
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
    stranger = call(cloud, route.method, filled(route), {} if route.changes else None, checked_token("x@example.org"))
    assert stranger.status == 403
    assert untouched.head == before


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.changes], ids=lambda route: route.name)
def test_what_a_viewer_sees(untouched: Control, route: Route) -> None:
    status = call(
        behind_cloud_run(untouched), route.method, filled(route), None, checked_token("eve@example.com")
    ).status
    assert (status == 403) == (route.name in ("audit", "page_audit"))
    assert status not in (401, 405, 500)


def test_what_is_read_in_this_process_is_read_with_the_callers_roles(control: Control) -> None:
    viewer, operator = Caller("eve", frozenset({"viewer"})), Caller("ada", frozenset({"viewer", "operator"}))
    assert isinstance(reader_for(viewer)(control.services, "/v1/models"), dict)
    refused = reader_for(viewer)(control.services, "/v1/audit")
    assert isinstance(refused, Problem)
    assert refused.status == 403
    assert isinstance(reader_for(operator)(control.services, "/v1/audit"), dict)


def test_a_path_that_is_none_is_told_only_to_those_who_are_known(cloud: Services) -> None:
    assert call(cloud, "GET", "/v1/nothing").status == 401
    assert call(cloud, "GET", "/v1/nothing", None, checked_token("eve@example.com")).status == 404


def test_a_command_in_a_call_needs_its_own_role(cloud: Services, control: Control) -> None:
    body = {"call": f"POST /v1/models/{MODEL}:pause"}
    refused = call(cloud, "POST", "/", body, checked_token("eve@example.com"))
    assert (refused.status, content_of(refused)["status"]) == (200, 403)
    unknown = call(cloud, "POST", "/", body)
    assert (unknown.status, content_of(unknown)["status"]) == (200, 401)
    assert control.head.paused is None
    done = call(cloud, "POST", "/", body, checked_token("ada@example.com"))
    assert content_of(done) == {"status": 200, "answer": PAUSED}
    assert control.head.paused is not None
    assert [e.call for e in trail(control)][-2:] == [f"POST /v1/models/{MODEL}:pause"] * 2


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
@pytest.mark.parametrize(
    ("path", "body"), [(f"/v1/models/{MODEL}:pause", {}), ("/", {"call": f"POST /v1/models/{MODEL}:pause"})]
)
def test_pages_of_others_give_no_commands(
    control: Control, path: str, body: dict[str, str], headers: dict[str, str]
) -> None:
    reply = call(control.services, "POST", path, body, headers)
    assert 403 in (reply.status, content_of(reply)["status"])
    assert control.head.paused is None


def test_the_trail_over_the_api(control: Control) -> None:
    client = client_of_function()
    for _ in range(3):
        client.post(f"/v1/models/{MODEL}:pause", json={})
    first = client.get("/v1/audit?limit=4").json
    rest = client.get("/v1/audit", query_string={"limit": 4, "before": first["next"]}).json
    rows = [*first["entries"], *rest["entries"]]
    assert [row["number"] for row in rows] == [6, 5, 4, 3, 2, 1]
    assert [row["outcome"] for row in rows] == ["accepted", "asked"] * 3
    assert (rows[0]["caller"], rows[0]["answers"], rest["next"]) == ("local operator", 5, None)
    assert rows[1]["detail"] == "{}"


def test_nothing_is_done_that_cannot_be_written_down(control: Control) -> None:
    call(control.services, "POST", f"/v1/models/{MODEL}:pause", {})
    control.services.documents.commit([Create("audit/somebody-elses", {})])
    reply = call(control.services, "POST", f"/v1/models/{MODEL}:resume", {})
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert control.head.paused is not None
