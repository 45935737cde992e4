"""The governor: whether causes for a retraining open an episode now. Pure; whoever calls it commits what it says."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, get_args

import msgspec

from modeldrop.domain.policy import RetrainPolicy
from modeldrop.domain.retraining.episode import Cause, TimeRange
from modeldrop.domain.retraining.state import RetrainingState

WEEK: Final = timedelta(days=7)
ORDER: Final[tuple[Cause, ...]] = ("manual", "concept_drift", "prediction_drift", "data_drift", "unhealthy")
"""Which cause an episode is opened for where several stand: what says most about the model first."""
assert set(ORDER) == set(get_args(Cause))


class Reason(msgspec.Struct, frozen=True):
    """A cause that stands, and what shows it."""

    cause: Cause
    why: str
    report: str | None = None
    window: TimeRange | None = None


class Ruling(msgspec.Struct, frozen=True):
    """``opens``: the reason to open an episode for; else ``declined`` says of each cause why not.

    ``stops``: retraining has not helped so often that a person is to be told, once.
    """

    opens: Reason | None = None
    declined: dict[str, str] = {}
    stops: bool = False


def rule(
    state: RetrainingState, reasons: Sequence[Reason], policy: RetrainPolicy, labels: str | None, now: datetime
) -> Ruling:
    """The ruling on the causes that stand. ``labels`` stands for all labels known; None: the model never had any.

    A person's word (``manual``) yields only to an episode that is open and to a missing target: cooldown, budget,
    labels and the stop are there to restrain a machine.
    """
    wanted = sorted(reasons, key=lambda reason: ORDER.index(reason.cause))
    if not wanted:
        return Ruling()
    declined: dict[str, str] = {}
    for reason in wanted:
        objection = _objection(state, reason, policy, labels, now)
        if objection is None:
            return Ruling(opens=reason)
        declined[reason.cause] = objection
    stops = _has_stopped(state, policy) and not state.stopped and any(r.cause in policy.on for r in wanted)
    return Ruling(declined=declined, stops=stops)


def _objection(
    state: RetrainingState, reason: Reason, policy: RetrainPolicy, labels: str | None, now: datetime
) -> str | None:
    """Why this cause opens no episode now; None: it does."""
    if policy.target is None:
        return "the policy names no target (retrain.target)"
    if state.open is not None:
        return f"the episode {state.open} is open"
    if reason.cause == "manual":
        return None
    if reason.cause not in policy.on:
        return "the policy does not retrain for it (retrain.on)"
    return _earlier_ones(state, policy, now) or _pace(state, policy, labels, now)


def _earlier_ones(state: RetrainingState, policy: RetrainPolicy, now: datetime) -> str | None:
    """What came of those before."""
    if _has_stopped(state, policy):
        return f"{state.without_gain} retrainings in a row brought no gain: somebody has to look (:retrain goes on)"
    if state.judging is not None and now < state.judging.until:
        return f"{state.judging.version}, which came of {state.judging.episode}, is not judged yet"
    return None


def _pace(state: RetrainingState, policy: RetrainPolicy, labels: str | None, now: datetime) -> str | None:
    if state.openings:
        rested = max(state.openings) + timedelta(seconds=policy.cooldown_seconds)
        if now < rested:
            return f"the last one was asked for at {max(state.openings).isoformat()}; not before {rested.isoformat()}"
        if labels is not None and labels == state.labels:
            return "no labels have come since the last one"
    if len(openings_of_week(state, now)) >= policy.max_per_week:
        return f"{policy.max_per_week} have been asked for within a week"
    return None


def _has_stopped(state: RetrainingState, policy: RetrainPolicy) -> bool:
    return policy.stop_after_no_gain > 0 and state.without_gain >= policy.stop_after_no_gain


def openings_of_week(state: RetrainingState, now: datetime) -> list[datetime]:
    """When episodes were opened in the seven days before ``now``."""
    return [moment for moment in state.openings if moment > now - WEEK]
