"""The document store on one SQLite file: the embedded default."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from modeldrop.adapters.local.sqlite_file import SqliteFile
from modeldrop.domain.documents import check_commit, check_page, split_document_path
from modeldrop.errors import Conflict
from modeldrop.ports import Create, Delete, Document, Replace, Write

# Ids are compared byte by byte (BINARY); for UTF-8 that is the order of code points.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL, revision INTEGER NOT NULL,
    PRIMARY KEY (collection, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL);
INSERT OR IGNORE INTO commits (only, number) VALUES (1, 0)
"""


class SqliteDocuments:
    """A ports.DocumentStore in a file; safe from many threads and several processes, durable once commit returned.

    A revision is the number of the commit that wrote the document. Numbers only grow, so that a document deleted and
    made again never has a revision it had before.
    """

    def __init__(self, path: Path, *, busy_seconds: float = 10.0) -> None:
        """``busy_seconds``: how long a commit waits for other writers before it raises Unavailable."""
        self._file = SqliteFile(path, _SCHEMA, busy_seconds=busy_seconds)

    def close(self) -> None:
        """Closes the file. Later calls raise Unavailable."""
        self._file.close()

    def get(self, path: str) -> Document | None:
        """See DocumentStore."""
        return self.get_many([path])[0]

    def get_many(self, paths: Sequence[str]) -> list[Document | None]:
        """See DocumentStore."""
        keys = [split_document_path(path) for path in paths]
        with self._file.reading() as connection:
            return [_read(connection, *key) for key in keys]

    def commit(self, writes: Sequence[Write]) -> None:
        """See DocumentStore."""
        keys = check_commit([w.path for w in writes], [w.data for w in writes if not isinstance(w, Delete)])
        encoded = [b"" if isinstance(write, Delete) else msgspec.msgpack.encode(write.data) for write in writes]
        if not writes:
            return
        with self._file.writing() as connection:
            number = connection.execute("UPDATE commits SET number = number + 1 RETURNING number").fetchone()[0]
            for write, key, data in zip(writes, keys, encoded, strict=True):
                _apply(connection, write, key, data, number)

    def list(
        self, collection: str, *, after: str | None = None, descending: bool = False, limit: int = 100
    ) -> list[Document]:
        """See DocumentStore."""
        check_page(collection, after, limit)
        beyond, order = ("<", "DESC") if descending else (">", "ASC")
        page = f"AND id {beyond} :after" if after is not None else ""
        query = (
            f"SELECT id, data, revision FROM documents WHERE collection = :collection {page}"  # noqa: S608
            f" ORDER BY id {order} LIMIT :limit"
        )
        with self._file.reading() as connection:
            rows = connection.execute(query, {"collection": collection, "after": after, "limit": limit}).fetchall()
        return [_document(f"{collection}/{name}", data, revision) for name, data, revision in rows]


def _read(connection: sqlite3.Connection, collection: str, name: str) -> Document | None:
    row = connection.execute(
        "SELECT data, revision FROM documents WHERE collection = ? AND id = ?", (collection, name)
    ).fetchone()
    return None if row is None else _document(f"{collection}/{name}", *row)


def _document(path: str, data: bytes, revision: int) -> Document:
    return Document(path, msgspec.msgpack.decode(data, type=dict[str, Any]), str(revision))


def _apply(connection: sqlite3.Connection, write: Write, key: tuple[str, str], data: bytes, number: int) -> None:
    """Makes one write if its precondition holds; raises Conflict otherwise."""
    match write:
        case Create():
            done = connection.execute(
                "INSERT INTO documents (collection, id, data, revision) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (*key, data, number),
            )
        case Replace(revision=revision):
            done = connection.execute(
                "UPDATE documents SET data = ?, revision = ? WHERE collection = ? AND id = ? AND revision = ?",
                (data, number, *key, _number(revision)),
            )
        case Delete(revision=revision):
            done = connection.execute(
                "DELETE FROM documents WHERE collection = ? AND id = ? AND revision = ?",
                (*key, _number(revision)),
            )
    if done.rowcount != 1:
        raise Conflict(f"{type(write).__name__.lower()} of {write.path!r}: somebody was faster")


def _number(revision: str) -> int:
    """The commit a revision stands for; 0, which no commit has, for a text this store never gave out."""
    return int(revision) if revision.isascii() and revision.isdigit() and len(revision) < 19 else 0
