"""The gcp backend as a whole: the real functions in processes of their own, as Cloud Run runs them.

Around them: the official Firestore emulator, a Cloud Storage and a Vertex AI of our own for the real Google clients,
and an Eventarc that delivers every event several times, in every wrapping, until it is acknowledged.
"""

import base64
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client as StorageClient

from modeldrop.adapters.gcp import firestore_documents
from modeldrop.adapters.gcp.storage_bucket import StorageBucket
from modeldrop.adapters.gcp.vertex_model_server import endpoint_id
from modeldrop.records.registry import Registry
from modeldrop.settings import Settings
from tests.servers.storage import StorageServer, StoredObject
from tests.servers.vertex import Effect, VertexServer

REPOSITORY = Path(__file__).parents[2]
PACKAGES = REPOSITORY / "examples" / "flights" / "packages"
BUCKET = "models-of-flights"
OURS = ("deployment_info.json", "model_comparison.json", "rejection.json")
IMAGE = "us-docker.pkg.dev/test-project/modeldrop/predict@sha256:" + "0" * 64
DEADLINE_SECONDS = 30.0
QUICK = "rollout: {steps: [5, 20, 50, 100], bake_seconds: 0, keep_warm_seconds: 0}\n"
"""A policy: every step, as fast as the platform answers; nothing is kept warm."""

RETRY_SECONDS = 30.0
_PAUSE_SECONDS = 0.05
_FINALIZED = "google.cloud.storage.object.v1.finalized"

Request = tuple[dict[str, str], bytes]
Event = tuple[str, int]
"""Name and generation of the object."""
Json = dict[str, Any]
T = TypeVar("T")


def until(look: Callable[[], T | None], what: str) -> T:
    """The first look that finds something; fails after ``DEADLINE_SECONDS``."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS:g} s: {what}"
        time.sleep(0.01)
    return seen


def binary(bucket: str, name: str, generation: int) -> Request:
    """As Eventarc calls a function: a CloudEvent whose attributes are headers."""
    headers = {f"ce-{key}": value for key, value in _attributes(bucket, name).items()}
    return headers | {"content-type": "application/json"}, json.dumps(_data(bucket, name, generation)).encode()


def structured(bucket: str, name: str, generation: int) -> Request:
    """As ``gcloud functions call --cloud-event`` does: the whole CloudEvent in the body."""
    event = _attributes(bucket, name) | {"datacontenttype": "application/json", "data": _data(bucket, name, generation)}
    return {"content-type": "application/cloudevents+json"}, json.dumps(event).encode()


def pushed(bucket: str, name: str, generation: int) -> Request:
    """As a Pub/Sub subscription to the bucket's own notifications pushes it."""
    attributes = {
        "eventType": "OBJECT_FINALIZE",
        "bucketId": bucket,
        "objectId": name,
        "objectGeneration": str(generation),
        "payloadFormat": "JSON_API_V1",
    }
    data = base64.b64encode(json.dumps(_data(bucket, name, generation)).encode()).decode()
    message = {"attributes": attributes, "data": data, "messageId": "1", "publishTime": "2026-01-05T09:00:00Z"}
    push = {"message": message, "subscription": "projects/p/subscriptions/uploads"}
    return {"content-type": "application/json"}, json.dumps(push).encode()


WRAPPINGS: tuple[Callable[[str, str, int], Request], ...] = (binary, structured, pushed)


class Eventarc:
    """Delivers each event once in every wrapping, to the instances in turn, several at a time."""

    def __init__(self, bucket: str, targets: Sequence[str]) -> None:
        self._bucket = bucket
        self._targets = targets
        self._turn = count()
        self._http = httpx.Client(trust_env=False, timeout=RETRY_SECONDS)
        self._pool = ThreadPoolExecutor(4)
        self._guard = threading.RLock()
        self._closing = threading.Event()
        self._seen: set[Event] = set()
        self._held: list[Event] | None = None
        self._under_way = 0
        self._failures: list[Exception] = []
        self.answers: list[tuple[str, str]] = []
        """Object name and what the function said of it, for each acknowledged event."""
        self.refusals: list[tuple[str, str]] = []
        """Object name and what happened instead, for each delivery that was not acknowledged."""

    def finalized(self, name: str, generation: int) -> None:
        """The bucket tells of a new object."""
        with self._guard:
            self._seen.add((name, generation))
            if self._held is not None:
                self._held.append((name, generation))
            else:
                self.deliver([(name, generation)])

    def hold(self) -> None:
        """Keep events from now on, until ``release``."""
        with self._guard:
            self._held = []

    def held(self) -> list[Event]:
        """The events kept since ``hold``."""
        with self._guard:
            return list(self._held or [])

    def release(self, *, shuffled: bool = False) -> None:
        """Deliver the events kept, and all later ones at once."""
        with self._guard:
            events, self._held = self._held or [], None
        self.deliver(events, shuffled=shuffled)

    def deliver(self, events: Sequence[Event], *, shuffled: bool = False) -> None:
        """Deliver each event once in every wrapping, again if need be."""
        deliveries = [(*event, wrap) for event in events for wrap in WRAPPINGS]
        if shuffled:
            random.shuffle(deliveries)
        with self._guard:
            self._under_way += len(deliveries)
        for delivery in deliveries:
            self._pool.submit(self._deliver, *delivery)

    def call(self, target: str, request: Request) -> httpx.Response:
        """One request to one instance, and no other if that fails."""
        headers, body = request
        return self._http.post(target, headers=headers, content=body)

    def is_idle(self, objects: Callable[[], Iterable[StoredObject]]) -> bool:
        """Whether nothing is under way, and no object is still to be told of. Raises what went wrong on the way."""
        with self._guard:
            if self._failures:
                raise self._failures[0]
            # Only looked at when no function is at work on an event: then nothing is being written.
            return not self._under_way and {(one.name, one.generation) for one in objects()} <= self._seen

    def answers_for(self, name: str) -> list[str]:
        """What the function said of one object, once for each delivery."""
        with self._guard:
            return [answer for told, answer in self.answers if told == name]

    def close(self) -> None:
        """Give up what is under way."""
        self._closing.set()
        self._pool.shutdown()
        self._http.close()

    def _deliver(self, name: str, generation: int, wrap: Callable[[str, str, int], Request]) -> None:
        try:
            answer = self._until_acknowledged(name, wrap(self._bucket, name, generation))
            with self._guard:
                self.answers.append((name, answer))
        except Exception as error:
            with self._guard:
                self._failures.append(error)
        finally:
            with self._guard:
                self._under_way -= 1

    def _until_acknowledged(self, name: str, request: Request) -> str:
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            target = self._targets[next(self._turn) % len(self._targets)]
            try:
                answer = self.call(target, request)
                if answer.status_code == 200:
                    return str(answer.json()["status"])
                said = f"{answer.status_code} {answer.text[:500]}"
            except httpx.TransportError as error:  # the instance is gone, or went while it answered
                said = repr(error)
            with self._guard:
                self.refusals.append((name, said))
            if self._closing.wait(_PAUSE_SECONDS) or time.monotonic() > deadline:
                raise AssertionError(f"the event of {name!a} was never acknowledged: {said}")


class FunctionInstance:
    """One instance of a function: a process that serves it on a port which stays the same over restarts."""

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        self._name = name
        self._environment = {**environment, "HOME": str(folder)}  # gunicorn keeps a socket there
        self._port = _free_port()
        self._log = folder / f"{name}-{self._port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; requests may come as soon as ``await_ready`` is back."""
        assert self._process is None
        source = REPOSITORY / "functions" / self._name / "main.py"
        options = ["--target", self._name, "--source", str(source), "--host", "127.0.0.1", "--port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "default", "-m", "functions_framework", *options],
                env=self._environment,
                cwd=self._log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the server and its workers are one group, and end together
            )

    def await_ready(self) -> None:
        """Wait until it listens."""
        until(self._listens, f"{self._name} listens")

    def kill(self) -> None:
        """``kill -9``, to the server and its workers: nothing gets to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it, whatever it takes."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def log_text(self) -> str:
        """What it printed."""
        return self._log.read_text(errors="replace")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self._name} ended: {self.log_text()[-3000:]}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _end(self, first: signal.Signals) -> None:
        process, self._process = self._process, None
        assert process is not None
        try:
            os.killpg(process.pid, first)
            process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


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
        answer = self._http.get(self.api.url + path)
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


@contextmanager
def gcp_cloud(firestore_host: str, folder: Path) -> Iterator[GcpCloud]:
    """Everything up: two instances of ``model_uploaded``, one of ``health_tick``, one of ``api``."""
    project = f"p-{uuid.uuid4().hex[:20]}"
    with ExitStack() as stack:
        storage = stack.enter_context(StorageServer([BUCKET]))
        vertex = stack.enter_context(VertexServer(project=project))
        environment = _environment(firestore_host, project, storage.url, vertex.url)
        functions = ["model_uploaded", "model_uploaded", "health_tick", "api"]
        instances = [FunctionInstance(name, environment, folder) for name in functions]
        eventarc = Eventarc(BUCKET, [one.url for one in instances[:2]])
        cloud = GcpCloud(storage, vertex, eventarc, project)
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


def _attributes(bucket: str, name: str) -> dict[str, str]:
    return {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": f"//storage.googleapis.com/projects/_/buckets/{bucket}",
        "type": _FINALIZED,
        "subject": quote(f"objects/{name}"),
        "time": "2026-01-05T09:00:00Z",
    }


def _data(bucket: str, name: str, generation: int) -> dict[str, str]:
    return {"kind": "storage#object", "bucket": bucket, "name": name, "generation": str(generation)}


def _environment(firestore_host: str, project: str, storage_url: str, vertex_url: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MODELDROP_", "AIP_"))}
    return inherited | {
        "PYTHONPATH": str(REPOSITORY / "shared"),
        "NO_PROXY": "127.0.0.1",
        "FIRESTORE_EMULATOR_HOST": firestore_host,
        "STORAGE_EMULATOR_HOST": storage_url,
        "MODELDROP_BACKEND": "gcp",
        "MODELDROP_AUTH": "iam",
        "MODELDROP_PROJECT": project,
        "MODELDROP_BUCKET": BUCKET,
        "MODELDROP_VERTEX_URL": vertex_url,
        "MODELDROP_PREDICT_IMAGE": IMAGE,
        "MODELDROP_SERVING_ACCOUNT": f"serving@{project}.iam.gserviceaccount.com",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
