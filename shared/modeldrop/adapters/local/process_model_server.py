"""Model serving on this machine, as wishes in a small SQLite database.

``ProcessModelServer`` only edits what *should* be deployed; ``localcloud.serving_supervisor`` starts and stops the
processes that make it so, and ``localcloud.traffic_router`` sends requests to them. Any number of threads and processes
may use one database; each change is one transaction, synced to disk before the call returns.
"""

import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from modeldrop.adapters.local.serving_table import as_unavailable, connect, deployed_id
from modeldrop.errors import Conflict, NotFound, Refused
from modeldrop.ports import DeployedVersion, Endpoint, Operation, ServedVersion

OPERATIONS_KEPT = 1_000


class ProcessModelServer:
    """The ModelServer port on the database at ``path``, and what the supervisor reports back into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect(path)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the database; what it holds stays."""
        with self._lock:
            self._connection.close()

    # --- the port ----------------------------------------------------------------------------------------------

    def observe(self, model: str) -> Endpoint | None:
        """See ModelServer."""
        with self._transaction("DEFERRED") as connection:
            return _endpoint(connection, model)

    def observe_many(self, models: Sequence[str]) -> dict[str, Endpoint]:
        """See ModelServer. All as of one moment."""
        with self._transaction("DEFERRED") as connection:
            seen = {model: _endpoint(connection, model) for model in models}
        return {model: endpoint for model, endpoint in seen.items() if endpoint is not None}

    def upload(self, version: ServedVersion) -> Operation | None:
        """See ModelServer. Done at once: the artifacts stay where they are."""
        if version.image is not None:
            raise Refused(f"{version.model} {version.version}: local processes do not run container images")
        with self._transaction() as connection:
            if _is_uploaded(connection, version):
                return None
            row = (version.model, version.version, version.digest, version.runtime, version.artifact_uri)
            connection.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?)", row)
            if version.pointer is not None:
                follower = (version.model, version.version, version.pointer)
                connection.execute("INSERT INTO followers VALUES (?, ?, ?)", follower)
            return _new_operation(connection, "upload", done=True)

    def deploy(self, version: ServedVersion) -> Operation | None:
        """See ModelServer. Makes a missing endpoint in the same step; done once the version's process has answered."""
        with self._transaction() as connection:
            if not _is_uploaded(connection, version):
                raise NotFound(f"{version.model} {version.version} is not uploaded")
            if _endpoint(connection, version.model) is None:
                connection.execute("INSERT INTO endpoints VALUES (?, ?)", (version.model, _new_etag()))
            ready = _ready(connection, version.model, version.version)
            if ready:
                return None
            if ready is not None:
                raise Conflict(f"{version.model} {version.version} is being deployed already")
            operation = _new_operation(connection, "deploy", done=False)
            connection.execute(
                "INSERT INTO deployments (operation, model, version) VALUES (?, ?, ?)",
                (operation.name, version.model, version.version),
            )
            return operation

    def set_traffic(self, model: str, split: Mapping[str, int], etag: str) -> Endpoint:
        """See ModelServer. Every success, also one that changes no share, makes a new etag."""
        _check_split(split)
        with self._transaction() as connection:
            endpoint = _endpoint(connection, model)
            if endpoint is None:
                raise NotFound(f"{model} has no endpoint")
            if endpoint.etag != etag:
                raise Conflict(f"the endpoint of {model} has changed")
            unknown = sorted(set(split) - {deployed.version for deployed in endpoint.deployed})
            if unknown:
                raise Refused(f"not deployed on {model}: {', '.join(unknown)}")
            connection.execute("UPDATE deployments SET traffic = 0 WHERE model = ?", (model,))
            connection.executemany(
                "UPDATE deployments SET traffic = ? WHERE model = ? AND version = ?",
                [(percent, model, version) for version, percent in split.items()],
            )
            return _changed(connection, model)

    def undeploy(self, model: str, version: str) -> Operation | None:
        """See ModelServer. Off the endpoint at once; its process answers what it has begun, then ends."""
        with self._transaction() as connection:
            ready = _ready(connection, model, version)
            if ready is None:
                return None
            if not ready:
                raise Conflict(f"{model} {version} is still being deployed")
            cursor = connection.execute(
                "DELETE FROM deployments WHERE model = ? AND version = ? AND traffic = 0", (model, version)
            )
            if not cursor.rowcount:
                raise Refused(f"{model} {version} has traffic")
            _changed(connection, model)
            return _new_operation(connection, "undeploy", done=True)

    def operation(self, name: str) -> Operation | None:
        """See ModelServer. Known are those under way and, of the last thousand begun, those done."""
        with self._transaction("DEFERRED") as connection:
            row = connection.execute("SELECT done, error FROM operations WHERE name = ?", (name,)).fetchone()
        return Operation(name=name, done=bool(row[0]), error=row[1]) if row else None

    # --- what the supervisor reports ---------------------------------------------------------------------------

    def report_answering(self, operation: str, port: int) -> bool:
        """The deployment's worker answers at ``port``. False if nobody wants the deployment any more."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT model, ready FROM deployments WHERE operation = ?", (operation,)
            ).fetchone()
            if row is None:
                return False
            connection.execute("UPDATE deployments SET ready = 1, port = ? WHERE operation = ?", (port, operation))
            if not row[1]:
                connection.execute("UPDATE operations SET done = 1 WHERE name = ?", (operation,))
                _changed(connection, row[0])
            return True

    def report_down(self, operation: str) -> None:
        """The deployment's worker is gone; requests for it must not be sent there any more."""
        with self._transaction() as connection:
            connection.execute("UPDATE deployments SET port = NULL WHERE operation = ?", (operation,))

    def report_all_down(self) -> None:
        """No worker runs: addresses of an earlier life mean nothing."""
        with self._transaction() as connection:
            connection.execute("UPDATE deployments SET port = NULL WHERE port IS NOT NULL")

    def report_failed(self, operation: str, reason: str) -> bool:
        """The deployment's worker could not answer. Ends a first deployment with ``reason`` and forgets it.

        False if the deployment answered before: it is kept, and a worker for it is worth another try.
        """
        with self._transaction() as connection:
            row = connection.execute("SELECT ready FROM deployments WHERE operation = ?", (operation,)).fetchone()
            if row and row[0]:
                return False
            connection.execute("DELETE FROM deployments WHERE operation = ?", (operation,))
            connection.execute(
                "UPDATE operations SET done = 1, error = ? WHERE name = ? AND NOT done", (reason, operation)
            )
            return True

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """All or nothing; IMMEDIATE takes the write lock before the first read, so nothing read can go stale."""
        with self._lock, as_unavailable():
            self._connection.execute(f"BEGIN {kind}")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


def _endpoint(connection: sqlite3.Connection, model: str) -> Endpoint | None:
    row = connection.execute("SELECT etag FROM endpoints WHERE model = ?", (model,)).fetchone()
    if row is None:
        return None
    deployed = connection.execute(
        "SELECT version, digest, traffic FROM deployments JOIN versions USING (model, version)"
        " WHERE model = ? AND ready ORDER BY version",
        (model,),
    ).fetchall()
    return Endpoint(
        model=model,
        etag=row[0],
        deployed=tuple(DeployedVersion(v, deployed_id(model, v, digest), traffic) for v, digest, traffic in deployed),
    )


def _changed(connection: sqlite3.Connection, model: str) -> Endpoint:
    """Give the endpoint a new etag and return it."""
    connection.execute("UPDATE endpoints SET etag = ? WHERE model = ?", (_new_etag(), model))
    endpoint = _endpoint(connection, model)
    assert endpoint is not None, "endpoints are never removed"
    return endpoint


def _is_uploaded(connection: sqlite3.Connection, version: ServedVersion) -> bool:
    row = connection.execute(
        "SELECT digest FROM versions WHERE model = ? AND version = ?", (version.model, version.version)
    ).fetchone()
    if row and row[0] != version.digest:
        raise Refused(f"{version.model} {version.version} is known with other content (sha256 {row[0]})")
    return row is not None


def _ready(connection: sqlite3.Connection, model: str, version: str) -> bool | None:
    """Whether the deployment has ever answered; None if there is none."""
    row = connection.execute(
        "SELECT ready FROM deployments WHERE model = ? AND version = ?", (model, version)
    ).fetchone()
    return bool(row[0]) if row else None


def _new_operation(connection: sqlite3.Connection, kind: str, *, done: bool) -> Operation:
    name = f"{kind}-{secrets.token_hex(12)}"
    cursor = connection.execute("INSERT INTO operations (name, done) VALUES (?, ?)", (name, done))
    connection.execute(
        "DELETE FROM operations WHERE done AND number <= ?", ((cursor.lastrowid or 0) - OPERATIONS_KEPT,)
    )
    return Operation(name=name, done=done)


def _new_etag() -> str:
    return secrets.token_hex(8)


def _check_split(split: Mapping[str, int]) -> None:
    wrong = [f"{v}: {p!r}" for v, p in split.items() if type(p) is not int or not 0 <= p <= 100]
    if wrong:
        raise Refused(f"traffic must be whole percents: {', '.join(wrong)}")
    if sum(split.values()) != 100:
        raise Refused(f"traffic sums to {sum(split.values())}, not to 100")
