"""An HTTP server on loopback that takes whatever it is sent: for everything that calls out.

    with Receiver() as receiver:
        send_to(f"{receiver.url}/hook")
        [request] = receiver.wait_for(1)           # or receiver.received, at any time
        request.method, request.path, request.headers["idempotency-key"], request.body, request.json()

It answers 200 with no body. What is to go otherwise is told beforehand:

    receiver.then(Reply(500), Reply(429), DROP)    # the next three requests, in order; then as always
    receiver.always(HANG)                          # every request from now on
    receiver.always(Reply(404), path="/other")     # every request to that path (without its query)

``Reply(302, headers={"location": …})`` and ``Reply(200, body=b"…")`` answer so. ``HANG``: no answer until the caller
leaves. ``DROP``: the connection ends without one. ``Reply(200, kind="late", seconds=0.2)``: later.
``DRIP``: one byte every 20 ms from the status line on, without an end; ``DRIP_BODY``: the same after a whole head.
Every request is recorded before anything is answered, so the effect of a dropped one *has happened*.

``Receiver(tls=context)`` speaks TLS (an ``ssl.SSLContext`` of the server's side; ``receiver.url`` is https then).
Answers of one connection go in order; any number of connections is served at once. Nothing is left when it ends.
"""

import contextlib
import json
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from tests.servers.http_listener import HttpListener

__all__ = ["DRIP", "DRIP_BODY", "DROP", "HANG", "Received", "Receiver", "Reply"]

_DRIP_SECONDS = 0.02


@dataclass(frozen=True)
class Received:
    """One request as it arrived. ``path`` has its query; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What is answered, and how."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["answer", "late", "hang", "drop", "drip", "drip_body"] = "answer"
    seconds: float = 0.0
    """How late, for ``late``."""


HANG = Reply(kind="hang")
DROP = Reply(kind="drop")
DRIP = Reply(kind="drip")
DRIP_BODY = Reply(kind="drip_body")


class Receiver:
    """The server, up between entering and leaving the context."""

    def __init__(self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._server = _Server(host, tls, self._take)
        self._host = f"[{host}]" if ":" in host else host
        self._scheme = "https" if tls else "http"
        self._arrived = threading.Condition()
        self._received: list[Received] = []
        self._next: deque[Reply] = deque()
        self._always = Reply()
        self._at: dict[str, Reply] = {}

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a slash."""
        return f"{self._scheme}://{self._host}:{self.port}"

    @property
    def received(self) -> list[Received]:
        """The requests so far, in the order they arrived."""
        with self._arrived:
            return list(self._received)

    @property
    def connections(self) -> int:
        """How many connections were ever accepted, those without a request included."""
        return self._server.accepted

    def then(self, *replies: Reply) -> None:
        """Answers the next requests, one reply each; then as ``always``."""
        with self._arrived:
            self._next.extend(replies)

    def always(self, reply: Reply, *, path: str | None = None) -> None:
        """Answers every request so, or every one to ``path``."""
        with self._arrived:
            if path is None:
                self._always = reply
            else:
                self._at[path] = reply

    def wait_for(self, count: int, *, seconds: float = 10.0) -> list[Received]:
        """The requests, once there are at least ``count``; fails after ``seconds``."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._received) >= count, seconds):
                raise AssertionError(f"{len(self._received)} requests arrived in {seconds} s, not {count}")
            return list(self._received)

    def __enter__(self) -> "Receiver":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections()
        self._server.server_close()

    def _take(self, request: Received) -> Reply:
        with self._arrived:
            self._received.append(request)
            self._arrived.notify_all()
            if self._next:
                return self._next.popleft()
            return self._at.get(urlsplit(request.path).path, self._always)


class _Server(HttpListener):
    def __init__(self, host: str, tls: ssl.SSLContext | None, take: Any) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Connection)
        self.take = take
        self.tls = tls
        self.accepted = 0
        self.ending = threading.Event()

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        self.accepted += 1
        if self.tls:
            # The handshake is made on the first read, in the connection's own thread.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def end_connections(self) -> None:
        self.ending.set()
        super().end_connections()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that leaves early, or does not trust us, is no news."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        server = cast("_Server", self.server)
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = server.take(Received(self.command, self.path, headers, body))
        if reply.kind == "late":
            server.ending.wait(reply.seconds)
        if reply.kind in ("answer", "late"):
            self._answer(reply)
            return
        self.close_connection = True
        if reply.kind == "hang":
            self._hang()
        elif reply.kind != "drop":
            self._drip(reply)

    do_GET = do_PUT = do_DELETE = do_PATCH = do_POST  # noqa: N815

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        headers = {name.lower(): value for name, value in reply.headers.items()}
        if "content-length" not in headers and "transfer-encoding" not in headers:
            headers["content-length"] = str(len(reply.body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def _hang(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            select.select([self.connection], [], [])  # readable: the caller has left, or the server is ending

    def _drip(self, reply: Reply) -> None:
        server = cast("_Server", self.server)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
        if reply.kind == "drip_body":
            self.wfile.write(head + b"content-length: 1000000\r\n\r\n")
        else:
            for byte in head + b"x-drip: ":
                self.wfile.write(bytes((byte,)))
                server.ending.wait(_DRIP_SECONDS)
        while not server.ending.wait(_DRIP_SECONDS):
            self.wfile.write(b".")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is written to the test's output."""
