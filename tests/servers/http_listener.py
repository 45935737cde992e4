"""What the HTTP servers of the tests listen with: they end when they are told to, and leave nothing behind."""

import contextlib
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HttpListener(ThreadingHTTPServer):
    """A port of its own on loopback; ``end_connections``, then ``server_close``, which waits for their threads."""

    daemon_threads = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._guard = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection."""
        return super().get_request()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = self.accept()
        with self._guard:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """Cut those that are open."""
        with self._guard:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that leaves before its answer is no event here; anything else is a bug worth its traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
