"""``modeldrop call``: which address is asked for a function, with which body, as whom."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from modeldrop.cli import app
from modeldrop.cli.call import _place
from modeldrop.cli.control_plane import ControlPlane
from modeldrop.cli.ending import Ended
from tests.cli.tls_api import TlsApi
from tests.servers.json_api import Answered, Asked, Fault, JsonApi

GIVEN = "given-token"
API = "https://europe-west1-p1.cloudfunctions.net/api"
TICK = "https://europe-west1-p1.cloudfunctions.net/health_tick"


def echoed(asked: Asked) -> Answered:
    return Answered(200, {"path": asked.path, "body": asked.body.decode(), "type": asked.headers["content-type"]})


@pytest.fixture
def api() -> Iterator[JsonApi]:
    with JsonApi(echoed) as server:
        yield server


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["call", *arguments], input=stdin)


def test_a_body_from_a_file_from_standard_input_and_as_typed(api: JsonApi, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"from": "file"}')
    assert run("f", "--url", api.url, "--data", f"@{tmp_path}/body.json").exit_code == 0
    assert run("f", "--url", api.url, "--data", "-", stdin=b'{"from": "stdin"}').exit_code == 0
    assert run("f", "--url", api.url, "--cloud-event", '{"from": "typed"}').exit_code == 0
    assert run("f", "--url", api.url).exit_code == 0
    assert [asked.json() for asked in api.asked] == [{"from": "file"}, {"from": "stdin"}, {"from": "typed"}, {}]
    assert [asked.headers["content-type"] for asked in api.asked][2:] == [
        "application/cloudevents+json",
        "application/json",
    ]
    missing = run("f", "--url", api.url, "--data", f"@{tmp_path}/nothing")
    assert (missing.exit_code, "No such file" in missing.stderr) == (2, True)


def test_an_error_of_the_function_is_printed_and_ends_with_1(api: JsonApi) -> None:
    api.inject(Fault("status", 500, {"detail": "\x1b[2J"}))
    shown = run("f", "--url", api.url)
    assert (shown.exit_code, "\x1b" in shown.stdout) == (1, False)


@pytest.mark.parametrize(
    ("url", "is_own", "asked"),
    [
        ("http://127.0.0.1:8080", False, "http://127.0.0.1:8080/functions/health_tick"),
        ("http://127.0.0.1:8080", True, "http://127.0.0.1:8080/functions/health_tick"),
        (API, False, TICK),
        ("https://tick-x.a.run.app", True, "https://tick-x.a.run.app"),
    ],
)
def test_where_a_function_is(url: str, is_own: bool, asked: str) -> None:
    plane, address = _place(ControlPlane(url), "health_tick", None, "us-central1", is_own=is_own)
    assert address == asked
    assert plane.url == (url if "127.0.0.1" in url else asked), "whom the token is for"


def test_by_project_and_region() -> None:
    _, address = _place(ControlPlane(), "health_tick", "p1", "europe-west1", is_own=False)
    assert address == TICK
    for project, region, is_own in (
        ("p1", "evil.example.com/", False),
        ("p@x", "us-central1", False),
        ("p1", "r", True),
    ):
        with pytest.raises(Ended):
            _place(ControlPlane(), "f", project, region, is_own=is_own)
    with pytest.raises(Ended):
        _place(ControlPlane("https://api-x.a.run.app"), "health_tick", None, "us-central1", is_own=False)


def test_a_function_of_the_cloud_gets_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELDROP_TOKEN", GIVEN)
    with TlsApi(echoed, tmp_path) as api:
        monkeypatch.setenv("SSL_CERT_FILE", str(api.certificate))
        assert run("health_tick", "--url", api.url).exit_code == 0
        assert api.asked[0].headers["authorization"] == f"Bearer {GIVEN}"
