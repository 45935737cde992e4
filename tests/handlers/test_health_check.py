"""The health of what serves: its record, when it is written, what is told, and the way back while on watch."""

from pathlib import Path

import pytest

from modeldrop.domain.versions import Status
from modeldrop.errors import Unavailable
from modeldrop.handlers.health_tick import health_tick
from modeldrop.ports import ServedVersion
from modeldrop.records.health import HealthRecord
from tests.handlers.control import MODEL, Control
from tests.handlers.counted import counted
from tests.handlers.test_canary_analysis import blinded

POLICY = """
rollout: {strategy: all_at_once, bake_seconds: 0, keep_warm_seconds: 3600, min_requests: 0}
health: {window_seconds: 600, interval_seconds: 60, min_requests: 100, max_error_rate: 0.05}
"""
GOOD, BAD = (1000, 10), (1000, 500)


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """v2 is live and on watch, v1 warm."""
    control = Control(tmp_path)
    control.policy(POLICY)
    for version, f1, day in (("v1", 0.7, 1), ("v2", 0.8, 2)):
        control.drop(version, f1, day)
        control.tell_version(version)
        control.minutes(1)
    assert (control.traffic, control.deployed) == ({"v2": 100}, ["v1", "v2"])
    control.minutes(1, v2=GOOD)
    return control


def alone(tmp_path: Path) -> Control:
    """v1 is live, and there is nobody to go back to."""
    control = Control(tmp_path)
    control.policy(POLICY)
    control.make_live("v1", 0.7, day=1)
    control.minutes(1, v1=GOOD)
    return control


def health(control: Control) -> HealthRecord:
    return control.services.registry.health(MODEL).value


def told(control: Control) -> list[tuple[str, str, bool]]:
    return [(news.version, news.what, news.resolved) for news in control.news if news.kind == "unhealthy"]


def test_the_record_has_the_form_that_others_read(control: Control) -> None:
    record = health(control)
    assert (record.model_type, record.version, record.status) == ("scorecard", "v2", "healthy")
    assert (record.available, record.loadable) == (True, True)
    figures = record.metadata
    assert (figures["requests"], figures["errors"], figures["error_rate"]) == (1000, 10, 0.01)
    assert figures["success_rate"] == 0.99
    assert figures["p95_latency_ms"] == pytest.approx(20, rel=0.25)
    assert (figures["traffic_percent"], figures["window_seconds"]) == (100, 600)
    assert figures["thresholds"] == {"error_rate": 0.05, "p95_latency_ms": None}


def test_figures_are_those_of_the_window(control: Control) -> None:
    control.minutes(20, v2=(100, 0))
    assert health(control).metadata["requests"] == 1000


def test_it_is_written_once_an_interval_and_nothing_else_is(tmp_path: Path) -> None:
    control = alone(tmp_path)
    before = control.services.documents.get(f"models/{MODEL}")
    services, documents = counted(control, "documents")
    for _ in range(120):  # ten minutes, a tick every five seconds
        control.clock.forward(5)
        assert health_tick(services).moved == []
    assert documents.calls["commit"] == 10 + 120  # each tick leaves a heartbeat
    assert control.services.documents.get(f"models/{MODEL}") == before
    for _ in range(20):
        assert health_tick(services).errors == {}
    assert documents.calls["commit"] == 10 + 120


def test_a_failing_version_goes_back_to_its_warm_predecessor_after_one_failure_more_than_the_limit(
    control: Control,
) -> None:
    control.minutes(2, v2=BAD)
    assert health(control).status == "degraded"
    assert control.traffic == {"v2": 100}
    control.minutes(1, v2=BAD)
    assert control.traffic == {"v1": 100}
    assert control.version("v2").status is Status.ROLLED_BACK
    assert "it failed on watch" in (control.version("v2").fallen or "")
    assert told(control) == [("v2", "unhealthy", False)]
    control.minutes(2, v1=GOOD)
    assert told(control) == [("v2", "unhealthy", False), ("v1", "healthy again", True)]
    assert [news.what for news in control.news if news.kind == "rolled_back"] == ["rolled back", "live again"]
    assert health(control).version == "v1"


def test_after_the_warm_time_it_is_only_told(control: Control) -> None:
    control.minutes(60, v2=(100, 0))
    assert control.deployed == ["v2"]
    control.minutes(20, v2=BAD)
    assert control.traffic == {"v2": 100}
    assert control.version("v2").fallen is None
    assert told(control) == [("v2", "unhealthy", False)], "a change of state, not every tick"
    control.minutes(15, v2=(1000, 0))
    assert told(control) == [("v2", "unhealthy", False), ("v2", "healthy again", True)]


def test_a_predecessor_that_is_gone_is_nobody_to_go_back_to(control: Control) -> None:
    control.lose("v1")
    control.minutes(6, v2=BAD)
    assert control.traffic == {"v2": 100}
    assert control.version("v2").fallen is None


def test_paused_it_is_told_but_not_rolled_back(control: Control) -> None:
    from modeldrop.handlers.rollouts.pause_model import pause_model

    pause_model(control.services, MODEL, by="ada")
    control.minutes(6, v2=BAD)
    assert control.traffic == {"v2": 100}
    assert told(control) == [("v2", "unhealthy", False)]


def test_a_worker_that_is_down_makes_it_unloadable(tmp_path: Path) -> None:
    control = alone(tmp_path)
    control.worker_dies("v1")
    for _ in range(3):
        control.clock.forward(60)
        control.tick()
    record = health(control)
    assert (record.status, record.available, record.loadable) == ("unhealthy", True, False)
    assert "do not answer" in record.why


def test_too_few_requests_and_metrics_that_cannot_be_reached_are_no_illness(tmp_path: Path) -> None:
    control = alone(tmp_path)
    control.minutes(15, v1=(1, 1))
    assert health(control).status == "healthy"
    control.services = blinded(control)
    control.minutes(10)
    assert (health(control).status, health(control).loadable) == ("unknown", None)
    assert told(control) == []


def test_an_alarm_is_ended_although_it_could_not_be_measured_for_a_while(tmp_path: Path) -> None:
    """Unhealthy, then dark, then degraded, then well: one alarm, one end of it."""
    control = alone(tmp_path)
    control.minutes(12, v1=BAD)
    control.services = blinded(control)
    control.minutes(3)
    assert health(control).status == "unhealthy", "nothing says that it is well again"
    control.services = control.another_instance()
    control.minutes(3, v1=BAD)
    assert told(control) == [("v1", "unhealthy", False)]
    control.minutes(15, v1=(1000, 0))
    assert health(control).status == "healthy"
    assert told(control) == [("v1", "unhealthy", False), ("v1", "healthy again", True)]


def test_two_checks_at_once_tell_it_once(tmp_path: Path) -> None:
    control = alone(tmp_path)
    control.minutes(2, v1=(20_000, 19_000))
    control.answered("v1", 1000, 900)
    control.clock.forward(60)
    slow, metrics = counted(control, "metrics")
    measure = metrics.measure

    def measure_late(*arguments: object) -> object:
        measured = measure(*arguments)
        control.tick()
        return measured

    metrics.__dict__["measure"] = measure_late
    health_tick(slow)
    assert told(control) == [("v1", "unhealthy", False)]


def test_a_model_that_never_served_has_no_health(control: Control) -> None:
    other = control.services.registry.health("nobody")
    assert (other.revision, other.value.status, other.value.version) == (None, "unknown", None)


def test_an_alarm_is_ended_although_it_was_only_degraded_in_between(control: Control) -> None:
    control.edit_traffic(v1=100)
    control.minutes(2, v1=GOOD)
    control.edit_traffic(v2=100)
    control.minutes(1, v2=(1000, 900))
    assert health(control).status == "degraded"
    control.minutes(15, v2=(1000, 0))
    ends = [(what, resolved) for version, what, resolved in told(control) if what != "paused"]
    assert ends == [("unhealthy", False), ("healthy again", True)]


def test_a_predecessor_that_could_not_be_taken_off_after_the_warm_time_is_not_gone_back_to(control: Control) -> None:
    def undeploy(model: str, version: str) -> object:
        raise Unavailable("no undeploying today")

    services, server = counted(control, "model_server")
    server.__dict__["undeploy"] = undeploy
    for errors in [0] * 60 + [990] * 10:
        control.answered("v2", 1000, errors)
        control.clock.forward(60)
        health_tick(services)
    assert control.deployed == ["v1", "v2"]
    assert health(control).status == "unhealthy"
    assert control.traffic == {"v2": 100}
    assert control.version("v2").fallen is None


def test_a_predecessor_that_does_not_answer_is_nobody_to_go_back_to(control: Control) -> None:
    control.worker_dies("v1")
    control.minutes(6, v2=BAD)
    assert health(control).status == "unhealthy"
    assert control.traffic == {"v2": 100}
    assert control.version("v2").fallen is None
    assert told(control) == [("v2", "unhealthy", False)]


def test_silence_after_failures_is_no_recovery(tmp_path: Path) -> None:
    control = alone(tmp_path)
    control.minutes(4, v1=BAD)
    assert health(control).status == "unhealthy"
    control.minutes(20)
    assert (health(control).status, health(control).metadata["requests"]) == ("unhealthy", 0)
    assert told(control) == [("v1", "unhealthy", False)]
    control.minutes(1, v1=GOOD)
    assert told(control)[-1] == ("v1", "healthy again", True)


def test_a_deployment_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    control = alone(tmp_path)
    theirs = ServedVersion(MODEL, "theirs", "0" * 64, "scorecard", (tmp_path / "theirs").as_uri())
    control.services.model_server.upload(theirs)
    control.services.model_server.deploy(theirs)
    control.minutes(90)
    assert control.deployed == ["theirs", "v1"]
    assert control.tick().moved == []


def test_a_version_that_a_rollout_has_taken_all_traffic_from_is_not_said_to_serve(control: Control) -> None:
    control.policy(POLICY.replace("bake_seconds: 0", "bake_seconds: 600"))
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    control.minutes(3)
    assert control.traffic == {"v3": 100}
    assert (health(control).version, health(control).available, health(control).status) == ("v2", False, "unknown")
