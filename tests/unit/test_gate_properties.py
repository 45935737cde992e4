"""What must hold of the gate for any metrics, policies and histories."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.domain.champion import fold
from modeldrop.domain.gate import decide
from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.presets import PRESETS, weighing
from modeldrop.domain.replay import replay
from modeldrop.domain.versions import (
    Contender,
    Decision,
    Grant,
    Metadata,
    ModelVersion,
    Standing,
    Status,
    order_key,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
steady = settings(deadline=None)  # a busy machine is no counterexample
NAMES = sorted({metric for preset in PRESETS.values() for metric in preset.weights} | {"mae", "cost"})
finite = st.floats(allow_nan=False, allow_infinity=False)
unit = st.floats(0, 1)
figures = st.dictionaries(st.sampled_from(NAMES), st.one_of(finite, unit, st.floats(0, 100)), max_size=8)
scales = st.lists(st.floats(-1e15, 1e15), min_size=2, max_size=2, unique=True)
policies = st.builds(
    GatePolicy,
    preset=st.sampled_from([None, "llm", "nlg", "classifier"]),
    weights=st.dictionaries(st.sampled_from(NAMES), st.floats(1e-6, 1e6), max_size=6),
    lower_is_better=st.lists(st.sampled_from(NAMES), max_size=3),
    scale=st.dictionaries(st.sampled_from(NAMES), scales, max_size=6),
    floors=st.dictionaries(st.sampled_from(NAMES), finite, max_size=1),
    ceilings=st.dictionaries(st.sampled_from(NAMES), finite, max_size=1),
    min_improvement=unit,
    require_signature=st.booleans(),
    approval=st.sampled_from(["none", "manual"]),
)
metadata = st.builds(
    Metadata,
    runtime=st.sampled_from(["gemini", "scorecard"]),
    metrics=figures,
    stated_composite=st.none() | st.floats(0, 100),
    deployment_ready=st.booleans(),
    llm=st.sampled_from([None, "gemini-2.5-flash", "gemini-pro"]),
)
standings = st.builds(
    Standing,
    st.none() | st.builds(Contender, st.just("v1"), st.just("k1"), figures),
    st.none() | st.builds(Contender, st.sampled_from(["v0", "v1"]), st.just("k0"), figures),
)


def version(number: int, facts: Metadata) -> ModelVersion:
    """A version declared on that day."""
    name, moment = f"v{number}", BEGIN + timedelta(days=number)
    return ModelVersion(
        "fraud",
        name,
        order_key(moment, name),
        Status.RECEIVED,
        f"models/fraud/{name}/metadata.json",
        1,
        "d" * 64,
        moment,
        moment,
        "created_at",
        facts,
    )


def scored(number: int, metrics: dict[str, float]) -> ModelVersion:
    """A version of which nothing but its metrics counts."""
    return version(number, Metadata("scorecard", metrics=metrics))


@steady
@given(metadata, standings, policies, st.booleans(), st.booleans())
def test_a_stored_decision_replays_bit_for_bit(
    facts: Metadata, standing: Standing, policy: GatePolicy, signed: bool, approved: bool
) -> None:
    candidate = msgspec.structs.replace(
        version(9, facts),
        signed_by="key" if signed else None,
        approval=Grant("ada", BEGIN) if approved else None,
    )
    decision = decide(candidate, standing, policy, "digest")
    stored = msgspec.json.decode(msgspec.json.encode(decision), type=Decision)
    again = replay(stored)
    assert again == decision
    assert msgspec.json.encode(again) == msgspec.json.encode(decision)
    turned = msgspec.structs.replace(policy, weights=dict(reversed(policy.weights.items())))
    other = msgspec.structs.replace(decision, gate=turned)  # as a store that keeps no order gives it back
    assert msgspec.structs.replace(replay(other) or other, gate=policy) == decision


@steady
@given(metadata, standings, policies)
def test_every_score_lies_between_0_and_1(facts: Metadata, standing: Standing, policy: GatePolicy) -> None:
    decision = decide(version(9, facts), standing, policy, None)
    compared = [score for c in decision.compared_with for score in (c.score, c.candidate_score)]
    scaled = [term.scaled for term in decision.terms if term.scaled is not None]
    own = [] if decision.score is None else [decision.score]
    assert all(0 <= score <= 1 for score in [*own, *compared, *scaled])


@steady
@given(standings, policies, st.data())
def test_a_better_figure_never_hurts(standing: Standing, policy: GatePolicy, data: st.DataObject) -> None:
    """Apart from a ceiling on what should be high, and a scale nobody stated: those limits are meant."""
    policy = msgspec.structs.replace(policy, floors={}, ceilings={})
    metrics = data.draw(figures.filter(bool))
    metric = data.draw(st.sampled_from(sorted(metrics)))
    weigh = weighing(policy, metrics)
    reach = unit if metric in weigh.unstated else finite
    low, high = sorted((data.draw(reach), data.draw(reach)))
    worst, best = weigh.scale.get(metric, (0.0, 1.0))
    worse_value, better_value = (high, low) if best < worst else (low, high)
    worse = decide(scored(9, metrics | {metric: worse_value}), standing, policy, None)
    better = decide(scored(9, metrics | {metric: better_value}), standing, policy, None)
    assert worse.verdict in {better.verdict, "rejected"}
    assert (worse.score or 0) <= (better.score or 0) + 1e-12


EVERYTHING = st.fixed_dictionaries(dict.fromkeys(("f1", "auc", "accuracy"), unit))
histories = st.lists(EVERYTHING, min_size=1, max_size=8)


@steady
@given(histories)
def test_the_champion_never_loses_to_what_it_beat(history: list[dict[str, float]]) -> None:
    policy = GatePolicy()
    versions = [scored(number, metrics) for number, metrics in enumerate(history)]
    champion = list(fold(versions, Standing(), policy))[-1].standing.champion
    assert champion is not None
    for other in versions:
        if other.version != champion.version:
            decision = decide(other, Standing(champion, champion), policy, None)
            assert decision.verdict == "rejected", (other, champion)


@steady
@given(histories, st.booleans())
def test_nothing_is_compared_with_itself(history: list[dict[str, float]], judged_again: bool) -> None:
    versions = [scored(number, metrics) for number, metrics in enumerate(history)]
    folded = list(fold(versions, Standing(), GatePolicy()))
    if judged_again:  # against a standing it made itself, as when an operator promotes it
        folded += fold(versions, folded[-1].standing, GatePolicy())
    for each in folded:
        assert each.decision is not None
        assert all(c.version != each.version for c in each.decision.compared_with)


@steady
@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_count(history: list[dict[str, float]], chance: object) -> None:
    """Each arrival is folded in at its place, from the standing stored before it on, as the registry does it."""
    versions = [scored(number, metrics) for number, metrics in enumerate(history)]
    arrivals = versions.copy()
    chance.shuffle(arrivals)  # type: ignore[attr-defined]
    stored: list[ModelVersion] = []
    for arrival in arrivals:
        before = [v for v in stored if v.key < arrival.key]
        standing = before[-1].standing if before else Standing()
        after = [arrival, *(v for v in stored if v.key > arrival.key)]
        stored = [*before, *fold(after, standing, GatePolicy())]
    assert stored == list(fold(versions, Standing(), GatePolicy()))
