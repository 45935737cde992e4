"""Count events that are not sampled: of models and versions that are not registered, and such as come far too late.

A name this instance has not stored yet is stored before its event is acknowledged; figures of those that are stored
follow with the next commit, ten seconds later at the earliest (an instance that ends before loses some of them).
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future

from modeldrop.handlers.predictions.group_commit import GroupCommit
from modeldrop.handlers.predictions.store_rows import try_again
from modeldrop.records.passed_over import MOST_ENTRIES, PATH, Passed, PassedOver, with_counts
from modeldrop.records.stored import Stored, stored
from modeldrop.wiring import Services

INTERVAL_SECONDS = 10.0


class PassedOverCounts:
    """What this instance passed over; safe from many threads."""

    def __init__(self, services: Services, commits: GroupCommit) -> None:
        self._services = services
        self._commits = commits
        self._waiting: Counter[Passed] = Counter()
        self._others = 0
        self._stored: set[Passed] = set()
        self._committed_at = -INTERVAL_SECONDS
        self._guard = threading.Lock()

    def add(self, counts: Mapping[Passed, int]) -> "Future[None] | None":
        """Count events; what to wait for before they are acknowledged, None if nothing."""
        with self._guard:
            for kind, events in counts.items():
                if kind in self._waiting or len(self._waiting) < MOST_ENTRIES:
                    self._waiting[kind] += events
                else:
                    self._others += events
            is_due = time.monotonic() - self._committed_at >= INTERVAL_SECONDS
            has_news = len(self._stored) < MOST_ENTRIES and not self._stored.issuperset(counts)
        return self._commits.add(PATH, self._store, [None]) if is_due or has_news else None

    def _store(self, _: list[None]) -> None:
        with self._guard:
            counts, self._waiting = self._waiting, Counter()
            others, self._others = self._others, 0
        if not counts:
            return
        try:
            try_again(lambda: self._commit(counts, others))
        except BaseException:
            with self._guard:
                self._waiting.update(counts)
                self._others += others
            raise
        with self._guard:
            self._stored.update(list(counts)[: MOST_ENTRIES - len(self._stored)])
            self._committed_at = time.monotonic()

    def _commit(self, counts: Mapping[Passed, int], others: int) -> None:
        document = self._services.documents.get(PATH)
        slot = stored(document, PassedOver) if document else Stored(PATH, PassedOver())
        self._services.documents.commit([slot.write(with_counts(slot.value, counts, others, self._services.clock()))])
