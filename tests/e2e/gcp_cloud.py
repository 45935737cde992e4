"""The gcp backend as a whole: the real functions in processes of their own, as Cloud Run runs them.

Around them: the official Firestore emulator, a Cloud Storage, a Vertex AI and a Cloud Monitoring of our own for the
real Google clients, and an Eventarc that delivers every event several times, in every wrapping, until it is
acknowledged.
"""

import base64
import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client as StorageClient

from modeldrop.adapters.gcp import firestore_documents
from modeldrop.adapters.gcp.storage_bucket import StorageBucket
from modeldrop.adapters.gcp.vertex_ids import endpoint_id
from modeldrop.records.registry import Registry
from modeldrop.settings import Settings
from tests.e2e.eventarc import Eventarc
from tests.e2e.function_process import DEADLINE_SECONDS, REPOSITORY, FunctionInstance, until
from tests.servers.monitoring import MonitoringServer
from tests.servers.storage import StorageServer
from tests.servers.vertex import Effect, VertexServer
from tests.servers.vertex_state import VertexState

PACKAGES = REPOSITORY / "examples" / "flights" / "packages"
BUCKET = "models-of-flights"
OPERATOR = "olivia@example.com"
OURS = ("deployment_info.json", "model_comparison.json", "rejection.json")
IMAGE = "us-docker.pkg.dev/test-project/modeldrop/predict@sha256:" + "0" * 64
QUICK = "rollout: {steps: [5, 20, 50, 100], bake_seconds: 0, min_requests: 0, keep_warm_seconds: 0}\n"
"""A policy: every step, as fast as the platform answers; nothing is kept warm."""

STEPS = {"v1": 100}, {"v1": 95, "v2": 5}, {"v1": 80, "v2": 20}, {"v1": 50, "v2": 50}, {"v2": 100}
"""Every split on the way from v1 to v2 under that policy."""

Json = dict[str, Any]


class GcpCloud:
    """All of it, and what an operator does: drop packages, run ticks, look."""

    def __init__(self, storage: StorageServer, vertex: VertexServer, eventarc: Eventarc, project: str) -> None:
        self.storage = storage
        self.vertex = vertex
        self.eventarc = eventarc
        self.registry = Registry(firestore_documents.connect(Settings("gcp", project=project)))
        self.client = StorageClient(project, AnonymousCredentials(), client_options={"api_endpoint": storage.url})
        self.bucket = StorageBucket(self.client, BUCKET)
        self.uploaders: list[FunctionInstance] = []
        """Instances of ``model_uploaded``."""
        self.ticker: FunctionInstance
        self.monitoring: MonitoringServer
        self.api: FunctionInstance
        self._http = httpx.Client(trust_env=False, timeout=DEADLINE_SECONDS)

    # --- what users do

    def put(self, name: str, data: bytes) -> None:
        """Upload one object as anybody does: with Google's client."""
        blob = self.client.bucket(BUCKET).blob(name)
        blob.upload_from_string(data, content_type="application/octet-stream")

    def drop(self, model: str, version: str, *, source: str = "", **changes: object) -> None:
        """A package of the flights example as a version of ``model``; ``source``: another version's package."""
        folder = PACKAGES / (source or version)
        metadata = (folder / "metadata.json").read_bytes()
        if model != "flights" or source or changes:
            metadata = json.dumps(json.loads(metadata) | {"model": model, "version": version} | changes).encode()
        self.put(f"models/{model}/{version}/reference.csv", (folder / "reference.csv").read_bytes())
        self.put(f"models/{model}/{version}/metadata.json", metadata)

    def policy(self, model: str, text: str = QUICK) -> None:
        """The model's policy."""
        self.put(f"policies/{model}.yaml", text.encode())

    def tick(self) -> Json:
        """What Cloud Scheduler does every minute."""
        answer = self._http.post(self.ticker.url, json={})
        assert answer.status_code == 200, answer.text
        report: Json = answer.json()
        return report

    def command(self, model: str, command: str, body: Json) -> Json:
        """What an operator asks for."""
        answer = self._http.post(f"{self.api.url}/v1/models/{model}:{command}", json=body, headers=_checked_token())
        assert answer.status_code == 200, answer.text
        reply: Json = answer.json()
        return reply

    def edit_traffic(self, model: str, split: dict[str, int]) -> None:
        """Somebody sets the split at Vertex AI, past us."""
        endpoint = self.vertex.state.endpoints[endpoint_id(model)]
        ids = {one["displayName"]: one["id"] for one in endpoint["deployedModels"]}
        body = {"trafficSplit": {ids[version]: percent for version, percent in split.items()}}
        self.vertex.state.handle(lambda state: state.patch_endpoint(endpoint_id(model), "trafficSplit", body))

    def delete_endpoint(self, model: str) -> None:
        """Somebody deletes the endpoint at Vertex AI."""

        def delete(state: VertexState) -> Json:
            return state.endpoints.pop(endpoint_id(model))

        self.vertex.state.handle(delete)

    def settle(self, *models: str) -> None:
        """Deliver all events, and tick until there is nothing to do for these models."""

        def settled() -> bool:
            self.await_delivery()
            report = self.tick()
            return not {*report["moved"], *report["errors"], *report["not_reached"]} & set(models)

        until(settled, f"{models} are settled")

    def finish_operations(self, model: str) -> None:
        """Time passes at Vertex AI: look at each operation on the model's endpoint until it is done."""
        for name in list(self.vertex.state.operations):
            if f"/{endpoint_id(model)}/" in name:
                address = f"{self.vertex.url}/v1/{name}"
                until(lambda address=address: self._http.get(address).json().get("done"), f"{name} is done")

    def await_delivery(self) -> None:
        """Until every object there is has been told of, and every telling was acknowledged."""
        until(lambda: self.eventarc.is_idle(lambda: self.storage.objects(BUCKET).values()), "all events are delivered")

    # --- what can be seen

    def ask(self, path: str) -> Json:
        """What the API answers."""
        answer = self._http.get(self.api.url + path, headers=_checked_token())
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def statuses(self, model: str) -> dict[str, str]:
        """The status of each version, as the API tells it."""
        return {row["version"]: row["status"] for row in self.ask(f"/v1/models/{model}/versions")["versions"]}

    def record(self, model: str, version: str, name: str) -> Json | None:
        """A decision record beside the metadata."""
        found = self.storage.objects(BUCKET).get(f"models/{model}/{version}/{name}")
        return json.loads(found.data) if found else None

    def behind_endpoint(self, model: str) -> dict[str, int]:
        """Each version deployed at Vertex AI, and its percentage."""
        endpoint = self.vertex.state.endpoints.get(endpoint_id(model), {"deployedModels": [], "trafficSplit": {}})
        split = endpoint["trafficSplit"]
        return {deployed["displayName"]: split.get(deployed["id"], 0) for deployed in endpoint["deployedModels"]}

    def splits(self, model: str) -> list[dict[str, int]]:
        """Every split Vertex AI was told to use, one after the other, by version."""
        deployed = [effect.body["deployedModel"] for effect in self._effects("endpoints.deployModel", model)]
        names = {one["id"]: one["displayName"] for one in deployed}
        splits = [effect.body["trafficSplit"] for effect in self._effects("endpoints.patch", model)]
        return [{names[key]: percent for key, percent in split.items()} for split in splits]

    def uploads(self, model: str) -> list[str]:
        """The version of each upload Vertex AI accepted."""
        return [effect.body["model"]["displayName"].split()[1] for effect in self._effects("models.upload", model)]

    def deployments(self, model: str) -> list[str]:
        """The version of each deployment Vertex AI accepted."""
        return [e.body["deployedModel"]["displayName"] for e in self._effects("endpoints.deployModel", model)]

    def _effects(self, call: str, model: str) -> list[Effect]:
        """The accepted calls about one model."""
        own = endpoint_id(model)
        return [
            effect
            for effect in self.vertex.effects(call)
            if effect.resource.partition("/")[0] == own
            or effect.body.get("model", {}).get("labels", {}).get("modeldrop-model") == model
        ]

    def unhandled_errors(self) -> list[str]:
        """The last line of each traceback a function printed."""
        logs = [instance.log_text() for instance in (*self.uploaders, self.ticker, self.api)]
        parts = [part for log in logs for part in re.split(r"^Traceback .*\n", log, flags=re.MULTILINE)[1:]]
        lasts = [next((line for line in part.splitlines() if not line.startswith(" ")), "") for part in parts]
        causes = "direct cause of the following exception"
        return [last for last, part in zip(lasts, parts, strict=True) if causes not in part]

    def close(self) -> None:
        """Close the connections kept open."""
        self._http.close()
        self.bucket.close()


@pytest.fixture(scope="module")
def cloud(firestore_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcpCloud]:
    """One cloud for all tests of a file; each has models of its own.

    At the end, over all that happened: an event not acknowledged was worth another try, never a bug.
    """
    with gcp_cloud(firestore_host, tmp_path_factory.mktemp("functions")) as running:
        yield running
        assert [error for error in running.unhandled_errors() if not error.startswith("modeldrop.errors.")] == []


@contextmanager
def gcp_cloud(firestore_host: str, folder: Path) -> Iterator[GcpCloud]:
    """Everything up: two instances of ``model_uploaded``, one of ``health_tick``, one of ``api``."""
    project = f"p-{uuid.uuid4().hex[:20]}"
    with ExitStack() as stack:
        storage = stack.enter_context(StorageServer([BUCKET]))
        vertex = stack.enter_context(VertexServer(project=project))
        monitoring = stack.enter_context(MonitoringServer(project=project))
        environment = _environment(firestore_host, project, storage.url, vertex.url, monitoring.url)
        functions = ["model_uploaded", "model_uploaded", "health_tick", "api"]
        instances = [FunctionInstance(name, environment, folder) for name in functions]
        eventarc = Eventarc(BUCKET, [one.url for one in instances[:2]])
        cloud = GcpCloud(storage, vertex, eventarc, project)
        cloud.monitoring = monitoring
        stack.callback(cloud.close)
        for instance in instances:
            stack.callback(instance.stop)
            instance.start()
        cloud.uploaders, cloud.ticker, cloud.api = instances[:2], instances[2], instances[3]
        for instance in instances:
            instance.await_ready()
        stack.callback(eventarc.close)
        storage.on_finalize(eventarc.finalized)
        yield cloud


def _environment(
    firestore_host: str, project: str, storage_url: str, vertex_url: str, monitoring_url: str
) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MODELDROP_", "AIP_"))}
    return inherited | {
        "PYTHONPATH": str(REPOSITORY / "shared"),
        "NO_PROXY": "127.0.0.1",
        "FIRESTORE_EMULATOR_HOST": firestore_host,
        "STORAGE_EMULATOR_HOST": storage_url,
        "MODELDROP_BACKEND": "gcp",
        "MODELDROP_AUTH": "iam",
        "MODELDROP_OPERATORS": OPERATOR,
        "MODELDROP_PROJECT": project,
        "MODELDROP_BUCKET": BUCKET,
        "MODELDROP_VERTEX_URL": vertex_url,
        "MODELDROP_MONITORING_URL": monitoring_url,
        "MODELDROP_PREDICT_IMAGE": IMAGE,
        "MODELDROP_SERVING_ACCOUNT": f"serving@{project}.iam.gserviceaccount.com",
    }


def _checked_token() -> dict[str, str]:
    """The operator's token as Cloud Run hands it on: without its signature."""
    claims = {
        "iss": "https://accounts.google.com",
        "email": OPERATOR,
        "email_verified": True,
        "exp": int(time.time()) + 600,
    }
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return {"Authorization": f"Bearer e30.{payload}.SIGNATURE_REMOVED_BY_GOOGLE"}
