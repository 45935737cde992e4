"""What the small servers of other people's JSON APIs share: listening, a script of what goes wrong, a record.

A server of an API derives nothing from it; it hands it a function from request to answer:

    api = JsonApi(answer)                                   # answer(Asked) -> Answered, one at a time
    with api: …                                             # api.url
    api.inject(Fault("drop", after_effect=True))            # the next request has its effect, and no answer
    api.inject(None, Fault("status", 500))                  # the one after the next is answered 500
    api.asked                                               # what arrived, in order; faulty ones too
"""

import contextlib
import json
import select
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from tests.servers.http_listener import HttpListener

__all__ = ["Answered", "Asked", "Fault", "JsonApi"]


@dataclass(frozen=True)
class Asked:
    """One request. ``path`` is as it came over the wire, without the query; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answered:
    """An answer; ``body`` None: none."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What happens to one request instead of its answer."""

    kind: Literal["status", "echo", "drop", "hang", "garble"]
    """Another answer; one that quotes all that was sent; the connection closed; no answer until the caller leaves; a
    200 that is no JSON."""
    status: int = 500
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after_effect: bool = False
    """Whether the request had its effect before its answer was lost."""


class JsonApi:
    """The server, up between entering and leaving the context."""

    def __init__(self, answer: Callable[[Asked], Answered]) -> None:
        self.hanging = Event()
        """Set while (and after) a request hangs."""
        self._answer = answer
        self._asked: list[Asked] = []
        self._faults: deque[Fault | None] = deque()
        self._record, self._turn = Lock(), Lock()
        self._http = _Listener(self)
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="json-api")

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a slash."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def asked(self) -> list[Asked]:
        """The requests so far, in the order they arrived."""
        with self._record:
            return list(self._asked)

    def inject(self, *faults: Fault | None) -> None:
        """Let the next requests go wrong, one fault each; None: that one goes well."""
        with self._record:
            self._faults.extend(faults)

    def __enter__(self) -> "JsonApi":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.end_connections()
        self._http.server_close()  # waits for the threads of the connections
        self._thread.join()

    def take(self, asked: Asked) -> Answered | Fault:
        """The answer to a request, or what happens instead."""
        with self._record:
            self._asked.append(asked)
            fault = self._faults.popleft() if self._faults else None
        if fault and fault.kind == "echo":
            quoted = [asked.headers.get("authorization", ""), asked.body.decode(), asked.path, dict(asked.query)]
            return Answered(fault.status, {"detail": quoted})
        if fault and not fault.after_effect:
            return fault
        with self._turn:
            answered = self._answer(asked)
        return fault or answered


class _Listener(HttpListener):
    def __init__(self, api: JsonApi) -> None:
        self.api = api
        super().__init__(("127.0.0.1", 0), _Connection)


class _Connection(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        taken = self.server.api.take(Asked(self.command, parts.path, query, headers, body))
        if isinstance(taken, Answered) or taken.kind == "status":
            text = b"" if taken.body is None else json.dumps(taken.body).encode()
            self._send(taken.status, text, {"content-type": "application/json"} | dict(taken.headers))
        elif taken.kind == "garble":
            self._send(200, b"<html>Please sign in to the network</html>", {"content-type": "text/html"})
        else:
            self.close_connection = True
            if taken.kind == "hang":
                self.server.api.hanging.set()
                with contextlib.suppress(OSError, ValueError):
                    select.select([self.connection], [], [])  # readable: the caller has left, or the server is ending

    do_GET = do_POST  # noqa: N815

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is written to the test's output."""
