"""Answers about versions, decisions and rollouts."""

from typing import Annotated

import msgspec
from msgspec import Meta

from modeldrop.domain.rollout import Rollout
from modeldrop.domain.versions import Decision, Status
from modeldrop.web.answers.names import Next


class VersionRow(msgspec.Struct, frozen=True):
    """A version: what it declares, and where it is in its life."""

    version: str
    status: Status
    score: Annotated[float | None, Meta(description="The gate's, from 0 (worst) to 1 (best).")]
    digest: Annotated[str, Meta(description="SHA-256 of the metadata.")]
    runtime: str | None
    metrics: dict[str, float]
    lineage: dict[str, str]
    labels: dict[str, str]
    declared_at: str
    received_at: str
    waiting_for: Annotated[list[str], Meta(description="Files that are not there yet.")]
    fallen: Annotated[str | None, Meta(description="Why it may not serve any more.")]


class Versions(msgspec.Struct, frozen=True):
    """Versions of a model, the newest declared time first."""

    versions: list[VersionRow]
    next: Next


class VersionAnswer(VersionRow, frozen=True):
    """A version with the gate's decision."""

    decision: Decision | None


class Explained(Decision, frozen=True, kw_only=True):
    """The gate's decision on a version, with all it follows from."""

    model: str
    version: str
    status: Status


class Rollouts(msgspec.Struct, frozen=True):
    """Rollouts of a model, the newest first."""

    rollouts: list[Rollout]
    next: Next
