"""Answers about models: the list, one of them, its history and health, and what its next version is judged by."""

from typing import Annotated

import msgspec
from msgspec import Meta

from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.versions import Standing, Status
from modeldrop.records.health import HealthRecord
from modeldrop.records.registry import HistoryEntry, Served
from modeldrop.web.answers.names import Next, Percent


class About(msgspec.Struct, frozen=True):
    """Who answers, and where to go from here."""

    name: str
    version: str
    links: list[str]


class Traffic(msgspec.Struct, frozen=True):
    """How an endpoint splits its requests, in percent by version, without the zeros."""

    traffic: dict[str, Percent]


class Trouble(msgspec.Struct, frozen=True):
    """What is wrong with the ticks, by name, and since when news wait."""

    stale: Annotated[list[str], Meta(description="Should have come again long ago.")]
    never: Annotated[list[str], Meta(description="Never came.")]
    incomplete: Annotated[list[str], Meta(description="Could not do all their work the last time.")]
    oldest_news: Annotated[str | None, Meta(description="Time of the oldest still to be told, if they wait for long.")]


class NewestVersion(msgspec.Struct, frozen=True):
    """The version that was declared last, and what became of it."""

    version: str
    status: Status


class ModelRow(msgspec.Struct, frozen=True):
    """A model at a glance."""

    model: str
    production: Annotated[str | None, Meta(description="The version that serves.")]
    desired: Annotated[str | None, Meta(description="The version that should serve.")]
    endpoint: Annotated[Traffic | None, Meta(description="null: there is none, or it cannot be seen.")]
    rollout: Annotated[str | None, Meta(description="Id of the one under way.")]
    paused: Annotated[str | None, Meta(description="Why nothing goes forward.")]
    health: Annotated[str | None, Meta(description="healthy, degraded, unhealthy or unknown.")]
    drift: Annotated[str | None, Meta(description="Verdict of the newest report: ok, drifted or insufficient_data.")]
    newest: Annotated[NewestVersion | None, Meta(description="null: none, or an operator's word came after it.")]


class Models(msgspec.Struct, frozen=True):
    """A page of models, by name."""

    models: list[ModelRow]
    ticks: Trouble
    next: Next


class Aliases(msgspec.Struct, frozen=True):
    """Versions by what they are to the model."""

    production: str | None
    previous: str | None
    staging: Annotated[str | None, Meta(description="Rolling out, else the newest that waits for approval.")]
    latest: str | None


class Model(ModelRow, frozen=True):
    """A model at a glance, with its aliases."""

    aliases: Aliases


class HistoryRow(HistoryEntry, frozen=True, kw_only=True):
    """A line of the audit trail with its number."""

    number: str


class History(msgspec.Struct, frozen=True):
    """What was committed about a model, the newest first."""

    history: list[HistoryRow]
    next: Next


class ServedAt(msgspec.Struct, frozen=True):
    """What served at a time; null: nothing did."""

    at: str
    served: Served | None


class Health(HealthRecord, frozen=True, kw_only=True):
    """How the version that serves is doing."""

    model: str


class PolicyInForce(msgspec.Struct, frozen=True):
    """The gate's part of a policy; ``digest`` of its file, null: the defaults."""

    digest: str | None
    gate: GatePolicy


class WhatToBeat(Standing, frozen=True, kw_only=True):
    """What the next version of a model will be judged by."""

    model: str
    policy: PolicyInForce
