"""What came in and cannot be taken: kept with its reasons, and acknowledged."""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress

from modeldrop.domain.packages import REJECTION_NAME
from modeldrop.errors import Conflict, FieldProblem, PermanentError
from modeldrop.handlers.decision_records import write_rejection
from modeldrop.records.registry import Quarantined
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)


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


def _record(services: Services, digest: str, what: str, problems: Sequence[FieldProblem]) -> None:
    log.warning("quarantined %r as %s: %s", what, digest, "; ".join(map(str, problems)))
    old = services.registry.quarantined(digest)
    if old is not None and old.value.problems == list(problems):
        return
    record = Quarantined(what, list(problems), services.clock())
    slot = old or Stored(services.registry.quarantine_path(digest), record)
    with suppress(Conflict):  # the same thing is being looked at elsewhere
        services.registry.commit([slot.write(record)])
