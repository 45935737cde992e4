"""A training pipeline and a chat channel, as a webhook sees them: a server on loopback that keeps what it is sent."""

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

BODY_LIMIT_BYTES = 1 << 20


class Pipeline:
    """``url`` + ``/train`` takes requests for retraining, ``/news`` what people are told. Forged ones get 401."""

    def __init__(self, secret: str) -> None:
        pipeline = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), BODY_LIMIT_BYTES))
                signed = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
                genuine = hmac.compare_digest(signed, self.headers.get("X-Modeldrop-Signature", ""))
                if genuine:
                    pipeline.take(self.path, self.headers.get("Idempotency-Key", ""), json.loads(body))
                self.send_response(202 if genuine else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the server's name for it
                """What is told is told by the demo."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="pipeline", daemon=True)
        self._guard = threading.Lock()
        self._taken: list[tuple[str, str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, path: str, key: str, content: dict[str, Any]) -> None:
        """Keep a request."""
        with self._guard:
            self._taken.append((path, key, content))

    def taken(self, path: str) -> list[tuple[str, dict[str, Any]]]:
        """What came to that path so far: keys and contents."""
        with self._guard:
            return [(key, content) for where, key, content in self._taken if where == path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
