"""A server that answers every request with bytes, whatever was asked."""

import contextlib
import socket
from collections.abc import Iterable
from threading import Event, Thread
from types import TracebackType

PAUSE_SECONDS = 0.02


class BytesServer:
    """Up between entering and leaving the context, which gives its address.

    ``drip`` is sent after the bytes, a piece at a time, until the caller leaves.
    """

    def __init__(self, sent: bytes, drip: Iterable[bytes] = ()) -> None:
        self._sent, self._drip = sent, drip
        self._ending = Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = Thread(target=self._serve, name="bytes-server")

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(65_536)
                connection.sendall(self._sent)
                for piece in self._drip:
                    if self._ending.wait(PAUSE_SECONDS):
                        break
                    connection.sendall(piece)
