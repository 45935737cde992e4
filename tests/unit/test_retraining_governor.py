"""When a retraining may be asked for: the governor, against a plain list of what must hold."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.policy import RetrainPolicy
from modeldrop.domain.retraining.episode import Cause
from modeldrop.domain.retraining.governor import WEEK, Circumstances, Reason, new_labels, rule
from modeldrop.domain.retraining.state import Judging, RetrainingState
from modeldrop.domain.targets import WebhookTarget

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = RetrainPolicy(target=WebhookTarget("https://train.example.com/"))
CONCEPT = Reason("concept_drift", "accuracy 0.6 is worse than 0.7")
DATA = Reason("data_drift", "amount moved")
MANUAL = Reason("manual", "asked for by somebody")
ALONE = Circumstances()


def policy(**changes: object) -> RetrainPolicy:
    return msgspec.structs.replace(POLICY, **changes)


def opens(state: RetrainingState, *reasons: Reason, rules: RetrainPolicy = POLICY, seen: Circumstances = ALONE) -> bool:
    return rule(state, reasons, rules, seen, NOW).opens is not None


def test_nothing_stands_nothing_opens() -> None:
    ruling = rule(RetrainingState(), [], POLICY, ALONE, NOW)
    assert (ruling.opens, ruling.declined, ruling.stops) == (None, {}, False)


def test_of_several_causes_it_opens_for_what_says_most() -> None:
    order: list[Cause] = ["unhealthy", "data_drift", "prediction_drift", "concept_drift"]
    for count in range(1, 5):
        ruling = rule(RetrainingState(), [Reason(cause, "") for cause in order[:count]], POLICY, ALONE, NOW)
        assert ruling.opens is not None
        assert ruling.opens.cause == order[count - 1]


def test_only_causes_the_policy_names() -> None:
    ruling = rule(RetrainingState(), [DATA, CONCEPT], policy(on=["data_drift"]), ALONE, NOW)
    assert ruling.opens == DATA
    assert rule(RetrainingState(), [CONCEPT], policy(on=["data_drift"]), ALONE, NOW).declined == {
        "concept_drift": "the policy does not retrain for it (retrain.on)"
    }


def test_without_a_target_nobody_can_ask() -> None:
    assert not opens(RetrainingState(), DATA, MANUAL, rules=RetrainPolicy())


def test_one_open_episode_a_model() -> None:
    state = RetrainingState(open="fraud-1")
    assert rule(state, [MANUAL, DATA], POLICY, ALONE, NOW).declined == {
        "manual": "the episode fraud-1 is open",
        "data_drift": "the episode fraud-1 is open",
    }


@pytest.mark.parametrize(("hours", "opened"), [(23.99, False), (24, True)])
def test_it_rests_between_two(hours: float, opened: bool) -> None:
    assert opens(RetrainingState(openings=[NOW - hours * HOUR]), DATA) is opened


def test_a_rest_may_be_longer_than_a_week() -> None:
    state = RetrainingState(openings=[NOW - 2 * WEEK])
    assert not opens(state, DATA, rules=policy(cooldown_seconds=3 * WEEK.total_seconds()))


@pytest.mark.parametrize(("openings", "opened"), [(2, True), (3, False)])
def test_so_many_a_week(openings: int, opened: bool) -> None:
    state = RetrainingState(openings=[NOW - WEEK - HOUR, *[NOW - day * 24 * HOUR for day in range(2, 2 + openings)]])
    assert opens(state, DATA) is opened


@pytest.mark.parametrize(
    ("new", "fewest", "why"),
    [
        (0, 100, "no labels have come since the last one"),
        (1, 100, "1 labels have come since the last one, of 100 that it takes"),
        (99, 100, "99 labels have come since the last one, of 100 that it takes"),
        (100, 100, None),
        (0, 0, "no labels have come since the last one"),
        (1, 0, None),
        (None, 100, None),  # the model's labels do not come through us: nobody knows
    ],
)
def test_too_few_new_labels_teach_nothing(new: int | None, fewest: int, why: str | None) -> None:
    state, seen = RetrainingState(openings=[NOW - 30 * HOUR]), Circumstances(new_labels=new, min_labels=fewest)
    ruling = rule(state, [CONCEPT], POLICY, seen, NOW)
    assert ruling.declined == ({} if why is None else {"concept_drift": why})
    assert opens(RetrainingState(), CONCEPT, seen=seen)  # there was none before


def test_labels_that_are_past_their_time_are_nothing_new() -> None:
    before = {"09:00": 500, "10:00": 40}
    assert new_labels(before, before) == 0
    assert new_labels({"10:00": 41, "11:00": 7}, before) == 8
    assert new_labels({}, before) == 0
    assert new_labels({"11:00": 7}, {}) == 7
    assert new_labels({}, {}) is None


def test_a_paused_model_is_left_alone_but_for_a_person() -> None:
    seen = Circumstances(paused="ann")
    assert rule(RetrainingState(), [DATA], POLICY, seen, NOW).declined == {"data_drift": "the model is paused by ann"}
    assert opens(RetrainingState(), DATA, MANUAL, seen=seen)


def test_it_stops_after_so_many_without_gain_and_says_so_once() -> None:
    state = RetrainingState(without_gain=3)
    ruling = rule(state, [DATA], POLICY, ALONE, NOW)
    assert (ruling.opens, ruling.stops) == (None, True)
    assert not rule(msgspec.structs.replace(state, stopped=True), [DATA], POLICY, ALONE, NOW).stops
    assert not rule(state, [DATA], policy(on=["unhealthy"]), ALONE, NOW).stops  # it would not have retrained anyway
    assert opens(RetrainingState(without_gain=2), DATA)
    assert opens(RetrainingState(without_gain=99), DATA, rules=policy(stop_after_no_gain=0))  # never stops


def test_a_version_that_came_of_the_last_one_is_judged_first() -> None:
    assert not opens(RetrainingState(judging=Judging("fraud-1", "v7", NOW - HOUR)), CONCEPT)  # whoever judges ends it


def test_a_person_may_ask_whatever_restrains_a_machine() -> None:
    state = RetrainingState(openings=[NOW] * 9, without_gain=9, stopped=True, judging=Judging("e", "v7", NOW + HOUR))
    seen = Circumstances(new_labels=0, min_labels=100, paused="ann")
    assert rule(state, [DATA, MANUAL], POLICY, seen, NOW).opens == MANUAL


@given(
    gaps=st.lists(st.integers(1, 60), min_size=1, max_size=60),
    cooldown=st.integers(0, 40),
    budget=st.integers(0, 5),
)
def test_over_any_time_no_rule_is_ever_broken(gaps: list[int], cooldown: int, budget: int) -> None:
    """A cause that always stands, ticks at any distance: what opens keeps the rest and the week's budget."""
    rules = policy(cooldown_seconds=cooldown * 3600.0, max_per_week=budget)
    state, now, opened = RetrainingState(), NOW, list[datetime]()
    for gap in gaps:
        now += gap * HOUR
        if rule(state, [DATA], rules, ALONE, now).opens is not None:
            opened.append(now)
            state = msgspec.structs.replace(state, openings=opened[-100:])
    for earlier, later in pairwise(opened):
        assert later - earlier >= cooldown * HOUR
    for moment in opened:
        assert sum(moment - WEEK < other <= moment for other in opened) <= budget
