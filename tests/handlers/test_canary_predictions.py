"""A canary that predicts otherwise than the stable version, seen in the samples of prediction logs."""

from random import Random

import pytest

from modeldrop.domain.analysis import SignalResult, Verdict
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.rollout import Cause
from modeldrop.domain.sampling.hashing import hash_id
from modeldrop.domain.sampling.payload import SampledPrediction, prediction_row
from modeldrop.domain.sampling.shards import merge_into
from modeldrop.domain.sampling.windows import milliseconds, window_start
from modeldrop.domain.versions import Status
from modeldrop.records.windows import Windows, new_window
from tests.handlers.control import MODEL, Control

ONE_SHARD = DriftPolicy(sample_size=256)
LIMITED = "rollout: {steps: [50, 100], bake_seconds: 600, max_prediction_drift: 0.3, keep_warm_seconds: 0}\n"


def predicted(control: Control, version: str, centre: float, count: int) -> None:
    """So many predictions of the version around a score, sampled now."""
    windows, now, random = Windows(control.services.documents), control.clock(), Random(7)
    start = window_start(now, ONE_SHARD.window_seconds)
    (record,) = windows.open([new_window(MODEL, version, start, ONE_SHARD, now)])
    rows = [
        prediction_row(
            hash_id(f"{version} {now} {number}"),
            SampledPrediction(milliseconds(now), {"score": random.gauss(centre, 0.1)}, 1.0, "ok", {}),
        )
        for number in range(count)
    ]
    slot = windows.shard(record, 0)
    control.services.documents.commit([slot.write(merge_into(slot.shard, rows))])


def canary(control: Control, policy: str = LIMITED) -> None:
    """v2 has half of the traffic, and v1 the other."""
    control.policy(policy)
    control.make_live("v1", 0.7, day=1)
    control.drop("v2", 0.8, day=2)
    control.tell_version("v2")
    for _ in range(5):
        control.serve()
        control.tick()
    assert control.traffic == {"v1": 50, "v2": 50}


def signal(control: Control) -> SignalResult | None:
    found = [one for one in control.rollout.measurements[-1].signals if one.name == "prediction_distribution"]
    return found[0] if found else None


def play(control: Control, minutes: int, centre: float | None, count: int = 60) -> None:
    for _ in range(minutes):
        control.clock.forward(60)
        control.answered("v1", 100)
        control.answered("v2", 100)
        if centre is not None:
            predicted(control, "v1", 0.5, count)
            predicted(control, "v2", centre, count)
        control.tick()


def test_a_canary_that_predicts_otherwise_is_rolled_back(control: Control) -> None:
    canary(control)
    play(control, 6, centre=0.9)
    assert control.version("v2").status is Status.ROLLED_BACK
    assert control.traffic == {"v1": 100}
    assert "Jensen-Shannon distance" in (control.version("v2").fallen or "")


def test_one_that_predicts_alike_goes_on(control: Control) -> None:
    canary(control)
    play(control, 11, centre=0.5)
    assert control.traffic == {"v2": 100}, "its step has ended; the last one has nobody to compare with"


def test_without_a_limit_it_is_told_only(control: Control) -> None:
    canary(control, LIMITED.replace("max_prediction_drift: 0.3, ", ""))
    play(control, 6, centre=0.9)
    found = signal(control)
    assert found is not None
    assert (found.verdict, found.limit) == (Verdict.PASS, None)
    assert found.candidate is not None
    assert found.candidate > 0.5


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_sampled_predictions_are_inconclusive_and_none_at_all_are_no_signal(
    control: Control, count: int
) -> None:
    canary(control)
    play(control, 20, centre=0.9 if count else None, count=count)
    if count:
        assert control.rollout.held is not None
        assert control.rollout.held.cause is Cause.INCONCLUSIVE
        assert "sampled predictions" in control.rollout.held.why
    else:
        assert signal(control) is None
        assert control.traffic == {"v2": 100}
