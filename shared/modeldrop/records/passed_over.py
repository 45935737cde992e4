"""Events that were passed over, counted in one document: whatever names they bring, it does not grow."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

MOST_ENTRIES = 100
PATH = "unknown/events"

Passed = tuple[str, str, str]
"""Model, version (empty for labels), and why: ``not_registered``, ``too_old``, or for poison there was no room for
``not_kept`` and what was wrong with it (without model and version)."""


class PassedEntry(msgspec.Struct, frozen=True):
    """How many events of one kind; those delivered again count again."""

    model: str
    version: str
    reason: str
    events: int
    first_seen: datetime
    last_seen: datetime


class PassedOver(msgspec.Struct, frozen=True):
    """The kinds seen last, the newest first, and the events of all others together."""

    entries: list[PassedEntry] = []
    others: int = 0
    changes: int = 0  # no two states are ever equal: a store may keep the revision of equal ones


def with_counts(record: PassedOver, counts: Mapping[Passed, int], others: int, now: datetime) -> PassedOver:
    """The record with these events added.

    >>> from datetime import UTC
    >>> seen = with_counts(PassedOver(), {("fraud", "v9", "not_registered"): 3}, 0, datetime(2026, 1, 1, tzinfo=UTC))
    >>> [(entry.model, entry.version, entry.events) for entry in seen.entries]
    [('fraud', 'v9', 3)]
    """
    entries = {(entry.model, entry.version, entry.reason): entry for entry in record.entries}
    for kind, events in counts.items():
        known = entries.get(kind) or PassedEntry(*kind, 0, now, now)
        entries[kind] = msgspec.structs.replace(known, events=known.events + events, last_seen=now)
    by_name = sorted(entries.values(), key=lambda entry: (entry.model, entry.version, entry.reason))
    ordered = sorted(by_name, key=lambda entry: entry.last_seen, reverse=True)
    others += sum(entry.events for entry in ordered[MOST_ENTRIES:])
    return PassedOver(ordered[:MOST_ENTRIES], record.others + others, record.changes + 1)
