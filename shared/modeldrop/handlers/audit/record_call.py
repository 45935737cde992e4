"""Entries of the audit trail: what was asked, what came of it, and who was turned away."""

import logging
import secrets

import msgspec

from modeldrop.domain.audit_chain import (
    LONGEST_CALL,
    LONGEST_DETAIL,
    LONGEST_NAME,
    AuditEntry,
    Outcome,
    cleaned,
)
from modeldrop.errors import ModeldropError
from modeldrop.records.audit import AuditTrail
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

_PATIENCE_WITH_REFUSALS_SECONDS = 1.0


def record_asked(services: Services, caller: str, call: str, detail: str) -> AuditEntry:
    """Write that it is asked, before anything is done. Raises Unavailable: then nothing may be done."""
    return _append(services, _entry(services, caller, call, 0, detail, "asked"))


def record_outcome(services: Services, asked: AuditEntry, outcome: Outcome, status: int, detail: str) -> None:
    """Write what came of it. Where that cannot be written it is logged, and ``asked`` stands without an outcome."""
    entry = _entry(services, asked.caller, asked.call, status, detail, outcome)
    entry = msgspec.structs.replace(entry, answers=asked.number)
    try:
        _append(services, entry)
    except ModeldropError as error:
        log.error("audit: the outcome of entry %d (%s %d) is not written: %s", asked.number, outcome, status, error)


def record_refused(services: Services, caller: str, call: str, status: int, detail: str) -> bool:
    """Write that a call was turned away; whether it was written. It is turned away all the same where not."""
    entry = _entry(services, caller, call, status, detail, "refused")
    try:
        _append(services, entry, _PATIENCE_WITH_REFUSALS_SECONDS)
    except ModeldropError as error:
        log.error("audit: a refusal is not written: %s", error)
        return False
    return True


def _entry(services: Services, caller: str, call: str, status: int, detail: str, outcome: Outcome) -> AuditEntry:
    """An entry that has no place in the chain yet."""
    return AuditEntry(
        number=0,
        at=services.clock(),
        caller=cleaned(caller, LONGEST_NAME),
        call=cleaned(call, LONGEST_CALL),
        outcome=outcome,
        status=status,
        detail=cleaned(detail, LONGEST_DETAIL),
        answers=None,
        key=secrets.token_hex(8),
        previous="",
        hash="",
    )


def _append(services: Services, entry: AuditEntry, patience_seconds: float = 10.0) -> AuditEntry:
    """Append, and put number and hash into the log: an anchor that does not stand in the same store."""
    written = AuditTrail(services.documents).append(entry, patience_seconds)
    log.info("audit %d:%s %s %d %s", written.number, written.hash, written.outcome, written.status, written.call)
    return written
