"""What is remembered of a model between ticks: its alarms, and the governor's memory."""

from datetime import datetime
from typing import Literal

import msgspec

AlarmKind = Literal["data_drift", "concept_drift", "prediction_drift"]


class RaisedAlarm(msgspec.Struct, frozen=True):
    """An alarm that was told, and that it is over has not been told yet."""

    version: str
    since: datetime
    window: datetime  # start of the window that raised it
    why: str
    well: dict[str, bool] = {}  # the latest windows since then, by start: whether each was well


class Judging(msgspec.Struct, frozen=True):
    """A version that came of an episode, and whether it is a gain is not known yet."""

    episode: str
    version: str
    until: datetime  # given up then, unless the version waits for somebody's word
    counted: bool = False  # among those without gain already: the version came after the episode had failed


class RetrainingState(msgspec.Struct, frozen=True):
    """One small document a model; every decision about retraining replaces it."""

    changes: int = 0  # how often it was replaced: no two states are equal
    alarms: dict[AlarmKind, RaisedAlarm] = {}
    episodes: int = 0  # how many there have been
    open: str | None = None  # id of the open one
    openings: list[datetime] = []  # of the last week
    judging: Judging | None = None  # what came of the last one that a version came of
    judging_besides: list[Judging] = []  # what came of earlier ones
    without_version: str | None = None  # id of the last one that failed or expired: a version may yet come of it
    without_gain: int = 0  # in a row
    labels_known: dict[str, int] = {}  # when the last episode was opened, by start of their window
    stopped: bool = False  # a person was told that it stopped
    declined: dict[str, str] = {}  # causes that stand and opened no episode, and why
