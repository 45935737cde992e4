"""Forget what is past its time: a model's windows, reports and news that were told, and quarantined events.

For stores that keep everything until somebody deletes it. Where the store deletes by time itself (Firestore's TTL
policies) there is nothing left to find, unless the policies are missing.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice

import msgspec

from modeldrop.errors import Conflict
from modeldrop.ports import Delete, Document, DocumentStore
from modeldrop.records.outbox import Outbox
from modeldrop.records.reports import Reports
from modeldrop.records.windows import Windows
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

BUDGET_SECONDS = 5.0
REPORTS_AT_ONCE = 20  # of each kind
WINDOWS_AT_ONCE = 5  # of each kind; with each go up to 256 shards
NEWS_AT_ONCE = 20
EVENTS_AT_ONCE = 20  # of up to 88 KB each
MOST_PAGES = 50  # of events
MOST_CONFLICTS = 3


def forget_expired(services: Services, model: str, *, budget_seconds: float = BUDGET_SECONDS) -> int:
    """Delete what has expired; how many windows, reports, news and events are known to be gone by this call.

    The oldest first, a few of each kind at least, then for as long as the budget lasts; the rest is left to the next
    call. Two may be at it at once: what one deletes, the other passes over. Raises Unavailable if the store does not
    answer.
    """
    now, until = services.clock(), time.monotonic() + budget_seconds
    windows, reports, outbox = Windows(services.documents), Reports(services.documents), Outbox(services.documents)
    return (
        _repeated(partial(reports.forget_expired, model, now, most=REPORTS_AT_ONCE), until)
        + _repeated(partial(windows.forget_expired, model, now, most=WINDOWS_AT_ONCE), until)
        + _repeated(partial(outbox.forget_expired, model, now, most=NEWS_AT_ONCE), until)
        + _forget_events(services.documents, model, now, until)
    )


def _repeated(sweep: Callable[[], int], until: float) -> int:
    """Sweeps once, and again until nothing is found, the time is over, or others are quicker again and again."""
    forgotten = conflicts = 0
    while True:
        try:
            found = sweep()
        except Conflict as error:  # somebody else deleted some of it, or wrote to it
            log.info("%s", error)
            conflicts += 1
            if conflicts == MOST_CONFLICTS:
                return forgotten
            continue
        forgotten += found
        if found == 0 or time.monotonic() >= until:
            return forgotten


def _forget_events(documents: DocumentStore, model: str, now: datetime, until: float) -> int:
    """Those that have expired in a part of the quarantine, another one each time.

    Ids are hashes, so no order leads to the oldest. A large quarantine is begun at a point that time and model choose:
    over many calls every part is looked at as often as any other.
    """
    point = hashlib.sha256(f"{model} {now.isoformat()}".encode()).hexdigest()
    forgotten = seen = 0
    for page in islice(_quarantine_from(documents, point), MOST_PAGES):
        forgotten += _delete(documents, [document for document in page if _is_expired(document, now)])
        seen += len(page)
        if seen >= EVENTS_AT_ONCE and time.monotonic() >= until:  # the last page before going around may be short
            break
    return forgotten


def _quarantine_from(documents: DocumentStore, point: str) -> Iterator[list[Document]]:
    """All of it, read page by page as taken: from the point on, then from the beginning to there or just beyond."""
    for begin, end in ((point, None), (None, point)):
        after: str | None = begin
        while True:
            page = documents.list("quarantine", after=after, limit=EVENTS_AT_ONCE)
            yield page
            if len(page) < EVENTS_AT_ONCE or (end is not None and _id(page[-1]) > end):
                break
            after = _id(page[-1])


def _delete(documents: DocumentStore, expired: Sequence[Document]) -> int:
    if not expired:
        return 0
    try:
        documents.commit([Delete(document.path, document.revision) for document in expired])
    except Conflict as error:  # somebody else deleted or replayed one of them
        log.info("%s", error)
        return 0
    return len(expired)


def _id(document: Document) -> str:
    return document.path.rsplit("/", 1)[1]


def _is_expired(document: Document, now: datetime) -> bool:
    """Of events alone: uploads stay in quarantine."""
    expire_at = document.data.get("expire_at")
    return expire_at is not None and msgspec.convert(expire_at, datetime) <= now
