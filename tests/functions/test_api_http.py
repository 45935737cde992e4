"""The API as HTTP: methods, headers, tags, pages of lists, bodies, and calls inside calls."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.datastructures import Headers

from modeldrop.http.messages import Asked
from modeldrop.web import application
from modeldrop.web.commands import BODY_LIMIT_BYTES
from tests.functions.api_calls import content_of, environment
from tests.handlers.control import FAST, MODEL, Control

M = f"/v1/models/{MODEL}"
PROBLEM = "application/problem+json"


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with environment(tmp_path):
        control = Control(tmp_path)
        control.policy(FAST)
        control.make_live("v1", 0.5, day=1)
        yield control


def test_heads_are_reads_without_a_body(client: Any) -> None:
    read, head = client.get(M), client.head(M)
    assert (head.status_code, head.data) == (200, b"")
    assert [head.headers[n] for n in ("ETag", "Content-Length")] == [read.headers["ETag"], str(len(read.data))]


def test_a_slash_at_the_end_makes_no_difference(client: Any) -> None:
    for path in ("/v1", M, f"{M}/versions", f"/models/{MODEL}"):
        assert client.get(f"{path}/").status_code == client.get(path).status_code == 200
    assert client.get("/v1//models").status_code == 404


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/models", "GET, HEAD, OPTIONS"),
        (f"{M}:pause", "OPTIONS, POST"),
        ("/", "GET, HEAD, OPTIONS, POST"),
        (f"/models/{MODEL}/pause", "OPTIONS, POST"),
        (f"/models/{MODEL}", "GET, HEAD, OPTIONS"),
    ],
)
def test_other_methods_are_told_which_there_are(client: Any, path: str, allowed: str) -> None:
    asked = client.options(path)
    assert (asked.status_code, asked.headers["Allow"], asked.data) == (204, allowed, b"")
    for method in ("PUT", "PATCH", "DELETE"):
        answer = client.open(path, method=method)
        assert (answer.status_code, answer.content_type, answer.headers["Allow"]) == (405, PROBLEM, allowed)
    assert "Access-Control-Allow-Origin" not in asked.headers


def test_a_tag_saves_sending_what_is_known(client: Any) -> None:
    tag = client.get(M).headers["ETag"]
    assert tag.startswith('"')
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = client.get(M, headers={"If-None-Match": known})
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", tag)
        assert answer.headers["Cache-Control"] == "private, no-cache"
    for other in ('"x"', tag.strip('"'), ""):
        assert client.get(M, headers={"If-None-Match": other}).status_code == 200
    assert client.post(f"{M}:pause", json={}, headers={"If-None-Match": "*"}).status_code == 200
    changed = client.get(M, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.headers["ETag"] != tag) == (200, True)
    assert client.get(f"{M}x", headers={"If-None-Match": "*"}).status_code == 404


def test_headers_that_keep_browsers_careful(client: Any) -> None:
    read, page = client.get(M), client.get("/")
    assert read.headers["Vary"] == "Accept, Authorization"
    for answer in (read, page, client.get("/v1/nothing"), client.post(f"{M}:pause", json={})):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert read.headers["Cache-Control"] == page.headers["Cache-Control"] == "private, no-cache"
    for answer in (client.post(f"{M}:pause", json={}), client.get("/v1/nothing"), client.get("/v1/models?x=1")):
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("path", "name"), [("versions", "version"), ("rollouts", "id"), ("history", "number")])
def test_links_lead_through_all_pages(client: Any, control: Control, path: str, name: str) -> None:
    for number in range(2, 6):
        control.make_live(f"v{number}", 0.5 + number / 20, day=number)
    seen, address = [], f"{M}/{path}?limit=2"
    while address:
        answer = client.get(address)
        seen += [row[name] for row in answer.json[path]]
        link = answer.headers.get("Link", "")
        assert (answer.json["next"] is None) == (link == "")
        address = link.removeprefix("<").removesuffix('>; rel="next"')
        if address:
            assert parse_qs(urlsplit(address).query)["before"] == [answer.json["next"]]
    whole = [row[name] for row in client.get(f"{M}/{path}?limit=200").json[path]]
    assert seen == whole
    assert len(seen) >= 5


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("limit=0", ["limit"]),
        ("limit=201", ["limit"]),
        ("limit=", ["limit"]),
        ("limit=1e1", ["limit"]),
        ("limit=%D9%A3", ["limit"]),
        ("before=", ["before"]),
        ("before=..", ["before"]),
        ("before=a/b", ["before"]),
        ("before=__all__", ["before"]),
        ("limits=5&at=2026-01-01&limit=x", ["limit", "limits", "at"]),
    ],
)
def test_all_that_is_wrong_with_a_query_at_once(client: Any, query: str, fields: list[str]) -> None:
    answer = client.get(f"{M}/versions?{query}")
    assert (answer.status_code, answer.content_type, answer.json["status"]) == (400, PROBLEM, 400)
    assert [error["field"] for error in answer.json["errors"]] == fields


@pytest.mark.parametrize("at", ["yesterday", "", "0001-01-01T00:00:00+23:00", "2026-13-01"])
def test_times_that_are_none(client: Any, at: str) -> None:
    answer = client.get(f"{M}/history", query_string={"at": at})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "at")


def test_all_that_is_wrong_with_a_body_at_once(client: Any, control: Control) -> None:
    before = control.head
    answer = client.post(f"{M}:promote", json={"version": 7, "forse": True, "force": "yes"})
    assert (answer.status_code, answer.content_type) == (400, PROBLEM)
    assert [error["field"] for error in answer.json["errors"]] == ["version", "force", "forse"]
    assert control.head == before


@pytest.mark.parametrize("path", [f"{M}:rollback", "/v1/quarantine:replay", f"/models/{MODEL}/rollback"])
def test_bodies_that_are_too_large(client: Any, control: Control, path: str) -> None:
    before = control.head
    body = b'{"why":"' + b"a" * BODY_LIMIT_BYTES + b'"}'
    headers = {"Content-Type": "application/json" if path.startswith("/v1") else "application/x-www-form-urlencoded"}
    answer = client.post(path, data=body, headers=headers | {"Sec-Fetch-Site": "same-origin"})
    assert (answer.status_code, control.head == before) == (413, True)


@pytest.mark.parametrize("came", [b"", b"{}", b'{"to":'])
def test_a_request_that_was_cut_off_is_not_carried_out(client: Any, control: Control, came: bytes) -> None:
    before = control.head
    headers = Headers({"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": "20"})
    for path in (f"{M}:rollback", "/"):
        reply = application.answer(control.services, Asked("POST", path, {}, headers, BytesIO(came), "", ""))
        assert (reply.status, content_of(reply)["detail"]) == (400, "the request ended before its body did")
    assert (control.head, client.get("/v1/audit").json["entries"]) == (before, [])


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}])
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_commands_are_json(client: Any, control: Control, content_type: str, headers: dict[str, str]) -> None:
    answer = client.post(f"{M}:pause", data=b"{}", content_type=content_type, headers=headers)
    assert (answer.status_code, answer.headers["Accept-Post"]) == (415, "application/json")
    assert client.post(f"{M}:pause", data=b"{}", content_type="Application/JSON; charset=utf-8").status_code == 200


def test_a_problem_is_a_page_for_people_and_json_for_programs(client: Any) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    assert client.get("/nothing", headers=browser).mimetype == "text/html"
    assert client.get("/nothing").mimetype == PROBLEM
    assert client.get("/v1/nothing", headers=browser).mimetype == PROBLEM
    page = client.put("/", headers=browser)
    assert (page.status_code, page.mimetype, page.headers["Allow"]) == (405, "text/html", "GET, HEAD, OPTIONS, POST")


def test_commands_by_a_form(client: Any, control: Control) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    done = client.post(f"/models/{MODEL}/pause", data={}, headers=headers)
    assert (done.status_code, done.mimetype, control.head.paused is not None) == (200, "text/html", True)
    refused = client.post(f"/models/{MODEL}/rollback", data={"to": "v9"}, headers=headers)
    assert (refused.status_code, refused.mimetype) == (409, "text/html")
    wrong = client.post(f"/models/{MODEL}/pause", data={"a": "b"}, headers=headers)
    assert (wrong.status_code, wrong.mimetype) == (400, "text/html")
    bad, _, *entries = client.get("/v1/audit").json["entries"]
    assert (bad["outcome"], bad["detail"]) == ("refused", "a: is unknown, or given twice")
    assert [entry["outcome"] for entry in entries] == ["refused", "asked", "accepted", "asked"]
    details = [entries[place]["detail"] for place in (0, 2)]
    assert details == [f"{MODEL} has no version v9", "nothing begins until it is resumed"]
    assert entries[0]["call"] == f"POST /models/{MODEL}/rollback"


@pytest.mark.parametrize("body", [{"version": "v1\n"}, {"version": "\nv1"}, {"version": "v1\r\n"}])
def test_a_line_break_is_part_of_no_name(client: Any, control: Control, body: dict[str, str]) -> None:
    before = control.head
    assert client.post(f"{M}:promote", json=body).status_code == 400
    for path in (f"{M}/versions?before=v1%0A", f"{M}/drift?version=v1%0A", f"{M}%0A", f"{M}/versions/v1%0A"):
        assert client.get(path).status_code in (400, 404)
    assert client.post("/v1/quarantine:replay", json={"after": 64 * "a" + "\n"}).status_code == 400
    assert control.head == before


# --- a call inside a call --------------------------------------------------------------------------------------


def called(client: Any, call: str, **body: Any) -> tuple[int, Any]:
    answer = client.post("/", json={"call": call, **({"body": body} if body else {})})
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.json.keys() == {"status", "answer"}
    return answer.json["status"], answer.json["answer"]


def test_a_call_inside_a_call_is_answered_as_itself(client: Any, control: Control) -> None:
    assert called(client, "GET /v1/models?limit=1") == (200, client.get("/v1/models?limit=1").json)
    assert called(client, f"GET {M}/versions/v9")[0] == 404
    assert called(client, f"GET {M}/versions?limit=0")[0] == 400
    assert called(client, f"POST {M}:pause") == (
        200,
        {"status": "accepted", "reason": "nothing begins until it is resumed"},
    )
    assert control.head.paused is not None
    assert called(client, f"POST {M}:promote", version="v9")[1]["status"] == "refused"
    assert called(client, f"POST {M}:promote", versions="v9")[0] == 400
    assert called(client, f"GET {M}:pause")[0] == 405
    status, text = called(client, "GET /metrics")
    assert (status, "modeldrop_build_info" in text) == (200, True)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"call":"GET /v1\\n"}',
        b"{}",
        b'{"call":"GET /"}',
        b'{"call":"POST /","body":{"call":"GET /v1"}}',
        b'{"call":7}',
    ],
)
def test_calls_that_are_none(client: Any, body: bytes) -> None:
    answer = client.post("/", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["status"]) == (200, 400)
    assert answer.json["answer"]["detail"]


@pytest.mark.parametrize("query", ["limit=1&limit=2", "limit=1&limit=1", "before=a&before=b"])
def test_what_is_given_twice_is_an_error(client: Any, query: str) -> None:
    answer = client.get(f"{M}/versions?{query}")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, query.partition("=")[0])
    assert called(client, f"GET {M}/versions?{query}") == (400, answer.json)


def test_calls_are_json(client: Any, control: Control) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post("/", data=f'{{"call":"POST {M}:pause"}}', content_type=content_type)
        assert (answer.status_code, answer.json["status"]) == (200, 415)
    assert control.head.paused is None
