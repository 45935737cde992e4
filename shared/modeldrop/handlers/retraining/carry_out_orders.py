"""Runs of episodes are started and followed: every order that is due, several at once.

An order is somebody's while its claim lasts. Whoever crashes leaves a claim that runs out, and the next tick goes on.
Orders at one target share a lane: one that hangs holds up neither the others nor, for more than one order, its own.
"""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from modeldrop.errors import Conflict
from modeldrop.handlers.outbox.lanes import Lanes, Outcome
from modeldrop.handlers.retraining.carry_out_order import carry_out_order
from modeldrop.records.retraining import Order, Retraining, read_order
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

PAGE = 200


class OrdersReport(msgspec.Struct, frozen=True):
    """What came of the orders that were due, by episode."""

    done: dict[str, str]  # started, running, succeeded, failed, over, or waiting with the reason
    errors: dict[str, str]  # what is no trouble of a target, but ours
    left: list[str]  # to the next tick: their target does not answer now, or there was no time
    in_time: bool  # False: the time ran out


def carry_out_orders(services: Services, budget_seconds: float) -> OrdersReport:
    """Start and follow what is due. Nothing more is begun once ``budget_seconds`` are over."""
    until = time.monotonic() + budget_seconds
    report = OrdersReport({}, {}, [], True)
    with Lanes(until) as lanes:
        for slot in _due(_all(Retraining(services.documents), report.errors), services.clock()):
            lanes.put(slot.value.target, _Errand(services, slot, report))
    return msgspec.structs.replace(report, in_time=lanes.not_reached == 0)


class _Errand:
    """An order in its lane; what comes of it is written into the report under a key of its own."""

    def __init__(self, services: Services, slot: Stored[Order], report: OrdersReport) -> None:
        self._services = services
        self._slot = slot
        self._report = report

    def run(self) -> Outcome:
        """See Errand."""
        episode = _episode(self._slot)
        try:
            outcome = carry_out_order(self._services, self._slot)
        except Conflict as error:
            log.info("%s: somebody else is at it: %s", episode, error)
            return "unknown"
        except Exception as error:  # of ours: the others must not suffer for it
            log.exception("%s could not be carried out", episode)
            self._report.errors[episode] = f"{type(error).__name__}: {error}"
            return "unknown"
        self._report.done[episode] = outcome.says
        return outcome.target

    def skip(self) -> None:
        """See Errand."""
        self._report.left.append(_episode(self._slot))


def _all(retraining: Retraining, errors: dict[str, str]) -> Iterable[Stored[Order]]:
    """Every order; one that cannot be read (a newer modeldrop wrote it) is an error, and the others go on."""
    after: str | None = None
    while True:
        page = retraining.order_documents(after=after, limit=PAGE)
        for document in page:
            try:
                yield read_order(document)
            except msgspec.ValidationError as error:
                log.error("%s cannot be read: %s", document.path, error)
                errors[document.path.rsplit("/", 1)[1]] = f"{type(error).__name__}: {error}"
        if len(page) < PAGE:
            return
        after = page[-1].path.rsplit("/", 1)[1]


def _due(orders: Iterable[Stored[Order]], now: datetime) -> list[Stored[Order]]:
    """Those nobody is at, the longest due first: where time runs out, it runs out for all in turn."""
    due = [
        slot
        for slot in orders
        if all(moment is None or moment <= now for moment in (slot.value.next_at, slot.value.claimed_until))
    ]
    return sorted(due, key=lambda slot: slot.value.next_at or datetime.min.replace(tzinfo=UTC))


def _episode(slot: Stored[Order]) -> str:
    return slot.path.rsplit("/", 1)[1]
