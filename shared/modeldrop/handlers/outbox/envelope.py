"""One item of the outbox in a round: claimed, told to the channels that are due, and what came of it recorded."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import random
from threading import Lock

import msgspec

from modeldrop.domain.backoff import MOST_ATTEMPTS, MOST_REFUSALS, next_attempt
from modeldrop.domain.notification import Notification
from modeldrop.domain.targets import Channel
from modeldrop.errors import Conflict
from modeldrop.handlers.outbox.alert import alerts_of
from modeldrop.handlers.outbox.due_news import DueNews, channels_by_key
from modeldrop.handlers.outbox.lanes import Outcome
from modeldrop.handlers.outbox.tally import Tally
from modeldrop.handlers.outbox.tell_channel import Telling, tell_channel
from modeldrop.ports import Write
from modeldrop.records.outbox import Delivery, Dispatch, Outbox, into_log
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

QUICK_SECONDS = 1.0
"""What fails within is answered, if badly: no time-out and no connection that does not come about."""
_RACES = 20
_FILING = ""  # the lane of what is only to be put away


class Envelope:
    """The item. Its channels are told by several threads; the last of them records everything in one commit."""

    def __init__(
        self, services: Services, due: DueNews, notify: Sequence[Channel], claim: timedelta, tally: Tally
    ) -> None:
        self._services = services
        self._outbox = Outbox(services.documents)
        self._due = due
        self._channels = channels_by_key(notify)
        self._claim = claim
        self._tally = tally
        self._guard = Lock()
        self._open = set(due.now)
        self._told: dict[str, Telling] = {}
        self._is_claimed: bool | None = None  # None: not tried yet
        self._claimed_until: datetime | None = None

    @property
    def name(self) -> str:
        """The item's id, and so the notification's: the same in every attempt."""
        return self._due.slot.path.rsplit("/", 1)[1]

    def errands(self) -> "list[Errand]":
        """Its channels to be told now, each in its lane; where there are none, the item itself is put away."""
        attempts = {delivery.channel: delivery.attempts for delivery in self._due.deliveries}
        at = self._due.slot.value.at
        return [Errand(self, key, attempts.get(key, 0), at) for key in self._due.now or [_FILING]]

    def tell(self, key: str) -> Outcome:
        """Tell one of the channels, if the item is ours; or put it away."""
        if key == _FILING:
            return self.record()
        if not self._is_ours():
            self.close(key)
            return "unknown"
        began = time.monotonic()
        telling = tell_channel(self._services, self._channels[key], self._notification())
        is_quick = time.monotonic() - began <= QUICK_SECONDS
        self.close(key, telling)
        if telling.outcome != "failed":
            return "works"
        return "stumbles" if is_quick else "fails"

    def close(self, key: str, telling: Telling | None = None) -> None:
        """One of the channels is through (None: without an attempt). With the last one all of them are recorded."""
        with self._guard:
            self._open.discard(key)
            if telling is not None:
                self._told[key] = telling
            is_last = not self._open
        if is_last and self._is_claimed:
            self.record()

    def record(self) -> Outcome:
        """Write down what came of it, on top of whatever else happened to the item meanwhile."""
        try:
            for _ in range(_RACES):
                slot = self._outbox.find(self._due.slot.path)
                if slot is None:  # somebody else has put it into the log
                    return "works"
                try:
                    self._commit(slot)
                except Conflict:
                    continue
                return "works"
            raise Conflict(f"{self.name}: lost {_RACES} races")
        except Exception as error:  # the claim runs out, and the item is delivered again
            log.exception("what came of %s could not be recorded", self.name)
            self._tally.trouble(self.name, error)
            return "fails"

    def _is_ours(self) -> bool:
        """Claim the item, once for all its channels: whoever claims it later finds the claim, or loses the race."""
        with self._guard:
            if self._is_claimed is None:
                until = self._services.clock() + self._claim
                item = self._due.slot.value
                claimed = msgspec.structs.replace(item, deliveries=self._due.deliveries, claimed_until=until)
                try:
                    self._outbox.commit([self._due.slot.write(claimed)])
                except Conflict:
                    self._is_claimed = False
                except Exception as error:
                    log.warning("%s could not be claimed: %s", self.name, error)
                    self._tally.trouble(self.name, error)
                    self._is_claimed = False
                else:
                    self._is_claimed, self._claimed_until = True, until
            return self._is_claimed

    def _commit(self, slot: Stored[Dispatch]) -> None:
        now, item = self._services.clock(), slot.value
        before = _both(item.deliveries or [], self._due.deliveries)
        after = [self._after(delivery, now) for delivery in before]
        claimed_until = None if item.claimed_until == self._claimed_until else item.claimed_until
        new = msgspec.structs.replace(item, deliveries=after, claimed_until=claimed_until)
        changed = [delivery for delivery, old in zip(after, before, strict=True) if delivery != old]
        self._outbox.commit([*self._put_away(slot, new), *self._alerts(new, changed, now)])
        self._tell_of(changed)

    def _after(self, delivery: Delivery, now: datetime) -> Delivery:
        """The delivery after this round."""
        if delivery.status != "waiting":
            return delivery
        if delivery.channel in self._due.gone:
            return _dead(delivery, "no longer in the policy", now)
        telling = self._told.get(delivery.channel)
        return delivery if telling is None else _tried(delivery, telling, now)

    def _alerts(self, new: Dispatch, changed: Sequence[Delivery], now: datetime) -> list[Write]:
        """News of the channels that did not get these; not of those that somebody has taken out of the policy."""
        failed = [d for d in changed if d.status == "dead" and d.channel not in self._due.gone]
        alerts = alerts_of(new, failed, self._channels, now)
        return [alert for alert in alerts if not self._outbox.is_known(alert)]

    def _put_away(self, slot: Stored[Dispatch], new: Dispatch) -> list[Write]:
        """Into the log once nobody waits for it."""
        if any(delivery.status == "waiting" for delivery in new.deliveries or []):
            return [slot.write(new)] if new != slot.value else []
        into, *away = into_log(slot, msgspec.structs.replace(new, claimed_until=None))
        is_alert = new.news.kind == "undelivered"  # of which there is one a day, unless two came of the same moment
        return away if is_alert and self._outbox.find(into.path) else [into, *away]

    def _tell_of(self, changed: Sequence[Delivery]) -> None:
        for delivery in changed:
            if delivery.channel in self._due.gone:
                log.warning("%s is not told to %s: %s", self.name, delivery.to, delivery.error)
            elif delivery.status == "dead":
                log.error("%s could not be told to %s: %s", self.name, delivery.to, delivery.error)
            elif delivery.status == "waiting":
                log.warning("%s is not told to %s yet: %s", self.name, delivery.to, delivery.error)
        count = [delivery.status for delivery in changed].count
        self._tally.add(count("delivered"), count("waiting"), count("dead"))

    def _notification(self) -> Notification:
        item, address = self._due.slot.value, self._services.settings.api_url
        link = f"{address.rstrip('/')}/v1/models/{item.model}" if address else None
        return Notification(self.name, item.model, item.news, item.at, link)


class Errand(msgspec.Struct, frozen=True):
    """One channel of an item: a lanes.Errand. ``attempts``: made before; ``at``: when the news happened."""

    envelope: Envelope
    lane: str
    attempts: int
    at: datetime

    def run(self) -> Outcome:
        """See lanes.Errand."""
        return self.envelope.tell(self.lane)

    def skip(self) -> None:
        """See lanes.Errand."""
        self.envelope.close(self.lane)


def _both(stored: Sequence[Delivery], planned: Sequence[Delivery]) -> list[Delivery]:
    """Deliveries as they are stored, and those that nobody has stored yet."""
    known = {delivery.channel for delivery in stored}
    return [*stored, *[delivery for delivery in planned if delivery.channel not in known]]


def _tried(delivery: Delivery, telling: Telling, now: datetime) -> Delivery:
    """The delivery after an attempt."""
    refusals = delivery.refusals + (telling.outcome == "refused")
    tried = msgspec.structs.replace(delivery, attempts=delivery.attempts + 1, refusals=refusals)
    if telling.outcome == "delivered":
        return msgspec.structs.replace(tried, status="delivered", next_at=None, error="", at=now)
    if refusals >= MOST_REFUSALS or tried.attempts >= MOST_ATTEMPTS:
        return _dead(tried, f"given up after {tried.attempts} attempts: {telling.error}", now)
    next_at = next_attempt(tried.attempts, now, random())  # noqa: S311 - only spreads the load
    return msgspec.structs.replace(tried, next_at=next_at, error=telling.error)


def _dead(delivery: Delivery, why: str, now: datetime) -> Delivery:
    return msgspec.structs.replace(delivery, status="dead", next_at=None, error=why, at=now)
