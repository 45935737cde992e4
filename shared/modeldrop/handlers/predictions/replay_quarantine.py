"""Put quarantined prediction events back: after a fix of ours, or once their version is registered."""

import time
from collections import Counter
from contextlib import suppress

import msgspec

from modeldrop.errors import Conflict, TransientError
from modeldrop.events.prediction_events import decode_predictions
from modeldrop.handlers.predictions.log_predictions import PredictionIntake
from modeldrop.ports import Delete
from modeldrop.records.quarantined_events import QuarantinedEvent, QuarantinedEvents
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

BUDGET_SECONDS = 20.0
"""So long a call lasts, and one event longer: whoever asked is waiting."""


class Replayed(msgspec.Struct, frozen=True):
    """What came of it. ``taken``: entries whose events are all sampled now, and which are gone from the quarantine."""

    taken: int = 0
    still_wrong: int = 0  # they would be quarantined again
    passed_over: int = 0  # of versions that are not registered, or too old: they stay as well
    cut: int = 0  # some of their bytes are missing
    next: str | None = None  # where to go on, if time was over before all had been looked at


def replay_quarantine(
    services: Services, intake: PredictionIntake, *, after: str | None = None, budget_seconds: float = BUDGET_SECONDS
) -> Replayed:
    """Quarantined prediction events go through the intake again, those beyond ``after``, one at least.

    Raises TransientError; then do it again. What was taken by then is gone from the quarantine.
    """
    until = time.monotonic() + budget_seconds
    counts: Counter[str] = Counter()
    reached: str | None = None
    try:
        for slot in QuarantinedEvents(services.documents).entries(after):
            if reached is not None and time.monotonic() >= until:
                break
            outcome = _outcome(intake, slot.value)
            if outcome == "taken" and slot.revision is not None:
                _remove(services, slot, slot.revision)
            counts[outcome] += 1
            reached = slot.path.rsplit("/", 1)[1]
        else:
            reached = None
    finally:
        _make_room(services, counts["taken"])
    return msgspec.convert({**counts, "next": reached}, Replayed)


def _outcome(intake: PredictionIntake, event: QuarantinedEvent) -> str:
    if event.is_cut:
        return "cut"
    if decode_predictions(event.raw).poison:  # its good neighbours, if there are any, were taken when it came
        return "still_wrong"
    taken = intake.take_now(event.raw)
    if taken.quarantined:
        return "still_wrong"
    return "passed_over" if taken.passed_over else "taken"


def _remove(services: Services, slot: Stored[QuarantinedEvent], revision: str) -> None:
    try:
        services.documents.commit([Delete(slot.path, revision)])
    except Conflict:  # somebody else replayed it, or it came again meanwhile
        return


def _make_room(services: Services, taken: int) -> None:
    """For as many new entries; if others are at it, that much less until it comes back by itself."""
    if not taken:
        return
    now = services.clock()
    room = QuarantinedEvents(services.documents).room(now)
    with suppress(TransientError):
        services.documents.commit([room.write(room.value.less(-taken, now))])
