"""Changing calls and refused ones, with their entries in the audit trail.

A changing call is written down before it is carried out, and its outcome after. Where the first cannot be written
nothing is done. A crash in between leaves an ``asked`` without an outcome, which ``modeldrop audit verify`` lists.
"""

import logging
import threading
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

import msgspec

from modeldrop.domain.audit_chain import LONGEST_CALL, AuditEntry, Outcome, cleaned
from modeldrop.errors import ModeldropError
from modeldrop.handlers.audit.record_call import record_asked, record_outcome, record_refused
from modeldrop.http.messages import Reply, problem
from modeldrop.ports import DocumentStore
from modeldrop.web.callers.caller import Caller
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

REFUSALS_PAUSE_SECONDS = 1.0
"""Between two refusals that a process writes down; twice as long after each that others were left out before."""
LONGEST_REFUSALS_PAUSE_SECONDS = 60.0
_LARGEST_READ = 64 << 10


class _Said(msgspec.Struct, frozen=True):
    """What an answer says of its outcome: commands have ``status`` and ``reason``, problems ``detail``."""

    status: str | int | None = None
    reason: str | None = None
    detail: str | None = None


class RefusalPace:
    """How often a process writes refusals down: a flood of them is not to be a flood of writes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next = float("-inf")
        self._pause = REFUSALS_PAUSE_SECONDS
        self._left_out = 0

    def turn(self) -> int | None:
        """How many were left out since the last one that was written; None: leave this one out, too."""
        with self._lock:
            now = self._clock()
            if now < self._next:
                self._left_out += 1
                return None
            left_out, self._left_out = self._left_out, 0
            longer = min(2 * self._pause, LONGEST_REFUSALS_PAUSE_SECONDS)
            self._pause = longer if left_out else REFUSALS_PAUSE_SECONDS
            self._next = now + self._pause
            return left_out

    def again(self, left_out: int) -> None:
        """It could not be written, after all: it and those before it are counted with the next."""
        with self._lock:
            self._left_out += left_out + 1


# By store, of which a process has one; for callers who are known, and for others: a flood of those hides nobody.
_PACES: WeakKeyDictionary[DocumentStore, dict[bool, RefusalPace]] = WeakKeyDictionary()
_PACES_LOCK = threading.Lock()


def audited(services: Services, caller: Caller, call: str, carry_out: Callable[[], Reply], detail: str = "") -> Reply:
    """The reply to a changing call (``POST /v1/models/m:promote``), written down before and after.

    ``detail``: what was asked, such as the body. 503, with nothing done, where the trail cannot be written.
    """
    try:
        asked = record_asked(services, caller.name, call, detail)
    except ModeldropError as error:
        log.error("audit: %s is not carried out, as it cannot be written down: %s", cleaned(call, LONGEST_CALL), error)
        return problem(503, "the audit trail cannot be written: nothing was done", headers={"Retry-After": "5"})
    try:
        reply = carry_out()
    except BaseException as error:
        record_outcome(services, asked, "failed", 500, type(error).__name__)
        raise
    _close(services, asked, reply)
    return reply


def refused(services: Services, caller: Caller | None, call: str, reply: Reply) -> Reply:
    """The reply to a call that was turned away (401, 403, 421), written down; ``caller`` None: not known.

    At most about one a second of each kind is written by a process, fewer while a flood lasts; the next says how many
    were left out. Each has a line in the log.
    """
    name = caller.name if caller else ""
    log.warning("refused %d: %s by %s", reply.status, cleaned(call, LONGEST_CALL), name or "somebody unknown")
    pace = _pace(services.documents, is_known=caller is not None)
    left_out = pace.turn()
    if left_out is None:
        return reply
    said = _said(reply).detail or ""
    detail = f"{said}; {left_out} more before this one are not written" if left_out else said
    if not record_refused(services, name, call, reply.status, detail):
        pace.again(left_out)
    return reply


def _pace(documents: DocumentStore, *, is_known: bool) -> RefusalPace:
    with _PACES_LOCK:
        paces = _PACES.setdefault(documents, {})
        return paces.setdefault(is_known, RefusalPace())


def _close(services: Services, asked: AuditEntry, reply: Reply) -> None:
    said = _said(reply)
    outcome: Outcome = "accepted"
    if reply.status >= 500:
        outcome = "failed"
    elif reply.status >= 400 or said.status == "refused":
        outcome = "refused"
    record_outcome(services, asked, outcome, reply.status, said.reason or said.detail or reply.said)


def _said(reply: Reply) -> _Said:
    if not isinstance(reply.body, bytes) or len(reply.body) > _LARGEST_READ:
        return _Said()
    try:
        return msgspec.json.decode(reply.body, type=_Said)
    except (msgspec.MsgspecError, RecursionError):
        return _Said()
