"""Who the command line says it is: which requests carry a token, whose, and that nobody else gets to see it."""

import base64
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from modeldrop.cli import app
from modeldrop.cli.identity_tokens import IdentityTokens
from tests.cli.tls_api import TlsApi
from tests.servers.json_api import Answered, Asked, Fault, JsonApi

MODELS = {"models": [], "ticks": {"stale": [], "never": [], "incomplete": [], "oldest_news": None}, "next": None}
PATH = os.environ.get("PATH", os.defpath)
SECRET = "opaque-token-of-somebody"
PEOPLE_LOG_IN = "ERROR: (gcloud.auth.print-identity-token) You do not currently have an active account selected."


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsApi]:
    """An API over TLS that the command line trusts."""
    with TlsApi(lambda asked: Answered(200, MODELS), tmp_path) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        yield server


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No identity, no address, and a path without gcloud."""
    for name in [name for name in os.environ if name.startswith("MODELDROP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))


@pytest.fixture
def gcloud(tmp_path: Path) -> Callable[[str], Path]:
    """Puts a program called gcloud on the path; it notes its arguments, a line a call, and does what it is told."""

    def put(body: str) -> Path:
        programs, calls = tmp_path / "programs", tmp_path / "calls"
        programs.mkdir(exist_ok=True)
        program = programs / "gcloud"
        noted = f"open({str(calls)!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))"
        program.write_text(f"#!{sys.executable}\nimport sys, time\n{noted}\n{body}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return calls

    return put


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def token(expires_at: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires_at, "email": "me@example.com"}).encode())
    return f"e30.{claims.decode().rstrip('=')}.c2ln"


def test_a_given_token_is_sent_and_gcloud_is_not_asked(
    api: TlsApi, gcloud: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = gcloud("print('of-gcloud')")
    monkeypatch.setenv("MODELDROP_TOKEN", SECRET)
    shown = run("status", "--url", api.url)
    assert shown.exit_code == 0, shown.output
    assert [asked.headers["authorization"] for asked in api.asked] == [f"Bearer {SECRET}"]
    assert not calls.exists()
    assert SECRET not in shown.output


def test_gcloud_is_asked_once_for_all_requests_of_a_command(
    tmp_path: Path, gcloud: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(asked: Asked) -> Answered:
        row = {"model": "a", "production": None, "endpoint": None, "paused": None, "rollout": None}
        rest = {"health": None, "drift": None, "desired": None}
        return Answered(200, MODELS | {"models": [row | rest], "next": None if "before" in asked.query else "a"})

    calls = gcloud("print('of-gcloud')")
    with TlsApi(page, tmp_path) as api:
        monkeypatch.setenv("SSL_CERT_FILE", str(api.certificate))
        assert run("status", "--all", "--url", api.url).exit_code == 0
        assert [asked.headers["authorization"] for asked in api.asked] == ["Bearer of-gcloud"] * 2
    assert calls.read_text() == "auth print-identity-token\n"


def test_acting_as_a_service_account_asks_for_this_address_and_the_email(
    api: TlsApi, gcloud: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = gcloud("print('of-the-robot')")
    robot = "robot@p.iam.gserviceaccount.com"
    assert run("--impersonate-service-account", robot, "status", "--url", f"{api.url}/").exit_code == 0
    monkeypatch.setenv("MODELDROP_IMPERSONATE_SERVICE_ACCOUNT", robot)
    monkeypatch.setenv("MODELDROP_AUDIENCES", "https://other.example.com")
    assert run("--url", api.url, "status").exit_code == 0
    as_robot = f"auth print-identity-token --impersonate-service-account={robot} --include-email"
    assert calls.read_text().splitlines() == [
        f"{as_robot} --audiences={api.url}",
        f"{as_robot} --audiences=https://other.example.com",
    ]


def test_a_token_is_kept_until_it_expires(gcloud: Callable[[str], Path]) -> None:
    calls = gcloud(f"print({token(4e9)!r})")
    lasting = IdentityTokens()
    assert {lasting.token("https://a"), lasting.token("https://a")} == {token(4e9)}
    assert len(calls.read_text().splitlines()) == 1
    gcloud(f"print({token(1.0)!r})")
    passing = IdentityTokens()
    assert {passing.token("https://a"), passing.token("https://a")} == {token(1.0)}
    assert len(calls.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (f"sys.stderr.write({PEOPLE_LOG_IN!r} + chr(10) + 'Please run:' + chr(10)); sys.exit(1)", 1, "Please run:"),
        ("sys.exit(7)", 1, "ended with 7"),
        ("print('looks-like-one'); sys.exit(1)", 1, "gives no identity token"),
        ("print('two words')", 1, "gives no identity token"),
        ("print()", 1, "gives no identity token"),
        ("sys.stderr.write('\\x1b[2J' * 1000); sys.exit(1)", 1, "\\x1b[2J"),
        (None, 2, "gcloud is not installed, and MODELDROP_TOKEN is not set"),
    ],
)
def test_what_keeps_gcloud_from_it_is_said_in_one_line(
    api: TlsApi, gcloud: Callable[[str], Path], body: str | None, code: int, said: str
) -> None:
    if body is not None:
        gcloud(body)
    shown = run("status", "--url", api.url)
    assert (shown.exit_code, shown.stdout) == (code, "")
    assert said in shown.stderr
    assert shown.stderr.count("\n") == 1 and len(shown.stderr) < 4_000 and "\x1b[2J" not in shown.stderr
    assert api.asked == []


@pytest.mark.parametrize("bad", ["two words", "line\r\nx-other: 1", "é", "x" * 20_000])
def test_what_is_no_token_is_not_sent_and_not_shown(api: TlsApi, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setenv("MODELDROP_TOKEN", bad)
    shown = run("status", "--url", api.url)
    assert (shown.exit_code, shown.stderr) == (2, "modeldrop: what MODELDROP_TOKEN holds is no token\n")
    assert api.asked == []


def test_over_http_nothing_is_told(gcloud: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = gcloud("print('of-gcloud')")
    monkeypatch.setenv("MODELDROP_TOKEN", SECRET)
    with JsonApi(lambda asked: Answered(200, MODELS)) as api:
        assert run("status", "--url", api.url).exit_code == 0
        assert "authorization" not in api.asked[0].headers
    assert not calls.exists()


@pytest.mark.parametrize("command", [("status",), ("promote", "m", "v1"), ("call", "health_tick")])
def test_a_redirect_is_not_followed(api: TlsApi, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setenv("MODELDROP_TOKEN", SECRET)
    with JsonApi(lambda asked: Answered(200, MODELS)) as elsewhere:
        api.inject(Fault("status", 307, headers={"location": f"{elsewhere.url}/v1/models"}))
        shown = run(*command, "--url", api.url)
        assert shown.exit_code != 0
        assert elsewhere.asked == []
    assert len(api.asked) == 1


def test_a_server_nobody_vouches_for_gets_no_token(api: TlsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("MODELDROP_TOKEN", SECRET)
    shown = run("status", "--url", api.url)
    assert (shown.exit_code, shown.stdout) == (3, "")
    assert "certificate" in shown.stderr.lower()
    assert api.asked == [] and SECRET not in shown.stderr


@pytest.mark.program("gcloud")
def test_the_real_gcloud_without_an_account_says_what_to_do(
    api: TlsApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", PATH)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "empty"))
    shown = run("status", "--url", api.url)
    assert (shown.exit_code, shown.stdout, api.asked) == (1, "", [])
    assert "gcloud auth login" in shown.stderr
    assert shown.stderr.count("\n") == 1
