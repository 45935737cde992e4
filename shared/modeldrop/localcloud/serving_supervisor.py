"""Makes the processes of this machine match what ProcessModelServer wants deployed.

One thread compares wish and reality about twenty times a second (one number read from SQLite while nothing changes).
Each deployment has a keeper: a thread that starts its worker process, reports it once it is healthy, starts it again
when it dies, and ends it when nobody wants it any more. Exactly one supervisor per database.
"""

import http.client
import logging
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.adapters.local.serving_table import Deployment, ServingTable, ServingTableReader
from modeldrop.errors import Unavailable
from modeldrop.localcloud.serving_process import HEALTH_ROUTE, Worker, open_log, start_worker

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SupervisorTiming:
    """How patient the supervisor is. All in seconds."""

    look: float = 0.05
    """Between two looks at the database, and between two at a starting or running worker."""
    start: float = 30.0
    """A started worker must be healthy within this time."""
    unhealthy: float = 3.0
    """How long a worker that answers, but not with 200, may go on doing so."""
    check: float = 1.0
    """Between two questions to a running worker whether it is healthy …"""
    silent: float = 10.0
    """… and how long it may leave them unanswered before it is ended and started again."""
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
            open_log(self._log_file) as log,
            closing(start_worker(self._deployment.served, self._source, log)) as worker,
        ):
            problem = self._problem_of_start(worker)
            if self._ending.is_set():
                worker.drain(self._timing.late_requests, self._timing.drain)
                return False
            if problem is not None:
                LOG.warning("%s: %s", self.name, problem)
                return not self._state.report_failed(operation, problem)
            if not self._state.report_answering(operation, worker.port):
                worker.drain(self._timing.late_requests, self._timing.drain)
                return False
            try:
                silent = self._watch(worker)
                if self._ending.is_set():
                    worker.drain(self._timing.late_requests, self._timing.drain)
                    return False
                what = "does not answer" if silent else f"ended ({worker.exit_code()})"
                LOG.warning("%s: the worker %s; it is started again", self.name, what)
                return True
            finally:
                self._state.report_down(operation)

    def _watch(self, worker: Worker) -> bool:
        """Until the worker has ended, is to end, or hangs; whether it hangs."""
        heard = checked = time.monotonic()
        while worker.exit_code() is None and not self._ending.wait(self._timing.look):
            if time.monotonic() - checked < self._timing.check:
                continue
            if worker.health() is not None:
                heard = time.monotonic()
            checked = time.monotonic()
            if checked - heard > self._timing.silent:
                return True
        return False

    def _problem_of_start(self, worker: Worker) -> str | None:
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
