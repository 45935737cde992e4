"""What is true of the whole system: whether its ticks come, whether news wait, what is quarantined."""

from dataclasses import dataclass
from datetime import datetime

from modeldrop.web.dashboard.figures import seconds
from modeldrop.web.dashboard.marks import BAD, GOOD, Mark
from modeldrop.web.dashboard.moments import Moment, moment
from modeldrop.web.dashboard.reader import Answer, Reader

MOST_QUARANTINED = 20
"""Entries are read with their bytes: beyond these, "and more" is all that is said."""


@dataclass(frozen=True)
class Tick:
    """A tick's last run."""

    name: str
    at: Moment | None
    mark: Mark
    took: str


@dataclass(frozen=True)
class System:
    """The strip above every list of models."""

    ticks: list[Tick]
    warnings: list[str]
    quarantined: str  # how many, in words; empty: none


def system(reader: Reader, late: Answer, now: datetime) -> System:
    """``late``: what the list of models says of its ticks."""
    beats = reader.get("/v1/ticks")["ticks"]
    return System([_tick(beat, now) for beat in beats], warnings(late, now), _quarantined(reader))


def warnings(late: Answer, now: datetime) -> list[str]:
    """A line for each tick that does not come, or does not get its work done, and for news that wait."""
    lines = [f"{name} has not come for a while: does its scheduler run?" for name in late["stale"]]
    lines += [f"{name} has never come: does it have a scheduler?" for name in late["never"]]
    lines += [f"{name} could not do all its work the last time: its log says why." for name in late["incomplete"]]
    oldest = moment(late["oldest_news"], now)
    if oldest is not None:
        lines.append(f"News of {oldest.full} UTC are still to be told: a model's deliveries say which channel fails.")
    return lines


def _tick(beat: Answer, now: datetime) -> Tick:
    well = beat["status"] == "ok" and not beat["stale"]
    word = "late" if beat["stale"] else beat["status"][:24]
    mark = Mark("good", GOOD, "on time") if well else Mark("bad", BAD, word)
    return Tick(beat["tick"].replace("_", " "), moment(beat["at"], now), mark, seconds(beat["seconds"]))


def _quarantined(reader: Reader) -> str:
    found = reader.get("/v1/quarantine", limit=MOST_QUARANTINED)
    count = len(found["quarantine"])
    return f"more than {count}" if found["next"] else str(count or "")
