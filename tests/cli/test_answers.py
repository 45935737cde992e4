"""What an answer of the API means for whoever typed the command: one helpful line, an exit code, one JSON document."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from modeldrop.cli import app
from modeldrop.cli.control_plane import MOST_BYTES
from tests.cli.bytes_server import BytesServer
from tests.servers.json_api import Answered, Asked, Fault, JsonApi

PROBLEM = {"type": "about:blank", "title": "No", "detail": "the reason in the server's words"}
ROWS = [f"v{number}" for number in range(1, 6)]


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELDROP_URL", raising=False)


@pytest.fixture
def api() -> Iterator[JsonApi]:
    """Five versions in pages of two; commands are accepted."""

    def answer(asked: Asked) -> Answered:
        if asked.method == "POST":
            return Answered(200, {"status": "accepted", "reason": "as you like"})
        start = ROWS.index(asked.query["before"]) + 1 if "before" in asked.query else 0
        size = int(asked.query.get("limit", 2))
        page = ROWS[start : start + size]
        return Answered(200, {"versions": [row(one) for one in page], "next": page[-1] if len(page) == size else None})

    with JsonApi(answer) as server:
        yield server


def row(version: str) -> dict[str, Any]:
    return {
        "version": version,
        "status": "live",
        "score": 0.5,
        "declared_at": "2026-01-01T00:00:00Z",
        "digest": "d" * 64,
    }


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (400, 2, ""),
        (401, 1, "gcloud auth login"),
        (403, 1, "MODELDROP_OPERATORS"),
        (404, 1, ""),
        (409, 1, "somebody was faster"),
        (415, 1, ""),
        (429, 3, "ask again later"),
        (500, 3, ""),
        (503, 3, "ask again later"),
    ],
)
@pytest.mark.parametrize("command", [("versions", "m"), ("promote", "m", "v1"), ("replay",)])
def test_a_problem_is_one_line_and_with_json_one_document(
    api: JsonApi, command: tuple[str, ...], status: int, code: int, hint: str
) -> None:
    problem = PROBLEM | {"status": status}
    api.inject(Fault("status", status, problem), Fault("status", status, problem))
    shown = run(*command, "--url", api.url)
    assert (shown.exit_code, shown.stdout) == (code, "")
    assert shown.stderr.startswith(f"modeldrop: {PROBLEM['detail']}") and hint in shown.stderr
    assert shown.stderr.count("\n") == 1
    printed = run(*command, "--url", api.url, "--json")
    assert (printed.exit_code, json.loads(printed.stdout)) == (code, problem)
    assert printed.stderr == shown.stderr


@pytest.mark.parametrize(
    ("detail", "is_name"),
    [
        ("there is no model nobody", True),
        ("fraud has no version v9", True),
        ("v1 of fraud has no predictions in its latest windows", False),
    ],
)
def test_other_names_are_offered_where_a_name_was_not_found(api: JsonApi, detail: str, is_name: bool) -> None:
    api.inject(Fault("status", 404, PROBLEM | {"detail": detail}))
    shown = run("drift", "fraud", "--url", api.url)
    assert (shown.exit_code, "modeldrop status" in shown.stderr) == (1, is_name)


HOSTILE = (
    b"[" * 100_000,
    b'{"score": NaN}',
    b'{"score": 1e999}',
    b'{"versions": "\\ud800"}',
    b'{"versions": [], "versions": []}',
    b"\xff\xfe{}",
)


@pytest.mark.parametrize("body", HOSTILE)
@pytest.mark.parametrize("status", [200, 404])
def test_json_that_is_none_is_no_answer(body: bytes, status: int) -> None:
    head = b"HTTP/1.1 %d x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    with BytesServer(head + body) as url:
        printed = run("versions", "m", "--json", "--url", url)
    assert printed.exit_code == (3 if status == 200 else 1)
    assert json.loads(printed.stdout)["title"]


def test_an_answer_that_fills_the_memory_or_comes_packed_is_not_taken() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    huge = head + b"content-length: 99999999999\r\n\r\n" + b" " * (MOST_BYTES + 70_000)
    packed = head + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}"
    for sent, said in ((huge, "has more than"), (packed, "is packed")):
        with BytesServer(sent) as url:
            shown = run("versions", "m", "--url", url)
        assert (shown.exit_code, said in shown.stderr) == (3, True), shown.stderr


def test_an_answer_that_drips_in_ends_in_time() -> None:
    """Each byte comes in time, the whole never does."""
    drip = (b" " for _ in count())
    with BytesServer(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", drip) as url:
        shown = run("--timeout", "0.3", "versions", "m", "--url", url)
    assert (shown.exit_code, "while the answer came in" in shown.stderr) == (3, True), shown.stderr


def test_a_long_reason_is_cut_off_for_people(api: JsonApi) -> None:
    api.inject(*[Fault("status", 400, PROBLEM | {"detail": "x" * 100_000})] * 2)
    assert len(run("versions", "m", "--url", api.url).stderr) < 2_100
    printed = run("versions", "m", "--json", "--url", api.url)
    assert len(json.loads(printed.stdout)["detail"]) == 100_000


@pytest.mark.parametrize(
    "found", [{}, {"verdict": 1, "windows": "x"}, {"windows": {}}, {"windows": [1]}, {"windows": [{}]}]
)
def test_a_trend_that_is_none(api: JsonApi, found: dict[str, object]) -> None:
    api.inject(*[Fault("status", 200, found)] * 2)
    for arguments in (("--json",), ()):
        assert run("drift", "m", "--trend", "--url", api.url, *arguments).exit_code == 3


@pytest.mark.parametrize(("status", "code"), [(401, 1), (403, 1), (429, 3), (503, 3)])
def test_a_refusal_of_the_platform_before_the_api_is_told_as_well(api: JsonApi, status: int, code: int) -> None:
    """Cloud Run answers in HTML whom it does not let through."""
    api.inject(Fault("status", status, "<html>", {"retry-after": "7"}))
    shown = run("versions", "m", "--url", api.url)
    assert (shown.exit_code, shown.stdout, shown.stderr.count("\n")) == (code, "", 1)
    assert f"answers {status} (" in shown.stderr
    assert ("in 7 s" in shown.stderr) == (code == 3)


def test_no_answer_in_time(api: JsonApi) -> None:
    api.inject(Fault("hang"))
    shown = run("--timeout", "0.2", "versions", "m", "--url", api.url, "--json")
    assert (shown.exit_code, json.loads(shown.stdout)["title"]) == (3, "No answer")
    assert "timed out" in shown.stderr or "no answer in time" in shown.stderr


@pytest.mark.parametrize("fault", [Fault("drop"), Fault("garble"), Fault("status", 502, "<html>")])
def test_an_answer_that_is_none(api: JsonApi, fault: Fault) -> None:
    api.inject(fault)
    shown = run("versions", "m", "--url", api.url)
    assert (shown.exit_code, shown.stdout, shown.stderr.count("\n")) == (3, "", 1)


def test_the_address_for_all_commands_and_for_one(api: JsonApi, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "http://127.0.0.1:9"
    assert run("--url", api.url, "versions", "m").exit_code == 0
    assert run("--url", nobody, "versions", "m", "--url", api.url).exit_code == 0
    monkeypatch.setenv("MODELDROP_URL", api.url)
    assert run("versions", "m").exit_code == 0
    monkeypatch.setenv("MODELDROP_URL", nobody)
    assert run("--url", api.url, "versions", "m").exit_code == 0
    assert run("versions", "m").exit_code == 3
    assert len(api.asked) == 4


def test_pages(api: JsonApi) -> None:
    first = run("versions", "m", "--url", api.url)
    assert "v2" in first.stdout and "v3" not in first.stdout
    assert first.stderr == "there are more: --all shows them\n"
    every = run("versions", "m", "--all", "--url", api.url)
    assert all(one in every.stdout for one in ROWS) and every.stderr == ""
    printed = run("versions", "m", "--all", "--limit", "3", "--json", "--url", api.url)
    assert json.loads(printed.stdout) == {"versions": [row(one) for one in ROWS], "next": None}
    assert [asked.query for asked in api.asked[-2:]] == [{"limit": "3"}, {"limit": "3", "before": "v3"}]


def test_pages_that_lead_nowhere_end(api: JsonApi) -> None:
    again = {"versions": [row("v1")], "next": "v1"}
    api.inject(Fault("status", 200, again), Fault("status", 200, again))
    assert run("versions", "m", "--all", "--url", api.url).exit_code == 3
    assert len(api.asked) == 2


@pytest.mark.parametrize("found", [{}, {"taken": True}, {"taken": "many"}, {"taken": 1, "next": "a"}])
def test_a_replay_that_makes_no_sense_ends(api: JsonApi, found: dict[str, object]) -> None:
    api.inject(*[Fault("status", 200, found)] * 2)
    assert run("replay", "--url", api.url).exit_code == 3
    assert len(api.asked) <= 2


@pytest.mark.parametrize("command", ["promote", "approve"])
def test_a_command_as_json(api: JsonApi, command: str) -> None:
    shown = run(command, "m", "v1", "--json", "--url", api.url)
    assert (shown.exit_code, json.loads(shown.stdout)["status"]) == (0, "accepted")
    api.inject(Fault("status", 200, {"status": "refused", "reason": "no"}))
    refused = run(command, "m", "v1", "--json", "--url", api.url)
    assert (refused.exit_code, json.loads(refused.stdout)) == (1, {"status": "refused", "reason": "no"})


@pytest.mark.parametrize(("limit", "code"), [("0", 2), ("201", 2), ("x", 2)])
def test_a_limit_that_is_none(limit: str, code: int) -> None:
    assert run("versions", "m", "--limit", limit).exit_code == code


def test_the_dashboard_s_address(api: JsonApi) -> None:
    assert run("open", "--print", "--url", f"{api.url}/").stdout == f"{api.url}/\n"
    assert run("--url", api.url, "open", "a/b", "--print").stdout == f"{api.url}/models/a%2Fb\n"
    assert api.asked == []


def test_trends(api: JsonApi) -> None:
    test = {"test": "ks", "value": 0.25, "threshold": 0.1, "verdict": "drifted"}
    fine, unknown = test | {"verdict": "ok", "value": 0.01}, test | {"verdict": "insufficient_data", "value": None}
    window = {"window": "2026-01-02T00:00:00Z", "verdict": "drifted", "complete": False, "rows": 300}
    window |= {"estimated_events": 900, "features": {"amount": test, "age": fine, "hour": unknown}, "prediction": test}
    before = window | {"window": "2026-01-01T00:00:00Z", "verdict": "ok", "features": {"age": fine}, "prediction": None}
    found = {"model": "m", "version": "v1", "windows": [window, before], "next": None}
    api.inject(Fault("status", 200, found), Fault("status", 200, found | {"windows": [before]}))
    shown = run("drift", "m", "--trend", "--version", "v1", "--url", api.url)
    assert (shown.exit_code, "amount (ks 0.25), prediction (ks 0.25)" in shown.stdout) == (1, True)
    assert "drifted so far" in shown.stdout and "age" not in shown.stdout
    assert run("drift", "m", "--trend", "--url", api.url).exit_code == 0
    assert [(asked.path, asked.query) for asked in api.asked] == [
        ("/v1/models/m/drift/windows", {"version": "v1"}),
        ("/v1/models/m/drift/windows", {}),
    ]
    assert run("drift", "m", "--trend", "--window", "2026-01-01", "--url", api.url).exit_code == 2
    labels = {"window": "w", "verdict": "ok", "metric": "f1", "value": 0.8, "bounds": None, "expected": 0.7}
    answer = {"model": "m", "version": "v1", "windows": [labels | {"n": 40, "coverage": 0.5}], "next": None}
    api.inject(Fault("status", 200, answer))
    quality = run("quality", "m", "--trend", "--url", api.url).stdout
    assert "0.8000" in quality and "50%" in quality
