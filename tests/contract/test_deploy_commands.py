"""The deployer with the real gcloud, against a small server of the parts of Google Cloud it talks to.

Flags that gcloud does not know, or does not take together, end a command before anything is sent; what is sent is what
the server recorded. What no server of ours can show stands in docs/deploy.md.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.deploy import commands, smoke
from infra.deploy.command_line import main
from infra.deploy.commands import Destination, Wrong
from infra.deploy.deployment import dry_run
from infra.deploy.functions_table import read_table
from tests.contract.deploying import ANSWERS, IMAGE, PROJECT, REGION, ROOT, deploy
from tests.servers.deployments import Deployments, show

TABLE = read_table()
TO = Destination(PROJECT, REGION, "models", predict_image=IMAGE)


@pytest.fixture
def cloud() -> Iterator[Deployments]:
    with Deployments(PROJECT, REGION) as cloud:
        cloud.answers = {name: (200, answer) for name, answer in ANSWERS.items()}
        yield cloud


@pytest.mark.program("gcloud")
def test_what_is_deployed_is_what_the_table_says(cloud: Deployments, tmp_path: Path) -> None:
    """Also that commas in a setting survive, that secrets are files, and that Eventarc delivers again."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("MODELDROP_OPERATORS: a@example.com,b@example.com\n")
    done = deploy(
        cloud,
        tmp_path,
        *("--only", "model_uploaded", "api", f"--predict-image={IMAGE}", f"--settings={settings}"),
        *("--secret=modeldrop-signing-keys", "--api-caller=group:people@example.com"),
        "--smoke-caller=user:me@example.com",
    )
    assert done.returncode == 0, done.stdout + done.stderr + show(cloud.asked)
    assert cloud.unknown == []
    for function in TABLE.functions:
        if function.name in ("model_uploaded", "api"):
            made = cloud.functions[function.name]
            config = made["serviceConfig"]
            assert made["buildConfig"]["entryPoint"] == function.name
            source = {"GOOGLE_FUNCTION_SOURCE": f"functions/{function.name}/main.py"}
            assert made["buildConfig"]["environmentVariables"] == source
            assert config["availableMemory"] == function.memory
            assert config["availableCpu"] == str(function.cpu)
            assert config["maxInstanceRequestConcurrency"] == function.concurrency
            assert config["maxInstanceCount"] == function.max_instances
            assert config["minInstanceCount"] == function.min_instances
            assert config["timeoutSeconds"] == function.timeout_seconds
            assert config["serviceAccountEmail"] == f"{function.account}@{PROJECT}.iam.gserviceaccount.com"
            assert config["environmentVariables"]["MODELDROP_OPERATORS"] == "a@example.com,b@example.com"
            assert config["environmentVariables"]["MODELDROP_PREDICT_IMAGE"] == IMAGE
            (volume,) = config["secretVolumes"]
            assert (volume["mountPath"], volume["secret"]) == ("/etc/modeldrop/signing", "modeldrop-signing-keys")
    trigger = cloud.functions["model_uploaded"]["eventTrigger"]
    assert trigger["retryPolicy"] == "RETRY_POLICY_RETRY"
    assert trigger["eventType"] == "google.cloud.storage.object.v1.finalized"
    assert trigger["eventFilters"] == [{"attribute": "bucket", "value": f"{PROJECT}-modeldrop"}]
    assert trigger["serviceAccountEmail"] == f"modeldrop-trigger@{PROJECT}.iam.gserviceaccount.com"
    assert "eventTrigger" not in cloud.functions["api"]
    triggers = f"serviceAccount:modeldrop-trigger@{PROJECT}.iam.gserviceaccount.com"
    assert cloud.callers["model-uploaded"] == {triggers, "user:me@example.com"}
    assert cloud.callers["api"] == {"group:people@example.com", "user:me@example.com"}
    assert [(name, asked.path, asked.headers["authorization"][:10]) for name, asked in cloud.calls] == [
        ("api", "/called/api/v1/ticks", "Bearer eyJ"),
        ("model_uploaded", "/called/model_uploaded", "Bearer eyJ"),
    ]
    assert_only_what_functions_need(cloud.uploads[0])


@pytest.mark.program("gcloud")
def test_a_failed_smoke_test_brings_the_previous_revision_back(cloud: Deployments, tmp_path: Path) -> None:
    cloud.traffic = {"health-tick": "health-tick-00003-old"}
    cloud.answers["health_tick"] = (200, {"status": "incomplete", "errors": {"flights": "ModuleNotFoundError"}})
    done = deploy(cloud, tmp_path, "--predict-image=none", "--only", "health_tick")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ModuleNotFoundError" in done.stdout
    assert cloud.unknown == []
    assert cloud.traffic == {"health-tick": "health-tick-00003-old"}
    assert [name for name, _ in cloud.calls] == ["health_tick"] * 2
    assert "health-tick-00003-old serves again" in done.stdout


@pytest.mark.program("gcloud")
def test_a_deployment_after_one_that_was_taken_back_gets_the_traffic(cloud: Deployments, tmp_path: Path) -> None:
    """The function is there already, and its traffic is pinned to an older revision."""
    image = {
        "name": f"projects/{PROJECT}/locations/{REGION}/repositories/modeldrop/packages/predict/versions/sha256:"
        + "1" * 64,
        "metadata": {},
    }
    cloud.images = [image]
    cloud.traffic = {"health-tick": "health-tick-00003-old"}
    done = deploy(cloud, tmp_path, "--only", "health_tick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud.traffic == {"health-tick": "health-tick-00001-abc"}
    variables = cloud.functions["health_tick"]["serviceConfig"]["environmentVariables"]
    assert variables["MODELDROP_PREDICT_IMAGE"] == IMAGE.replace("0" * 64, "1" * 64)


@pytest.mark.program("gcloud")
def test_a_failed_build_brings_back_what_was_deployed_before_it(cloud: Deployments, tmp_path: Path) -> None:
    cloud.traffic = {"prediction-logged": "prediction-logged-00007-old"}
    cloud.failing_builds = {"health_tick"}
    done = deploy(cloud, tmp_path, "--predict-image=none", "--only", "prediction_logged", "health_tick")
    assert done.returncode == 1
    assert cloud.traffic["prediction-logged"] == "prediction-logged-00007-old"
    assert "health_tick: was not there before" in done.stdout


def test_every_command_has_only_flags_that_were_tried() -> None:
    """The other functions differ in values alone: a flag that only they had would have met no gcloud."""
    everything = [shlex.split(line) for line in dry_run(TABLE, TABLE.functions, TO) if line.startswith("gcloud")]
    tried = [shlex.split(line) for line in dry_run(TABLE, _tried(), TO) if line.startswith("gcloud")]
    assert _flags(everything) == _flags(tried)


def _tried() -> list[commands.Function]:
    names = ("model_uploaded", "api", "prediction_logged", "health_tick")
    return [function for function in TABLE.functions if function.name in names]


def _flags(lines: list[list[str]]) -> set[tuple[str, ...]]:
    found = set()
    for line in lines:
        words = [word for word in line[:5] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
        group = tuple(words[1:4] if words[1] == "run" else words[1:3])
        found |= {(*group, word.partition("=")[0]) for word in line if word.startswith("--")}
    return found


# --- what is uploaded --------------------------------------------------------------------------------------------


def assert_only_what_functions_need(names: list[str]) -> None:
    """functions/, shared/, requirements.txt: all of the code in them, and nothing else."""
    assert [name for name in names if not re.match(r"functions/|shared/|requirements\.txt$", name)] == []
    code = {path.relative_to(ROOT).as_posix() for folder in ("functions", "shared") for path in _files(ROOT / folder)}
    assert set(names) == code | {"requirements.txt"}


def _files(folder: Path) -> list[Path]:
    leavings = {"__pycache__", "modeldrop.egg-info"}
    return [path for path in folder.rglob("*") if path.is_file() and not leavings & set(path.parts)]


SECRETS = [".env", "functions/.env", "functions/api/.env.prod", "shared/modeldrop/private.pem", "shared/keys.json"]
SECRETS += ["shared/signing-keys.json", "functions/service_account.json", "credentials.json", "infra/prod.tfvars"]
SECRETS += [".git/config", "shared/modeldrop/tls.key", "id_rsa", "functions/api/.netrc"]


def listed(folder: Path, own: Path) -> set[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(own), "CLOUDSDK_CONFIG": str(own)}
    command = ["gcloud", "meta", "list-files-for-upload", "."]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def plant(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a secret")


@pytest.mark.program("gcloud")
def test_no_secret_is_uploaded_with_the_functions(tmp_path: Path) -> None:
    plant(tmp_path / "tree", [*SECRETS, "functions/api/main.py", "shared/modeldrop/web/page.html", "requirements.txt"])
    shutil.copy(ROOT / ".gcloudignore", tmp_path / "tree")
    found = listed(tmp_path / "tree", tmp_path)
    assert found == {"functions/api/main.py", "shared/modeldrop/web/page.html", "requirements.txt"}


@pytest.mark.program("gcloud")
def test_no_secret_is_uploaded_with_a_build(tmp_path: Path) -> None:
    secret = [name for name in SECRETS if name not in ("shared/keys.json", "shared/signing-keys.json", "id_rsa")]
    secret.remove("functions/api/.netrc")
    plant(
        tmp_path / "tree", [*secret, ".venv/lib/x.py", "infra/terraform/.terraform/x", "Makefile", "tests/unit/a.json"]
    )
    shutil.copy(ROOT / ".gitignore", tmp_path / "tree")
    shutil.copy(ROOT / "infra/build.gcloudignore", tmp_path / "tree/.gcloudignore")
    assert listed(tmp_path / "tree", tmp_path) == {"Makefile", "tests/unit/a.json", ".gcloudignore", ".gitignore"}


# --- what the deployer refuses; no gcloud is asked -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "helth_tick"], "helth_tick"),
        (["--predict-image=eu.gcr.io/p/i:latest"], "digest"),
        (["--secret=keys"], "keys"),
        (["--api-caller=allUsers"], "allUsers"),
        (["--api-caller=allAuthenticatedUsers"], "never everybody"),
        (["--region=europe-west1-b"], "--region"),
        (["--bucket=gs://b"], "--bucket"),
        (["--settings=/nowhere/settings.yaml"], "settings.yaml"),
        (["--operator=user:ann@example.com"], "e-mail"),
        (["--approver=a@example.com,b@example.com"], "e-mail"),
        (["--iap-audience=api"], "--iap-audience"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_run(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([f"--project={PROJECT}", f"--region={REGION}", *arguments]) == 2
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PATH": "/tmp"}, "PATH"),
        ({"MODELDROP_BUCKET": "other"}, "MODELDROP_BUCKET"),
        ({"MODELDROP_AUTH": "none"}, "MODELDROP_AUTH"),
        ({"MODELDROP_SIGNING_KEYS": "/tmp/k"}, "MODELDROP_SIGNING_KEYS"),
        ({"MODELDROP_MAIL_FROM": "a|b"}, "MODELDROP_MAIL_FROM"),
    ],
)
def test_settings_that_are_not_an_environments_own_are_refused(settings: dict[str, str], said: str) -> None:
    to = Destination(PROJECT, REGION, "models", settings=settings)
    with pytest.raises(Wrong, match=said):
        commands.deploy(TABLE, TABLE.functions[0], to)


def test_ticks_that_are_paused_are_not_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--project={PROJECT}", f"--region={REGION}", "--dry-run", "--no-tick-smoke"]) == 0
    printed = capsys.readouterr().out
    called = re.findall(r"gcloud functions call ([a-z_]+) ", printed)
    assert called == ["prediction_logged", "model_uploaded"]
    assert printed.count("# not asked anything: ticks are paused") == 3


def test_a_dry_run_prints_every_command_and_runs_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([f"--project={PROJECT}", f"--region={REGION}", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for function in TABLE.functions:
        assert f"gcloud functions deploy {function.name} " in printed
        assert f"update-traffic {function.service} " in printed
        assert isinstance(smoke.smoke_test(function, TO), smoke.Read) or f"functions call {function.name} " in printed
