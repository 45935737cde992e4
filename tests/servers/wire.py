"""A TCP relay between a client and a server, on which answers get lost."""

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType


class Wire:
    """Relays connections on a port of its own: ``with Wire("127.0.0.1:1234") as wire: … wire.address``."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._swallowing = threading.Event()

    @property
    def address(self) -> str:
        """``host:port`` for the client."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def swallow_answers(self) -> None:
        """From now on requests arrive but their answers do not, until ``cut``."""
        self._swallowing.set()

    def cut(self) -> None:
        """Ends all connections; new ones work as they should."""
        with self._guard:
            for connection in self._open:
                _shut(connection)
            self._open.clear()
            self._swallowing.clear()

    def __enter__(self) -> "Wire":
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _shut(self._listener)
        self._listener.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            with self._guard:
                self._open |= {client, server}
            self._spawn(self._relay, client, server, False)
            self._spawn(self._relay, server, client, True)

    def _spawn(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _relay(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not (answers and self._swallowing.is_set()):
                    sink.sendall(data)
        _shut(sink)
        with self._guard:
            self._open.discard(source)
        source.close()


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
