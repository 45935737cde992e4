"""Cloud Build as docs/deploy.md has it: submitted by the real gcloud, and its last step carried out by a real bash.

What is submitted is what a local server records; no image is pulled, and no step but the last one runs.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from tests.contract.deploying import PROJECT, REGION, ROOT, uploaded
from tests.servers.deployments import Deployments
from tests.servers.json_api import Answered, Asked
from tests.servers.storage import Answer, StorageServer

pytestmark = pytest.mark.program("gcloud")

SOURCES = f"{PROJECT}_cloudbuild"
BUILD = "0f7c"
FLAGS = [
    *(f"--bucket={PROJECT}-modeldrop", "--database=(default)", "--secret=modeldrop-signing-keys"),
    *("--api-caller=group:people@example.com", "--operator=*", "--approver=@example.com"),
    *("--iap-audience=/projects/1/locations/r/services/api", "--no-tick-smoke"),
]
"""What Terraform's output deployer_flags has behind project and region."""


class Sources(StorageServer):
    """The bucket of sources: ours, as the list of the project's buckets says."""

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        parts = urlsplit(target)
        if parts.path == "/storage/v1/b":
            return self._json({"kind": "storage#buckets", "items": [{"id": SOURCES, "name": SOURCES}]})
        if parts.path.startswith("/upload/"):
            resource, data = uploaded(body)
            stored = self.store(SOURCES, resource, data, "application/gzip", dict(parse_qsl(parts.query)))
            return self._json(stored.resource(self.url))
        return super().answer(method, target, headers, body)


class Builds(Deployments):
    """Cloud Build, which takes every build and carries out none."""

    def __init__(self) -> None:
        super().__init__(PROJECT, REGION, Sources([SOURCES]))
        self.builds: list[dict[str, Any]] = []

    def _routes(self) -> list[tuple[str, str, Any]]:
        builds = f"/v1/projects/{PROJECT}/locations/{REGION}/builds"
        return [*super()._routes(), ("POST", builds, self._build)]

    def _build(self, asked: Asked) -> Answered:
        self.builds.append(asked.json())
        kind = "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"
        build = {"id": BUILD, "projectId": PROJECT, "status": "QUEUED"}
        return Answered(200, {"name": f"operations/build/{BUILD}", "metadata": {"@type": kind, "build": build}})


@pytest.fixture
def cloud() -> Iterator[Builds]:
    with Builds() as cloud:
        yield cloud


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Files a checkout has, some of which are nobody else's."""
    folder = tmp_path / "checkout"
    for name in ("functions/api/main.py", "tests/a.json", "Makefile", ".venv/x", "infra/terraform/env/dev.tfvars"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "infra").mkdir(exist_ok=True)
    for name in ("cloudbuild.yaml", ".gcloudignore", ".gitignore", "infra/build.gcloudignore"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def documented() -> list[str]:
    """The command of docs/deploy.md, with the flags in their place."""
    text = (ROOT / "docs/deploy.md").read_text().replace("\\\n", "")
    (line,) = re.findall(r"(?m)^gcloud builds submit .*_DEPLOY_FLAGS=\"\$\(terraform .*\)\"$", text)
    words = line.partition("_DEPLOY_FLAGS=")[0].replace("REGION=REGION", f"REGION={REGION}").split()
    words = [word.replace("--region=REGION", f"--region={REGION}") for word in words]
    words[-1] += f"_DEPLOY_FLAGS={' '.join(FLAGS)}"
    return [*words, f"--project={PROJECT}", "--async"]


def test_gcloud_takes_the_build_with_all_of_the_checkout_and_no_secret(
    cloud: Builds, checkout: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        documented(), env=cloud.environment(tmp_path), cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (build,) = cloud.builds
    assert build["substitutions"]["_DEPLOY_FLAGS"] == " ".join(FLAGS)
    assert [step["id"] for step in build["steps"]] == [step["id"] for step in _steps()]
    (source,) = cloud.storage.objects(SOURCES).values()
    with tarfile.open(fileobj=io.BytesIO(source.data)) as archive:
        names = {name for name in archive.getnames() if (checkout / name).is_file()}
    left_out = {".venv/x", "infra/terraform/env/dev.tfvars"}
    assert names == {path.relative_to(checkout).as_posix() for path in _files(checkout)} - left_out


def test_what_git_ignores_is_not_uploaded_with_a_build() -> None:
    def patterns(path: str) -> set[str]:
        return {line for line in (ROOT / path).read_text().splitlines() if line and line[0] != "#"}

    assert patterns(".gitignore") <= patterns("infra/build.gcloudignore")


@pytest.mark.parametrize("flags", [FLAGS, []], ids=["all", "none"])
def test_the_last_step_gives_the_deployer_its_flags_as_they_are(flags: list[str], tmp_path: Path) -> None:
    """As Cloud Build runs it: $NAME is replaced in the step's text, $$ becomes $, and bash gets what comes of it."""
    (step,) = [step for step in _steps() if step["id"] == "deploy-and-smoke-test"]
    image = f"{REGION}-docker.pkg.dev/{PROJECT}/modeldrop/predict@sha256:{'0' * 64}"
    for name in ("infra", "functions"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".deployer").symlink_to(Path(yaml.__file__).parents[1])
    (tmp_path / "predict-image").write_text(f"{image}\n")
    (tmp_path / "--operator=somebody").touch()  # bash would take a pattern for it
    values = {"PROJECT_ID": PROJECT, "_REGION": REGION, "BUILD_ID": BUILD}
    values["_DEPLOY_FLAGS"] = " ".join([*flags, "--dry-run"])
    own = dict(_filled(each, values).split("=", 1) for each in step["env"])
    python = {"CLOUDSDK_PYTHON": sys.executable, "CLOUDSDK_CONFIG": str(tmp_path / "gcloud")}
    done = subprocess.run(
        [step["entrypoint"], *(_filled(each, values) for each in step["args"])],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | python | own,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"MODELDROP_PREDICT_IMAGE={image}" in done.stdout
    assert ("MODELDROP_OPERATORS=*|" in done.stdout) == bool(flags)
    assert "MODELDROP_FIRESTORE_DATABASE=(default)|" in done.stdout


def test_make_gives_the_deployer_its_flags_as_they_are() -> None:
    """No gcloud is asked; what `make setup` makes is there."""
    flags = "--database=(default) --operator=* --predict-image=none"
    asked = ["PROJECT=my-project", f"REGION={REGION}", "ONLY=api", "DRY_RUN=1", f"DEPLOY_FLAGS={flags}"]
    command = ["make", "--old-file=setup", "--old-file=.venv/installed", "deploy", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run([*command, *asked], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "MODELDROP_OPERATORS=*" in done.stdout
    assert "MODELDROP_FIRESTORE_DATABASE=(default)|" in done.stdout


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$(\$|\w+)", lambda found: "$" if found[1] == "$" else values[found[1]], text)


def _steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())["steps"]
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
