"""infra/functions.yaml: it, the folders, the Makefile, cloudbuild.yaml and Terraform speak of the same functions."""

import ast
import doctest
import re
import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.deploy import command_line, commands, deployment, functions_table, lock, running, smoke
from infra.deploy.commands import Access, Destination
from infra.deploy.functions_table import Function, Table, read_table
from modeldrop.domain.packages import locate
from modeldrop.events.prediction_events import decode_predictions
from modeldrop.events.pubsub_push import read_pubsub_push
from modeldrop.events.storage_event import read_storage_event
from modeldrop.handlers import health_tick, outbox_tick, retrain_tick
from modeldrop.handlers.packages.take_upload import take_upload
from modeldrop.handlers.predictions.log_predictions import PredictionIntake
from modeldrop.settings import Settings, read_settings
from modeldrop.web.reading import read
from modeldrop.wiring import Services
from tests.left_out import left_out

ROOT = Path(__file__).parents[2]
TABLE = read_table()
ROWS: list[dict[str, Any]] = yaml.safe_load((ROOT / "infra/functions.yaml").read_text())["functions"]
ALL_SECRETS = frozenset(secret.name for function in TABLE.functions for secret in function.secrets)
TO = Destination("my-project", "europe-west1", "models", predict_image="i@sha256:0", secrets=ALL_SECRETS)
TICKS = {"health_tick": health_tick, "outbox_tick": outbox_tick, "retrain_tick": retrain_tick}
MEMORY = ("512Mi", "1Gi", "2Gi", "4Gi")

each_function = pytest.mark.parametrize("function", TABLE.functions, ids=lambda function: function.name)


@pytest.mark.parametrize("module", [command_line, commands, deployment, functions_table, lock, running, smoke])
def test_its_examples(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


# --- the same functions everywhere -----------------------------------------------------------------------------


def test_every_folder_is_in_the_table_and_the_other_way_round() -> None:
    folders = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
    assert sorted(row["name"] for row in ROWS) == folders


@pytest.mark.parametrize("name", [row["name"] for row in ROWS])
def test_the_folder_is_the_entry_point(name: str) -> None:
    tree = ast.parse((ROOT / "functions" / name / "main.py").read_text())
    entries = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    decorated = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(ast.unparse(decorator).startswith("functions_framework.") for decorator in node.decorator_list)
    ]
    assert decorated == [name]
    assert name in entries


@pytest.mark.parametrize("file", ["Makefile", "cloudbuild.yaml"])
def test_who_deploys_names_no_function_but_calls_the_deployer(file: str) -> None:
    text = re.sub(r"#.*", "", (ROOT / file).read_text())
    assert text.count("infra/deploy/deploy.py") == 1
    assert "gcloud functions deploy" not in text
    named = {function.name for function in TABLE.functions if "_" in function.name}
    assert not [name for name in named if name in text]


def test_terraform_reads_the_table_and_names_no_function_of_its_own() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "infra/terraform").glob("*.tf")}
    assert any('yamldecode(file("${path.module}/../functions.yaml"))' in text for text in files.values())
    statements = "\n".join(re.sub(r"#.*", "", text) for text in files.values())
    assert "google_cloudfunctions2_function" not in statements
    assert not re.findall(
        r"\b(?:memory|available_cpu|max_instances?|concurrency|timeout_seconds)\s*=\s*\"?\d", statements
    )


def test_what_the_build_tells_the_deployer_is_understood() -> None:
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
    (script,) = [step["args"][-1] for step in build["steps"] if step["id"] == "deploy-and-smoke-test"]
    known = {"$PROJECT_ID": "my-project", "$_REGION": "europe-west1", "$$DEPLOY_FLAGS": "--bucket=models"}
    script = script.replace('"$$(cat predict-image)"', f"{commands.predict_repository(TO)}@sha256:{'0' * 64}")
    for name, value in known.items():
        script = script.replace(name, value)
    first, _, last = script.partition("; ")
    assert first.startswith('python="$$(gcloud info ')
    arguments = shlex.split(last)
    assert arguments[:3] == ["exec", "$$python", "infra/deploy/deploy.py"]
    assert command_line.main([*arguments[3:], "--dry-run"]) == 0


def test_the_build_uses_each_of_its_substitutions_and_no_other() -> None:
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
    steps = yaml.safe_dump(build["steps"])
    assert "$BUILD_ID" in steps  # the platform's own
    assert set(re.findall(r"(?<!\$)\$\{?(_[A-Z_]+)", steps)) == build["substitutions"].keys()


def test_no_image_of_the_build_will_be_gone_one_day() -> None:
    """Google keeps releases of its command line's image for a year; what has a digest is of one's own choice."""
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
    images = {step["name"] for step in build["steps"]} | {build["substitutions"]["_GCLOUD_IMAGE"]}
    assert images == {
        "python:3.11",
        "gcr.io/cloud-builders/docker",
        "$_GCLOUD_IMAGE",
        "gcr.io/google.com/cloudsdktool/google-cloud-cli:stable",
    }


def test_the_image_is_made_from_what_the_build_has_looked_up() -> None:
    """The Dockerfile takes a base with its digest alone; Docker itself says that of what it has pulled."""
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
    (script,) = [step["args"][-1] for step in build["steps"] if step["id"] == "predict-image"]
    pull, look, _, make = script.split("\n")[1:5]
    assert pull == 'docker pull --quiet "$_BASE"'
    assert look == """base="$$(docker inspect --format='{{index .RepoDigests 0}}' "$_BASE")\""""
    assert '--build-arg="BASE=$$base"' in make


def test_the_build_says_first_what_its_tests_leave_out() -> None:
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
    (script,) = [step["args"][-1] for step in build["steps"] if step["id"] == "check-and-test"]
    assert script.split("\n")[:3] == ["make setup", ".venv/bin/python -m tests.left_out", "make check"]


def test_what_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    named = " ".join(left_out())
    assert "gcloud: https://" in named
    assert "terraform: https://" in named


# --- what a row says -------------------------------------------------------------------------------------------


def test_uploads_are_taken_last() -> None:
    """Its events flow as soon as it is there, and what they begin needs all the others."""
    triggers = [function.trigger["type"] for function in TABLE.functions]
    assert [place for place, kind in enumerate(triggers) if kind == "gcs"] == [len(triggers) - 1]


@each_function
def test_sizes_are_possible_and_sensible(function: Function) -> None:
    assert function.memory in MEMORY
    assert function.cpu >= 1  # less allows one request at a time, and takes it twice as long
    assert 1 <= function.concurrency <= 1000
    assert 0 <= function.min_instances <= function.max_instances
    assert 1 <= function.max_instances <= 100
    assert re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", function.account)


def test_no_two_functions_run_as_the_same_account() -> None:
    accounts = [row["account"] for row in ROWS]
    assert len(set(accounts)) == len(accounts)


@each_function
def test_who_calls_it_waits_long_enough(function: Function) -> None:
    trigger = function.trigger
    if function.name in TICKS:
        assert function.timeout_seconds >= TICKS[function.name].BUDGET_SECONDS + 60  # and the work begun last
    match trigger["type"]:
        case "gcs":
            assert function.timeout_seconds <= 540
            assert function.retry
        case "pubsub":
            assert 10 <= function.timeout_seconds <= trigger["ack_deadline_seconds"] <= 600
            assert 5 <= trigger["max_delivery_attempts"] <= 100
            assert trigger["dead_letter_topic"] != trigger["topic"]
            assert function.retry
        case "schedule":
            assert function.timeout_seconds + 15 <= 1800  # Scheduler's longest deadline, and Terraform's allowance
            assert function.concurrency == 1
            assert not function.retry
        case kind:
            assert kind == "http"
            assert function.timeout_seconds <= 3600


@pytest.mark.parametrize(("name", "seconds"), [("health_tick", 60), ("outbox_tick", 60), ("retrain_tick", 3600)])
def test_a_tick_comes_as_often_as_its_setting_says(name: str, seconds: int) -> None:
    (function,) = [function for function in TABLE.functions if function.name == name]
    minute, *others = function.trigger["cron"].split()
    assert others == ["*"] * 4
    assert (minute == "*") == (seconds == 60)
    assert minute == "*" or minute.isdigit()
    (default,) = [field.default for field in fields(Settings) if field.name == f"{name}_seconds"]
    assert default == seconds


@each_function
def test_its_variables_are_settings_that_fit(function: Function) -> None:
    environment = commands.environment(TABLE, function, TO)
    settings = read_settings(environment)
    assert (settings.backend, settings.auth, settings.bucket) == ("gcp", "iam", "models")
    assert settings.serving_account == "modeldrop-serving@my-project.iam.gserviceaccount.com"
    assert environment["THREADS"] == str(function.concurrency)
    assert environment["PYTHONPATH"] == "/workspace/shared"
    assert not [value for value in environment.values() if "{" in value]
    assert (settings.signing_keys is not None) == (("modeldrop-signing-keys") in {s.name for s in function.secrets})


def test_roles_and_the_proxy_are_settings_of_the_api_alone() -> None:
    access = Access(("*",), ("ann@example.com", "@ops.example.com"), ("bo@example.com",), "/projects/1/apps/a")
    to = replace(TO, access=access)
    for function in TABLE.functions:
        environment = commands.environment(TABLE, function, to)
        settings = read_settings(environment)
        if function.name == "api":
            assert (settings.viewers, settings.approvers) == ("*", "bo@example.com")
            assert settings.operators == "ann@example.com,@ops.example.com"
            assert (settings.auth, settings.jwt_audience) == ("jwt", "/projects/1/apps/a")
            assert settings.jwt_algorithms == "ES256"
        else:
            assert environment == commands.environment(TABLE, function, TO)


def test_who_smoke_tests_the_api_may_look() -> None:
    (api,) = [function for function in TABLE.functions if function.name == "api"]
    build = "modeldrop-build@my-project.iam.gserviceaccount.com"
    to = replace(TO, smoke_callers=(f"serviceAccount:{build}",), access=Access(viewers=("@example.com",)))
    assert commands.environment(TABLE, api, to)["MODELDROP_VIEWERS"] == f"@example.com,{build}"
    anybody = replace(to, access=Access())
    assert "MODELDROP_VIEWERS" not in commands.environment(TABLE, api, anybody)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_permissions_are_narrow_and_have_a_reason(row: dict[str, Any]) -> None:
    accounts = {each["account"] for each in ROWS} | {"modeldrop-training"}
    own_roles = yaml.safe_load((ROOT / "infra/functions.yaml").read_text())["roles"]
    for permission in row["permissions"]:
        assert permission.keys() == {"role", "scope", "why"}
        assert permission["role"].startswith("roles/") or permission["role"] in own_roles
        assert permission["role"] not in ("roles/owner", "roles/editor", "roles/viewer")
        assert not permission["role"].endswith(("admin", "Admin"))
        assert len(permission["why"]) > 10
        kind, _, target = permission["scope"].partition(":")
        assert kind in (
            "project",
            "database",
            "bucket",
            "folder",
            "topic",
            "account",
            "policy_topics",
            "policy_secrets",
            "secret",
        )
        assert bool(target) == (kind in ("folder", "topic", "account", "secret"))
        assert kind != "account" or target in accounts
    readable = {p["scope"] for p in row["permissions"] if p["scope"].startswith("secret:")}
    assert readable == {f"secret:{secret['name']}" for secret in row["secrets"]}


def test_no_two_secrets_of_a_function_share_a_folder() -> None:
    """Cloud Run mounts a secret over its whole folder."""
    for function in TABLE.functions:
        folders = [str(Path(secret.path).parent) for secret in function.secrets]
        assert len(set(folders)) == len(folders)


# --- the smoke tests, asked of the code that will answer them ---------------------------------------------------


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(read_settings({"MODELDROP_BACKEND": "local", "MODELDROP_DATA": str(tmp_path)}))


@each_function
def test_a_healthy_function_passes_its_smoke_test(function: Function, services: Services) -> None:
    test = smoke.smoke_test(function, TO)
    assert smoke.what_is_wrong(test, _answered(function, test, services)) is None
    assert smoke.what_is_wrong(test, '{"status": "incomplete"}') is not None
    assert smoke.what_is_wrong(test, "Service Unavailable") is not None


def _answered(function: Function, test: smoke.Call | smoke.Read, services: Services) -> str:
    import msgspec

    if isinstance(test, smoke.Read):
        return msgspec.json.encode(read(services, test.path)).decode()
    body = msgspec.json.encode(test.body)
    headers = {"content-type": "application/cloudevents+json"}
    if function.name == "model_uploaded":
        assert locate(read_storage_event(headers, body).name, "some-model") is None
        return msgspec.json.encode({"status": take_upload(services, headers, body)}).decode()
    if function.name == "prediction_logged":
        data = read_pubsub_push({}, body).data
        assert len(decode_predictions(data).predictions) == 1
        intake = PredictionIntake(services, 0.0)
        try:
            taken = intake.take_now(data)
        finally:
            intake.close()
        assert (taken.passed_over, taken.quarantined) == (1, 0)
        return '{"status": "taken"}'
    return msgspec.json.encode(getattr(TICKS[function.name], function.name)(services)).decode()


def test_the_table_is_read_whole() -> None:
    assert isinstance(TABLE, Table)
    assert TABLE.runtime == "python311"
    assert len(TABLE.functions) == len(ROWS) - 1  # predict is no function
