"""The signal of a rollout's step that figures of traffic cannot give: do candidate and stable version predict alike?

From the samples of prediction logs, where there are any, over the same time. Numbers and categories are compared by the
Jensen-Shannon distance (0: the same, 1: nothing in common), against what chance alone would show.
"""

from datetime import datetime
from typing import Any

from modeldrop.domain.analysis import SignalResult, Verdict
from modeldrop.domain.rollout import Rollout
from modeldrop.domain.sampling.payload import read_prediction
from modeldrop.domain.sampling.windows import milliseconds
from modeldrop.records.windows import Windows
from modeldrop.wiring import Services

NAME = "prediction_distribution"
FEWEST_ROWS = 100


def compare_predictions(services: Services, rollout: Rollout, since: datetime, until: datetime) -> SignalResult | None:
    """The signal; None where there is no stable version, or no sample of either."""
    if rollout.stable is None:
        return None
    windows = Windows(services.documents)
    candidate = _predictions(windows, rollout.model, rollout.version, since, until)
    stable = _predictions(windows, rollout.model, rollout.stable, since, until)
    if not candidate and not stable:
        return None
    limit = rollout.limits.max_prediction_drift
    if min(len(candidate), len(stable)) < FEWEST_ROWS:
        verdict = Verdict.PASS if limit is None else Verdict.INCONCLUSIVE
        why = f"{len(candidate)} sampled predictions against {len(stable)}: at least {FEWEST_ROWS} are needed"
        return SignalResult(NAME, verdict, None, None, limit, why)
    return _compared(candidate, stable, limit)


def _predictions(windows: Windows, model: str, version: str, since: datetime, until: datetime) -> list[Any]:
    """What the version predicted in that time, as far as it was sampled."""
    found: list[Any] = []
    for record in windows.records(model, before=until):
        if record.end <= since:  # the newest come first
            break
        if record.version != version:
            continue
        sample = windows.sample(model, version, record.start)
        kept = [read_prediction(row) for row in sample.rows] if sample else []
        found += [
            _value(one.prediction) for one in kept if milliseconds(since) <= one.event_time_ms < milliseconds(until)
        ]
    return found


def _value(prediction: Any) -> Any:
    """A scorecard's answer counts by its score."""
    return prediction.get("score") if isinstance(prediction, dict) else prediction


def _compared(candidate: list[Any], stable: list[Any], limit: float | None) -> SignalResult:
    # numpy: half of a cold start, for those alone who have samples
    from modeldrop.domain.drift.columns import Column, Observations  # noqa: PLC0415
    from modeldrop.domain.drift.reference_profile import profile_reference  # noqa: PLC0415
    from modeldrop.domain.drift.report import drift_report  # noqa: PLC0415
    from modeldrop.domain.policy import DriftPolicy  # noqa: PLC0415

    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in stable)
    kind: Any = "numeric" if numbers else "categorical"
    policy = DriftPolicy(
        min_rows=FEWEST_ROWS,
        tests={"numeric": "jensen_shannon", "categorical": "jensen_shannon"},
        thresholds={"jensen_shannon": limit or 1e-9},
    )
    profile = profile_reference(Observations([], Column("prediction", kind, stable)))
    drift = drift_report(profile, Observations([], Column("prediction", kind, candidate)), policy).prediction
    assert drift is not None
    moved = f"Jensen-Shannon distance {drift.jensen_shannon or 0.0:.3f} over {len(candidate)} and {len(stable)} rows"
    failed = limit is not None and drift.verdict == "drifted"
    why = f"predictions differ from the stable version's: {moved} (at most {limit})" if failed else moved
    return SignalResult(NAME, Verdict.FAIL if failed else Verdict.PASS, drift.jensen_shannon, None, limit, why)
