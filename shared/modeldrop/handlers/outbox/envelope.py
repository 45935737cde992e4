"""One item of the outbox in a round: claimed, told to the channels that are due, and what came of it recorded."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import random
from threading import Lock

import msgspec

from modeldrop.domain.backoff import MOST_ATTEMPTS, next_attempt
from modeldrop.domain.notification import Notification
from modeldrop.domain.targets import Channel
from modeldrop.errors import Conflict
from modeldrop.handlers.outbox.alert import alert_of
from modeldrop.handlers.outbox.due_news import DueNews, channels_by_key
from modeldrop.handlers.outbox.lanes import Lanes, Outcome
from modeldrop.handlers.outbox.tally import Tally
from modeldrop.handlers.outbox.tell_channel import Telling, tell_channel
from modeldrop.ports import Write
from modeldrop.records.outbox import Delivery, Dispatch, Outbox, into_log
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

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

    def put_into(self, lanes: Lanes) -> None:
        """Have its channels told, each in its lane."""
        for key in self._due.now:
            lanes.put(key, _Errand(self, key))
        if not self._due.now:
            lanes.put(_FILING, _Filing(self))

    def tell(self, key: str) -> Outcome:
        """Tell one of the channels, if the item is ours."""
        if not self._is_ours():
            self.close(key)
            return "unknown"
        telling = tell_channel(self._services, self._channels[key], self._notification())
        self.close(key, telling)
        return "fails" if telling.outcome == "failed" else "works"

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
        before = self._due.deliveries if item.deliveries is None else item.deliveries
        after = [self._after(delivery, now) for delivery in before]
        claimed_until = None if item.claimed_until == self._claimed_until else item.claimed_until
        new = msgspec.structs.replace(item, deliveries=after, claimed_until=claimed_until)
        changed = [delivery for delivery, old in zip(after, before, strict=True) if delivery != old]
        self._outbox.commit([*_put_away(slot, new), *self._alert(slot, new, changed, now)])
        self._tell_of(changed)

    def _after(self, delivery: Delivery, now: datetime) -> Delivery:
        """The delivery after this round."""
        if delivery.status != "waiting":
            return delivery
        if delivery.channel in self._due.gone:
            return _dead(delivery, "no longer in the policy", now)
        telling = self._told.get(delivery.channel)
        return delivery if telling is None else _tried(delivery, telling, now)

    def _alert(self, slot: Stored[Dispatch], new: Dispatch, changed: Sequence[Delivery], now: datetime) -> list[Write]:
        """The news that somebody did not get these; not where somebody has taken the channel out of the policy."""
        failed = [d for d in changed if d.status == "dead" and d.channel not in self._due.gone]
        return alert_of(slot.path, new, failed, self._channels, now)

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


class _Errand(msgspec.Struct, frozen=True):
    """One channel of an item."""

    envelope: Envelope
    key: str

    def run(self) -> Outcome:
        """See Errand."""
        return self.envelope.tell(self.key)

    def skip(self) -> None:
        """See Errand."""
        self.envelope.close(self.key)


class _Filing(msgspec.Struct, frozen=True):
    """An item that nobody is to be told of now."""

    envelope: Envelope

    def run(self) -> Outcome:
        """See Errand."""
        return self.envelope.record()

    def skip(self) -> None:
        """See Errand."""


def _put_away(slot: Stored[Dispatch], new: Dispatch) -> list[Write]:
    """Into the log once nobody waits for it."""
    if all(delivery.status != "waiting" for delivery in new.deliveries or []):
        return into_log(slot, msgspec.structs.replace(new, claimed_until=None))
    return [slot.write(new)] if new != slot.value else []


def _tried(delivery: Delivery, telling: Telling, now: datetime) -> Delivery:
    """The delivery after an attempt."""
    tried = msgspec.structs.replace(delivery, attempts=delivery.attempts + 1)
    if telling.outcome == "delivered":
        return msgspec.structs.replace(tried, status="delivered", next_at=None, error="", at=now)
    if telling.outcome == "refused":
        return _dead(tried, telling.error, now)
    if tried.attempts >= MOST_ATTEMPTS:
        return _dead(tried, f"given up after {tried.attempts} attempts: {telling.error}", now)
    next_at = next_attempt(tried.attempts, now, random())  # noqa: S311 - only spreads the load
    return msgspec.structs.replace(tried, next_at=next_at, error=telling.error)


def _dead(delivery: Delivery, why: str, now: datetime) -> Delivery:
    return msgspec.structs.replace(delivery, status="dead", next_at=None, error=why, at=now)
