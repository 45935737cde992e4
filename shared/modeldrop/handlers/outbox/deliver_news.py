"""What lies in the outbox is brought to the channels of the models' policies.

At least once: an item is claimed, sent and recorded. Whoever crashes between sending and recording leaves a claim that
runs out, and the same is sent again, under the same id, by which a receiver knows it. Two ticks at once do not send the
same: one of them loses the race for the claim.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby

import msgspec

from modeldrop.domain.targets import Channel
from modeldrop.errors import FieldProblem, InvalidInput, ModeldropError
from modeldrop.handlers.outbox.due_news import due_news
from modeldrop.handlers.outbox.envelope import Envelope, Errand
from modeldrop.handlers.outbox.lanes import Lanes
from modeldrop.handlers.outbox.tally import DeliveryReport, Tally
from modeldrop.records.outbox import Dispatch, Outbox
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

BUDGET_SECONDS = 45.0
LOOKING_SHARE = 1 / 3
"""Of the budget, for reading what there is."""
CLAIM_SECONDS = 60.0
LONGEST_SEND_SECONDS = 15.0
"""A send that began in time is over so much later: notifiers allow themselves 10 s."""


def deliver_news(services: Services, budget_seconds: float = BUDGET_SECONDS) -> DeliveryReport:
    """Tell what is due to whom it is due; nothing is begun once ``budget_seconds`` are over.

    What was tried least comes first, then what is oldest: where time does not suffice, those that fail again and again
    do not take it from the others. Reads: a page a hundred items, and a policy a model that has any.
    """
    began = time.monotonic()
    claim = timedelta(seconds=max(CLAIM_SECONDS, budget_seconds + LONGEST_SEND_SECONDS))
    tally = Tally()
    errands, has_seen_all = _errands(services, claim, tally, began + budget_seconds * LOOKING_SHARE)
    with Lanes(began + budget_seconds) as lanes:
        for errand in sorted(errands, key=lambda each: (each.attempts, each.at)):
            lanes.put(errand.lane, errand)
    return tally.report(in_time=has_seen_all and lanes.not_reached == 0)


def _errands(services: Services, claim: timedelta, tally: Tally, until: float) -> tuple[list[Errand], bool]:
    """What is to be done; and whether that is all, or only what was found in time."""
    found: list[Errand] = []
    waiting = _waiting(Outbox(services.documents), tally)
    for model, items in groupby(waiting, key=lambda slot: slot.value.model):
        if time.monotonic() >= until:
            return found, False
        notify = _channels(services, model, tally)
        if notify is not None:
            for due in due_news(list(items), notify, services.clock()):
                found += Envelope(services, due, notify, claim, tally).errands()
    return found, True


def _waiting(outbox: Outbox, tally: Tally) -> Iterator[Stored[Dispatch]]:
    """All there is, read page by page. Ids begin with the model, so those of a model come one after the other.

    What cannot be read is left where it is, and keeps nothing else from being told.
    """
    after: str | None = None
    while True:
        page = outbox.page(after=after)
        for name, why in page.unreadable.items():
            log.error("%s cannot be read, and is told to nobody: %s", name, why)
            tally.trouble(name, InvalidInput([FieldProblem("$", why)]))
        yield from page.items
        if page.next is None:
            return
        after = page.next


def _channels(services: Services, model: str, tally: Tally) -> Sequence[Channel] | None:
    """Who the model's policy tells; None if that cannot be said now."""
    try:
        return services.registry.policy(model).value.policy.notify
    except (ModeldropError, msgspec.ValidationError) as error:
        log.warning("%s: its policy could not be read: %s", model, error)
        tally.trouble(model, error)
        return None
