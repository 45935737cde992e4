"""One SQLite file, shared by many threads and several processes: connections, durability, transactions, errors."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modeldrop.errors import Unavailable

_OPENING_SECONDS = 20.0


class SqliteFile:
    """A pool of connections to one file; what was committed survives the death of the process and of the machine.

    A transaction that cannot get the lock within ``busy_seconds``, or whose disk fails, raises Unavailable.
    """

    def __init__(self, path: Path, schema: str, *, busy_seconds: float = 10.0) -> None:
        """Opens or makes the file. ``schema``: statements that make the tables *if not there*; no ``;`` inside one."""
        self._path = path
        self._busy_seconds = busy_seconds
        self._guard = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        self._process = os.getpid()
        self._closed = False
        with self._errors():
            self._idle.append(self._open_with_schema(schema))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment throughout, whatever others commit meanwhile."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection that is the only writer; commits at the end, or changes nothing if the block raises."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        """Closes the idle connections at once and those in use when they are done. Later calls raise Unavailable."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._errors():
            connection = self._take()
            try:
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._undo(connection)
                raise
            self._give_back(connection)

    def _undo(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            connection.close()  # which rolls back, whatever state the failure left behind
        else:
            self._give_back(connection)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Unavailable(f"{self._path.name}: {error}") from error

    def _take(self) -> sqlite3.Connection:
        with self._guard:
            if self._closed:
                raise Unavailable(f"{self._path.name} is closed")
            if self._process != os.getpid():
                # SQLite forbids even closing a connection that was opened before a fork: keep these, unused.
                self._process, self._inherited, self._idle = os.getpid(), self._idle, []
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._guard:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        # One thread at a time uses a connection, but not always the same thread.
        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous=FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_with_schema(self, schema: str) -> sqlite3.Connection:
        connection = self._connect()
        try:
            _use_write_ahead_log(connection)
            connection.execute("BEGIN IMMEDIATE")
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switches the file to WAL, once and for all connections to come.

    SQLite answers "locked" at once, without its busy timeout, when two processes switch a new file together.
    """
    deadline = time.monotonic() + _OPENING_SECONDS
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            mode = "locked"
        if mode == "wal":
            return
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError(f"cannot switch to a write-ahead log: {mode}")
        time.sleep(0.01)
