"""Makes the processes of this machine match what ProcessModelServer wants deployed.

One thread compares wish and reality about twenty times a second (one number read from SQLite while nothing changes).
Each deployment has a keeper: a thread that starts its worker process, reports it once it is healthy, starts it again
when it dies, and ends it when nobody wants it any more. Exactly one supervisor per database.
"""

import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

import modeldrop
from modeldrop.adapters.local.process_model_server import (
    Deployment,
    ProcessModelServer,
    ServingTable,
    ServingTableReader,
)
from modeldrop.errors import Unavailable
from modeldrop.ports import ServedVersion
from modeldrop.settings import SERVING_VARIABLES

LOG = logging.getLogger(__name__)
HEALTH_ROUTE = "/health"
PREDICT_ROUTE = "/predict"
WORKER_THREADS = 4
LARGEST_LOG_BYTES = 5_000_000


@dataclass(frozen=True)
class SupervisorTiming:
    """How patient the supervisor is. All in seconds."""

    look: float = 0.05
    """Between two looks at the database, and between two at a starting or running worker."""
    start: float = 30.0
    """A started worker must be healthy within this time."""
    unhealthy: float = 3.0
    """How long a worker that answers, but not with 200, may go on doing so."""
    late_requests: float = 0.2
    """Between undeploy and SIGTERM, for requests routed just before."""
    drain: float = 10.0
    """Between SIGTERM and SIGKILL, for requests that have begun."""
    first_restart: float = 0.1
    """Pause before a dead worker is started again; doubles each time …"""
    slowest_restart: float = 10.0
    """… up to this, and begins anew for a worker that lived longer than this."""


class ServingSupervisor:
    """Runs ``functions/predict`` in one process per deployed version, from ``start()`` to ``stop()``."""

    def __init__(
        self, state: ProcessModelServer, functions: Path, logs: Path, timing: SupervisorTiming | None = None
    ) -> None:
        self._state = state
        self._source = functions / "predict" / "main.py"
        self._logs = logs
        self._timing = timing or SupervisorTiming()
        self._reader: ServingTableReader | None = None
        self._seen: ServingTable | None = None
        self._keepers: dict[str, _Keeper] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serving-supervisor", daemon=True)

    def start(self) -> None:
        """Begin; the processes of everything deployed are started. Raises Unavailable if the database is."""
        self._logs.mkdir(parents=True, exist_ok=True)
        self._state.report_all_down()
        self._reader = ServingTableReader(self._state.path)
        self._thread.start()

    def stop(self) -> None:
        """End all processes (what they have begun is answered) and return when they are gone; all stays deployed."""
        self._stopping.set()
        if self._reader is None:
            return
        self._thread.join()
        for keeper in self._keepers.values():
            keeper.end()
        for keeper in self._keepers.values():
            keeper.join()
        self._reader.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._timing.look):
            try:
                self._reconcile()
            except Exception:
                LOG.exception("serving supervisor: a look failed; the next one follows")

    def _reconcile(self) -> None:
        assert self._reader is not None
        # The dead first, then the table: a keeper ends after it has reported, so its report is in this table.
        dead = [operation for operation, keeper in self._keepers.items() if not keeper.is_alive()]
        table = self._reader.read()
        if table is self._seen and not dead:
            return
        for operation in dead:
            del self._keepers[operation]
        wanted = {deployment.operation: deployment for several in table.values() for deployment in several}
        for operation in self._keepers.keys() - wanted.keys():
            self._keepers[operation].end()
        for operation in wanted.keys() - self._keepers.keys():
            self._keepers[operation] = _Keeper(wanted[operation], self._state, self._source, self._logs, self._timing)
            self._keepers[operation].start()
        self._seen = table


class _Keeper(threading.Thread):
    """Keeps one deployment's worker alive, life after life, until told to end or until its first life fails."""

    def __init__(
        self, deployment: Deployment, state: ProcessModelServer, source: Path, logs: Path, timing: SupervisorTiming
    ) -> None:
        super().__init__(name=f"keeper-{deployment.served.model}-{deployment.served.version}", daemon=True)
        self._deployment = deployment
        self._state = state
        self._source = source
        served = deployment.served
        self._log_file = logs / f"{quote(served.model, safe='')}_{quote(served.version, safe='')}.log"
        self._timing = timing
        self._ending = threading.Event()

    def end(self) -> None:
        """Ask for the worker's end; ``join`` waits for it."""
        self._ending.set()

    def run(self) -> None:
        """The thread: worker after worker."""
        pause = self._timing.first_restart
        while not self._ending.is_set():
            born = time.monotonic()
            try:
                if not self._one_life():
                    return
            except (OSError, Unavailable):
                LOG.exception("%s: its worker could not be run or reported", self.name)
            if time.monotonic() - born > self._timing.slowest_restart:
                pause = self._timing.first_restart
            self._ending.wait(pause)
            pause = min(2 * pause, self._timing.slowest_restart)

    def _one_life(self) -> bool:
        """Run a worker until it dies or is unwanted. True if there should be another."""
        operation = self._deployment.operation
        with (
            _open_log(self._log_file) as log,
            closing(start_worker(self._deployment.served, self._source, log)) as worker,
        ):
            problem = self._problem_of_start(worker)
            if self._ending.is_set():
                worker.drain(self._timing)
                return False
            if problem is not None:
                LOG.warning("%s: %s", self.name, problem)
                return not self._state.report_failed(operation, problem)
            if not self._state.report_answering(operation, worker.port):
                worker.drain(self._timing)
                return False
            try:
                while worker.exit_code() is None and not self._ending.wait(self._timing.look):
                    pass
                if self._ending.is_set():
                    worker.drain(self._timing)
                    return False
                LOG.warning("%s: the worker ended (%s)", self.name, worker.exit_code())
                return True
            finally:
                self._state.report_down(operation)

    def _problem_of_start(self, worker: "Worker") -> str | None:
        """Wait until the worker is healthy (None), or cannot be (the reason)."""
        deadline = time.monotonic() + self._timing.start
        problem = f"no answer to GET {HEALTH_ROUTE} within {self._timing.start:g} s"
        while not self._ending.is_set():
            if worker.exit_code() is not None:
                return f"the worker ended ({worker.exit_code()}) before it answered: {worker.last_words()}"
            answer = worker.health()
            if answer is not None and answer[0] == http.client.OK:
                return None
            if answer is not None:
                problem = f"GET {HEALTH_ROUTE} answers {answer[0]}: {answer[1]}"
                deadline = min(deadline, time.monotonic() + self._timing.unhealthy)
            if time.monotonic() > deadline:
                return f"{problem} {worker.last_words()}".strip()
            self._ending.wait(self._timing.look)
        return None


@dataclass(frozen=True)
class Worker:
    """A running worker process, and the port of 127.0.0.1 it listens on."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path
    log_start: int

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def health(self) -> tuple[int, str] | None:
        """Status and the beginning of the body of its health answer; None if it did not answer within a second."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1.0)
        try:
            connection.request("GET", HEALTH_ROUTE, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read(1_000).decode(errors="replace").strip()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def last_words(self) -> str:
        """The last ten lines (2,000 characters at most) it wrote."""
        with self.log_file.open("rb") as log:
            log.seek(max(self.log_start, log.seek(0, os.SEEK_END) - 2_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-10:]).strip()

    def drain(self, timing: SupervisorTiming) -> None:
        """Let it answer what has begun, for as long as the timing allows."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timing.late_requests)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timing.drain)

    def close(self) -> None:
        """End it and everything it has started, at once, and wait for that."""
        # Also when the leader is gone: those it left behind are still in its group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


def start_worker(served: ServedVersion, source: Path, log: IO[bytes]) -> Worker:
    """Start the process of one version on a free port; it ends with us, however we end."""
    log_start = log.tell()  # before the worker writes: it shares our position in the file
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "modeldrop.localcloud.serving_worker", str(listener.fileno()), str(source)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(served, port),
            pass_fds=(listener.fileno(),),
            start_new_session=True,  # Ctrl-C in the terminal is for us; we end the workers in order
        )
    return Worker(process, port, Path(log.name), log_start)


def _environment(served: ServedVersion, port: int) -> dict[str, str]:
    serving = {
        "storage_uri": served.artifact_uri,
        "model": served.model,
        "version": served.version,
        "digest": served.digest,
        "health_route": HEALTH_ROUTE,
        "predict_route": PREDICT_ROUTE,
    }
    inherited = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return (
        inherited
        | {SERVING_VARIABLES[name]: value for name, value in serving.items()}
        | {
            "AIP_HTTP_PORT": str(port),
            "PYTHONPATH": str(Path(modeldrop.__file__).parent.parent),
            "PYTHONUNBUFFERED": "1",
            "THREADS": str(WORKER_THREADS),
        }
    )


def _open_log(path: Path) -> IO[bytes]:
    """Open for appending; begin anew when it has grown large."""
    if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
        path.unlink()
    log = path.open("ab")
    log.seek(0, os.SEEK_END)
    return log
