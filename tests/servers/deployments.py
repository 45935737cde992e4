"""The parts of Google Cloud that a deployment of functions talks to, as gcloud itself asks them.

Cloud Functions v2, Cloud Run (services, their policies, traffic), Artifact Registry, Service Usage, Resource
Manager and the address sources are uploaded to. Deployments are done at once, but those in ``slow``. What it does not
know is answered 501, and recorded. The lock of deployments is in a Cloud Storage server of its own, ``storage``.

    with Deployments("my-project", "europe-west1") as cloud:
        subprocess.run(["gcloud", …], env=cloud.environment(folder))
        cloud.functions["api"], cloud.uploads[-1], cloud.traffic["api"], cloud.callers["api"]
"""

import base64
import io
import json
import os
import re
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers.json_api import Answered, Asked
from tests.servers.storage import StorageServer

NUMBER = "123456789"
_APIS = ("CLOUDFUNCTIONS", "RUN", "ARTIFACTREGISTRY", "SERVICEUSAGE", "CLOUDRESOURCEMANAGER", "CLOUDBUILD", "IAM")


class Deployments:
    """The server; up within its context. ``answers``: what functions reply when called, status and body by name."""

    def __init__(self, project: str, region: str, storage: StorageServer | None = None) -> None:
        self.project, self.region = project, region
        self.asked: list[Asked] = []
        self._turn = Lock()
        self._http = _Listener(self)
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="deployments")
        self.functions: dict[str, dict[str, Any]] = {}
        self.revisions: dict[str, int] = {}
        self.traffic: dict[str, str] = {}
        self.callers: dict[str, set[str]] = {}
        self.uploads: list[list[str]] = []
        self.images: list[dict[str, Any]] = []
        self.answers: dict[str, tuple[int, Any]] = {}
        self.raw_answers: dict[str, tuple[bytes, int]] = {}
        """Instead: bytes, and the length that is told beforehand; the connection ends after them."""
        self.calls: list[tuple[str, Asked]] = []
        self.unknown: list[str] = []
        self.failing_builds: set[str] = set()
        self.slow: set[str] = set()
        """Functions whose deployments go on until ``finish`` is called; ``under_way`` is set when gcloud waits."""
        self.under_way = Event()
        self.lost: set[str] = set()
        """Those whose operations gcloud may not look at: it gives up, and the deployment goes on."""
        self.looks_until_done = 0
        """How often the function is looked at until a lost deployment has ended."""
        self._waiting: dict[str, str] = {}
        self.storage = storage or StorageServer([f"{project}-modeldrop"])
        self.updates: list[tuple[str, str]] = []

    def __enter__(self) -> "Deployments":
        self.storage.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self.storage.__exit__()

    def finish(self, name: str) -> None:
        """The deployment under way ends: its revision gets the traffic."""
        with self._turn:
            self._finish(name)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a slash."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def take(self, asked: Asked) -> Answered:
        """The answer to a request; one at a time."""
        with self._turn:
            self.asked.append(asked)
            return self._answer(asked)

    def environment(self, folder: Path) -> dict[str, str]:
        """For a gcloud that knows no other cloud and no other account; ``folder`` is its own."""
        key = folder / "key.json"
        key.write_text(json.dumps(_account_key()))
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": f"{self.url}/" for name in _APIS}
        # gcloud puts the region before Cloud Run's host name. So that one is no address: this server is its proxy.
        overrides["CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN"] = "http://run.test/"
        overrides["CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"] = f"{self.storage.url}/storage/v1/"
        return (
            kept
            | overrides
            | {
                "HOME": str(folder),
                "CLOUDSDK_CONFIG": str(folder),
                "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": str(key),
                "CLOUDSDK_AUTH_TOKEN_HOST": f"{self.url}/token",
                "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
                "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
                "http_proxy": self.url,
                "https_proxy": self.url,  # it refuses to connect: nothing reaches the real cloud
                "no_proxy": "127.0.0.1",
            }
        )

    def _answer(self, asked: Asked) -> Answered:
        path = unquote(asked.path)
        for method, pattern, reply in self._routes():
            if (found := re.fullmatch(pattern, path)) and method == asked.method:
                return reply(asked, *found.groups())
        self.unknown.append(f"{asked.method} {path}")
        return _error(501, "UNIMPLEMENTED", path)

    def _routes(self) -> list[tuple[str, str, Any]]:
        place = f"projects/{self.project}/locations/{self.region}"
        run = f"/(?:apis/serving.knative.dev/)?v1/namespaces/{self.project}/services"
        function = f"/v2/{place}/functions"
        return [
            ("GET", f"{function}/([a-z_]+)", self._function),
            ("POST", function, self._create),
            ("PATCH", f"{function}/([a-z_]+)", self._update),
            ("POST", f"{function}:generateUploadUrl", self._upload_address),
            ("PUT", "/upload", self._upload),
            (
                "POST",
                "/token",
                lambda asked: Answered(200, {"access_token": "a", "id_token": _ID_TOKEN, "expires_in": 3600}),
            ),
            ("GET", f"/v2/{place}/runtimes", lambda asked: Answered(200, _RUNTIMES)),
            ("GET", f"/v2/{place}/operations/(.+)", self._operation),
            ("GET", run, self._services),
            ("GET", f"{run}/([a-z-]+)", self._service),
            ("PUT", f"{run}/([a-z-]+)", self._replace),
            ("GET", f"/v1/{place}/services/([a-z-]+):getIamPolicy", self._policy),
            ("POST", f"/v1/{place}/services/([a-z-]+):setIamPolicy", self._set_policy),
            ("GET", "/v1/projects/[^/]+/services/[a-z.]+", lambda asked: Answered(200, {"state": "ENABLED"})),
            ("GET", f"/v1/projects/{self.project}", lambda asked: Answered(200, self._project())),
            ("GET", f"/v1/{place}/repositories/modeldrop/packages/predict/versions", self._versions),
            ("GET", f"/v1/{place}/repositories/modeldrop/dockerImages", self._images),
            ("GET", f"/v1/{place}/repositories/modeldrop", lambda asked: Answered(200, {"format": "DOCKER"})),
            ("POST", "/called/([a-z_]+)", self._call),
            ("GET", "/called/([a-z_]+)/v1/ticks", self._call),
        ]

    def _project(self) -> dict[str, str]:
        return {"projectId": self.project, "projectNumber": NUMBER, "lifecycleState": "ACTIVE"}

    # --- Cloud Functions ---------------------------------------------------------------------------------------

    def _function(self, asked: Asked, name: str) -> Answered:
        found = self.functions.get(name)
        if name in self.lost and name in self._waiting:
            self.looks_until_done -= 1
            if self.looks_until_done < 0:
                self._finish(name)
        return Answered(200, found) if found else _error(404, "NOT_FOUND", name)

    def _create(self, asked: Asked) -> Answered:
        return self._deploy(asked.query["functionId"], asked)

    def _update(self, asked: Asked, name: str) -> Answered:
        self.updates.append((name, asked.query["updateMask"]))
        return self._deploy(name, asked)

    def _deploy(self, name: str, asked: Asked) -> Answered:
        if name in self.failing_builds:
            return _error(400, "INVALID_ARGUMENT", "the build failed")
        given, service = asked.json(), name.replace("_", "-")
        self.revisions[name] = self.revisions.get(name, 0) + 1
        revision = f"{service}-{self.revisions[name]:05d}-abc"
        config = given["serviceConfig"]
        if config.get("allTrafficOnLatestRevision") or service not in self.traffic:
            self._waiting[name] = revision
        made = {
            "service": f"projects/{self.project}/locations/{self.region}/services/{service}",
            "uri": f"{self.url}/called/{name}",
            "revision": revision,
        }
        self.functions[name] = given | {
            "environment": "GEN_2",
            "state": "DEPLOYING",
            "serviceConfig": config | made,
        }
        if name not in self.slow | self.lost:
            self._finish(name)
        return Answered(200, {"name": f"projects/{self.project}/locations/{self.region}/operations/{name}"})

    def _finish(self, name: str) -> None:
        self.functions[name] = self.functions[name] | {"state": "ACTIVE"}
        if revision := self._waiting.pop(name, None):
            self.traffic[name.replace("_", "-")] = revision

    def _operation(self, asked: Asked, name: str) -> Answered:
        if name in self.lost:
            return _error(403, "PERMISSION_DENIED", "the right to look was taken away")
        kind = "type.googleapis.com/google.cloud.functions.v2"
        metadata = {"@type": f"{kind}.OperationMetadata", "stages": []}
        response = {"@type": f"{kind}.Function", **self.functions[name]}
        full = f"projects/{self.project}/locations/{self.region}/operations/{name}"
        if self.functions[name]["state"] == "DEPLOYING":
            self.under_way.set()
            return Answered(200, {"name": full, "done": False, "metadata": metadata})
        return Answered(200, {"name": full, "done": True, "metadata": metadata, "response": response})

    def _upload_address(self, asked: Asked) -> Answered:
        where = {"bucket": "sources", "object": "source.zip"}
        return Answered(200, {"uploadUrl": f"{self.url}/upload", "storageSource": where})

    def _upload(self, asked: Asked) -> Answered:
        with zipfile.ZipFile(io.BytesIO(asked.body)) as archive:
            self.uploads.append(sorted(name for name in archive.namelist() if not name.endswith("/")))
        return Answered(200)

    def _call(self, asked: Asked, name: str) -> Answered:
        self.calls.append((name, asked))
        if raw := self.raw_answers.get(name):
            return Answered(200, raw[0], {"content-length": str(raw[1])})
        status, body = self.answers[name]
        return Answered(status, body)

    @property
    def lock(self) -> bytes | None:
        """What the lock of deployments holds; None: nobody has it."""
        found = self.storage.objects(f"{self.project}-modeldrop").get("deployments/lock.json")
        return found.data if found else None

    # --- Cloud Run -----------------------------------------------------------------------------------------------

    def _services(self, asked: Asked) -> Answered:
        return Answered(200, {"kind": "ServiceList", "items": [self._described(name) for name in sorted(self.traffic)]})

    def _service(self, asked: Asked, name: str) -> Answered:
        return Answered(200, self._described(name))

    def _replace(self, asked: Asked, name: str) -> Answered:
        (share,) = [share for share in asked.json()["spec"]["traffic"] if share.get("percent")]
        self.traffic[name] = share.get("revisionName", "")
        return Answered(200, self._described(name))

    def _described(self, name: str) -> dict[str, Any]:
        share = {"revisionName": self.traffic[name], "percent": 100}
        conditions = [{"type": kind, "status": "True"} for kind in ("Ready", "RoutesReady", "ConfigurationsReady")]
        return {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": NUMBER, "generation": 1, "labels": {}, "annotations": {}},
            "spec": {"template": {"metadata": {}, "spec": {"containers": [{"image": "i"}]}}, "traffic": [share]},
            "status": {"observedGeneration": 1, "conditions": conditions, "traffic": [share], "url": self.url},
        }

    def _policy(self, asked: Asked, service: str) -> Answered:
        members = sorted(self.callers.get(service, ()))
        return Answered(200, {"bindings": [{"role": "roles/run.invoker", "members": members}] if members else []})

    def _set_policy(self, asked: Asked, service: str) -> Answered:
        bindings = asked.json()["policy"].get("bindings", [])
        self.callers[service] = {member for binding in bindings for member in binding["members"]}
        return Answered(200, asked.json()["policy"])

    # --- Artifact Registry ---------------------------------------------------------------------------------------

    def _versions(self, asked: Asked) -> Answered:
        return Answered(200, {"versions": self.images})

    def _images(self, asked: Asked) -> Answered:
        return Answered(200, {"dockerImages": self.images})


def _account_key() -> dict[str, str]:
    """A service account's, made up: gcloud signs with it and asks this server for tokens."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    pem = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return {
        "type": "service_account",
        "client_email": "deployer@my-project.iam.gserviceaccount.com",
        "client_id": "1",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "token_uri": "https://oauth2.googleapis.com/token",
    }


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


_CLAIMS = {"email": "deployer@my-project.iam.gserviceaccount.com", "iat": 1, "exp": 4_000_000_000, "aud": "gcloud"}
_ID_TOKEN = ".".join([_part({"alg": "none"}), _part(_CLAIMS), "c2lnbmF0dXJl"])


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cloud: Deployments) -> None:
        self.cloud = cloud
        super().__init__(("127.0.0.1", 0), _Connection)


class _Connection(BaseHTTPRequestHandler):
    server: _Listener

    def do_POST(self) -> None:
        parts = urlsplit(self.path)  # with the host's name where it is asked as a proxy
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        answered = self.server.cloud.take(Asked(self.command, parts.path, query, headers, body))
        said = answered.body
        text = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
        self.send_response(answered.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", answered.headers.get("content-length", str(len(text))))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_PATCH = do_POST  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Nothing is written to the test's output."""


_RUNTIMES = {"runtimes": [{"name": "python311", "environment": "GEN_2", "stage": "GA"}]}


def _error(status: int, name: str, message: str) -> Answered:
    return Answered(status, {"error": {"code": status, "status": name, "message": message}})


def show(asked: list[Asked]) -> str:
    """What was asked, for the message of a failed test."""
    return "\n".join(f"{each.method} {each.path} {json.dumps(dict(each.query))}" for each in asked)
