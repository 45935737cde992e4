"""A Secret Manager of our own on loopback: REST ``versions.access``, for the real Google client.

    with SecretServer() as server:
        server.put("projects/p/secrets/hook", b"s3cret")        # a new version, which ``latest`` means from now on
        server.inject(Fault("status", 403, "PERMISSION_DENIED"))   # what happens to the next access instead
        secrets = secret_manager.connect_to(server.url)

``server.requests`` holds the names that were asked for, in order.
"""

import base64
import json
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Literal, cast
from urllib.parse import unquote, urlsplit

import google_crc32c

from tests.servers.http_listener import HttpListener

__all__ = ["Fault", "SecretServer"]

_HANG_SECONDS = 60.0


@dataclass(frozen=True)
class Fault:
    """What happens to one access: an error, no answer, a closed connection, a page of a proxy, a payload that does not
    fit its checksum, or one that has none.
    """

    kind: Literal["status", "hang", "drop", "page", "damaged", "unchecked"]
    code: int = 503
    status: str = "UNAVAILABLE"


class SecretServer:
    """The server, up between entering and leaving the context."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._versions: dict[str, list[bytes]] = {}
        self._faults: deque[Fault] = deque()
        self._lock = Lock()
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def put(self, secret: str, data: bytes) -> None:
        """Adds a version, numbered from 1."""
        with self._lock:
            self._versions.setdefault(secret, []).append(data)

    def inject(self, *faults: Fault) -> None:
        """Lets the next accesses go wrong, one fault each."""
        with self._lock:
            self._faults.extend(faults)

    def __enter__(self) -> "SecretServer":
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.end()
        self._thread.join()
        self._server.server_close()

    def asked(self, name: str) -> Fault | None:
        """Notes an access; tells what goes wrong with it."""
        with self._lock:
            self.requests.append(name)
            return self._faults.popleft() if self._faults else None

    def access(self, name: str) -> tuple[str, bytes] | None:
        """The full name and the data of a version, ``latest`` included."""
        secret, _, version = name.partition("/versions/")
        with self._lock:
            versions = self._versions.get(secret, [])
            number = len(versions) if version == "latest" else int(version)
            return (f"{secret}/versions/{number}", versions[number - 1]) if 0 < number <= len(versions) else None


class _Server(HttpListener):
    def __init__(self, secrets: SecretServer) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.secrets = secrets
        self.ending = Event()

    def end(self) -> None:
        self.shutdown()
        self.ending.set()
        self.end_connections()


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = cast("_Server", self.server)
        path = unquote(urlsplit(self.path).path)
        if not (path.startswith("/v1/projects/") and path.endswith(":access") and "/versions/" in path):
            self._answer(404, b"no such method")
            return
        name = path.removeprefix("/v1/").removesuffix(":access")
        fault = server.secrets.asked(name)
        if fault and fault.kind == "hang":
            server.ending.wait(_HANG_SECONDS)
        if fault and fault.kind in ("hang", "drop"):
            self.close_connection = True
        elif fault and fault.kind == "page":
            self._answer(200, b"<html>Please sign in to the network</html>")
        elif fault and fault.kind == "status":
            self._error(fault.code, fault.status, "The service says no, as it was told to.")
        else:
            self._access(server.secrets.access(name), name, fault)

    def _access(self, found: tuple[str, bytes] | None, name: str, fault: Fault | None) -> None:
        if found is None:
            self._error(404, "NOT_FOUND", f"Secret Version [{name}] not found.")
            return
        payload = {"data": base64.b64encode(found[1]).decode()}
        if fault is None or fault.kind == "damaged":
            payload["dataCrc32c"] = str(google_crc32c.value(found[1]) ^ (1 if fault else 0))
        self._answer(200, json.dumps({"name": found[0], "payload": payload}).encode())

    def _error(self, code: int, status: str, message: str) -> None:
        error = {"error": {"code": code, "message": message, "status": status}}
        self._answer(code, json.dumps(error).encode())

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is written to the test's output."""
