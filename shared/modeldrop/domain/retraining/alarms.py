"""Alarms: which begin and which are over, from what the reports on a model say now. Each is told once."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from modeldrop.domain.news import News
from modeldrop.domain.retraining.episode import TimeRange
from modeldrop.domain.retraining.state import AlarmKind, RaisedAlarm

NAMES: Final[dict[AlarmKind, str]] = {
    "data_drift": "data drift",
    "concept_drift": "concept drift",
    "prediction_drift": "prediction drift",
}


class Sighting(msgspec.Struct, frozen=True):
    """What a report says of one kind of drift. ``alarmed`` None: nothing, or not enough to say either.

    ``window``: the time that shows it; ``report``: where to read on.
    """

    kind: AlarmKind
    version: str
    alarmed: bool | None
    window: TimeRange
    why: str
    report: str


class AlarmChange(msgspec.Struct, frozen=True):
    """The alarms from now on, the news of what changed, and which began."""

    alarms: dict[AlarmKind, RaisedAlarm]
    news: list[News] = []
    began: list[Sighting] = []


def change_alarms(
    alarms: Mapping[AlarmKind, RaisedAlarm], production: str | None, sightings: Sequence[Sighting], now: datetime
) -> AlarmChange:
    """Alarms follow the version in production: those of another one are over when it no longer serves.

    A sighting that says nothing leaves an alarm as it is.
    """
    kept: dict[AlarmKind, RaisedAlarm] = {}
    news: list[News] = []
    for kind, raised in alarms.items():
        if raised.version == production:
            kept[kind] = raised
        else:
            news.append(News("drift", raised.version, f"{NAMES[kind]} is over", "it no longer serves", resolved=True))
    began: list[Sighting] = []
    for sighting in sightings:
        before = kept.get(sighting.kind)
        if sighting.alarmed is True and before is None:
            kept[sighting.kind] = RaisedAlarm(sighting.version, now, sighting.window.start, sighting.why)
            news.append(News("drift", sighting.version, NAMES[sighting.kind], sighting.why))
            began.append(sighting)
        elif sighting.alarmed is False and before is not None:
            del kept[sighting.kind]
            what = f"{NAMES[sighting.kind]} is over"
            news.append(News("drift", sighting.version, what, sighting.why, resolved=True))
    return AlarmChange(kept, news, began)
