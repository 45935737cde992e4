"""The audit trail of all changing and all refused calls."""

from dataclasses import dataclass
from datetime import datetime

from modeldrop.web.dashboard.marks import Mark, word_mark
from modeldrop.web.dashboard.moments import Moment, moment
from modeldrop.web.dashboard.reader import Reader

ENTRIES_A_PAGE = 50


@dataclass(frozen=True)
class AuditRow:
    """An entry; its hash also covers the one before."""

    number: int
    at: Moment | None
    caller: str
    call: str
    mark: Mark
    status: str
    detail: str
    hash: str
    full_hash: str


@dataclass(frozen=True)
class Audit:
    """A page of it, the newest first."""

    rows: list[AuditRow]
    next: str | None
    first: bool


def audit(reader: Reader, before: str | None, now: datetime) -> Audit:
    """The entries."""
    found = reader.get("/v1/audit", limit=ENTRIES_A_PAGE, before=before)
    rows = [
        AuditRow(
            entry["number"],
            moment(entry["at"], now),
            entry["caller"] or "–",
            entry["call"],
            word_mark(entry["outcome"]),
            str(entry["status"] or ""),
            entry["detail"] or "",
            entry["hash"][:12],
            entry["hash"],
        )
        for entry in found["entries"]
    ]
    following = found["next"]
    return Audit(rows, None if following is None else str(following), before is None)
