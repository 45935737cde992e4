"""Uploads of the embedded bucket: files that came or changed are told to ``model_uploaded``, at least once each.

Polling, not file notifications: a scan finds what was copied while the cloud was down just as well, needs no
platform's own interface, and cannot lose an event in an overflowing queue. A file is told once it has looked the same
for a fifth of a second, so that a slow copy is not read half.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.domain.packages import OUR_FOLDER
from modeldrop.ports import BucketObject

log = logging.getLogger(__name__)

SHORTEST_PAUSE_SECONDS = 0.05
QUIET_SECONDS = 0.2
PAUSE_PER_SCAN_TIME = 10.0  # a scan of many files may take a tenth of the time, no more
FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 10.0
AT_ONCE = 4
MOST_FILES = 1_000_000

Tell = Callable[[BucketObject], bool]


class _Sighting(msgspec.Struct, frozen=True):
    """A file as it looks, and since when (monotonic seconds) it looks like this."""

    found: BucketObject
    since: float


def _sighting(found: BucketObject, before: _Sighting | None, now: float) -> _Sighting:
    return before if before is not None and before.found == found else _Sighting(found, now)


class UploadWatcher:
    """Scans the bucket's folder and tells each new generation until it is acknowledged.

    Which generation of a file was acknowledged is kept in a small database, so that a restart tells nothing twice
    without need, and everything that was missed.
    """

    def __init__(self, bucket: FolderBucket, state: Path, tell: Tell) -> None:
        self._bucket = bucket
        self._tell = tell
        self._state = sqlite3.connect(state, check_same_thread=False, isolation_level=None)
        self._state.execute("PRAGMA journal_mode=WAL")
        self._state.execute("CREATE TABLE IF NOT EXISTS told (name TEXT PRIMARY KEY, generation INTEGER) WITHOUT ROWID")
        self._told: dict[str, int] = dict(self._state.execute("SELECT name, generation FROM told"))
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._retry_at: dict[str, tuple[float, float]] = {}
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="uploads")
        self._thread = threading.Thread(target=self._run, name="upload-watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was not acknowledged is told again by the next run."""
        self._stop.set()
        self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._state.close()

    def _run(self) -> None:
        seen: dict[str, _Sighting] = {}
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                now = {found.name: found for found in self._bucket.list("", limit=MOST_FILES)}
                self._forget_removed(now)
                seen = {name: _sighting(found, seen.get(name), started) for name, found in now.items()}
                for sighting in seen.values():
                    if started - sighting.since >= QUIET_SECONDS:
                        self._offer(sighting.found)
            except Exception:
                log.exception("the bucket's folder could not be scanned; trying again")
            self._stop.wait(max(SHORTEST_PAUSE_SECONDS, PAUSE_PER_SCAN_TIME * (time.monotonic() - started)))

    def _forget_removed(self, now: dict[str, BucketObject]) -> None:
        with self._lock:
            removed = [name for name in self._told if name not in now]
            for name in removed:
                del self._told[name]
            self._state.executemany("DELETE FROM told WHERE name = ?", [(name,) for name in removed])

    def _offer(self, found: BucketObject) -> None:
        if found.name.startswith(OUR_FOLDER):
            return
        with self._lock:
            not_before, _ = self._retry_at.get(found.name, (0.0, 0.0))
            known = self._told.get(found.name) == found.generation
            if known or found.name in self._under_way or time.monotonic() < not_before:
                return
            self._under_way.add(found.name)
        self._pool.submit(self._deliver, found)

    def _deliver(self, found: BucketObject) -> None:
        try:
            acknowledged = self._tell(found)
        except Exception:
            log.exception("%s could not be told", found.name)
            acknowledged = False
        with self._lock:
            self._under_way.discard(found.name)
            if acknowledged:
                self._retry_at.pop(found.name, None)
                self._told[found.name] = found.generation
                self._state.execute("INSERT OR REPLACE INTO told VALUES (?, ?)", (found.name, found.generation))
            else:
                _, pause = self._retry_at.get(found.name, (0.0, FIRST_RETRY_SECONDS / 2))
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)
                self._retry_at[found.name] = (time.monotonic() + pause, pause)
