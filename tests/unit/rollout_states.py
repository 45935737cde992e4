"""Rollouts, endpoints and measurements in any state, for the tests of the state machine and of its plan."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from modeldrop.domain.analysis import Measurement, Verdict
from modeldrop.domain.endpoint import DeployedVersion, Endpoint, Operation
from modeldrop.domain.policy import RolloutPolicy
from modeldrop.domain.rollout import Cause, Held, Kind, Phase, Rollout, open_at_once, open_rollout

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RolloutPolicy(
    steps=[5, 50], bake_seconds=60, deadline_seconds=3600, failure_limit=2, error_limit=4, inconclusive_limit=6
)
RUNNING = Operation("op", done=False)
DONE = Operation("op", done=True)
FAILED = Operation("op", done=True, error="no quota")


def after(seconds: float) -> datetime:
    """A time that long after all began."""
    return NOW + timedelta(seconds=seconds)


def opened(stable: str | None = "v1", policy: RolloutPolicy = POLICY) -> Rollout:
    """A rollout of v2."""
    return open_rollout("000001-v2", ("fraud", "v2", "key2", "d" * 64), stable, policy, NOW)


def at(phase: Phase, *, stable: str | None = "v1", **changes: Any) -> Rollout:
    """The same, in a phase that began at NOW."""
    return msgspec.structs.replace(opened(stable), phase=phase, **changes)


def at_once(kind: Kind, phase: Phase, **changes: Any) -> Rollout:
    """A rollback to v2, or a repair of it."""
    return msgspec.structs.replace(open_at_once(opened(), kind, deployed=True), phase=phase, **changes)


def held(cause: Cause) -> Held:
    """Somebody's word is waited for."""
    return Held(cause, f"held: {cause.value}", NOW)


def measured(verdict: Verdict, seconds: float, *, stable_answering: bool | None = None) -> Measurement:
    """What was seen that long after the phase began."""
    return Measurement(after(seconds), NOW, 5, verdict, f"it was {verdict.value}", stable_answering=stable_answering)


def endpoint(**traffic: int) -> Endpoint:
    """Versions able to answer, with their share of traffic in percent."""
    return Endpoint("fraud", "etag", tuple(DeployedVersion(v, f"1{i}", p) for i, (v, p) in enumerate(traffic.items())))
