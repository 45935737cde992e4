"""What should be deployed on this machine, as rows in a small SQLite database, and how to read them cheaply.

``process_model_server`` edits them; the supervisor and the traffic router of ``localcloud`` read them all the time.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from modeldrop.errors import Unavailable
from modeldrop.ports import ServedVersion

BUSY_SECONDS = 5.0

# A deployment is known by the operation that made it: deployed again after an undeploy, it is another one.
# "ready" stays 1 once the version has answered; "port" is where its worker listens now, NULL while it is down.
# A version that is in "followers" as well stands for whatever the pointer names.
SCHEMA = """
CREATE TABLE IF NOT EXISTS endpoints (model TEXT PRIMARY KEY, etag TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS versions (
    model TEXT, version TEXT, digest TEXT NOT NULL, runtime TEXT NOT NULL, artifact_uri TEXT NOT NULL,
    PRIMARY KEY (model, version));
CREATE TABLE IF NOT EXISTS followers (
    model TEXT, version TEXT, pointer TEXT NOT NULL, PRIMARY KEY (model, version));
CREATE TABLE IF NOT EXISTS deployments (
    operation TEXT PRIMARY KEY, model TEXT NOT NULL, version TEXT NOT NULL,
    ready INTEGER NOT NULL DEFAULT 0, traffic INTEGER NOT NULL DEFAULT 0, port INTEGER,
    UNIQUE (model, version));
CREATE TABLE IF NOT EXISTS operations (
    number INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, done INTEGER NOT NULL, error TEXT);
"""


class Deployment(msgspec.Struct, frozen=True):
    """A version somebody wants behind its endpoint, for those who make it so."""

    operation: str
    served: ServedVersion
    ready: bool
    traffic_percent: int
    port: int | None

    @property
    def deployed_id(self) -> str:
        """Ten digits at most, the same for the same (model, version, digest)."""
        return deployed_id(self.served.model, self.served.version, self.served.digest)


ServingTable = Mapping[str, tuple[Deployment, ...]]
"""Deployments by model, ordered by version; a model without an endpoint is not in it."""


def deployed_id(model: str, version: str, digest: str) -> str:
    """The id of a deployment, 1 to 10 digits as on Vertex AI.

    >>> deployed_id("fraud", "v1", "00" * 32)
    '497751776'
    """
    name = hashlib.sha256("\0".join((model, version, digest)).encode()).digest()
    return str(int.from_bytes(name[:8]) % 10**10)


class ServingTableReader:
    """The whole table, read again only when some other connection has committed a change: cheap to ask often.

    Has a connection of its own, as SQLite's ``data_version`` does not count a connection's own changes. For one
    thread or one event loop at a time.
    """

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self._data_version = -1
        self._table: ServingTable = {}

    def read(self) -> ServingTable:
        """The table now; the same object as before while nothing has changed. Raises Unavailable."""
        with as_unavailable():
            # First the number, then the rows: a commit in between is seen as a change next time.
            (data_version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if data_version != self._data_version:
                self._table = _table(self._connection)
                self._data_version = data_version
        return self._table

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the database at ``path``, made where there is none. Raises Unavailable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with as_unavailable():
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        with as_unavailable():
            _while_locked(lambda: connection.execute("PRAGMA journal_mode = WAL"))
            connection.execute("PRAGMA synchronous = FULL")
            _while_locked(lambda: connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;"))
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Raise what SQLite raises as Unavailable."""
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(f"serving database: {error}") from error


def _while_locked(attempt: Callable[[], object]) -> None:
    """Try until it works: SQLite does not wait for others by itself while it turns a new file to WAL."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            attempt()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _table(connection: sqlite3.Connection) -> ServingTable:
    rows = connection.execute(
        "SELECT e.model, d.operation, d.version, v.digest, v.runtime, v.artifact_uri, f.pointer, d.ready, d.traffic,"
        " d.port FROM endpoints e LEFT JOIN deployments d USING (model) LEFT JOIN versions v USING (model, version)"
        " LEFT JOIN followers f USING (model, version)"
        " ORDER BY e.model, d.version"
    ).fetchall()
    table: dict[str, tuple[Deployment, ...]] = {}
    for model, operation, version, digest, runtime, artifact_uri, pointer, ready, traffic, port in rows:
        table.setdefault(model, ())
        if operation is not None and digest is not None:
            served = ServedVersion(model, version, digest, runtime, artifact_uri, pointer=pointer)
            table[model] += (Deployment(operation, served, bool(ready), traffic, port),)
    return table
