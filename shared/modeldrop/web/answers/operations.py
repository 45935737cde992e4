"""Answers about what goes on beside the rollouts: retraining, news, ticks, the quarantine, and replies to commands."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from modeldrop.domain.news import News
from modeldrop.domain.retraining.episode import Cause, Run, Status, TimeRange
from modeldrop.domain.retraining.state import AlarmKind, Judging, RaisedAlarm
from modeldrop.records.outbox import Delivery
from modeldrop.records.proposals import ProposalRecord
from modeldrop.records.registry import Quarantined
from modeldrop.web.answers.names import Next


class EpisodeRow(msgspec.Struct, frozen=True):
    """One retraining, from its cause to what came of it."""

    id: str
    cause: Cause
    why: str
    by: str
    version: str | None
    status: Status
    target: str
    run: Run
    opened_at: datetime
    until: datetime
    ended_at: datetime | None
    closed_by: Annotated[str | None, Meta(description="The version that came of it.")]
    gain: Annotated[bool | None, Meta(description="Whether that went live; null: not known yet.")]
    outcome: str
    window: TimeRange | None
    report: str | None


class Remembered(msgspec.Struct, frozen=True):
    """What is remembered of a model between ticks."""

    open: str | None
    alarms: dict[AlarmKind, RaisedAlarm]
    without_gain: int
    stopped: bool
    declined: dict[str, str]
    judging: Judging | None


class ProposalRow(ProposalRecord, frozen=True, kw_only=True):
    """A proposed decision threshold, with a sentence for people."""

    text: str


class Retrainings(msgspec.Struct, frozen=True):
    """A model's episodes and proposals, the newest first, and what is remembered."""

    model: str
    episodes: list[EpisodeRow]
    state: Remembered
    proposals: list[ProposalRow]
    next: Next


class DeliveryRow(News, frozen=True, kw_only=True):
    """News, and whom they reached."""

    id: str
    at: datetime
    deliveries: list[Delivery]


class Deliveries(msgspec.Struct, frozen=True):
    """News of a model: told, the newest first, and still to be told."""

    model: str
    deliveries: list[DeliveryRow]
    waiting: list[DeliveryRow]
    next: Next


class TickRow(msgspec.Struct, frozen=True):
    """When a tick ran last, and how it went."""

    tick: str
    at: datetime
    seconds: float
    status: str
    models: int
    errors: int
    interval_seconds: float
    stale: bool


class Ticks(msgspec.Struct, frozen=True):
    """The last run of every tick."""

    ticks: list[TickRow]


class QuarantineRow(Quarantined, frozen=True, kw_only=True):
    """Something that came in and could not be taken."""

    id: str


class Quarantine(msgspec.Struct, frozen=True):
    """What is quarantined, in no particular order."""

    quarantine: list[QuarantineRow]
    next: Next


class CommandReply(msgspec.Struct, frozen=True):
    """What came of a command, and why."""

    status: Literal["accepted", "refused"]
    reason: str


class ReplayReply(msgspec.Struct, frozen=True):
    """How many quarantined entries were put back, or not; ``next``: where to go on, if time was over before the end."""

    taken: int
    still_wrong: int
    passed_over: int
    cut: int
    next: str | None


class CallReply(msgspec.Struct, frozen=True):
    """The answer to a call that came in another one: the HTTP status it would have had, and its body."""

    status: int
    answer: msgspec.Raw
