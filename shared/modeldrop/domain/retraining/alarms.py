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
    """What the reports say of one kind of drift. ``alarmed``: an alarm of it stands, or begins.

    ``window``: the time that shows it; ``report``: where to read on; ``well``: whether the latest windows that are over
    and could be judged were well, by their start.
    """

    kind: AlarmKind
    version: str
    alarmed: bool
    window: TimeRange
    why: str
    report: str
    well: dict[str, bool] = {}


class AlarmChange(msgspec.Struct, frozen=True):
    """The alarms from now on, the news of what changed, and which began."""

    alarms: dict[AlarmKind, RaisedAlarm]
    news: list[News] = []
    began: list[Sighting] = []


def change_alarms(
    alarms: Mapping[AlarmKind, RaisedAlarm],
    production: str | None,
    sightings: Sequence[Sighting],
    windows_to_end: int,
    now: datetime,
) -> AlarmChange:
    """Alarms follow the version in production: those of another one are over when it no longer serves.

    An alarm takes several windows in a row, and ``windows_to_end`` that were well in a row end it: drift that comes and
    goes from window to window is one alarm.
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
        if before is None and sighting.alarmed:
            kept[sighting.kind] = RaisedAlarm(sighting.version, now, sighting.window.start, sighting.why)
            news.append(News("drift", sighting.version, NAMES[sighting.kind], sighting.why))
            began.append(sighting)
        elif before is not None:
            kept[sighting.kind] = standing = _seen_since(before, sighting, windows_to_end)
            well = len(standing.well) == windows_to_end and all(standing.well.values())
            if well and not sighting.alarmed:
                del kept[sighting.kind]
                what = f"{NAMES[sighting.kind]} is over"
                news.append(News("drift", sighting.version, what, sighting.why, resolved=True))
    return AlarmChange(kept, news, began)


def _seen_since(raised: RaisedAlarm, sighting: Sighting, most: int) -> RaisedAlarm:
    """The alarm with the latest windows since it began, as seen now and before."""
    first = raised.window.isoformat()
    windows = raised.well | {start: well for start, well in sighting.well.items() if start >= first}
    return msgspec.structs.replace(raised, well=dict(sorted(windows.items())[-most:]))
