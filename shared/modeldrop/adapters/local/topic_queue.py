"""Topics as a queue on one SQLite file: the publisher, and the subscriber's side for the embedded cloud.

A message is *waiting* until its time has come, *leased* while somebody works on it, and gone once acknowledged. A lease
that is not acknowledged in time makes it waiting again, so that nothing is lost if the worker dies; after
``max_attempts`` leases without acknowledgement it is set aside as a dead letter.

Topics that policies name come into being when something is published there. Nobody has to subscribe to them: what is
not taken is dropped after a week, the longest a subscription of Pub/Sub keeps a message unless told otherwise.
"""

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from modeldrop.adapters.local.sqlite_file import SqliteFile
from modeldrop.domain.messages import check_message, is_topic_name
from modeldrop.errors import NotFound
from modeldrop.ports import Clock

MAX_ATTEMPTS = 5
KEPT = timedelta(days=7)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Times are microseconds since 1970. AUTOINCREMENT: an id is never used again. Waiting or leased, a message may be
# leased from "available_at" on.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, data BLOB NOT NULL, attributes BLOB NOT NULL,
    publish_time INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, available_at INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS messages_by_time ON messages (topic, available_at, id);
CREATE TABLE IF NOT EXISTS dead (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, data BLOB NOT NULL, attributes BLOB NOT NULL,
    publish_time INTEGER NOT NULL, attempts INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_by_topic ON dead (topic, id)
"""
_Row = tuple[int, str, bytes, bytes, int, int]
_COLUMNS = "id, topic, data, attributes, publish_time, attempts"


class QueuedMessage(msgspec.Struct, frozen=True):
    """A message as a subscriber gets it. ``attempts`` counts its deliveries, this one included."""

    id: str
    data: bytes
    attributes: dict[str, str]
    publish_time: datetime
    attempts: int


class LocalPublisher:
    """A ports.Publisher for the topics named; safe from many threads and several processes.

    ``any_topic``: for every other topic as well. ``max_attempts``: deliveries after which a message that nobody
    acknowledged becomes a dead letter.
    """

    def __init__(
        self,
        path: Path,
        topics: Collection[str],
        *,
        any_topic: bool = False,
        max_attempts: int = MAX_ATTEMPTS,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._topics = frozenset(topics)
        self._any_topic = any_topic
        self._max_attempts = max_attempts
        self._clock = clock
        self._file = SqliteFile(path, _SCHEMA)

    def close(self) -> None:
        """Closes the file. Later calls raise Unavailable."""
        self._file.close()

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str] | None = None) -> str:
        """See Publisher."""
        check_message(data, attributes or {})
        self._check_topic(topic)
        now = self._clock()
        row = (topic, data, msgspec.msgpack.encode(dict(attributes or {})), _microseconds(now))
        with self._file.writing() as connection:
            if topic not in self._topics:
                _drop(connection, topic, _microseconds(now - KEPT))
            added = connection.execute(
                "INSERT INTO messages (topic, data, attributes, publish_time) VALUES (?, ?, ?, ?)", row
            )
        return str(added.lastrowid)

    def lease(self, topic: str, limit: int, lease_seconds: float, now: datetime) -> list[QueuedMessage]:
        """At most ``limit`` messages whose time has come, for this caller alone until ``now + lease_seconds``.

        Those longest available come first, but no order is promised. Raises NotFound for an unknown topic.
        """
        self._check_topic(topic)
        moment, until = _microseconds(now), _microseconds(now + timedelta(seconds=lease_seconds))
        if not self._has_work(topic, moment):
            return []
        with self._file.writing() as connection:
            leased: list[_Row] = []
            # Again where a whole page was given up, so that an empty answer means that nothing is waiting.
            while not leased and (rows := _available(connection, topic, moment, limit)):
                leased = [row for row in rows if row[5] < self._max_attempts]
                _bury(connection, [row[0] for row in rows if row[5] >= self._max_attempts])
            connection.executemany(
                "UPDATE messages SET attempts = attempts + 1, available_at = ? WHERE id = ?",
                [(until, row[0]) for row in leased],
            )
        return [_message(row, attempts=row[5] + 1) for row in leased]

    def acknowledge(self, ids: Iterable[str]) -> None:
        """Removes messages that were worked on, also after their lease ran out; gone already is no error."""
        with self._file.writing() as connection:
            connection.executemany("DELETE FROM messages WHERE id = ?", [(_number(name),) for name in ids])

    def release(self, id: str, retry_at: datetime, *, attempt: int | None = None) -> None:  # noqa: A002
        """Gives a lease back: the message may be leased again from ``retry_at`` on, or is a dead letter by now.

        With ``attempt`` (the ``attempts`` of the message leased) nothing happens once that lease ran out and somebody
        else has the message.
        """
        with self._file.writing() as connection:
            row = connection.execute("SELECT attempts FROM messages WHERE id = ?", (_number(id),)).fetchone()
            if row is None or attempt not in (None, row[0]):
                return
            if row[0] >= self._max_attempts:
                _bury(connection, [_number(id)])
            else:
                connection.execute(
                    "UPDATE messages SET available_at = ? WHERE id = ?", (_microseconds(retry_at), _number(id))
                )

    def dead_letters(self, topic: str, *, limit: int = 100) -> list[QueuedMessage]:
        """The messages of a topic that were given up, oldest first. Raises NotFound for an unknown topic."""
        self._check_topic(topic)
        with self._file.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM dead WHERE topic = ? ORDER BY id LIMIT ?",  # noqa: S608
                (topic, limit),
            ).fetchall()
        return [_message(row, attempts=row[5]) for row in rows]

    def _check_topic(self, topic: str) -> None:
        if topic not in self._topics and not (self._any_topic and is_topic_name(topic)):
            raise NotFound(f"no topic {topic!r}")

    def _has_work(self, topic: str, moment: int) -> bool:
        """Asked first, because a subscriber polls: an idle queue is only read, and nobody's write waits for it."""
        with self._file.reading() as connection:
            return bool(
                connection.execute(
                    "SELECT EXISTS (SELECT 1 FROM messages WHERE topic = ? AND available_at <= ?)", (topic, moment)
                ).fetchone()[0]
            )


def _available(connection: sqlite3.Connection, topic: str, moment: int, limit: int) -> list[_Row]:
    return connection.execute(
        f"SELECT {_COLUMNS} FROM messages WHERE topic = ? AND available_at <= ?"  # noqa: S608
        " ORDER BY available_at, id LIMIT ?",
        (topic, moment, max(limit, 0)),
    ).fetchall()


def _drop(connection: sqlite3.Connection, topic: str, before: int) -> None:
    """Removes messages of a topic that were published before then, waiting or dead."""
    connection.execute("DELETE FROM messages WHERE topic = ? AND publish_time < ?", (topic, before))
    connection.execute("DELETE FROM dead WHERE topic = ? AND publish_time < ?", (topic, before))


def _bury(connection: sqlite3.Connection, ids: list[int]) -> None:
    """Makes dead letters of these messages."""
    rows = [(name,) for name in ids]
    connection.executemany(f"INSERT INTO dead ({_COLUMNS}) SELECT {_COLUMNS} FROM messages WHERE id = ?", rows)  # noqa: S608
    connection.executemany("DELETE FROM messages WHERE id = ?", rows)


def _message(row: _Row, *, attempts: int) -> QueuedMessage:
    name, _, data, attributes, publish_time, _ = row
    return QueuedMessage(
        id=str(name),
        data=data,
        attributes=msgspec.msgpack.decode(attributes, type=dict[str, str]),
        publish_time=_EPOCH + timedelta(microseconds=publish_time),
        attempts=attempts,
    )


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _number(name: str) -> int:
    """The row of a message's id; 0, which no row has, for what was never an id."""
    return int(name) if name.isascii() and name.isdigit() and len(name) < 19 else 0
