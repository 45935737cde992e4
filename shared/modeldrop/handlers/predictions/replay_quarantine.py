"""Put quarantined prediction events back: after a fix of ours, or once their version is registered."""

import msgspec

from modeldrop.errors import Conflict
from modeldrop.events.prediction_events import decode_predictions
from modeldrop.handlers.predictions.log_predictions import PredictionIntake
from modeldrop.ports import Delete
from modeldrop.records.quarantined_events import QuarantinedEvent, QuarantinedEvents
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services


class Replayed(msgspec.Struct, frozen=True):
    """What came of it. ``taken``: entries whose events are all sampled now, and which are gone from the quarantine."""

    taken: int = 0
    still_wrong: int = 0  # they would be quarantined again
    passed_over: int = 0  # of versions that are not registered, or too old: they stay as well
    cut: int = 0  # only their beginning was kept


def replay_quarantine(services: Services, intake: PredictionIntake) -> Replayed:
    """Every quarantined prediction event goes through the intake again. Raises TransientError; then do it again."""
    found = {"taken": 0, "still_wrong": 0, "passed_over": 0, "cut": 0}
    for slot in QuarantinedEvents(services.documents).entries():
        outcome = _outcome(intake, slot.value)
        if outcome == "taken" and slot.revision is not None:
            _remove(services, slot, slot.revision)
        found[outcome] += 1
    return Replayed(**found)


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
