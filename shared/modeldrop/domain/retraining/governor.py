"""The governor: whether causes for a retraining open an episode now. Pure; whoever calls it commits what it says."""

from collections.abc import Mapping, Sequence
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


class Circumstances(msgspec.Struct, frozen=True):
    """What else matters. ``new_labels``: come since the last episode was opened; None: the model never had any.

    ``min_labels``: fewer than that teach nothing; ``paused``: by whom the model is; None: it is not.
    """

    new_labels: int | None = None
    min_labels: int = 1
    paused: str | None = None


class Ruling(msgspec.Struct, frozen=True):
    """``opens``: the reason to open an episode for; else ``declined`` says of each cause why not.

    ``stops``: retraining has not helped so often that a person is to be told, once.
    """

    opens: Reason | None = None
    declined: dict[str, str] = {}
    stops: bool = False


def rule(
    state: RetrainingState,
    reasons: Sequence[Reason],
    policy: RetrainPolicy,
    circumstances: Circumstances,
    now: datetime,
) -> Ruling:
    """The ruling on the causes that stand.

    A person's word (``manual``) yields only to an episode that is open and to a missing target: cooldown, budget,
    labels, a pause and the stop are there to restrain a machine.
    """
    wanted = sorted(reasons, key=lambda reason: ORDER.index(reason.cause))
    if not wanted:
        return Ruling()
    declined: dict[str, str] = {}
    for reason in wanted:
        objection = _objection(state, reason, policy, circumstances, now)
        if objection is None:
            return Ruling(opens=reason)
        declined[reason.cause] = objection
    stops = _has_stopped(state, policy) and not state.stopped and any(r.cause in policy.on for r in wanted)
    return Ruling(declined=declined, stops=stops)


def _objection(
    state: RetrainingState, reason: Reason, policy: RetrainPolicy, circumstances: Circumstances, now: datetime
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
    if circumstances.paused is not None:
        return f"the model is paused by {circumstances.paused}"
    return _earlier_ones(state, policy) or _pace(state, policy, circumstances, now)


def _earlier_ones(state: RetrainingState, policy: RetrainPolicy) -> str | None:
    """What came of those before."""
    if _has_stopped(state, policy):
        return f"{state.without_gain} retrainings in a row brought no gain: somebody has to look (:retrain goes on)"
    if state.judging is not None:
        return f"{state.judging.version}, which came of {state.judging.episode}, is not judged yet"
    return None


def _pace(state: RetrainingState, policy: RetrainPolicy, circumstances: Circumstances, now: datetime) -> str | None:
    if state.openings:
        rested = max(state.openings) + timedelta(seconds=policy.cooldown_seconds)
        if now < rested:
            return f"the last one was asked for at {max(state.openings).isoformat()}; not before {rested.isoformat()}"
        new, fewest = circumstances.new_labels, max(circumstances.min_labels, 1)
        if new is not None and new < fewest:
            return f"{new or 'no'} labels have come since the last one{f', of {fewest} that it takes' if new else ''}"
    if len(openings_of_week(state, now)) >= policy.max_per_week:
        return f"{policy.max_per_week} have been asked for within a week"
    return None


def _has_stopped(state: RetrainingState, policy: RetrainPolicy) -> bool:
    return policy.stop_after_no_gain > 0 and state.without_gain >= policy.stop_after_no_gain


def new_labels(known: Mapping[str, int], before: Mapping[str, int]) -> int | None:
    """How many labels have come since; both by start of their window. None: there never were any.

    Labels that are past their time are missed by nobody: that there are none any more is nothing new.

    >>> new_labels({"10:00": 5, "11:00": 3}, {"09:00": 7, "10:00": 4}), new_labels({}, {"09:00": 7}), new_labels({}, {})
    (4, 0, None)
    """
    if not known and not before:
        return None
    return sum(max(0, count - before.get(window, 0)) for window, count in known.items())


def openings_of_week(state: RetrainingState, now: datetime) -> list[datetime]:
    """When episodes were opened in the seven days before ``now``."""
    return [moment for moment in state.openings if moment > now - WEEK]
