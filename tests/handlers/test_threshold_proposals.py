"""Prediction drift: a threshold is proposed, approved, and rolled out as a new version of the scorecard."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.sampling.payload import read_prediction
from modeldrop.domain.versions import Command, Status, order_key
from modeldrop.errors import Conflict, Unavailable
from modeldrop.handlers.packages.read_package import served_version
from modeldrop.handlers.retraining.apply_proposal import resume_proposals
from modeldrop.handlers.retraining.propose_threshold import propose_threshold, why_none
from modeldrop.handlers.rollouts.approve_version import approve_version
from modeldrop.handlers.rollouts.operators_word import Reply
from modeldrop.handlers.rollouts.promote_version import promote_version
from modeldrop.handlers.rollouts.roll_back import roll_back
from modeldrop.ports import Endpoint
from modeldrop.records.proposals import ProposalRecord, Proposals
from modeldrop.records.reports import DriftRecord
from modeldrop.serving.loading import load_runtime
from modeldrop.wiring import Services, connect_llm
from tests.crash.cases import scratch
from tests.crash.play import begin_again
from tests.crash.watched import Effect, WatchedServices, close
from tests.handlers.control import FAST, MODEL, START, Control, StillClock
from tests.handlers.counted import counted
from tests.handlers.prediction_log import NOW, prediction, sample_of
from tests.handlers.reporting import HOUR, bring_reference, hour, report, take

OVER = NOW + 12 * HOUR
ROWS = 600
CALM, MOVED = 1.2, 1.7  # mean amounts: 21 % and 38 % of the scores reach 0.5
NAME = "v1-threshold-20260301T100000Z"


def scores(count: int, mean: float, seed: str) -> list[tuple[float, float]]:
    """Amounts, and what v1 makes of them."""
    chance = random.Random(seed)
    amounts = [round(chance.gauss(mean, 1.0), 3) for _ in range(count)]
    card = load_card({"intercept": -1.0, "coefficients": {"amount": 0.5}})
    return [(amount, card({"amount": amount})) for amount in amounts]


def load_card(parameters: dict[str, Any]) -> Callable[[dict[str, Any]], float]:
    from modeldrop.domain.scorecard import Scored, parse_scorecard

    card = parse_scorecard(parameters, None)

    def score(features: dict[str, Any]) -> float:
        scored = card.score(features)
        assert isinstance(scored, Scored)
        return scored.score

    return score


def reference(mean: float = CALM, count: int = 2_000) -> bytes:
    """Rows that v1 was made with."""
    lines = [f"{amount},{score}" for amount, score in scores(count, mean, "reference")]
    return "\n".join(["amount,prediction", *lines]).encode()


def log(
    control: Control,
    number: int = 0,
    mean: float = MOVED,
    *,
    version: str = "v1",
    count: int = ROWS,
    said: Callable[[float], object] = lambda score: score,
) -> None:
    """Predictions of the ``number``-th window; ``said``: what the app logs of a score."""
    events = [
        prediction(
            each,
            version,
            prediction_id=f"{version} {number} {each}",
            timestamp=(hour(number) + timedelta(seconds=each)).isoformat(),
            features={"amount": amount},
            prediction=said(score),
        )
        for each, (amount, score) in enumerate(scores(count, mean, f"{number} {mean}"))
    ]
    take(control.services, events)


@pytest.fixture
def live(control: Control) -> Control:
    """v1 is in production; twelve windows of the day are over."""
    control.clock.now = NOW
    control.make_live("v1", 0.7, day=1)
    control.clock.now = OVER
    return control


@pytest.fixture
def drifted(live: Control) -> Control:
    """The predictions of v1 have moved away from its reference."""
    bring_reference(live, reference())
    log(live)
    return live


def propose(control: Control, number: int = 0, version: str = "v1") -> ProposalRecord | None:
    return propose_threshold(control.services, MODEL, report(control, number, version))


def proposed(control: Control, number: int = 0, version: str = "v1") -> ProposalRecord:
    made = propose(control, number, version)
    assert made is not None
    return made


def approve(control: Control, name: str = NAME, *, by: str = "ada", services: Services | None = None) -> Reply:
    return approve_version(services or control.services, MODEL, name, by=by)


def stored(control: Control, name: str = NAME) -> ProposalRecord:
    found = Proposals(control.services.documents).find(MODEL, name)
    assert found is not None
    return found.value


def open_name(control: Control) -> str | None:
    return Proposals(control.services.documents).open(MODEL).value.name


def production(control: Control) -> str | None:
    return control.head.production.version if control.head.production else None


def happened(control: Control, what: str) -> int:
    return sum(entry.what == what for _, entry in control.services.registry.history(MODEL))


# --- proposing -------------------------------------------------------------------------------------------------


def test_what_is_proposed(drifted: Control) -> None:
    made = report(drifted, 0)
    assert made.prediction is not None and made.prediction["verdict"] == "drifted"
    record = propose_threshold(drifted.services, MODEL, made)
    assert record is not None
    figures = record.proposal
    assert (record.name, record.version, record.status, record.reference) == (NAME, "v1", "proposed", "package")
    assert (record.threshold, figures.rows, figures.baseline_rows) == (0.5, ROWS, 2_000)
    assert figures.baseline_rate == pytest.approx(0.21, abs=0.03)
    assert figures.current_rate == pytest.approx(0.38, abs=0.05)
    assert abs(figures.rate - figures.baseline_rate) <= 1 / ROWS
    assert 0.5 < figures.threshold < 0.65
    assert record.digest == drifted.version("v1").digest
    assert stored(drifted) == record
    for part in ("v1: threshold 0.5 → ", "Approve v1-threshold-", f"{100 * figures.baseline_rate:.3g} %"):
        assert part in record.text
    assert production(drifted) == "v1" and drifted.head.desired == "v1", "nothing happens without a word"


def test_asked_again_it_is_the_same(drifted: Control) -> None:
    first = proposed(drifted)
    log(drifted, 0, MOVED + 1, count=900)
    assert proposed(drifted) == first
    services, documents = counted(drifted, "documents")
    assert propose_threshold(services, MODEL, report(drifted, 0)) == first
    assert documents.calls["commit"] == 0


def test_two_ticks_at_once(drifted: Control) -> None:
    made = report(drifted, 0)
    gate = threading.Barrier(6)

    def tick(_: int) -> ProposalRecord | None:
        services = drifted.another_instance()
        try:
            gate.wait()
            return propose_threshold(services, MODEL, made)
        finally:
            close(services)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(tick, range(6)))
    assert found == [stored(drifted)] * 6
    assert len(Proposals(drifted.services.documents).all(MODEL)) == 1


def test_a_newer_one_takes_its_place_and_an_older_one_does_not(drifted: Control) -> None:
    first = proposed(drifted)
    log(drifted, 3, MOVED + 0.3)
    log(drifted, 2, MOVED + 0.2)
    second = proposed(drifted, 3)
    assert second.name == "v1-threshold-20260301T130000Z"
    ended = stored(drifted, first.name)
    assert (ended.status, ended.why) == ("superseded", f"{second.name} took its place")
    assert open_name(drifted) == second.name
    assert propose(drifted, 2) is None
    assert propose(drifted, 0) is None
    names = [record.name for record in Proposals(drifted.services.documents).all(MODEL)]
    assert names == [second.name, first.name]
    refusal = approve(drifted, first.name)
    assert refusal.status == "refused" and "superseded" in refusal.reason and second.name in refusal.reason
    assert approve(drifted, second.name).status == "accepted"


def test_what_apps_log_of_an_answer(live: Control) -> None:
    bring_reference(live, reference())
    log(live, 0, said=lambda score: {"score": score, "decision": score >= 0.5})
    log(live, 1, said=lambda score: score >= 0.5)
    log(live, 2, said=lambda score: "positive" if score >= 0.5 else "negative")
    log(live, 3, said=lambda score: 100 * score)
    for number in (1, 2, 3):
        assert propose(live, number) is None, number
    assert abs(proposed(live, 0).proposal.rate - proposed(live, 0).proposal.baseline_rate) <= 1 / ROWS


def test_a_baseline_of_decisions(live: Control) -> None:
    rows = [f"{amount},{'true' if score >= 0.5 else 'false'}" for amount, score in scores(2_000, CALM, "reference")]
    bring_reference(live, "\n".join(["amount,prediction", *rows]).encode())
    log(live)
    figures = proposed(live).proposal
    assert figures.baseline_rate == pytest.approx(0.21, abs=0.03)
    assert abs(figures.rate - figures.baseline_rate) <= 1 / ROWS


def test_the_first_window_as_baseline(live: Control) -> None:
    log(live, 0, CALM)
    log(live, 1, MOVED)
    assert report(live, 0).reference.kind == "none"
    assert propose(live, 0) is None
    made = proposed(live, 1)
    assert (made.reference, made.proposal.baseline_rows) == ("first_window", ROWS)


def test_another_versions_scores_are_judged_by_its_own_threshold(live: Control) -> None:
    """v2 answers as v1 does, with a higher threshold: v1's share of positives is the one at 0.5."""
    parameters = {"intercept": -1.0, "coefficients": {"amount": 0.5}, "threshold": 0.7}
    live.drop("v2", 0.8, day=2, parameters=parameters)
    live.tell_version("v2")
    live.settle()
    log(live, 0, CALM, version="v1")
    log(live, 0, CALM, version="v2")
    made = proposed(live, 0, "v2")
    assert (made.reference, made.threshold) == ("stable_version", 0.7)
    assert made.proposal.baseline_rate == pytest.approx(0.21, abs=0.04)
    assert made.proposal.threshold == pytest.approx(0.5, abs=0.01)


def test_nothing_to_gain(live: Control) -> None:
    bring_reference(live, reference())
    log(live, 0, CALM)
    log(live, 1, MOVED, count=199)
    assert propose(live, 0) is None, "the share has not moved"
    assert propose(live, 1) is None, "fewer than min_rows"
    live.policy(FAST + "drift: {min_rows: 100}\n")
    live.tell(f"policies/{MODEL}.yaml")
    assert propose(live, 1) is not None


def test_only_of_what_is_in_production(drifted: Control) -> None:
    made = report(drifted, 0)
    drifted.make_live("v2", 0.8, day=2)
    assert propose_threshold(drifted.services, MODEL, made) is None


def test_no_proposal_where_nobody_could_apply_it(drifted: Control) -> None:
    version = drifted.version("v1")
    assert why_none(version, GatePolicy()) is None
    assert "signature" in (why_none(version, GatePolicy(require_signature=True)) or "")
    assert version.metadata is not None
    other = msgspec.structs.replace(version, metadata=msgspec.structs.replace(version.metadata, runtime="gemini"))
    assert "only scorecards" in (why_none(other, GatePolicy()) or "")
    drifted.policy(FAST + "gate: {require_signature: true}\n")
    drifted.tell(f"policies/{MODEL}.yaml")
    assert propose(drifted) is None


def test_metadata_that_leave_no_room_for_more(control: Control) -> None:
    """A package that could not be registered is not proposed."""
    control.clock.now = NOW
    control.drop("v1", 0.7, 1, labels={f"label{number}": "" for number in range(64)})
    control.tell_version("v1")
    control.settle()
    control.clock.now = OVER
    bring_reference(control, reference())
    log(control)
    assert propose(control) is None


# --- approving and applying ------------------------------------------------------------------------------------


def decided(control: Control, version: str) -> list[bool]:
    """What the version that serves decides of the window's rows: the real runtime on the files that were checked."""
    served = served_version(control.services.bucket, control.version(version))
    folder = served.artifact_uri.removeprefix(f"{control.services.bucket.uri}/")
    runtime = load_runtime(control.services.bucket, folder, served.digest, connect_llm=connect_llm)
    rows: list[object] = [read_prediction(row).features for row in sample_of(control.services).rows]
    return [answer["decision"] for answer in runtime.predict(rows)]


def test_applied_it_brings_the_share_back(drifted: Control) -> None:
    figures = proposed(drifted).proposal
    before = decided(drifted, "v1")
    assert sum(before) / len(before) == figures.current_rate
    reply = approve(drifted)
    assert reply.status == "accepted" and "approved by ada" in reply.reason
    drifted.settle()
    assert (production(drifted), drifted.traffic) == (NAME, {NAME: 100})
    after = decided(drifted, NAME)
    assert len(after) == ROWS
    assert sum(after) / ROWS == figures.rate
    assert abs(sum(after) / ROWS - figures.baseline_rate) <= 1 / ROWS
    record = stored(drifted)
    assert (record.status, record.approved_by, open_name(drifted)) == ("applied", "ada", None)
    served = drifted.services.registry.served_at(MODEL, drifted.clock.now)
    assert served is not None and (served.version, served.by) == (NAME, "ada")


def test_the_new_package(drifted: Control) -> None:
    """The old metadata with another threshold, the reference, and nothing else of ours to choose."""
    record = proposed(drifted)
    drifted.put(f"models/{MODEL}/v1/notes/report.pdf", b"%PDF")
    at = drifted.clock.now
    approve(drifted)
    folder = drifted.data / f"bucket/models/{MODEL}"
    old, new = (json.loads((folder / version / "metadata.json").read_bytes()) for version in ("v1", NAME))
    assert new == old | {
        "version": NAME,
        "created_at": at.isoformat(),
        "parameters": old["parameters"] | {"threshold": record.proposal.threshold},
        "lineage": {"parent": "v1"},
        "labels": {"proposal": NAME},
    }
    assert (folder / NAME / "reference.csv").read_bytes() == (folder / "v1/reference.csv").read_bytes()
    ours = {"deployment_info.json", "rejection.json", "model_comparison.json"}
    assert {path.name for path in (folder / NAME).rglob("*")} - ours == {"metadata.json", "reference.csv"}
    assert drifted.version(NAME).metadata is not None
    assert drifted.tell_version(NAME) in {"deploying", "canary", "live"}, "its event finds it registered"


def test_it_rolls_out_step_by_step_and_can_be_taken_back(drifted: Control) -> None:
    drifted.policy("rollout: {steps: [50, 100], bake_seconds: 60, min_requests: 0, approve_steps: [50]}\n")
    drifted.tell(f"policies/{MODEL}.yaml")
    proposed(drifted)
    approve(drifted)
    for _ in range(5):
        drifted.serve()
        drifted.tick()
        drifted.clock.forward(60)
    assert drifted.traffic == {"v1": 50, NAME: 50}
    assert "approved by eve" in approve(drifted, by="eve").reason, "the step that waits for a word"
    drifted.settle_until_live(NAME)
    drifted.policy(FAST)
    drifted.tell(f"policies/{MODEL}.yaml")
    promote_version(drifted.services, MODEL, "v1", force=True, by="eve")
    drifted.settle()
    assert resume_proposals(drifted.services, MODEL) is None
    assert approve(drifted).reason == "ada has approved it already"
    drifted.settle()
    assert production(drifted) == "v1", "an approval counts once"


def test_approved_twice_and_by_many_at_once(drifted: Control) -> None:
    proposed(drifted)
    gate = threading.Barrier(6)

    def instance(number: int) -> Reply:
        services = drifted.another_instance()
        try:
            gate.wait()
            with suppress(Conflict):
                return approve(drifted, by=f"approver {number}", services=services)
            return approve(drifted, by=f"approver {number}", services=services)
        finally:
            close(services)

    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(instance, range(6)))
    assert {reply.status for reply in replies} == {"accepted"}
    drifted.settle()
    assert production(drifted) == NAME
    assert [happened(drifted, what) for what in ("proposal approved", "promoted", "live")] == [1, 1, 2]
    by = stored(drifted).approved_by
    assert approve(drifted, by="eve").reason == f"{by} has approved it already"
    assert happened(drifted, "promoted") == 1


def test_a_name_that_nobody_knows(drifted: Control) -> None:
    assert approve(drifted, "v9").reason == f"{MODEL} has no version v9"
    assert approve(drifted, NAME).reason == f"{MODEL} has no version {NAME}"
    assert "does not wait for approval" in approve(drifted, "v1").reason


def test_another_version_in_production(drifted: Control) -> None:
    proposed(drifted)
    drifted.make_live("v2", 0.8, day=2)
    reply = approve(drifted)
    assert (reply.status, "outdated" in reply.reason, "v2 is in production" in reply.reason) == ("refused", True, True)
    assert (stored(drifted).status, open_name(drifted)) == ("outdated", None)
    assert "outdated" in approve(drifted).reason, "asked again, it still says why"
    drifted.settle()
    assert production(drifted) == "v2"


def test_what_waits_is_ended_when_another_version_serves(drifted: Control) -> None:
    proposed(drifted)
    assert resume_proposals(drifted.services, MODEL) is None
    assert stored(drifted).status == "proposed"
    drifted.make_live("v2", 0.8, day=2)
    assert resume_proposals(drifted.services, MODEL) == NAME
    assert (stored(drifted).status, open_name(drifted)) == ("outdated", None)
    assert resume_proposals(drifted.services, MODEL) is None


def test_a_version_on_its_way_is_not_pushed_aside(drifted: Control) -> None:
    proposed(drifted)
    drifted.drop("v2", 0.8, day=2)
    drifted.tell_version("v2")
    reply = approve(drifted)
    assert (reply.status, reply.reason) == ("refused", "v2 is about to take the place of v1")
    assert stored(drifted).status == "proposed", "v2 may fail"
    drifted.fail_deployments("no quota")
    drifted.settle()
    assert approve(drifted).status == "accepted"
    drifted.settle()
    assert production(drifted) == NAME


def test_a_policy_that_wants_signatures_by_now(drifted: Control) -> None:
    proposed(drifted)
    drifted.policy(FAST + "gate: {require_signature: true}\n")
    drifted.tell(f"policies/{MODEL}.yaml")
    reply = approve(drifted)
    assert (reply.status, "signature" in reply.reason, stored(drifted).status) == ("refused", True, "proposed")


def test_who_made_the_package_does_not_approve_alone(control: Control) -> None:
    control.clock.now = NOW
    control.policy(FAST + "gate: {approval: manual}\n")
    control.drop("v1", 0.7, day=1, labels={"created_by": "bob"})
    control.tell_version("v1")
    assert approve(control, "v1").status == "accepted"
    control.settle()
    control.clock.now = OVER
    bring_reference(control, reference())
    log(control)
    proposed(control)
    assert "somebody else" in approve(control, by="bob").reason
    assert approve(control, by="ada").status == "accepted"
    control.settle()
    assert production(control) == NAME


@pytest.mark.parametrize(("told", "where"), [(True, "was dropped"), (False, "lies in the bucket")])
def test_the_name_is_taken(drifted: Control, told: bool, where: str) -> None:
    proposed(drifted)
    drifted.drop(NAME, 0.1, day=2)
    if told:
        drifted.tell_version(NAME)
    reply = approve(drifted)
    assert (reply.status, f"another package of the name {NAME} {where}" in reply.reason) == ("refused", True)
    assert (stored(drifted).status, happened(drifted, "proposal approved")) == ("outdated", 0 if told else 1)
    drifted.settle()
    assert production(drifted) == "v1"


def test_a_paused_model(drifted: Control) -> None:
    from modeldrop.handlers.rollouts.pause_model import pause_model
    from modeldrop.handlers.rollouts.resume_model import resume_model

    proposed(drifted)
    pause_model(drifted.services, MODEL, by="eve")
    assert "paused" in approve(drifted).reason
    drifted.tick()
    assert (production(drifted), stored(drifted).status) == ("v1", "applied")
    resume_model(drifted.services, MODEL, by="eve")
    drifted.settle()
    assert production(drifted) == NAME


def test_a_gate_that_lets_it_pass_by_itself(drifted: Control) -> None:
    drifted.policy(FAST + "gate: {min_improvement: 0}\n")
    drifted.tell(f"policies/{MODEL}.yaml")
    proposed(drifted)
    assert approve(drifted).status == "accepted"
    drifted.settle()
    assert (production(drifted), stored(drifted).status) == (NAME, "applied")


def test_metadata_at_an_absolute_address(control: Control) -> None:
    """An ``artifact_uri`` in the old package would be none in the new one; a scorecard needs none."""
    control.clock.now = NOW
    uri = f"{control.services.bucket.uri}/models/{MODEL}/v1/"
    control.drop("v1", 0.7, 1, artifact_uri=uri)
    control.tell_version("v1")
    control.settle()
    assert production(control) == "v1"
    control.clock.now = OVER
    bring_reference(control, reference())
    log(control)
    proposed(control)
    assert approve(control).status == "accepted"
    control.settle()
    assert production(control) == NAME


def test_proposals_do_not_chase_each_other(drifted: Control) -> None:
    """The reference keeps the threshold it was made with: the same predictions ask for nothing more."""
    first = proposed(drifted)
    approve(drifted)
    drifted.settle()
    drifted.clock.now = OVER + HOUR
    log(drifted, 5, MOVED, version=NAME)
    made = report(drifted, 5, NAME)
    assert (made.reference.kind, made.prediction and made.prediction["verdict"]) == ("package", "drifted")
    assert propose_threshold(drifted.services, MODEL, made) is None
    log(drifted, 6, MOVED + 0.6, version=NAME)
    second = proposed(drifted, 6, NAME)
    assert second.name == "v1-threshold-20260301T160000Z"
    assert second.proposal.baseline_rate == first.proposal.baseline_rate
    assert second.threshold == first.proposal.threshold < second.proposal.threshold
    assert (first.baseline_threshold, second.baseline_threshold) == (0.5, 0.5)
    assert approve(drifted, second.name).status == "accepted"
    drifted.settle()
    assert production(drifted) == second.name
    assert drifted.version(second.name).metadata is not None
    lineage = drifted.version(second.name).metadata
    assert lineage is not None and lineage.lineage == {"parent": NAME}


# --- whatever happens in between -------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Interrupting:
    """At the how many-th effect, before or after it, ``act`` happens; every effect is written down."""

    number: int = -1
    side: str = ""
    act: Callable[[], object] = lambda: None
    seen_effects: list[Effect] = field(default_factory=list)
    happened: bool = False

    def before(self, effect: Effect) -> None:
        self.seen_effects.append(effect)
        self._at("before")

    def after(self, _: Effect) -> None:
        self._at("after")

    def seen(self, _: Endpoint) -> None:
        """Nothing to see."""

    def _at(self, side: str) -> None:
        if not self.happened and side == self.side and len(self.seen_effects) == self.number + 1:
            self.happened = True
            self.act()


@dataclass(frozen=True)
class Prepared:
    """A model with a proposal that waits, kept in a folder; and what comes of its approval."""

    kept: Path
    clock: StillClock
    effects: list[Effect]
    expected: dict[str, Any]

    @contextmanager
    def again(self) -> Iterator[Control]:
        with scratch() as folder:
            begin_again(self.kept, Path(folder))
            control = Control(Path(folder), replace(self.clock))
            try:
                yield control
            finally:
                close(control.services)


@pytest.fixture(scope="module")
def prepared() -> Iterator[Prepared]:
    with scratch() as folder:
        control = Control(Path(folder))
        control.policy(FAST)
        control.clock.now = NOW
        control.make_live("v1", 0.7, day=1)
        control.clock.now = OVER
        bring_reference(control, reference())
        log(control)
        proposed(control)
        close(control.services)
        story = Prepared(Path(folder), control.clock, [], {})
        with story.again() as play:
            watching = Interrupting()
            with watched(play, watching) as services:
                assert approve(play, services=services).status == "accepted"
            yield replace(story, effects=watching.seen_effects, expected=outcome(play))


@contextmanager
def watched(control: Control, hook: Interrupting) -> Iterator[Services]:
    services = WatchedServices(control.settings, control.clock, hook=hook)
    try:
        yield services
    finally:
        close(services)


def outcome(control: Control) -> dict[str, Any]:
    """All that must not depend on what happened in between."""
    control.settle()
    registry = control.services.registry
    entries = [slot.value for slot in registry.entries_after(MODEL, order_key(START, ""))]
    record = stored(control)
    return control.end_state() | {
        "proposal": (record.status, record.approved_by, record.proposal, open_name(control)),
        "commands": [(entry.version, entry.by) for entry in entries if isinstance(entry, Command)],
        "approvals": happened(control, "proposal approved"),
        "package": (control.data / f"bucket/models/{MODEL}/{NAME}/metadata.json").read_bytes(),
        "reference": (control.data / f"bucket/models/{MODEL}/{NAME}/reference.csv").read_bytes(),
    }


def points(story: Prepared) -> Iterator[tuple[int, str]]:
    assert {(each.port, each.method) for each in story.effects} >= {
        ("DocumentStore", "commit"),
        ("Bucket", "copy"),
        ("Bucket", "write"),
        ("ModelServer", "deploy"),
    }
    for number in range(len(story.effects)):
        for side in ("before", "after"):
            yield number, side


def no_answer() -> None:
    raise Unavailable("no answer")


def crash() -> None:
    raise Crash


def test_a_crash_anywhere(prepared: Prepared) -> None:
    """The next tick goes on; only where nothing was approved yet somebody has to say it again."""
    for number, side in points(prepared):
        with prepared.again() as play:
            hook = Interrupting(number, side, crash)
            with watched(play, hook) as services, pytest.raises(Crash):
                approve(play, services=services)
            if stored(play).status == "proposed":
                assert (number, side) == (0, "before"), "the first effect is the approval"
                approve(play)
            resume_proposals(play.services, MODEL)
            assert outcome(play) == prepared.expected, (side, prepared.effects[number])


def test_an_answer_that_is_lost_and_a_call_that_fails(prepared: Prepared) -> None:
    for number, side in points(prepared):
        with prepared.again() as play:
            hook = Interrupting(number, side, no_answer)
            reply = None
            with watched(play, hook) as services, suppress(Unavailable):
                reply = approve(play, services=services)
            assert hook.happened
            if number > 0:  # once the approval is recorded it is accepted, and ticks do the rest
                assert reply is not None and reply.status == "accepted", (side, prepared.effects[number])
            if stored(play).status == "proposed":
                approve(play)
            resume_proposals(play.services, MODEL)
            assert outcome(play) == prepared.expected, (side, prepared.effects[number])


def test_an_instance_that_sleeps_while_others_apply_it_and_take_it_back(prepared: Prepared) -> None:
    for number in range(len(prepared.effects)):
        with prepared.again() as play:

            def others(play: Control = play) -> None:
                approve(play)
                resume_proposals(play.services, MODEL)
                play.settle()
                promote_version(play.services, MODEL, "v1", force=True, by="eve")
                play.settle()

            hook = Interrupting(number, "before", others)
            with watched(play, hook) as services:
                approve(play, services=services)
            play.settle()
            assert hook.happened
            assert (production(play), play.traffic) == ("v1", {"v1": 100}), prepared.effects[number]
            assert happened(play, "proposal approved") == 1
            assert stored(play).status == "applied"


def test_a_tick_in_between(prepared: Prepared) -> None:
    for number in range(len(prepared.effects)):
        with prepared.again() as play:
            hook = Interrupting(number, "before", lambda play=play: resume_proposals(play.services, MODEL))
            with watched(play, hook) as services:
                assert approve(play, services=services).status == "accepted"
            assert outcome(play) == prepared.expected, prepared.effects[number]


def test_approved_and_then_another_version_serves(prepared: Prepared) -> None:
    """A crash right after the approval; meanwhile a better version goes live: the word is about another one."""
    with prepared.again() as play:
        with watched(play, Interrupting(0, "after", crash)) as services, pytest.raises(Crash):
            approve(play, services=services)
        assert stored(play).status == "approved"
        play.make_live("v2", 0.8, day=2)
        assert resume_proposals(play.services, MODEL) == NAME
        assert (stored(play).status, production(play)) == ("outdated", "v2")
        assert not (play.data / f"bucket/models/{MODEL}/{NAME}").exists()
        assert play.version("v2").status is Status.LIVE


def number_of(story: Prepared, part: str) -> int:
    """The first effect that has this in its description."""
    return next(number for number, effect in enumerate(story.effects) if part in str(effect))


def test_another_version_serves_before_it_is_promoted(prepared: Prepared) -> None:
    with prepared.again() as play:
        hook = Interrupting(number_of(prepared, "Bucket.copy"), "before", lambda: play.make_live("v2", 0.8, day=2))
        with watched(play, hook) as services:
            reply = approve(play, services=services)
        assert (reply.status, "v2 is in production" in reply.reason) == ("refused", True)
        play.settle()
        assert (stored(play).status, open_name(play), production(play)) == ("outdated", None, "v2")
        assert happened(play, "promoted") == 0


def test_what_the_gate_let_pass_and_somebody_rolled_back_stays_away(prepared: Prepared) -> None:
    """A crash after it was registered; the gate had no objection, it went live and was taken back before the tick."""
    with prepared.again() as play:
        play.policy(FAST + "gate: {min_improvement: 0}\n")
        play.tell(f"policies/{MODEL}.yaml")
        hook = Interrupting(number_of(prepared, "models/names"), "after", crash)
        with watched(play, hook) as services, pytest.raises(Crash):
            approve(play, services=services)
        play.settle()
        assert production(play) == NAME
        roll_back(play.services, MODEL, to=None, by="eve")
        play.settle()
        assert resume_proposals(play.services, MODEL) == NAME
        play.settle()
        assert (stored(play).status, production(play)) == ("applied", "v1")


def test_signatures_are_wanted_before_it_is_promoted(prepared: Prepared) -> None:
    """What force cannot override, an approval cannot either."""
    with prepared.again() as play:
        with watched(play, Interrupting(0, "after", crash)) as services, pytest.raises(Crash):
            approve(play, services=services)
        play.policy(FAST + "gate: {require_signature: true}\n")
        play.tell(f"policies/{MODEL}.yaml")
        assert resume_proposals(play.services, MODEL) == NAME
        play.settle()
        assert (stored(play).status, "signature" in stored(play).why) == ("outdated", True)
        assert production(play) == "v1"


def test_no_other_proposal_while_one_is_applied(prepared: Prepared) -> None:
    with prepared.again() as play:
        with watched(play, Interrupting(0, "after", crash)) as services, pytest.raises(Crash):
            approve(play, services=services)
        log(play, 3, MOVED + 0.5)
        assert propose(play, 3) is None
        made: DriftRecord = report(play, 0)
        assert propose_threshold(play.services, MODEL, made) is None, "nor is the same one news again"
