"""Reads of the audit trail."""

from modeldrop.domain.audit_chain import AuditEntry
from modeldrop.records.audit import AuditTrail
from modeldrop.web.answers.audit import Audit, AuditRow
from modeldrop.web.calls import Call, Page
from modeldrop.wiring import Services


def audit(services: Services, call: Call[Page]) -> Audit:
    """Changing and refused calls, the newest first."""
    limit = call.query.limit
    found = AuditTrail(services.documents).latest(before=call.query.before, limit=limit)
    return Audit([_row(entry) for entry in found], f"{found[-1].number:012d}" if len(found) == limit else None)


def _row(entry: AuditEntry) -> AuditRow:
    return AuditRow(
        entry.number,
        entry.at,
        entry.caller,
        entry.call,
        entry.outcome,
        entry.status,
        entry.detail,
        entry.answers,
        entry.hash,
    )
