"""Orders at a target that tells: runs at an Airflow over the wire, from being asked for to their end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from modeldrop.domain.retraining.episode import FAILED, REQUESTED, RUNNING, SUCCEEDED, Run
from modeldrop.domain.targets import AirflowTarget
from modeldrop.handlers.retraining.carry_out_order import CLAIM
from modeldrop.settings import Settings
from modeldrop.wiring import Services
from tests.handlers.control import MODEL, Control
from tests.handlers.ordering import carry_out, episode, impatient, open_episode, orders, set_target, state, told
from tests.servers.airflow import AirflowServer, Dag
from tests.servers.json_api import Fault

MINUTE = 60.0


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[AirflowServer]:
    monkeypatch.setenv("MODELDROP_SECRET_AIRFLOW", "secret")
    with AirflowServer("v1", username="robot", password="secret") as server:
        server.dags["train"] = Dag()
        yield server


@pytest.fixture
def opened(control: Control, airflow: AirflowServer) -> str:
    """An episode whose run is to be started."""
    return open_episode(control, target(airflow))


def target(airflow: AirflowServer, **fields: Any) -> AirflowTarget:
    login = {"username": "robot", "password": "env:MODELDROP_SECRET_AIRFLOW"}
    return AirflowTarget(airflow.url, **({"dag": "train", "api": "v1"} | login | fields))


def runs(airflow: AirflowServer) -> dict[str, Any]:
    return airflow.dags["train"].runs


def a_minute_later(control: Control) -> dict[str, str]:
    control.clock.forward(MINUTE)
    return carry_out(control.services).done


def test_a_run_from_its_start_to_its_end(control: Control, airflow: AirflowServer, opened: str) -> None:
    assert carry_out(control.services).done == {opened: "started"}
    assert (episode(control).status, episode(control).run.state) == (RUNNING, "accepted")
    assert runs(airflow)[opened]["conf"]["cause"] == "data_drift"
    runs(airflow)[opened]["state"] = "running"
    assert a_minute_later(control) == {opened: "running"}
    run = episode(control).run
    assert (run.id, run.state, opened in (run.url or "")) == (opened, "running", True)
    runs(airflow)[opened]["state"] = "success"
    assert a_minute_later(control) == {opened: "succeeded"}
    over = episode(control)
    assert (over.status, over.run.state, over.is_open, over.ended_at) == (SUCCEEDED, "succeeded", True, None)
    assert (orders(control), state(control).open, told(control)) == ({}, opened, [])
    assert a_minute_later(control) == {}


def test_a_run_that_failed_ends_the_episode(control: Control, airflow: AirflowServer, opened: str) -> None:
    carry_out(control.services)
    runs(airflow)[opened]["state"] = "failed"
    assert a_minute_later(control) == {opened: "failed: the DAG run failed"}
    ended = episode(control)
    assert (ended.status, ended.run.state, ended.outcome) == (FAILED, "failed", "the DAG run failed")
    assert (state(control).open, state(control).without_gain, orders(control)) == (None, 1, {})
    assert (state(control).without_version, ended.accepted_at is not None) == (opened, True)
    assert [item.news.what for item in told(control)] == ["retraining failed"]
    assert a_minute_later(control) == {}


def test_it_is_looked_at_once_a_minute_and_nothing_is_written_while_nothing_changes(
    control: Control, airflow: AirflowServer, opened: str
) -> None:
    carry_out(control.services)
    asked = len(airflow.asked)
    control.clock.forward(MINUTE - 1)
    assert carry_out(control.services).done == {}
    assert len(airflow.asked) == asked
    control.clock.forward(1)
    before = episode(control)
    assert carry_out(control.services).done == {opened: "running"}
    assert (len(airflow.asked) > asked, episode(control)) == (True, before)


def test_where_ticks_come_sooner_it_is_looked_at_sooner(control: Control, airflow: AirflowServer, opened: str) -> None:
    paced = Services(Settings(backend="local", data=control.data, auth="none", outbox_tick_seconds=0.5), control.clock)
    carry_out(paced)
    assert orders(control)[MODEL].next_at == control.clock.now + timedelta(seconds=0.5)


@pytest.mark.parametrize("fault", [Fault("status", 500), Fault("status", 401), Fault("drop"), Fault("hang")])
def test_a_run_that_cannot_be_seen_is_not_a_bad_one(
    control: Control, airflow: AirflowServer, opened: str, fault: Fault
) -> None:
    """However often: the looks become fewer, an hour apart at most, and the first that sees it counts."""
    carry_out(control.services)
    services = impatient(control)
    for _ in range(3 if fault.kind == "hang" else 15):
        airflow.inject(fault)
        control.clock.forward(3600)
        assert carry_out(services).done[opened].startswith("waiting: ")
    due = orders(control)[MODEL].next_at
    assert due is not None and due <= control.clock.now + timedelta(hours=1)
    assert (episode(control).status, bool(orders(control)[MODEL].error), told(control)) == (RUNNING, True, [])
    runs(airflow)[opened]["state"] = "running"
    control.clock.forward(3600)
    assert carry_out(services).done == {opened: "running"}
    assert (orders(control)[MODEL].attempts, orders(control)[MODEL].error) == (0, "")


def test_an_answer_that_was_lost_starts_no_second_run(control: Control, airflow: AirflowServer, opened: str) -> None:
    airflow.inject(Fault("drop", after_effect=True))
    assert carry_out(control.services).done[opened].startswith("waiting: ")
    assert (episode(control).status, list(runs(airflow))) == (REQUESTED, [opened])
    airflow.dags["train"].has_import_errors = True  # only one that looks first finds it now
    control.clock.forward(5)
    assert carry_out(control.services).done == {opened: "started"}
    assert (episode(control).status, list(runs(airflow))) == (RUNNING, [opened])


def test_a_run_that_is_over_when_it_is_found(control: Control, airflow: AirflowServer, opened: str) -> None:
    airflow.inject(Fault("drop", after_effect=True))
    carry_out(control.services)
    runs(airflow)[opened]["state"] = "success"
    control.clock.forward(5)
    assert carry_out(control.services).done == {opened: "succeeded"}
    assert (episode(control).status, orders(control)) == (SUCCEEDED, {})


def test_many_ticks_at_once_start_one_run_and_tell_once(control: Control, airflow: AirflowServer, opened: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(carry_out, [control.another_instance() for _ in range(6)]))
        assert list(runs(airflow)) == [opened]
        runs(airflow)[opened]["state"] = "failed"
        control.clock.forward(MINUTE)
        list(pool.map(carry_out, [control.another_instance() for _ in range(6)]))
    assert (episode(control).status, len(told(control)), state(control).without_gain) == (FAILED, 1, 1)


def test_one_that_crashed_while_it_looked(control: Control, airflow: AirflowServer, opened: str) -> None:
    carry_out(control.services)
    services = control.another_instance()
    services.__dict__["http"] = Crashing()
    control.clock.forward(MINUTE)
    with pytest.raises(AssertionError):
        carry_out(services)
    runs(airflow)[opened]["state"] = "success"
    assert carry_out(control.services).done == {}
    control.clock.forward(CLAIM.total_seconds())
    assert carry_out(control.services).done == {opened: "succeeded"}


class Crashing:
    """A way out on which the process ends."""

    def send(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("the process is gone")


def test_the_target_of_a_run_leaves_the_policy(control: Control, airflow: AirflowServer, opened: str) -> None:
    """Or is another one by now: the run is where it was started, and goes on there."""
    carry_out(control.services)
    for left in (None, target(airflow, dag="train_again")):
        set_target(control, left)
        assert a_minute_later(control) == {opened: "running"}
    runs(airflow)[opened]["state"] = "success"
    assert a_minute_later(control) == {opened: "succeeded"}
    assert (episode(control).status, list(airflow.dags)) == (SUCCEEDED, ["train"])


def test_what_a_look_does_not_tell_of_stays_known(control: Control, airflow: AirflowServer, opened: str) -> None:
    """A run that is gone has failed; where it was can still be looked up."""
    carry_out(control.services)
    url = episode(control).run.url
    runs(airflow).clear()
    a_minute_later(control)
    assert episode(control).run == Run(opened, url, "failed", "the DAG run is not there any more")
    assert msgspec.structs.asdict(episode(control))["outcome"] == "the DAG run is not there any more"
