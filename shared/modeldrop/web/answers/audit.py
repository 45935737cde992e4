"""Answers about the audit trail."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from modeldrop.domain.audit_chain import Outcome
from modeldrop.web.answers.names import Next


class AuditRow(msgspec.Struct, frozen=True):
    """A changing call when it is asked and when it is done, or a refused one."""

    number: int
    at: datetime
    caller: Annotated[str, Meta(description="Empty: nobody known.")]
    call: str
    outcome: Outcome
    status: Annotated[int, Meta(description="As in HTTP; 0 while it is only asked.")]
    detail: str
    answers: Annotated[int | None, Meta(description="Number of the entry whose outcome this is.")]
    hash: Annotated[str, Meta(description="Over this entry and the one before: `modeldrop audit verify`.")]


class Audit(msgspec.Struct, frozen=True):
    """Entries of the audit trail, the newest first."""

    entries: list[AuditRow]
    next: Next
