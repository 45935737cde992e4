"""The connections of one call out: resolved once, checked, and over by a deadline.

httpcore opens its connections through an object like ``CheckedNetwork``, so there is no way around it: the address
that was checked is the one connected to (a name that resolves to something else a moment later is not asked again),
while TLS checks the certificate against the name. Every wait takes what is *left* of the deadline, where a timeout for
each read would let a server that sends a byte a second hold us for as long as it likes.
"""

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

import httpcore

from modeldrop.errors import Refused, Unavailable

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of (host, port), as text. Raises OSError where there are none."""

MOST_READ = 2 * 1024 * 1024
"""Bytes read in one call, head and chunk sizes included."""

MOST_ADDRESSES_TRIED = 4


def look_up(host: str, port: int) -> Sequence[str]:
    """The system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class Deadline:
    """A moment after which nobody waits any longer."""

    def __init__(self, seconds: float) -> None:
        self._at = monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than 0; raises httpcore.TimeoutException when there are none."""
        left = self._at - monotonic()
        if left <= 0:
            raise httpcore.TimeoutException
        return left


class CheckedNetwork(httpcore.NetworkBackend):
    """Opens connections until the deadline. ``check`` raises Refused for a host and its addresses."""

    def __init__(self, resolve: Resolve, check: Callable[[str, Sequence[str]], None], deadline: Deadline) -> None:
        self._resolve = resolve
        self._check = check
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address that takes one. Raises Refused if the host may not be called."""
        addresses = self._addresses(host, port)
        self._check(host, addresses)
        waiting = list(addresses[:MOST_ADDRESSES_TRIED])
        while True:
            share = self._deadline.left() / len(waiting)  # an address that swallows packets leaves time for the next
            try:
                return _Stream(_connected(waiting.pop(0), port, share), self._deadline)
            except OSError as error:
                if not waiting:
                    self._deadline.left()
                    raise httpcore.ConnectError(str(error)) from error

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Never."""
        raise Refused("only addresses of the internet are called")

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        if _is_address(host):
            return [host]
        # The resolver cannot be interrupted: it is left behind, in a thread that nobody waits for at the end.
        answers: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()
        Thread(target=_ask, args=(self._resolve, host, port, answers), daemon=True, name="resolve").start()
        try:
            found = answers.get(timeout=self._deadline.left())
        except Empty:
            raise httpcore.ConnectTimeout from None
        if isinstance(found, UnicodeError):
            raise Refused("no host can be called that")
        if isinstance(found, Exception) or not found:
            raise Unavailable(f"{host} was not resolved: {found or 'no address'}")
        return found


class _Stream(httpcore.NetworkStream):
    """A connected socket, until the deadline."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline
        self._bytes_left = MOST_READ

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _network_errors(httpcore.ReadError):
            self._socket.settimeout(self._deadline.left())
            data = self._socket.recv(max_bytes)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise httpcore.ReadError(f"more than {MOST_READ:,} bytes")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        waiting = memoryview(buffer)
        while waiting:
            with _network_errors(httpcore.WriteError):
                self._socket.settimeout(self._deadline.left())
                waiting = waiting[self._socket.send(waiting) :]

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        try:
            with _network_errors(httpcore.ConnectError):
                self._socket.settimeout(self._deadline.left())
                # The handshake as a whole has this timeout, its certificate check is the context's.
                return _Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname), self._deadline)
        except BaseException:
            self.close()  # httpcore does not know of a stream that never came to be
            raise

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        return None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _ask(resolve: Resolve, host: str, port: int, answers: "SimpleQueue[Sequence[str] | Exception]") -> None:
    try:
        answers.put(resolve(host, port))
    except (OSError, UnicodeError) as error:
        answers.put(error)


def _connected(address: str, port: int, seconds: float) -> socket.socket:
    connecting = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connecting.settimeout(seconds)
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connecting.connect((address, port))
    except BaseException:
        connecting.close()
        raise
    return connecting


@contextmanager
def _network_errors(kind: type[Exception]) -> Iterator[None]:
    """Sockets' errors as httpcore's. ``kind``: WriteError is the one after which an answer is still looked for."""
    try:
        yield
    except TimeoutError as error:
        raise httpcore.TimeoutException from error
    except (OSError, ValueError) as error:  # ValueError: a name that TLS cannot take
        raise kind(str(error)) from error
