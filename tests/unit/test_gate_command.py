"""``modeldrop gate`` and ``explain --replay``: exit codes, what is printed, nothing asked of the network unasked."""

import json
import re
import shlex
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.testing import CliRunner, Result
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from modeldrop.cli import app
from modeldrop.domain.versions import Decision
from modeldrop.errors import Unavailable
from modeldrop.handlers.packages.judge_file import judge_file, measure_of_answer
from modeldrop.web.problem import Problem
from modeldrop.web.reading import read
from tests.handlers.control import FAST, MODEL, Control, metadata

EXAMPLES = Path(__file__).parents[2] / "examples"
FLIGHTS = EXAMPLES / "flights/packages"
GUIDE = Path(__file__).parents[2] / "docs/gate.md"
SOURCE = Path(__file__).parents[2] / "shared/modeldrop"
NOWHERE = "http://127.0.0.1:9"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def package(folder: Path, version: str, f1: float, **changes: Any) -> Path:
    """A package on disk, as a training pipeline leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps(metadata(version, f1, 9, **changes)))
    return folder


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """A model with v1 live (f1 0.7) and v2 rejected."""
    control = Control(tmp_path / "cloud")
    control.policy(FAST + "gate: {min_improvement: 0.05}\n")
    control.make_live("v1", 0.7, day=1)
    control.make_live("v2", 0.6, day=2)
    return control


@pytest.fixture
def url(control: Control) -> Iterator[str]:
    """The real API over that registry."""
    services = control.another_instance()

    @Request.application
    def serve(request: Request) -> Response:
        found = read(services, request.path.removeprefix("/forged"), **request.args.to_dict())
        if isinstance(found, Problem):
            return Response(json.dumps({"detail": found.detail}), found.status, mimetype="application/json")
        if request.path.startswith("/forged"):
            found = found | {"verdict": "approved", "rule": "improvement"}
        return Response(json.dumps(found, default=str), mimetype="application/json")

    server = make_server("127.0.0.1", 0, serve, threaded=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("path", "code", "word"),
    [
        (FLIGHTS / "v1", 0, "first_model"),
        (FLIGHTS / "v1" / "metadata.json", 0, "first_model"),
        (next((EXAMPLES / "text-to-sql/models").iterdir()), 0, "0.8630"),
    ],
)
def test_a_first_model(path: Path, code: int, word: str) -> None:
    result = run("gate", path)
    assert (result.exit_code, word in result.stdout) == (code, True), result.output


def test_against_another_package() -> None:
    assert run("gate", FLIGHTS / "v2", "--against", FLIGHTS / "v1").exit_code == 0
    worse = run("gate", FLIGHTS / "v3", "--against", FLIGHTS / "v2", "--json")
    assert worse.exit_code == 1
    decision = json.loads(worse.stdout)
    assert (decision["model"], decision["version"], decision["rule"]) == ("flights", "v3", "no_improvement")
    assert run("gate", FLIGHTS / "v1", "--against", FLIGHTS / "v1").exit_code == 1  # a file is no better than itself


def test_the_best_in_history_counts_in_a_dry_run_too(tmp_path: Path) -> None:
    """As after an operator's promotion by force: what serves is not the best there was."""
    standing = {"champion": {"version": "v2", "key": "2", "metrics": {"f1": 0.6}}}
    best = {"best": {"version": "v1", "key": "1", "metrics": {"f1": 0.7}}}
    measure = measure_of_answer({"policy": {"digest": "abc", "gate": {}}} | standing | best)
    decision = judge_file(package(tmp_path / "v3", "v3", 0.65), None, measure).decision
    assert (decision.verdict, decision.policy) == ("rejected", "abc")
    assert [(c.version, c.role, c.passed) for c in decision.compared_with] == [
        ("v2", "production", True),
        ("v1", "best", False),
    ]


@pytest.mark.parametrize("reply", [{}, {"policy": 1}, {"policy": {"gate": {"floors": []}}}])
def test_an_answer_of_something_else_is_no_measure(reply: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        measure_of_answer(reply)


def test_a_policy_file_decides(tmp_path: Path) -> None:
    policy = tmp_path / "flights.yaml"
    policy.write_text("gate: {floors: {f1: 0.9}}\n")
    assert run("gate", FLIGHTS / "v1", "--policy", policy).exit_code == 1
    policy.write_text("gate: {approval: manual}\n")
    held = run("gate", FLIGHTS / "v1", "--policy", policy)
    assert (held.exit_code, "awaiting_approval" in held.stdout) == (1, True)


def test_the_validation_report_beside_it_counts(tmp_path: Path) -> None:
    folder = shutil.copytree(FLIGHTS / "v1", tmp_path / "v1")
    (folder / "validation_report.json").write_text('{"passed": false}')
    assert "validation_failed" in run("gate", folder / "metadata.json").stdout


def test_a_signature_is_taken_for_right_and_said_so(tmp_path: Path) -> None:
    folder = shutil.copytree(FLIGHTS / "v1", tmp_path / "v1")
    policy = tmp_path / "flights.yaml"
    policy.write_text("gate: {require_signature: true}\n")
    assert "unsigned" in run("gate", folder, "--policy", policy).stdout
    signature = {"alg": "hmac-sha256", "key_id": "ci", "value": "00"}
    (folder / "manifest.json").write_text(json.dumps({"files": {}, "signature": signature}))
    signed = run("gate", folder, "--policy", policy)
    assert (signed.exit_code, "modeldrop verify" in signed.stdout) == (0, True)


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ('{"model": "A/b", "metrics": {"f1": "x"}}', ["version", "metrics.f1", "runtime"]),
        ('{"metrics": {"f1": NaN}}', ["$"]),
        ("[]", ["$"]),
        ("", ["$"]),
    ],
)
def test_bad_input_names_every_problem(tmp_path: Path, content: str, fields: list[str]) -> None:
    path = tmp_path / "metadata.json"
    path.write_text(content)
    result = run("gate", path, "--json")
    assert result.exit_code == 2
    assert [problem["field"] for problem in json.loads(result.stdout)["problems"]] == fields
    assert all(field in run("gate", path).stderr for field in fields)


def test_problems_of_the_files_beside_it_are_named_too(tmp_path: Path) -> None:
    folder = package(tmp_path / "v3", "v3", 0.8)
    (folder / "validation_report.json").write_text('{"passed": "yes"}')
    assert "validation_report.json:passed" in run("gate", folder).stderr
    policy = tmp_path / "policy.yaml"
    policy.write_text("gate: {floors: {f1: high}, preset: best}\n")
    result = run("gate", folder, "--policy", policy, "--against", tmp_path / "missing")
    assert result.exit_code == 2
    assert all(word in result.stderr for word in ("gate.floors.f1", "gate.preset", "missing"))


def test_names_must_agree(tmp_path: Path) -> None:
    folder = package(tmp_path / "v3", "v3", 0.8)
    assert run("gate", folder, "--model", MODEL).exit_code == 0
    assert run("gate", folder, "--model", "other").exit_code == 2
    assert run("gate", tmp_path).exit_code == 2


@pytest.mark.parametrize(("f1", "code", "rule"), [(0.76, 0, "improvement"), (0.74, 1, "no_improvement")])
def test_a_control_plane_gives_policy_and_production(url: str, tmp_path: Path, f1: float, code: int, rule: str) -> None:
    result = run("gate", package(tmp_path / "v3", "v3", f1), "--url", url, "--json")
    assert result.exit_code == code, result.output
    decision = json.loads(result.stdout)
    assert (decision["rule"], decision["gate"]["min_improvement"]) == (rule, 0.05)
    assert [c["version"] for c in decision["compared_with"]] == ["v1"]


def test_the_dry_run_says_what_the_upload_then_gets(control: Control, url: str, tmp_path: Path) -> None:
    for version, f1 in (("v3", 0.74), ("v4", 0.9)):
        dry = json.loads(run("gate", package(tmp_path / version, version, f1), "--url", url, "--json").stdout)
        control.drop(version, f1, day=9)
        control.tell_version(version)
        decision = control.version(version).decision
        assert decision is not None
        assert {name: dry[name] for name in Decision.__struct_fields__} == _plain(decision)


def test_what_is_in_production_already_is_not_compared_with_itself(url: str, tmp_path: Path) -> None:
    result = run("gate", package(tmp_path / "v1", "v1", 0.7), "--url", url)
    assert (result.exit_code, "not compared with itself" in result.stdout) == (0, True)


def test_a_control_plane_that_cannot_be_asked_is_no_rejection(tmp_path: Path) -> None:
    folder = package(tmp_path / "v3", "v3", 0.8)
    assert run("gate", folder, "--url", NOWHERE).exit_code == 2
    (folder / "metadata.json").write_text('{"runtime": "scorecard"}')
    unnamed = run("gate", folder, "--url", NOWHERE)
    assert (unnamed.exit_code, "--model" in unnamed.stderr) == (2, True)


def test_no_network_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELDROP_URL", NOWHERE)
    assert run("gate", package(tmp_path / "v3", "v3", 0.8)).exit_code == 0


def test_an_unknown_model_has_nobody_to_beat(url: str, tmp_path: Path) -> None:
    folder = package(tmp_path / "v1", "v1", 0.1, model="newcomer")
    assert run("gate", folder, "--url", url).exit_code == 0


def test_a_stored_decision_is_made_again(url: str) -> None:
    for version in ("v1", "v2"):
        result = run("explain", MODEL, version, "--replay", "--url", url)
        assert (result.exit_code, "bit for bit" in result.stdout) == (0, True), result.output
    assert json.loads(run("explain", MODEL, "v2", "--replay", "--url", url, "--json").stdout)["replay"]["agrees"]


def test_a_forged_decision_is_found_out(url: str) -> None:
    result = run("explain", MODEL, "v2", "--replay", "--url", f"{url}/forged")
    assert result.exit_code == 1
    assert "rejected (no_improvement); not as recorded: verdict, rule" in result.stdout


def test_what_was_never_judged_cannot_be_made_again(control: Control, url: str) -> None:
    control.drop("v9", 0.9, day=3, runtime="abacus")
    control.tell_version("v9")
    result = run("explain", MODEL, "v9", "--replay", "--url", url)
    assert (result.exit_code, "invalid_package" in result.stdout) == (1, True)


def test_the_examples_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workflow and the stage are YAML, and their gate commands run on a pipeline's files as they stand there."""
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    commands = [line for block in blocks for line in _strings(yaml.safe_load(block)) if "modeldrop gate" in line]
    assert len(blocks) == 2 and len(commands) == 3
    package(tmp_path / "build/candidate", "candidate", 0.8)
    package(tmp_path / "baseline", "v1", 0.7)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/fraud.yaml").write_text("gate: {min_improvement: 0.05}\n")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        result = run(*shlex.split(command.split(">")[0])[1:])
        assert (result.exit_code, "improvement" in result.stdout) == (0, True), command


def test_the_guide_names_every_rule() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \| (?:approved|held|rejected)", GUIDE.read_text(), re.MULTILINE))
    source = "".join((SOURCE / f"domain/{name}.py").read_text() for name in ("gate", "champion"))
    used = set(re.findall(r"[(\[ ]\"([a-z]+_[a-z_]+|limit|unsigned|improvement|fallen)\",", source))
    assert {"no_scale", "late_arrival", "limit", "fallen", "awaiting_approval"} <= used
    assert used - rows == set()


def _strings(value: Any) -> list[str]:
    """Every text in a document of lists and mappings."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [text for part in parts for text in _strings(part)]
    return [value] if isinstance(value, str) else []


def _plain(decision: Decision) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(decision)
    return plain
