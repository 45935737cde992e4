"""Callers, roles and the audit trail through the function itself, with tokens of an issuer that is asked over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldrop.domain.audit_chain import AuditEntry
from modeldrop.handlers.audit.verify_audit import verify_audit
from modeldrop.records.audit import AuditTrail
from modeldrop.wiring import services
from tests.handlers.control import FAST, MODEL, Control
from tests.servers.key_server import AUDIENCE, NAME, Issuer

PAUSE = f"/v1/models/{MODEL}:pause"
PAGE = f"/models/{MODEL}/pause"
ADA, BOB, VIC = "ada@example.com", "bob@example.com", "vic@example.com"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def control(tmp_path: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    """A model that serves; ada is its operator, bob its approver, vic may look."""
    settings = {
        "BACKEND": "local",
        "DATA": str(tmp_path),
        "AUTH": "jwt",
        "JWT_ISSUER": NAME,
        "JWT_AUDIENCE": AUDIENCE,
        "JWT_JWKS": issuer.url,
        "VIEWERS": VIC,
        "OPERATORS": ADA,
        "APPROVERS": BOB,
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"MODELDROP_{name}", value)
    services.cache_clear()
    control = Control(tmp_path)
    control.policy(FAST)
    control.make_live("v1", 0.7, day=1)
    yield control
    services.cache_clear()


def of(email: str | None, **headers: str) -> dict[str, str]:
    """The headers of somebody's request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return named | ({"Authorization": f"Bearer {Issuer.token(email=email)}"} if email else {})


def trail(control: Control) -> list[AuditEntry]:
    return [entry for entry in AuditTrail(control.services.documents).entries() if entry is not None]


def last(control: Control) -> tuple[str, str, str, int]:
    entry = trail(control)[-1]
    return entry.caller, entry.call, entry.outcome, entry.status


@pytest.mark.parametrize("path", ["/v1", "/v1/models", f"/v1/models/{MODEL}/history", "/metrics", "/"])
def test_who_is_known_and_named_may_look(client: Any, control: Control, path: str) -> None:
    for email in (ADA, BOB, VIC):
        assert client.get(path, headers=of(email)).status_code == 200
    assert trail(control) == []
    unknown = client.get(path)
    assert (unknown.status_code, unknown.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert last(control) == ("", f"GET {path}", "refused", 401)
    assert client.get(path, headers=of("eve@example.com")).status_code == 403
    assert last(control) == ("eve@example.com", f"GET {path}", "refused", 403)


def test_commands_are_for_operators_and_written_down(client: Any, control: Control) -> None:
    for email in (BOB, VIC):
        assert client.post(PAUSE, json={}, headers=of(email)).status_code == 403
    assert control.head.paused is None
    assert client.post(PAUSE, json={}, headers=of(ADA)).json["status"] == "accepted"
    assert control.head.paused is not None and control.head.paused.by == ADA
    refused, asked, accepted = trail(control)
    assert (refused.caller, refused.outcome, refused.status) == (BOB, "refused", 403)  # the second within a second
    assert (asked.caller, asked.call, asked.outcome, asked.detail) == (ADA, f"POST {PAUSE}", "asked", "{}")
    assert (accepted.outcome, accepted.status, accepted.answers) == ("accepted", 200, asked.number)


def test_four_eyes(client: Any, control: Control) -> None:
    approve = f"/v1/models/{MODEL}:approve"
    assert client.post(approve, json={"version": "v1"}, headers=of(ADA)).status_code == 403
    assert client.post(approve, json={"version": "v1"}, headers=of(BOB)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Origin": "http://localhost"}, 200),
    ],
)
def test_pages_of_other_sites_give_no_commands(
    client: Any, control: Control, headers: dict[str, str], status: int
) -> None:
    assert client.post(PAUSE, json={}, headers=of(ADA, **headers)).status_code == status
    assert (control.head.paused is not None) == (status == 200)
    assert client.get("/v1/models", headers=of(ADA, **headers)).status_code == 200


def test_a_form_has_to_say_where_it_comes_from(client: Any, control: Control) -> None:
    assert client.post(
        PAGE, data={}, headers=of(ADA, Content_Type="application/x-www-form-urlencoded")
    ).status_code in (
        403,
        415,
    )
    assert control.head.paused is None
    form = of(ADA, Sec_Fetch_Site="same-origin", Content_Type="application/x-www-form-urlencoded")
    assert client.post(PAGE, data=b"", headers=form).status_code == 200
    assert control.head.paused is not None
    assert last(control)[:3] == (ADA, f"POST {PAGE}", "accepted")
    assert (
        client.post(
            PAGE, data=b"", headers=of(VIC) | {k: v for k, v in form.items() if k != "Authorization"}
        ).status_code
        == 403
    )


def test_a_call_inside_a_call_has_the_same_rules(client: Any, control: Control) -> None:
    body = {"call": f"POST {PAUSE}", "body": {}}
    assert client.post("/", json=body, headers=of(VIC)).json["status"] == 403
    assert control.head.paused is None
    assert client.post("/", json=body).json["status"] == 401
    assert client.post("/", json=body, headers=of(ADA, Sec_Fetch_Site="cross-site")).json["status"] == 403
    assert client.post("/", json=body, headers=of(ADA)).json["status"] == 200
    assert last(control) == (ADA, f"POST {PAUSE}", "accepted", 200)


def test_the_trail_is_for_operators(client: Any, control: Control) -> None:
    client.post(PAUSE, json={}, headers=of(ADA))
    for email in (BOB, VIC):
        assert client.get("/v1/audit", headers=of(email)).status_code == 403
    entries = client.get("/v1/audit?limit=2", headers=of(ADA)).json
    assert [entry["outcome"] for entry in entries["entries"]] == ["refused", "accepted"]
    older = client.get("/v1/audit", query_string={"before": entries["next"]}, headers=of(ADA)).json
    assert [entry["number"] for entry in older["entries"]] == [1]
    found = verify_audit(control.services)
    assert found.is_whole and found.trail.unanswered == []


def test_without_keys_nobody_can_tell_who_calls(client: Any, issuer: Issuer) -> None:
    issuer.keys = []
    answer = client.get("/v1/models", headers=of(ADA))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
