"""A function in a process of its own, as Cloud Run runs it: started, killed and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 30.0
T = TypeVar("T")


def until(look: Callable[[], T | None], what: str) -> T:
    """The first look that finds something; fails after ``DEADLINE_SECONDS``."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS:g} s: {what}"
        time.sleep(0.01)
    return seen


class FunctionInstance:
    """One instance of a function: a process that serves it on a port which stays the same over restarts."""

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        self._name = name
        self._environment = {**environment, "HOME": str(folder)}  # gunicorn keeps a socket there
        self._port = _free_port()
        self._log = folder / f"{name}-{self._port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; requests may come as soon as ``await_ready`` is back."""
        assert self._process is None
        source = REPOSITORY / "functions" / self._name / "main.py"
        options = ["--target", self._name, "--source", str(source), "--host", "127.0.0.1", "--port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "default", "-m", "functions_framework", *options],
                env=self._environment,
                cwd=self._log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the server and its workers are one group, and end together
            )

    def await_ready(self) -> None:
        """Wait until it listens."""
        until(self._listens, f"{self._name} listens")

    def kill(self) -> None:
        """``kill -9``, to the server and its workers: nothing gets to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it, whatever it takes."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def log_text(self) -> str:
        """What it printed."""
        return self._log.read_text(errors="replace")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self._name} ended: {self.log_text()[-3000:]}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _end(self, first: signal.Signals) -> None:
        process, self._process = self._process, None
        assert process is not None
        try:
            os.killpg(process.pid, first)
            process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
