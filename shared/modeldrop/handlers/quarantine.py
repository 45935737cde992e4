"""What came in and cannot be taken: kept with its reasons, and acknowledged."""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress

from modeldrop.domain.packages import REJECTION_NAME
from modeldrop.errors import Conflict, FieldProblem, PermanentError
from modeldrop.events.prediction_events import POISON_LIMIT_BYTES, Poison
from modeldrop.handlers.packages.decision_records import write_rejection
from modeldrop.handlers.predictions.store_rows import try_again
from modeldrop.records.quarantined_events import KEPT, PREDICTION_EVENT, QuarantinedEvent, QuarantinedEvents
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
    """Record an event that is none."""
    _record(services, hashlib.sha256(body).hexdigest(), "event", problems)
    return "quarantined"


def quarantine_poison(services: Services, poison: Sequence[Poison]) -> None:
    """Record prediction events that are none, each with its bytes; the same one again changes nothing."""
    now = services.clock()
    events = {
        one.raw: QuarantinedEvent(
            PREDICTION_EVENT, list(one.problems), now, one.raw, len(one.raw) >= POISON_LIMIT_BYTES, now + KEPT
        )
        for one in poison
    }
    pending = list(events.values())
    for first in range(0, len(pending), EVENTS_AT_ONCE):
        some = pending[first : first + EVENTS_AT_ONCE]
        try_again(lambda some=some: _record_events(services, some))  # type: ignore[misc]


def _record_events(services: Services, events: list[QuarantinedEvent]) -> None:
    slots = QuarantinedEvents(services.documents).slots(events)
    new = [(s, event) for s, event in zip(slots, events, strict=True) if _is_new(s, event)]
    if new:
        services.documents.commit([slot.write(event) for slot, event in new])
        reasons = "; ".join(map(str, new[0][1].problems))
        log.warning("quarantined %d prediction events; %s: %s", len(new), new[0][0].path, reasons)


def _is_new(slot: Stored[QuarantinedEvent], event: QuarantinedEvent) -> bool:
    return slot.revision is None or slot.value.problems != event.problems


def _record(services: Services, digest: str, what: str, problems: Sequence[FieldProblem]) -> None:
    log.warning("quarantined %r as %s: %s", what, digest, "; ".join(map(str, problems)))
    old = services.registry.quarantined(digest)
    if old is not None and old.value.problems == list(problems):
        return
    record = Quarantined(what, list(problems), services.clock())
    slot = old or Stored(services.registry.quarantine_path(digest), record)
    with suppress(Conflict):  # the same thing is being looked at elsewhere
        services.registry.commit([slot.write(record)])
