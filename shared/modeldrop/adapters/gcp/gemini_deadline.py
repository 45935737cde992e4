"""HTTP for one call with a deadline for everything together.

The client's own timeout is for each read: a service that sends a byte now and then would hold us for as long as it
likes. Here every wait takes what is left of the calling thread's deadline, and a response has a size it may not pass.
"""

import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic

import httpcore
import httpx

MOST_RESPONSE_BYTES = 4 * 1024 * 1024
MOST_CONNECTIONS = 64
KEEPALIVE_SECONDS = 60.0


class ThreadDeadline(threading.local):
    """Until when the calls of this thread may take."""

    at: float | None = None
    """By ``monotonic``; None: no call is under way, and none may be begun."""

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Waits inside end after so many seconds."""
        before, self.at = self.at, monotonic() + seconds
        try:
            yield
        finally:
            self.at = before

    def left(self) -> float:
        """Seconds, more than 0; raises httpcore.TimeoutException when there are none."""
        left = (self.at or 0.0) - monotonic()
        if left <= 0:
            raise httpcore.TimeoutException("the deadline has passed")
        return left


class DeadlineTransport(httpx.BaseTransport):
    """Pooled connections for many threads. Raises what httpcore raises. No proxies, no redirects."""

    def __init__(self, deadline: ThreadDeadline, tls: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=MOST_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=_Network(deadline),
        )
        self._deadline = deadline

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See ``httpx.BaseTransport``."""
        url = request.url
        left = self._deadline.left()
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.read(),
            extensions={"timeout": {"pool": left, "connect": left, "read": left, "write": left}},
        )
        response = self._pool.handle_request(sent)
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        """Ends all connections."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    """The body as it arrives, up to its limit."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._response.iter_stream():
            size += len(piece)
            if size > MOST_RESPONSE_BYTES:
                raise httpcore.ReadError(f"more than {MOST_RESPONSE_BYTES:,} bytes")
            yield piece

    def close(self) -> None:
        self._response.close()


class _Network(httpcore.NetworkBackend):
    """Opens connections whose every wait ends at the deadline of the thread that waits."""

    def __init__(self, deadline: ThreadDeadline) -> None:
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._sockets.connect_tcp(host, port, self._deadline.left(), local_address, socket_options)
        return _Stream(stream, self._deadline)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: ThreadDeadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
