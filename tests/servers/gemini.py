"""A Gemini of our own on loopback, for the real google-genai client: generate, stream, count tokens.

    with GeminiServer() as server:
        environment = server.environment            # GOOGLE_API_KEY, GOOGLE_GEMINI_BASE_URL
        environment = server.vertex_environment(folder)  # the same as Vertex AI, with a service account's key file

It serves ``/v1beta/models/{model}:…`` (key in ``x-goog-api-key``), ``/v1beta1/publishers/google/models/{model}:…`` (the
same), ``/v1beta1/projects/{project}/locations/{location}/publishers/google/models/{model}:…`` (bearer token, which it
gives out at ``/token``). Bodies are checked as the original does: a field it does not know is 400, so is a value out of
range and a timeout (``X-Server-Timeout``) under ten seconds; a model it has not is 404, a wrong key 400, no token 401.

Unless told otherwise it counts the rows of the first table in the request's data. It can be told beforehand:

    server.then(Said("{…}"), Fault(503), Said("{…}", finish="MAX_TOKENS"))    the next calls, one each
    server.answer = lambda asked: Said(…)                                     all others
    server.seconds = 0.2                                                      how long every answer takes

``server.asked`` holds every request, in the order they arrived.
"""

import contextlib
import json
import re
import select
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from tests.servers.gemini_wire import ApiError, bodies, check_request, data_of, json_pieces
from tests.servers.http_listener import HttpListener

__all__ = ["ApiError", "Asked", "Fault", "GeminiServer", "Said", "data_of"]

_ADDRESS = re.compile(
    r"/(?P<api>v1beta|v1beta1)/"
    r"(?:projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/)?(?P<publisher>publishers/google/)?"
    r"models/(?P<model>[^/:]+):(?P<call>generateContent|streamGenerateContent|countTokens)"
)
_DRIP_SECONDS = 0.05


@dataclass(frozen=True)
class Asked:
    """One call as it arrived. Header names are in lower case."""

    call: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Said:
    """What the LLM says. ``pieces`` are those of a stream; else the text goes in pieces of ten characters."""

    text: str = ""
    finish: str | None = "STOP"
    """None: no candidate at all."""
    blocked: str | None = None
    thought: str | None = None
    tokens_in: int = 100
    tokens_out: int = 20
    tokens_thought: int = 0
    has_usage: bool = True
    """Whether it says anything of tokens."""
    pieces: tuple[str, ...] | None = None
    wait_after_first: Event | None = None
    """A stream goes on after its first piece when this is set."""
    break_after_first: Literal["drop", "error"] | None = None
    """A stream ends after its first piece: with the connection, or with an error in it."""


@dataclass(frozen=True)
class Fault:
    """What happens to one call instead of its answer."""

    code: int = 503
    status: str = "UNAVAILABLE"
    message: str = "The model is overloaded. Please try again later."
    kind: Literal["status", "drop", "hang", "garble", "gateway", "drip", "huge", "misshapen"] = "status"
    """An error; the connection closed; no answer until the caller leaves; a 200 that is no JSON; a proxy's error page;
    an answer of one byte now and then; one without an end; a 200 that is JSON of another shape."""
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_delay: str | None = None
    """``retryDelay`` of a google.rpc.RetryInfo in the error."""


def say(sql_query: object, explanation: object = "Counts.", visualization_config: object = None) -> Said:
    """An answer as it should be."""
    written = {"explanation": explanation, "sql_query": sql_query, "visualization_config": visualization_config}
    return Said(json.dumps(written))


def count_rows(asked: Asked) -> Said:
    """Counts the rows of the first table of the request."""
    data = data_of(asked.body)
    table = next(iter(data["schema"]))
    quoted = f"`{table}`" if data["dialect"] == "bigquery" else ".".join(f'"{part}"' for part in table.split("."))
    return say(f"SELECT COUNT(*) AS row_count FROM {quoted}", f"Counts the rows of {table}.", {"type": "table"})


class GeminiServer:
    """The server, up between entering and leaving the context."""

    def __init__(self, *, api_key: str = "AIzaTestKeyThatIsLongEnoughToLookReal0000", port: int = 0) -> None:
        self.api_key = api_key
        self.token = "ya29.token-of-the-test"
        self.models = {"gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite"}
        self.answer: Callable[[Asked], Said] = count_rows
        self.seconds = 0.0
        self.hanging = Event()
        """Set while (and after) a call hangs."""
        self.left = Event()
        """Set when a caller has left before its answer ended."""
        self.ending = Event()
        self._next: deque[Said | Fault] = deque()
        self._asked: list[Asked] = []
        self._lock = Lock()
        self._http = _Listener(self, port)
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="gemini-server")

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a slash."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """The client's variables for the Gemini API."""
        return {"GOOGLE_API_KEY": self.api_key, "GOOGLE_GEMINI_BASE_URL": self.url}

    @property
    def express_environment(self) -> dict[str, str]:
        """Those for Vertex AI with a key."""
        variables = {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_VERTEX_BASE_URL": self.url}
        return variables | {"GOOGLE_API_KEY": self.api_key}

    def vertex_environment(self, folder: Path, project: str = "test-project") -> dict[str, str]:
        """Those for Vertex AI with a service account, whose key file is written into ``folder``."""
        from tests.servers.gemini_wire import service_account

        key_file = folder / "service-account.json"
        key_file.write_text(json.dumps(service_account(project, f"{self.url}/token")))
        variables = {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_VERTEX_BASE_URL": self.url}
        variables |= {"GOOGLE_CLOUD_PROJECT": project, "GOOGLE_CLOUD_LOCATION": "europe-west4"}
        return variables | {"GOOGLE_APPLICATION_CREDENTIALS": str(key_file)}

    @property
    def asked(self) -> list[Asked]:
        """The calls so far, in the order they arrived."""
        with self._lock:
            return list(self._asked)

    def then(self, *outcomes: Said | Fault) -> None:
        """What becomes of the next calls, counting of tokens included."""
        with self._lock:
            self._next.extend(outcomes)

    def take(self, asked: Asked) -> Said | Fault:
        """The outcome of a call; raises ApiError for one that is refused."""
        with self._lock:
            self._asked.append(asked)
            outcome = self._next.popleft() if self._next else None
        if isinstance(outcome, Fault):
            return outcome
        self._check(asked)
        self.ending.wait(self.seconds)
        if asked.call == "countTokens":
            return Said(tokens_in=2)
        return outcome or self.answer(asked)

    def _check(self, asked: Asked) -> None:
        match = _ADDRESS.fullmatch(asked.path)
        if match is None or (match["api"] == "v1beta") == bool(match["publisher"]):
            raise ApiError(404, "NOT_FOUND", f"Not found: {asked.path}")
        if match["project"]:
            if asked.headers.get("authorization") != f"Bearer {self.token}":
                raise ApiError(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        elif asked.headers.get("x-goog-api-key") != self.api_key:
            raise ApiError(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")
        if match["model"] not in self.models:
            raise ApiError(404, "NOT_FOUND", f"models/{match['model']} is not found for API version {match['api']}")
        check_request(asked.call, asked.body, asked.headers)

    def __enter__(self) -> "GeminiServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self._http.shutdown()
        self._http.end_connections()
        self._http.server_close()  # waits for the threads of the connections
        self._thread.join()


class _Listener(HttpListener):
    def __init__(self, gemini: GeminiServer, port: int) -> None:
        self.gemini = gemini
        super().__init__(("127.0.0.1", port), _Connection)


class _Connection(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        gemini = self.server.gemini
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if parts.path == "/token":
            self._send(200, {"access_token": gemini.token, "expires_in": 3600, "token_type": "Bearer"})
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = parts.path.rpartition(":")[2]
        try:
            asked = Asked(call, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(body))
            outcome = gemini.take(asked)
        except ApiError as error:
            self._send(error.code, error.body())
            return
        if isinstance(outcome, Fault):
            self._fail(outcome)
        elif call == "countTokens":
            self._send(200, {"totalTokens": outcome.tokens_in})
        elif call == "generateContent":
            (whole,) = bodies(outcome, (outcome.text,))
            self._send(200, whole)
        elif asked.query.get("alt") == "sse":
            self._stream(outcome)
        else:
            self._send(400, ApiError(400, "INVALID_ARGUMENT", "This server streams with alt=sse only.").body())

    def _stream(self, said: Said) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        pieces = said.pieces if said.pieces is not None else json_pieces(said.text)
        try:
            for number, body in enumerate(bodies(said, pieces)):
                if number == 1 and said.break_after_first == "drop":
                    self.close_connection = True
                    return
                if number == 1 and said.break_after_first == "error":
                    body = ApiError(503, "UNAVAILABLE", "The model is overloaded.").body()  # noqa: PLW2901
                self._chunk(b"data: " + json.dumps(body).encode() + b"\r\n\r\n")
                if "error" in body:
                    break
                if number == 0 and said.wait_after_first is not None:
                    self._wait(said.wait_after_first)
            self._chunk(b"")
        except OSError:
            self.server.gemini.left.set()
            raise

    def _wait(self, event: Event) -> None:
        """Until the event, or until the caller has left."""
        while not event.wait(0.01) and not self.server.gemini.ending.is_set():
            if select.select([self.connection], [], [], 0)[0]:
                raise ConnectionResetError("the caller has left")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _fail(self, fault: Fault) -> None:
        if fault.kind == "status":
            error = ApiError(fault.code, fault.status, fault.message, fault.retry_delay)
            self._send(fault.code, error.body(), fault.headers)
        elif fault.kind == "misshapen":
            body = {"candidates": "none", "usageMetadata": {"promptTokenCount": "many"}}
            line = b"data: " + json.dumps(body).encode() + b"\r\n\r\n"
            if self.path.partition("?")[0].endswith(":streamGenerateContent"):
                self._send_bytes(200, line, {"content-type": "text/event-stream"})
            else:
                self._send(200, body)
        elif fault.kind in ("garble", "gateway"):
            code = 200 if fault.kind == "garble" else fault.code
            self._send_bytes(code, b"<html>Please sign in</html>", {"content-type": "text/html"} | dict(fault.headers))
        else:
            self.close_connection = True
            ending = self.server.gemini.ending
            if fault.kind == "hang":
                self.server.gemini.hanging.set()
                with contextlib.suppress(OSError, ValueError):
                    select.select([self.connection], [], [])
            elif fault.kind == "huge":
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
                while not ending.is_set():
                    self.wfile.write(b" " * 65_536)
            elif fault.kind == "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nx-drip: ")
                while not ending.wait(_DRIP_SECONDS):
                    self.wfile.write(b".")

    def _send(self, code: int, body: Any, headers: Mapping[str, str] = {}) -> None:
        text = json.dumps(body).encode()
        self._send_bytes(code, text, {"content-type": "application/json; charset=UTF-8"} | dict(headers))

    def _send_bytes(self, code: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is written to the test's output."""
