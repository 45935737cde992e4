"""What `gcloud storage cp` asks for when somebody drops a package, against what Terraform lets uploaders do."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.contract.deploying import uploaded
from tests.servers.deployments import Deployments
from tests.servers.storage import Answer, ErrorAnswer, StorageServer

pytestmark = pytest.mark.program("gcloud")

BUCKET = "models"
OWN = ("models/", "policies/")


class Guarded(StorageServer):
    """The bucket as an uploader meets it: objects of ``OWN`` alone; ``lists``: whether names may be listed.

    Who may not list is told 403 of what is not there, so that nobody learns so what is.
    """

    def __init__(self) -> None:
        super().__init__([BUCKET])
        self.lists = True

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.endswith(("/storageLayout", "/o")) and method == "GET":
            return self._listed(query, layout=parts.path.endswith("/storageLayout"))
        if re.fullmatch(r"/storage/v1/b/[^/]+", parts.path):
            raise ErrorAnswer(403, "storage.buckets.get")
        if parts.path.startswith("/upload/"):
            return self._uploaded(query, headers, body)
        name = unquote(parts.path.rpartition("/o/")[2])
        if not name.startswith(OWN):
            raise ErrorAnswer(403, f"{method} {name}")
        try:
            return super().answer(method, target, headers, body)
        except ErrorAnswer as error:
            hidden = error.status == 404 and not self.lists
            raise (ErrorAnswer(403, "storage.objects.list") if hidden else error) from None

    def _listed(self, query: dict[str, str], *, layout: bool) -> Answer:
        if not self.lists:
            raise ErrorAnswer(403, "storage.objects.list")
        if layout:
            return self._json({"kind": "storage#storageLayout", "bucket": BUCKET, "locationType": "region"})
        names = [one for one in self.objects(BUCKET).values() if one.name.startswith(query.get("prefix", ""))]
        return self._json({"kind": "storage#objects", "items": [one.resource(self.url) for one in names]})

    def _uploaded(self, query: dict[str, str], headers: Any, body: bytes) -> Answer:
        resource, data = uploaded(body)
        if not resource["name"].startswith(OWN):
            raise ErrorAnswer(403, f"storage.objects.create {resource['name']}")
        return self._json(self.store(BUCKET, resource, data, "application/octet-stream", query).resource(self.url))


@pytest.fixture
def bucket() -> Iterator[Guarded]:
    with Guarded() as server:
        yield server


def copy(bucket: Guarded, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What came of ``gcloud storage cp``."""
    with Deployments("my-project", "europe-west1") as cloud:
        environment = cloud.environment(folder) | {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{bucket.url}/storage/v1/"
        }
        command = ["gcloud", "storage", "cp", "--quiet", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with two files."""
    folder = tmp_path / "v1"
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps({"model": "flights"}))
    (folder / "model.onnx").write_bytes(b"o" * 1000)
    return folder


def test_an_uploader_drops_a_package(bucket: Guarded, package: Path) -> None:
    done = copy(bucket, package.parent, "--recursive", str(package), f"gs://{BUCKET}/models/flights/")
    assert done.returncode == 0, done.stderr
    assert set(bucket.objects(BUCKET)) == {"models/flights/v1/metadata.json", "models/flights/v1/model.onnx"}


def test_an_uploader_writes_nowhere_else(bucket: Guarded, package: Path) -> None:
    done = copy(bucket, package.parent, str(package / "metadata.json"), f"gs://{BUCKET}/verified/flights/metadata.json")
    assert done.returncode != 0
    assert bucket.objects(BUCKET) == {}


def test_without_the_right_to_list_gcloud_gives_up(bucket: Guarded, package: Path) -> None:
    """Why uploaders have it for the whole bucket."""
    bucket.lists = False
    done = copy(bucket, package.parent, str(package / "metadata.json"), f"gs://{BUCKET}/policies/flights.yaml")
    assert done.returncode != 0
    assert "403" in done.stderr
