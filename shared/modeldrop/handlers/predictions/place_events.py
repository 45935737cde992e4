"""Events of one model and version → the windows they are counted in."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from modeldrop.domain.sampling.prediction_time import uuid7_time
from modeldrop.domain.sampling.windows import place
from modeldrop.errors import FieldProblem
from modeldrop.events.prediction_events import Event, Poison, PredictionEvent
from modeldrop.handlers.predictions.known_versions import FUTURE_TOLERANCE, Sampling, Subject
from modeldrop.records.windows import WindowKey

_NEVER = datetime.min.replace(tzinfo=UTC)
_NO_TIME = FieldProblem("predicted_at", "missing, and the prediction_id is no UUIDv7, which would tell it")


class WindowEvents(msgspec.Struct, frozen=True):
    """The events of a window."""

    key: WindowKey
    sampling: Sampling
    events: list[Event]


class PlacedEvents(msgspec.Struct, frozen=True):
    """Where events belong; how many are too old for any window; what lacks a time."""

    windows: list[WindowEvents]
    from_the_future: int
    too_old: int
    poison: list[Poison]


def place_events(subject: Subject, sampling: Sampling, events: Sequence[Event], now: datetime) -> PlacedEvents:
    """The windows of the events by their own time.

    One from the future beyond tolerance goes to the window of ``now``; what is kept of it tells its own time.
    """
    timed = [(time_of_event(event), event) for event in events]
    poison = [poisoned(event, [_NO_TIME]) for moment, event in timed if moment is None]
    by_start: dict[datetime, list[Event]] = {}
    from_the_future = too_old = 0
    begin = end = _NEVER  # the window found last: nearly always the next event belongs to it as well
    belonging: list[Event] = []
    for moment, event in timed:
        if moment is None:
            continue
        if not begin <= moment < end:
            placement = place(moment, now, sampling.rule)
            if placement.window is None:
                too_old += 1
                continue
            belonging = by_start.setdefault(placement.window, [])
            begin = end = _NEVER
            if placement.verdict == "in_its_window":
                begin = placement.window
                end = min(begin + sampling.length, now + FUTURE_TOLERANCE)
            else:
                from_the_future += 1
        belonging.append(event)
    windows = [WindowEvents((*subject, start), sampling, belonging) for start, belonging in by_start.items()]
    return PlacedEvents(windows, from_the_future, too_old, poison)


def time_of_event(event: Event) -> datetime | None:
    """When the prediction was made: as stated, of a label else as the id tells; None if neither says it."""
    if isinstance(event, PredictionEvent):
        return event.timestamp
    return event.predicted_at if event.predicted_at is not None else uuid7_time(event.prediction_id)


def poisoned(event: Event, problems: Sequence[FieldProblem]) -> Poison:
    """An event that was decoded, and still cannot be taken."""
    return Poison(None, msgspec.json.encode(event), tuple(problems))
