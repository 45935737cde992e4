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

from modeldrop.domain.targets import Channel
from modeldrop.errors import ModeldropError
from modeldrop.handlers.outbox.due_news import due_news
from modeldrop.handlers.outbox.envelope import Envelope
from modeldrop.handlers.outbox.lanes import Lanes
from modeldrop.handlers.outbox.tally import DeliveryReport, Tally
from modeldrop.records.outbox import PAGE, Dispatch, Outbox
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

BUDGET_SECONDS = 45.0
CLAIM_SECONDS = 60.0
LONGEST_SEND_SECONDS = 15.0
"""A send that began in time is over so much later: notifiers allow themselves 10 s."""


def deliver_news(services: Services, budget_seconds: float = BUDGET_SECONDS) -> DeliveryReport:
    """Tell what is due to whom it is due; nothing is begun once ``budget_seconds`` are over.

    Reads: a page a hundred items, and a policy a model that has any. A channel that fails is left alone for the rest
    of the round, without an attempt being counted for what else waits for it.
    """
    until = time.monotonic() + budget_seconds
    claim = timedelta(seconds=max(CLAIM_SECONDS, budget_seconds + LONGEST_SEND_SECONDS))
    tally, has_seen_all = Tally(), True
    with Lanes(until) as lanes:
        for model, items in groupby(_waiting(Outbox(services.documents)), key=lambda slot: slot.value.model):
            if lanes.is_over:
                has_seen_all = False
                break
            notify = _channels(services, model, tally)
            if notify is not None:
                for due in due_news(list(items), notify, services.clock()):
                    Envelope(services, due, notify, claim, tally).put_into(lanes)
    return tally.report(in_time=has_seen_all and lanes.not_reached == 0)


def _waiting(outbox: Outbox) -> Iterator[Stored[Dispatch]]:
    """All there is, read page by page. Ids begin with the model, so those of a model come one after the other."""
    after: str | None = None
    while True:
        page = outbox.waiting(after=after, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].path.rsplit("/", 1)[1]


def _channels(services: Services, model: str, tally: Tally) -> Sequence[Channel] | None:
    """Who the model's policy tells; None if that cannot be said now."""
    try:
        return services.registry.policy(model).value.policy.notify
    except ModeldropError as error:
        log.warning("%s: its policy could not be read: %s", model, error)
        tally.trouble(model, error)
        return None
