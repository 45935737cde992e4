"""What came in and cannot be taken: kept with its reasons, and acknowledged."""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from modeldrop.domain.packages import REJECTION_NAME
from modeldrop.errors import Conflict, FieldProblem, PermanentError
from modeldrop.events.prediction_events import Poison
from modeldrop.handlers.packages.decision_records import write_rejection
from modeldrop.handlers.predictions.store_rows import try_again
from modeldrop.records.quarantined_events import (
    KEPT,
    POISON_LIMIT_BYTES,
    PREDICTION_EVENT,
    QuarantinedEvent,
    QuarantinedEvents,
)
from modeldrop.records.registry import Quarantined
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

EVENTS_AT_ONCE = 40  # a commit has 5 MiB at most


def quarantine_upload(
    services: Services, object_name: str, prefix: str | None, problems: Sequence[FieldProblem]
) -> str:
    """Record an upload that has no place in the registry; in its folder ``prefix``, where one can be, the reasons."""
    name = object_name.encode("utf-8", "backslashreplace")
    _record(services, hashlib.sha256(name).hexdigest(), name.decode(), problems)
    if prefix is not None:
        try:
            write_rejection(services.bucket, prefix, {"object": name.decode(), "status": "rejected"}, problems)
        except PermanentError as error:  # a link is on the way, the name is too long: the registry has the reasons
            log.warning("no %s beside %r: %s", REJECTION_NAME, object_name, error)
    return "quarantined"


def quarantine_event(services: Services, body: bytes, problems: Sequence[FieldProblem]) -> str:
    """Record an event that is none, for a while. What it holds nobody knows, and so nothing of it is kept."""
    expire_at = services.clock() + KEPT
    _record(services, hashlib.sha256(body).hexdigest(), "event", problems, expire_at)
    return "quarantined"


def quarantine_poison(services: Services, poison: Sequence[Poison]) -> list[Poison]:
    """Record prediction events that are none, each with its bytes; the same one again changes nothing.

    Gives back those there was no room for.
    """
    distinct = list({one.raw[:POISON_LIMIT_BYTES]: one for one in poison}.values())
    left: list[Poison] = []
    for first in range(0, len(distinct), EVENTS_AT_ONCE):
        left += _recorded(services, distinct[first : first + EVENTS_AT_ONCE])
    return left


def _recorded(services: Services, some: list[Poison]) -> list[Poison]:
    left: list[Poison] = []

    def attempt() -> None:
        left[:] = _record_events(services, some)

    try_again(attempt)
    return left


def _record_events(services: Services, some: list[Poison]) -> list[Poison]:
    now, quarantine = services.clock(), QuarantinedEvents(services.documents)
    events = [_entry(one, now) for one in some]
    found = zip(quarantine.slots(events), events, some, strict=True)
    new = [(slot, event, one) for slot, event, one in found if _is_new(slot, event)]
    room = quarantine.room(now) if new else None
    fitting = 0 if room is None else room.value.left(now)
    if room is not None and fitting:
        writes = [slot.write(event) for slot, event, _ in new[:fitting]]
        services.documents.commit([*writes, room.write(room.value.less(len(writes), now))])
        reasons = "; ".join(map(str, new[0][1].problems))
        log.warning("quarantined %d prediction events; %s: %s", len(writes), new[0][0].path, reasons)
    return [one for _, _, one in new[fitting:]]


def _entry(one: Poison, now: datetime) -> QuarantinedEvent:
    is_cut = one.is_cut or len(one.raw) > POISON_LIMIT_BYTES
    return QuarantinedEvent(PREDICTION_EVENT, list(one.problems), now, one.raw[:POISON_LIMIT_BYTES], is_cut, now + KEPT)


def _is_new(slot: Stored[QuarantinedEvent], event: QuarantinedEvent) -> bool:
    return slot.revision is None or slot.value.problems != event.problems


def _record(
    services: Services, digest: str, what: str, problems: Sequence[FieldProblem], expire_at: datetime | None = None
) -> None:
    log.warning("quarantined %r as %s: %s", what, digest, "; ".join(map(str, problems)))
    old = services.registry.quarantined(digest)
    if old is not None and old.value.problems == list(problems):
        return
    record = Quarantined(what, list(problems), services.clock(), expire_at)
    slot = old or Stored(services.registry.quarantine_path(digest), record)
    with suppress(Conflict):  # the same thing is being looked at elsewhere
        services.registry.commit([slot.write(record)])
