"""A Vertex AI of our own on loopback: models, endpoints, pipeline jobs and operations over REST, for the real client.

    with VertexServer() as server:
        settings = Settings(backend="gcp", project=server.project, bucket="b", vertex_url=server.url, …)

Time stands still in it: an operation moves on each time it is met, by being polled or by being in another call's way,
and is found finished after ``state.operation_polls`` of these. What is to go otherwise is scripted beforehand:

    server.inject("endpoints.deployModel", Fault("drop", after_effect=True))    the next such call loses its answer
    server.plan("endpoints.deployModel", Plan(error=(13, "no machines left")))  the next such operation fails
    server.state.broken_artifacts.add("gs://bucket/folder")                     every deployment of it fails
    server.before("endpoints.patch", action)                                    something happens just before it
    server.move_job("fraud-20260102030405-3", "RUNNING")                        a pipeline job goes on

``server.effects(call)`` tells which calls were accepted, ``server.state.pages_read`` how many endpoints each page of a
list had. Calls are named ``models.upload|get|delete``, ``endpoints.create|get|list|patch|deployModel|undeployModel``,
``pipelineJobs.create|get`` and ``operations.get``.
"""

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.http_listener import HttpListener
from tests.servers.vertex_listing import list_endpoints
from tests.servers.vertex_pipelines import create_job, get_job, move_job
from tests.servers.vertex_state import HTTP_CODES, ApiError, Effect, Json, Plan, VertexState

__all__ = ["Effect", "Fault", "Plan", "VertexServer"]

_HANG_SECONDS = 60.0


@dataclass(frozen=True)
class Fault:
    """What happens to one call instead of its answer."""

    kind: Literal["status", "drop", "hang", "garble", "gateway"]
    """An error status; the connection closed; no answer until the server ends; a 200 that is no JSON; a proxy's 502."""
    status: str = "UNAVAILABLE"
    """Canonical status of the error, for ``status``."""
    message: str = "The service says no, as it was told to."
    """What the error says, for ``status``."""
    after_effect: bool = False
    """Whether the call had its effect before its answer was lost."""


@dataclass(frozen=True)
class Request:
    """One request, taken apart: what follows projects and locations, the query, the body."""

    path: dict[str, str]
    query: dict[str, str]
    body: Json


Action = Callable[[VertexState, Request], Json]

_ROUTES: tuple[tuple[str, str, str, Action], ...] = (
    ("POST", r"models:upload", "models.upload", lambda s, r: s.upload_model(r.body)),
    ("GET", r"models/(?P<id>[^/:@]+)(@\w+)?", "models.get", lambda s, r: s.get_model(r.path["id"])),
    ("DELETE", r"models/(?P<id>[^/:@]+)", "models.delete", lambda s, r: s.delete_model(r.path["id"])),
    (
        "POST",
        r"endpoints",
        "endpoints.create",
        lambda s, r: s.create_endpoint(r.query.get("endpointId", r.query.get("endpoint_id", "")), r.body),
    ),
    ("GET", r"endpoints", "endpoints.list", lambda s, r: list_endpoints(s, r.query)),
    ("GET", r"endpoints/(?P<id>[^/:]+)", "endpoints.get", lambda s, r: s.get_endpoint(r.path["id"])),
    (
        "PATCH",
        r"endpoints/(?P<id>[^/:]+)",
        "endpoints.patch",
        lambda s, r: s.patch_endpoint(r.path["id"], r.query.get("updateMask", ""), r.body),
    ),
    (
        "POST",
        r"endpoints/(?P<id>[^/:]+):deployModel",
        "endpoints.deployModel",
        lambda s, r: s.deploy_model(r.path["id"], r.body),
    ),
    (
        "POST",
        r"endpoints/(?P<id>[^/:]+):undeployModel",
        "endpoints.undeployModel",
        lambda s, r: s.undeploy_model(r.path["id"], r.body),
    ),
    (
        "POST",
        r"pipelineJobs",
        "pipelineJobs.create",
        lambda s, r: create_job(s, r.query.get("pipelineJobId", r.query.get("pipeline_job_id", "")), r.body),
    ),
    ("GET", r"pipelineJobs/(?P<id>[^/:]+)", "pipelineJobs.get", lambda s, r: get_job(s, r.path["id"])),
    (
        "GET",
        r"(?:\w+/[^/:]+/)?operations/[^/:]+",
        "operations.get",
        lambda s, r: s.get_operation(r.path["name"]),
    ),
)
# The REST client polls operations below /ui/, and calls everything else below /v1/.
_ADDRESS = re.compile(r"/(?:v1|ui)/(?P<name>projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/(?P<rest>.+))")


class VertexServer:
    """The server, up between entering and leaving the context."""

    def __init__(
        self,
        *,
        project: str = "test-project",
        project_number: str = "123456789012",
        region: str = "us-central1",
        operation_polls: int = 2,
    ) -> None:
        self.project = project
        self.region = region
        self.state = VertexState(project, project_number, region, operation_polls)
        self.hanging = Event()
        """Set while (and after) a call hangs."""
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._interposed: defaultdict[str, deque[Callable[[], object]]] = defaultdict(deque)
        self._faults_lock = Lock()
        self._ending = Event()
        self._http = HttpListener(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="vertex-server")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> "VertexServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._http.shutdown()
        self._http.end_connections()
        self._http.server_close()  # waits for the threads of the connections
        self._thread.join()

    def inject(self, call: str, *faults: Fault) -> None:
        """Let the next calls of that name go wrong, one fault each."""
        with self._faults_lock:
            self._faults[_known(call)].extend(faults)

    def before(self, call: str, action: Callable[[], object]) -> None:
        """Do something just before the next call of that name is looked at: somebody else is faster."""
        with self._faults_lock:
            self._interposed[_known(call)].append(action)

    def plan(self, call: str, *plans: Plan) -> None:
        """Say how the next operations that calls of that name start will go."""
        self.state.plans[_known(call)].extend(plans)

    def move_job(self, job_id: str, to: str | int, *, error: tuple[int, str] | None = None) -> None:
        """Bring a pipeline job into another state, with the google.rpc code and message of its error."""
        self.state.handle(lambda state: move_job(state, job_id, to, error))

    def effects(self, call: str) -> list[Effect]:
        """The accepted calls of that name, in order."""
        return [effect for effect in list(self.state.effects) if effect.call == _known(call)]

    def answer(self, method: str, address: str, body: Json) -> tuple[Fault | None, Callable[[], Json]]:
        """The fault scripted for the call, and what carries it out."""
        parts = urlsplit(address)
        matched = _ADDRESS.fullmatch(unquote(parts.path))
        for wanted_method, pattern, call, action in _ROUTES:
            path = re.fullmatch(pattern, matched["rest"]) if matched and wanted_method == method else None
            if matched and path:
                request = Request(
                    path.groupdict() | {"name": matched["name"]},
                    {key: values[-1] for key, values in parse_qs(parts.query).items()},
                    body,
                )
                self._interpose(call)
                run = partial(self._run, matched["project"], matched["region"], action, request)
                return self._next_fault(call), run
        return None, partial(_fail, "NOT_FOUND", f"{method} {parts.path} is not a method of this API")

    def _run(self, project: str, region: str, action: Action, request: Request) -> Json:
        if project not in (self.state.project, self.state.project_number):
            raise ApiError("PERMISSION_DENIED", f"Permission denied on project {project!r}.")
        if region != self.region:
            raise ApiError("INVALID_ARGUMENT", f"Region {region!r} is not served here.")
        return self.state.handle(lambda state: action(state, request))

    def _interpose(self, call: str) -> None:
        with self._faults_lock:
            action = self._interposed[call].popleft() if self._interposed[call] else None
        if action:
            action()

    def _next_fault(self, call: str) -> Fault | None:
        with self._faults_lock:
            return self._faults[call].popleft() if self._faults[call] else None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(_Handler):
            vertex = server

        return Handler

    def hang(self) -> None:
        """Keep the caller waiting until the server ends."""
        self.hanging.set()
        self._ending.wait(_HANG_SECONDS)


class _Handler(BaseHTTPRequestHandler):
    vertex: VertexServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault, carry_out = self.vertex.answer(self.command, self.path, json.loads(text or b"{}"))
        if fault and not fault.after_effect:
            self._go_wrong(fault)
            return
        try:
            code, answer = 200, carry_out()
        except ApiError as error:
            code, answer = HTTP_CODES[error.status], error.json()
        if fault:
            self._go_wrong(fault)
        else:
            self._send(code, json.dumps(answer).encode())

    def _go_wrong(self, fault: Fault) -> None:
        if fault.kind == "status":
            error = ApiError(fault.status, fault.message)
            self._send(HTTP_CODES[fault.status], json.dumps(error.json()).encode())
        elif fault.kind == "garble":
            self._send(200, b"<html>Please sign in to the network</html>")
        elif fault.kind == "gateway":
            self._send(502, b'{"error": "bad gateway"}')
        else:
            if fault.kind == "hang":
                self.vertex.hang()
            self.close_connection = True

    def _send(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _known(call: str) -> str:
    if call not in {name for _, _, name, _ in _ROUTES}:
        raise ValueError(f"{call!r} is not one of the calls")
    return call


def _fail(status: str, message: str) -> Json:
    raise ApiError(status, message)
