"""A Redis of our own on loopback, without a file: the program ``redis-server``.

with RedisServer() as server:
    server.url             # redis://:password@127.0.0.1:port/0
    server.stop(); server.start()  # on the same port, empty
"""

import secrets
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Any

import pytest
import redis

from tests.programs import find_program


class RedisServer:
    """The server, up between entering and leaving the context."""

    def __init__(self) -> None:
        self._password = secrets.token_urlsafe(16)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="modeldrop-redis-")

    @property
    def url(self) -> str:
        """With the password in it."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        """A client of the test's own."""
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        """Until it answers."""
        program = find_program("redis-server")
        assert program is not None  # the marker has seen to it
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        command += ["--requirepass", self._password, "--dir", self._folder.name]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.exceptions.RedisError as error:
                    assert self._process.poll() is None
                    if time.monotonic() > deadline:
                        pytest.fail(f"not ready after 20 s: {error}")
                    time.sleep(0.02)

    def stop(self) -> None:
        """Until it is gone."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()
