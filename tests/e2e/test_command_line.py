"""The command line as people use it: real processes, their output, their exit codes."""

import json
import os
import pty
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import modeldrop
from modeldrop.cli import app
from modeldrop.errors import InvalidInput
from modeldrop.localcloud.dropping import drop_package
from tests.e2e.embedded_cloud import QUICK, REPOSITORY, Cloud, command, running, scorecard

FLIGHTS = REPOSITORY / "examples/flights/packages"
HOSTILE = "\x1b[31m[bold]\x9b2J\u202e[/bold]\x07"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One with the flights example: v1 live, and v3 of a model whose metadata are hostile."""
    with running(tmp_path_factory.mktemp("commands") / "data") as started:
        started.put("policies/flights.yaml", QUICK)
        bad = scorecard("hostile", "v1", metrics={HOSTILE: HOSTILE}, labels={HOSTILE: 1})
        started.drop(bad)
        started.wait_for("hostile", "v1", "rejected")
        yield started


@pytest.fixture(scope="module")
def flights(cloud: Cloud) -> Cloud:
    """The cloud once v1 went live by ``drop --wait``."""
    run = _run("drop", str(FLIGHTS / "v1"), "--data", str(cloud.data), "--url", cloud.url, "--wait")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines()[0] == "dropped flights v1"
    assert run.stdout.splitlines()[-1] == "flights v1: live"
    return cloud


def test_drop_copies_a_package_and_leaves_nothing_else(flights: Cloud) -> None:
    folder = flights.data / "bucket/models/flights/v1"
    for name in ("metadata.json", "reference.csv"):
        assert (folder / name).read_bytes() == (FLIGHTS / "v1" / name).read_bytes()
    assert not list(flights.data.glob(".dropping-*"))


def test_drop_follows_a_rejected_version_to_its_reasons(flights: Cloud) -> None:
    run = _run("drop", str(FLIGHTS / "v2"), "--data", str(flights.data), "--url", flights.url, "--wait")
    assert run.returncode == 0
    run = _run("drop", str(FLIGHTS / "v3"), "--data", str(flights.data), "--url", flights.url, "--wait")
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1].startswith("flights v3: rejected (")


def test_status_versions_and_explain_as_tables_and_as_json(flights: Cloud) -> None:
    status = _run("status", "--url", flights.url)
    assert status.returncode == 0
    row = next(line for line in status.stdout.splitlines() if line.startswith("flights"))
    production = flights.get("/v1/models/flights")["production"]
    assert f"{production} 100 %" in row
    assert _json("status", "--url", flights.url) == flights.get("/v1/models")

    versions = _run("versions", "flights", "--url", flights.url)
    assert versions.returncode == 0
    assert any(line.startswith(f"{production} ") and "live" in line for line in versions.stdout.splitlines())
    assert _json("versions", "flights", "--url", flights.url) == flights.get("/v1/models/flights/versions")

    explain = _run("explain", "flights", "v1", "--url", flights.url)
    assert explain.returncode == 0
    assert "flights v1: approved (first_model" in explain.stdout
    assert any(line.replace("│", " ").split()[:2] == ["f1", "0.5962"] for line in explain.stdout.splitlines())
    explained = _json("explain", "flights", "v1", "--url", flights.url)
    assert explained == flights.get("/v1/models/flights/versions/v1/explain")


def test_promotion_approval_and_history(flights: Cloud) -> None:
    wait = ("--data", str(flights.data), "--url", flights.url, "--wait")
    for version in ("v2", "v3"):
        _run("drop", str(FLIGHTS / version), *wait)
    refused = _run("promote", "flights", "v3", "--url", flights.url)
    assert (refused.returncode, refused.stdout.startswith("refused: score")) == (1, True)
    assert _run("approve", "flights", "v3", "--url", flights.url).returncode == 1
    forced = _run("promote", "flights", "v3", "--force", "--url", flights.url)
    assert (forced.returncode, forced.stdout) == (0, "accepted: by force: the gate was not asked\n")
    flights.wait_for("flights", "v3", "live")
    history = _run("history", "flights", "--url", flights.url)
    assert "promoted" in history.stdout
    entries = _json("history", "flights", "--url", flights.url, "--json")
    assert isinstance(entries, dict)
    (promoted,) = [entry for entry in entries["history"] if entry["what"] == "promoted"]
    then = _json("history", "flights", "--at", promoted["at"], "--url", flights.url, "--json")
    assert isinstance(then, dict)
    assert then["served"]["version"] == "v2"


def test_call_posts_to_a_function_and_prints_its_answer(cloud: Cloud) -> None:
    tick = _run("call", "health_tick", "--url", cloud.url)
    assert tick.returncode == 0
    assert json.loads(tick.stdout)["status"] == "ok"
    data = {"bucket": "b", "name": "models/nobody/v1/metadata.json"}
    event = {"specversion": "1.0", "id": "1", "source": "//test", "data": data}
    event["type"] = "google.cloud.storage.object.v1.finalized"
    told = _run("call", "model_uploaded", "--cloud-event", json.dumps(event), "--url", f"{cloud.url}/")
    assert (told.returncode, json.loads(told.stdout)) == (0, {"status": "nothing there"})
    quarantined = _run("call", "model_uploaded", "--data", "{", "--url", cloud.url)
    assert (quarantined.returncode, json.loads(quarantined.stdout)) == (0, {"status": "quarantined"})
    unknown = _run("call", "../v1/models", "--url", cloud.url)
    assert unknown.returncode == 1
    assert json.loads(unknown.stdout)["status"] == 404
    both = _run("call", "api", "--data", "{}", "--cloud-event", "{}", "--url", cloud.url)
    assert (both.returncode, both.stdout) == (2, "")
    not_text = _run("call", "model_uploaded", "--data", os.fsdecode(b"\xff\xfe"), "--url", cloud.url)
    assert (not_text.returncode, json.loads(not_text.stdout)) == (0, {"status": "quarantined"})


def test_hostile_text_steers_no_terminal(cloud: Cloud) -> None:
    """On a real terminal, where colours are on: no escape, no control character and no markup of a package's."""
    drop = cloud.data.parent / "hostile"
    drop.mkdir()
    shutil.copy(cloud.data / "bucket/models/hostile/v1/metadata.json", drop)
    for arguments in (
        ("explain", "hostile", "v1", "--url", cloud.url),
        ("drop", str(drop), "--data", str(cloud.data), "--url", cloud.url, "--wait"),
    ):
        shown = _on_a_terminal(*arguments)
        assert "\\x1b[31m[bold]" in shown, "spelled out"
        for steering in ("\x1b[31m[", "\x9b", "\u202e", "\x07"):
            assert steering not in shown
    printed = _run("explain", "hostile", "v1", "--json", "--url", cloud.url)
    assert json.loads(printed.stdout)["reasons"]
    assert all(character.isprintable() for character in printed.stdout.replace("\n", ""))
    asked = _run("versions", HOSTILE, "--url", cloud.url)
    assert asked.returncode == 1
    assert all(character.isprintable() for character in asked.stderr.replace("\n", ""))


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("versions", "flights"),
        ("explain", "flights", "v1"),
        ("call", "api"),
    ],
)
def test_without_a_server_it_says_so_in_one_line(arguments: tuple[str, ...]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        run = _run(*arguments, "--url", url)
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr.startswith(f"modeldrop: {url} cannot be reached")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "is no address"),
        ("http://[", "is no address"),
        ("http://127.0.0.1:x", "is no address"),
        ("ftp://127.0.0.1", "is no address"),
        ("http://\x1b[2J", "is no address"),
        ("https://me:secret@example.com", "no user"),
        ("https://example.com/?q", "no ?"),
        ("http://example.com", "not this machine"),
        ("http://127.0.0.1.example.com", "not this machine"),
    ],
)
@pytest.mark.parametrize("everywhere", [True, False])
def test_an_address_that_is_none(url: str, why: str, everywhere: bool) -> None:
    run = _run("--url", url, "status") if everywhere else _run("status", "--url", url)
    assert (run.returncode, run.stdout) == (2, "")
    assert why in run.stderr
    assert run.stderr.count("\n") == 1
    assert "secret" not in run.stderr
    assert "\x1b" not in run.stderr
    assert "Traceback" not in run.stderr


def test_a_server_that_is_not_ours(foreign_server: str) -> None:
    run = _run("status", "--url", foreign_server)
    assert (run.returncode, run.stdout) == (3, "")
    assert "does not answer as modeldrop does" in run.stderr


def test_drop_says_when_the_server_goes_away(cloud: Cloud, tmp_path: Path) -> None:
    """The package is dropped, nobody tells what comes of it: one line, and not 0."""
    (tmp_path / "bucket").mkdir()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        run = _run("drop", str(FLIGHTS / "v1"), "--data", str(tmp_path), "--url", url, "--wait")
    assert (run.returncode, run.stdout) == (3, "dropped flights v1\n")
    assert "cannot be reached" in run.stderr
    assert run.stderr.count("\n") == 1


def test_what_is_not_there_is_said_in_one_line(cloud: Cloud) -> None:
    for arguments, reason in (
        (("versions", "nobody"), "there is no model nobody"),
        (("explain", "nobody", "v1"), "nobody has no version v1"),
        (("explain", "hostile", "v9"), "hostile has no version v9"),
        (("versions", "a/../../b"), "nothing at this path"),
        (("versions", "x?limit=1#"), "nothing at this path"),
    ):
        run = _run(*arguments, "--url", cloud.url)
        assert (run.returncode, run.stdout) == (1, ""), arguments
        assert reason in run.stderr
        assert run.stderr.count("\n") == 1


BAD_NAMES = [
    None,
    "{",
    "[" * 100_000,
    "[]",
    "{}",
    '{"model": "m"}',
    '{"model": 1, "version": "v1"}',
    '{"model": "../..", "version": "v1"}',
    '{"model": "a/b", "version": "v1"}',
    '{"model": "m", "version": ".."}',
    '{"model": "m", "version": "v1\\u001b[2J"}',
]


@pytest.mark.parametrize("metadata", BAD_NAMES)
def test_a_package_without_good_names_is_not_copied(tmp_path: Path, metadata: str | None) -> None:
    package, bucket = tmp_path / "package", tmp_path / "data/bucket"
    package.mkdir()
    bucket.mkdir(parents=True)
    if metadata is not None:
        (package / "metadata.json").write_text(metadata)
    with pytest.raises(InvalidInput) as refused:
        drop_package(package, bucket)
    assert refused.value.problems
    assert [path for path in tmp_path.rglob("*") if path.name == "metadata.json"] == [*package.iterdir()]


def test_drop_says_what_is_wrong_with_the_names(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text(json.dumps({"model": HOSTILE, "version": ".."}))
    run = _run("drop", str(tmp_path), "--data", str(cloud.data), "--url", cloud.url)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("modeldrop: metadata.json:model: ")
    assert "metadata.json:version: " in run.stderr
    assert all(line.isprintable() for line in run.stderr.splitlines())


def test_drop_refuses_what_is_no_folder_and_a_bucket_that_is_not_there(cloud: Cloud, tmp_path: Path) -> None:
    for arguments, reason in (
        ((str(tmp_path / "nothing"),), "does not exist"),
        ((str(FLIGHTS / "v1/metadata.json"),), "is a file"),
        ((str(FLIGHTS / "v1"), "--data", str(tmp_path)), "there is no bucket at"),
    ):
        run = _run("drop", *arguments)
        assert (run.returncode, run.stdout) == (2, "")
        assert reason in " ".join(run.stderr.replace("│", " ").split())


ABOUT_MODELS = ("drop", "status", "versions", "explain", "call", "retrain", "retraining", "deliveries")


@pytest.mark.parametrize("name", [None, "up", "demo", *ABOUT_MODELS])
def test_each_command_explains_itself(name: str | None) -> None:
    shown = CliRunner().invoke(app, [*([name] if name else []), "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert "Usage:" in shown.stdout
    if name in ABOUT_MODELS:
        assert "--url" in shown.stdout
    if name is None:
        assert all(command in shown.stdout for command in ("up", *ABOUT_MODELS))


@pytest.mark.parametrize("arguments", [["fly"], ["status", "--colour"], ["explain", "m"], ["up", "--port", "65536"]])
def test_a_wrong_use_is_exit_2(arguments: list[str]) -> None:
    shown = CliRunner().invoke(app, arguments, env={"TERM": "dumb"})
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "Usage:" in shown.stderr


def test_the_version_and_a_call_without_arguments() -> None:
    version = _run("--version")
    assert (version.returncode, version.stdout) == (0, f"{modeldrop.__version__}\n")
    assert "Usage:" in _run().stdout


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELDROP_")}
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment | {"COLUMNS": "200"},
    )


def _json(*arguments: str) -> object:
    run = _run(*arguments, "--json")
    assert (run.returncode, run.stderr) == (0, "")
    return json.loads(run.stdout)


def _on_a_terminal(*arguments: str) -> str:
    """What a terminal gets to see."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "200"}
        process = subprocess.Popen(command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        try:
            return _read_all(screen.fileno()).decode()
        finally:
            process.wait(30)


def _read_all(descriptor: int) -> bytes:
    shown = b""
    while True:
        try:
            piece = os.read(descriptor, 65_536)
        except OSError:  # how a terminal without a user ends
            return shown
        if not piece:
            return shown
        shown += piece


@pytest.fixture(params=[b"<html>", b"[1]", b'{"detail": 1}'])
def foreign_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Another program's server: it answers one request, 200, with something else than ours would."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_once, args=(listener, request.param))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join()


def _answer_once(listener: socket.socket, body: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body))
