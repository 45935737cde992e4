"""Canaries under traffic: judged against the stable version, taken back, held, halted, let pass."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from modeldrop.domain.analysis import Limits, Verdict, assess, overall
from modeldrop.domain.rollout import Cause, Phase
from modeldrop.domain.versions import Status
from modeldrop.errors import Unavailable
from modeldrop.handlers.rollouts.approve_version import approve_version
from modeldrop.ports import Endpoint, VersionMetrics
from modeldrop.wiring import Services
from tests.handlers.control import MODEL, Control, metadata

# Measured every minute, ten times a step.
CANARY = "rollout: {steps: [10, 100], bake_seconds: 600, keep_warm_seconds: 3600, min_requests: 100LIMITS}\n"
GOOD, BAD = (1000, 1), (200, 50)


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """v1 is live, and v2 has 10 % of its traffic."""
    control = Control(tmp_path)
    begin_canary(control)
    return control


def begin_canary(control: Control, limits: str = "", **changes: object) -> None:
    control.policy(CANARY.replace("LIMITS", limits))
    control.make_live("v1", 0.7, day=1)
    control.drop("v2", 0.8, day=2, **changes)
    control.tell_version("v2")
    control.serve()
    control.tick()
    assert control.traffic == {"v1": 90, "v2": 10}
    assert control.version("v2").status is Status.CANARY


class Blind:
    """A metric source that cannot be reached."""

    def measure(self, endpoint: Endpoint, since: datetime, until: datetime) -> Mapping[str, VersionMetrics]:
        raise Unavailable("the metrics cannot be reached")


def blinded(control: Control) -> Services:
    services = control.another_instance()
    services.__dict__["metrics"] = Blind()
    return services


def test_a_canary_that_fails_under_traffic_is_rolled_back_after_one_failure_more_than_the_limit(
    control: Control,
) -> None:
    control.minutes(2, v1=GOOD, v2=BAD)
    assert control.rollout.failures == 2
    assert control.traffic == {"v1": 90, "v2": 10}
    control.minutes(1, v1=GOOD, v2=BAD)
    assert control.traffic == {"v1": 100}, "back in the same tick"
    version = control.version("v2")
    assert (version.status, version.rolled_back) == (Status.ROLLED_BACK, True)
    assert "the analysis failed 3 times at 10 %" in (version.fallen or "")
    assert control.head.desired == "v1"
    last = control.rollout.measurements[-1]
    assert (last.verdict, last.requests, last.stable_requests, last.percent) == (Verdict.FAIL, 600, 3000, 10)
    assert control.version("v1").status is Status.LIVE
    control.minutes(5, v1=GOOD)
    assert [(news.kind, news.version, news.what) for news in control.news] == [
        ("promoted", "v1", "live"),
        ("rolled_back", "v2", "rolled back"),
    ]


def test_content_that_was_rolled_back_does_not_come_back_under_another_name(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.policy(CANARY.replace("LIMITS", ""))
    control.make_live("v1", 0.7, day=1)
    content = {key: value for key, value in metadata("", 0.8, 2).items() if key != "version"}
    for version in ("v2", "v3"):
        control.put(f"models/{MODEL}/{version}/metadata.json", json.dumps(content).encode())
    control.tell_version("v2")
    control.serve()
    control.minutes(4, v1=GOOD, v2=BAD)
    assert control.version("v2").status is Status.ROLLED_BACK
    assert control.tell_version("v3") == "rejected"
    rejection = control.record("v3", "rejection.json")
    assert rejection is not None
    assert "the same content has fallen as v2" in rejection["reasons"][0]
    assert control.tell_version("v2") == "rolled_back", "nor under its own"
    control.minutes(3, v1=GOOD)
    assert control.traffic == {"v1": 100}


def test_a_good_canary_becomes_live_step_by_step_without_a_false_alarm(control: Control) -> None:
    control.minutes(9, v1=GOOD, v2=(150, 1))
    assert control.traffic == {"v1": 90, "v2": 10}, "it bakes"
    control.minutes(1, v1=GOOD, v2=(150, 1))
    assert control.traffic == {"v2": 100}
    control.minutes(10, v2=(1000, 1))
    assert control.version("v2").status is Status.LIVE
    assert control.version("v1").status is Status.SUPERSEDED
    control.minutes(3, v2=(1000, 1))
    assert [(news.kind, news.version) for news in control.news] == [("promoted", "v1"), ("promoted", "v2")], (
        "that v1 has no traffic while v2 bakes at 100 % is no illness"
    )


def test_both_versions_bad_is_held_and_not_rolled_back(control: Control) -> None:
    control.minutes(15, v1=(1000, 300), v2=(100, 30))
    assert control.rollout.held is None
    control.minutes(1, v1=(1000, 300), v2=(100, 30))
    assert control.rollout.held is not None
    assert control.rollout.held.cause is Cause.INCONCLUSIVE
    assert "no more than of the stable version" in control.rollout.held.why
    assert control.traffic == {"v1": 90, "v2": 10}


def test_too_little_traffic_is_held_told_once_and_passes_by_itself_later(control: Control) -> None:
    control.minutes(15, v1=GOOD, v2=(1, 0))
    assert control.rollout.inconclusives == 6
    assert control.rollout.held is None
    control.minutes(10, v1=GOOD, v2=(1, 0))
    assert control.rollout.held is not None
    assert control.rollout.held.cause is Cause.INCONCLUSIVE
    assert control.version("v2").status is Status.PAUSED
    held = [news for news in control.news if news.what == "held"]
    assert [(news.kind, news.version) for news in held] == [("unhealthy", "v2")]
    control.minutes(1, v1=GOOD, v2=(200, 0))
    assert control.traffic == {"v2": 100}
    assert control.rollout.held is None
    assert control.version("v2").status is Status.CANARY


def test_one_that_is_held_and_then_fails_is_taken_back(control: Control) -> None:
    control.minutes(20, v1=GOOD, v2=(1, 0))
    assert control.rollout.held is not None
    control.minutes(3, v1=GOOD, v2=BAD)
    assert control.traffic == {"v1": 100}
    assert control.version("v2").status is Status.ROLLED_BACK


def test_an_approver_lets_one_pass_that_is_held_for_too_little_traffic(control: Control) -> None:
    control.minutes(20, v1=GOOD, v2=(1, 0))
    assert approve_version(control.services, MODEL, "v2", by="ada").status == "accepted"
    assert control.traffic == {"v2": 100}


def test_metrics_that_cannot_be_reached_hold_it_and_never_fail_it(control: Control) -> None:
    control.services = blinded(control)
    control.minutes(60)
    assert control.rollout.held is not None
    assert control.rollout.held.cause is Cause.UNMEASURABLE
    assert control.traffic == {"v1": 90, "v2": 10}
    assert control.rollout.failures == 0
    assert len([news for news in control.news if news.version == "v2"]) == 1
    assert not [news for news in control.news if news.version == "v1" and news.kind == "unhealthy"]
    control.services = control.another_instance()
    control.minutes(1, v1=GOOD, v2=(200, 0))
    assert control.traffic == {"v2": 100}


def test_a_clock_that_nobody_heard_for_long_and_no_metrics_are_no_reason_to_fall(control: Control) -> None:
    control.services = blinded(control)
    control.clock.forward(86_400)
    control.tick()
    assert control.version("v2").fallen is None
    assert control.traffic == {"v1": 90, "v2": 10}


def test_a_candidate_whose_containers_do_not_answer_fails_without_any_request(control: Control) -> None:
    control.worker_dies("v2")
    for _ in range(3):
        control.answered("v1", 100)
        control.clock.forward(60)
        control.tick()
    assert control.traffic == {"v1": 100}
    assert "its containers do not answer" in (control.version("v2").fallen or "")


def test_it_is_halted_where_the_stable_version_does_not_answer_either_until_it_does(control: Control) -> None:
    control.worker_dies("v2")
    control.worker_dies("v1")
    for _ in range(6):
        control.clock.forward(60)
        control.tick()
    assert control.rollout.held is not None
    assert control.rollout.held.cause is Cause.NOTHING_HEALTHY
    assert control.traffic == {"v1": 90, "v2": 10}
    assert [news.what for news in control.news if news.version == "v2"] == ["halted"]
    server = control.services.model_server.machines  # type: ignore[attr-defined]
    for deployment in control._wanted():
        if deployment.served.version == "v1":
            server.report_answering(deployment.operation, 1)
    control.clock.forward(60)
    control.tick()
    assert control.traffic == {"v1": 100}
    assert control.version("v2").status is Status.ROLLED_BACK


def test_a_first_version_that_fails_is_halted_not_taken_down_until_a_newer_one_takes_over(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.policy(CANARY.replace("LIMITS", ""))
    control.drop("v1", 0.7, day=1)
    control.tell_version("v1")
    control.serve()
    control.tick()
    control.minutes(8, v1=(100, 90))
    assert control.traffic == {"v1": 100}
    assert control.rollout.held is not None
    assert control.rollout.held.cause is Cause.NOTHING_HEALTHY
    assert [(news.kind, news.what) for news in control.news] == [("unhealthy", "halted")]
    assert "halted" in approve_version(control.services, MODEL, "v1", by="ada").reason
    control.drop("v2", 0.8, day=2)
    control.tell_version("v2")
    control.serve()
    control.tick()
    assert control.traffic == {"v1": 90, "v2": 10}, "v1 answers something, and stays meanwhile"
    control.minutes(10, v1=(1000, 900), v2=(200, 0))
    control.minutes(10, v2=(200, 0))
    assert control.head.production is not None
    assert control.head.production.version == "v2"
    control.settle()
    assert control.deployed == ["v2"]


def test_blue_green_waits_at_0_percent_and_then_takes_all(tmp_path: Path) -> None:
    control = Control(tmp_path)
    blue_green = "rollout: {strategy: blue_green, bake_seconds: 60, keep_warm_seconds: 3600, min_requests: 10}\n"
    control.policy(blue_green)
    control.make_live("v1", 0.7, day=1)
    control.drop("v2", 0.8, day=2)
    control.tell_version("v2")
    control.serve()
    control.tick()
    assert (control.rollout.phase, control.traffic) == (Phase.BAKING, {"v1": 100})
    assert control.deployed == ["v1", "v2"]
    control.minutes(1, v1=GOOD)
    assert control.traffic == {"v2": 100}
    control.minutes(1, v2=(20, 0))
    assert control.version("v2").status is Status.LIVE
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    control.serve()
    control.tick()
    control.worker_dies("v3")
    for _ in range(3):
        control.clock.forward(10)
        control.tick()
    assert control.traffic == {"v2": 100}
    assert control.version("v3").status is Status.ROLLED_BACK


def test_latency_is_judged_against_the_stable_versions(tmp_path: Path) -> None:
    control = Control(tmp_path)
    begin_canary(control, ", max_p95_ms: 100")
    for _ in range(3):
        control.answered("v1", 1000, p95_ms=20)
        control.answered("v2", 200, p95_ms=400)
        control.clock.forward(60)
        control.tick()
    assert control.traffic == {"v1": 100}
    assert "95 % answered within" in (control.version("v2").fallen or "")


# --- approvals between steps -----------------------------------------------------------------------------------


def test_a_step_that_needs_approval_waits_for_somebody_who_did_not_make_the_package(tmp_path: Path) -> None:
    control = Control(tmp_path)
    begin_canary(control, ", approve_steps: [10]", labels={"created_by": "bob"})
    control.minutes(12, v1=GOOD, v2=(200, 0))
    assert control.traffic == {"v1": 90, "v2": 10}
    assert control.rollout.held is not None
    assert control.rollout.held.cause is Cause.APPROVAL
    assert [news.what for news in control.news if news.version == "v2"] == ["held"]
    refused = approve_version(control.services, MODEL, "v2", by="bob")
    assert (refused.status, "somebody else" in refused.reason) == ("refused", True)
    assert approve_version(control.services, MODEL, "v2", by="ada").status == "accepted"
    assert control.traffic == {"v2": 100}
    assert approve_version(control.services, MODEL, "v2", by="ada").status == "refused", "nothing waits any more"
    control.minutes(10, v2=(200, 0))
    assert control.version("v2").status is Status.LIVE


def test_too_little_traffic_is_no_way_round_the_second_pair_of_eyes(tmp_path: Path) -> None:
    control = Control(tmp_path)
    begin_canary(control, ", approve_steps: [10]", labels={"created_by": "bob"})
    control.minutes(20, v1=GOOD, v2=(1, 0))
    assert control.rollout.held is not None
    assert control.rollout.held.cause is Cause.INCONCLUSIVE
    assert approve_version(control.services, MODEL, "v2", by="bob").status == "refused"
    control.minutes(2, v1=GOOD, v2=(200, 0))
    assert control.rollout.held is not None
    assert control.rollout.held.cause is Cause.APPROVAL
    assert approve_version(control.services, MODEL, "v2", by="bob").status == "refused"
    assert control.traffic == {"v1": 90, "v2": 10}


def test_approval_does_not_carry_a_step_over_a_failure(tmp_path: Path) -> None:
    control = Control(tmp_path)
    begin_canary(control, ", approve_steps: [10]")
    control.minutes(11, v1=GOOD, v2=(100, 0))
    control.minutes(1, v1=GOOD, v2=(1000, 900))
    assert control.rollout.measurements[-1].verdict is Verdict.FAIL
    approve_version(control.services, MODEL, "v2", by="ada")
    assert control.traffic == {"v1": 90, "v2": 10}
    control.minutes(2, v1=GOOD, v2=BAD)
    assert control.traffic == {"v1": 100}


def test_a_canary_that_waits_for_approval_is_taken_back_if_it_fails_meanwhile(tmp_path: Path) -> None:
    control = Control(tmp_path)
    begin_canary(control, ", approve_steps: [10]")
    control.minutes(12, v1=GOOD, v2=(100, 0))
    control.minutes(3, v1=GOOD, v2=(1000, 900))
    assert control.traffic == {"v1": 100}


def test_a_newer_version_supersedes_one_that_is_held(control: Control) -> None:
    control.minutes(20, v1=GOOD, v2=(1, 0))
    assert control.rollout.held is not None
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    assert control.version("v2").status is Status.SUPERSEDED
    control.serve()
    control.tick()
    assert control.traffic == {"v1": 90, "v3": 10}


# --- news of uploads -------------------------------------------------------------------------------------------


def test_a_rejection_is_told_once_however_often_the_upload_is_delivered(control: Control) -> None:
    control.drop("v0", 0.1, day=3)
    for _ in range(5):
        assert control.tell_version("v0") == "rejected"
        control.minutes(1, v1=GOOD, v2=(200, 0))
    control.put(f"models/{MODEL}/v0/validation_report.json", b'{"passed": false}')
    control.tell(f"models/{MODEL}/v0/validation_report.json")
    assert [news.kind for news in control.news if news.version == "v0"] == ["rejected"]


def test_the_traffic_of_a_replaced_candidate_is_not_given_to_a_stable_version_that_does_not_answer(
    tmp_path: Path,
) -> None:
    """v1 is down while v2 has half of the traffic: v3 begins beside v2."""
    control = Control(tmp_path)
    control.policy("rollout: {steps: [50, 100], bake_seconds: 600, min_requests: 10}\n")
    control.make_live("v1", 0.7, day=1)
    control.drop("v2", 0.8, day=2)
    control.tell_version("v2")
    control.minutes(3, v2=(100, 0))
    assert control.traffic == {"v1": 50, "v2": 50}
    control.worker_dies("v1")
    control.minutes(2, v2=(100, 0))
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    assert control.traffic == {"v2": 100}
    control.minutes(2, v2=(100, 0), v3=(100, 0))
    assert control.rollout.stable == "v2"
    assert control.traffic == {"v2": 50, "v3": 50}


def test_a_candidate_no_worse_than_the_stable_version_beyond_chance_is_not_rolled_back() -> None:
    """Two early failures of fifty, where the stable version has some below the limit."""
    limits = Limits(min_requests=50)
    verdicts = [
        overall(assess(VersionMetrics(50, errors), VersionMetrics(450, 4), limits))[0] for errors in (0, 1, 2, 5)
    ]
    assert verdicts == [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.FAIL]
