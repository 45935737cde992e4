"""The Airflow trainer, over the wire, against an Airflow 2 and an Airflow 3 of our own."""

import base64
import time
from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

import msgspec
import pytest

from modeldrop.adapters.http.airflow_trainer import AirflowTrainer
from modeldrop.adapters.http.guarded_client import GuardedClient
from modeldrop.domain.retraining.episode import Run
from modeldrop.domain.targets import AirflowTarget
from modeldrop.errors import ModeldropError, Refused, Unavailable
from tests.contract.trainer_system import BARE, BODY, EPISODE, OPENED, REQUEST, started_at_once
from tests.servers.airflow import AirflowServer, Dag
from tests.servers.json_api import Fault

USERNAME, PASSWORD, TOKEN = "robot", "pass:word-ä-secret", "bearer-token-secret"
HEADER = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
SECRETS = (PASSWORD, TOKEN, HEADER)
Api = Literal["v1", "v2"]


@pytest.fixture(params=["v1", "v2"])
def server(request: pytest.FixtureRequest) -> Iterator[AirflowServer]:
    """An Airflow with the DAG ``train``."""
    with airflow(request.param) as server:
        yield server


@pytest.fixture
def airflow_3() -> Iterator[AirflowServer]:
    """An Airflow 3 with the DAG ``train``."""
    with airflow("v2") as server:
        yield server


def airflow(api: Api) -> AirflowServer:
    server = AirflowServer(api, username=USERNAME, password=PASSWORD, token=TOKEN)
    server.dags["train"] = Dag()
    return server


def trainer_at(
    server: AirflowServer,
    *,
    dag: str = "train",
    password: str | None = PASSWORD,
    token: str | None = None,
    seconds: float = 10.0,
    path: str = "",
) -> AirflowTrainer:
    """The trainer as the product builds it; with ``password`` None, no username either."""
    target = AirflowTarget(url=server.url + path, dag=dag, api=server.api, username=USERNAME if password else None)
    return AirflowTrainer(GuardedClient(loopback=True, timeout_seconds=seconds), target, password, token)


def triggers(server: AirflowServer) -> list[Any]:
    """The bodies of the requests to start a run."""
    return [asked.json() for asked in server.asked if asked.method == "POST" and asked.path.endswith("/dagRuns")]


def page(server: AirflowServer) -> str:
    place = f"runs/{EPISODE}" if server.api == "v2" else f"grid?dag_run_id={EPISODE}"
    return f"{server.url}/dags/train/{place}"


# --- starting --------------------------------------------------------------------------------------------------


def test_a_run_is_started_whose_id_is_the_episode(server: AirflowServer) -> None:
    assert trainer_at(server).start(REQUEST, again=None) == Run(id=EPISODE, url=page(server), state="accepted")
    no_date = {"logical_date": None} if server.api == "v2" else {}
    assert triggers(server) == [{"dag_run_id": EPISODE, "conf": BODY} | no_date]
    assert server.dags["train"].runs[EPISODE]["conf"] == BODY


def test_what_is_not_known_is_null(server: AirflowServer) -> None:
    trainer_at(server).start(BARE, again=None)
    conf = server.dags["train"].runs[EPISODE]["conf"]
    assert conf == BODY | {"version": None, "cause": "manual", "report": None, "window": None, "lineage": {}}


def test_a_token_of_ones_own_is_used_as_it_is(server: AirflowServer) -> None:
    assert trainer_at(server, token=TOKEN).start(REQUEST, again=None).id == EPISODE
    assert server.logins == 0


def test_without_credentials_none_are_sent(server: AirflowServer) -> None:
    with pytest.raises(Refused, match="401"):
        trainer_at(server, password=None).start(REQUEST, again=None)
    assert "authorization" not in server.asked[0].headers


def test_a_slash_at_the_end_and_an_odd_name_do_no_harm(server: AirflowServer) -> None:
    server.dags["train & tell ä".replace(" ", "+")] = dag = Dag()
    run = trainer_at(server, dag="train+&+tell+ä", path="/").start(REQUEST, again=None)
    assert dag.runs.keys() == {EPISODE}
    assert run.url is not None
    assert run.url.startswith(f"{server.url}/dags/train%2B%26%2Btell%2B%C3%A4/")


# --- once ------------------------------------------------------------------------------------------------------


def test_an_episode_asked_for_twice_is_one_run(server: AirflowServer) -> None:
    trainer = trainer_at(server)
    first = trainer.start(REQUEST, again=None)
    server.dags["train"].runs[EPISODE]["state"] = "running"
    running = msgspec.structs.replace(first, state="running")
    assert trainer.start(REQUEST, again=None) == running
    assert trainer.start(REQUEST, again=OPENED) == running
    assert len(server.dags["train"].runs) == 1


def test_an_episode_asked_for_at_once_is_one_run(server: AirflowServer) -> None:
    runs = started_at_once(*[trainer_at(server), trainer_at(server)] * 4)
    assert {run.id for run in runs} == {EPISODE}
    assert len(server.dags["train"].runs) == 1


def test_a_run_whose_answer_was_lost_is_adopted(server: AirflowServer) -> None:
    trainer = trainer_at(server, token=TOKEN)
    server.inject(Fault("drop", after_effect=True))
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    server.dags["train"].has_import_errors = True  # whatever became of the DAG since
    assert trainer.start(REQUEST, again=OPENED).id == EPISODE
    assert len(triggers(server)) == 1


def test_a_run_that_was_never_made_is_made_when_asked_again(server: AirflowServer) -> None:
    trainer = trainer_at(server, token=TOKEN)
    server.inject(Fault("drop"))
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    assert server.dags["train"].runs == {}
    assert trainer.start(REQUEST, again=OPENED).id == EPISODE
    assert len(server.dags["train"].runs) == 1


def test_a_run_of_that_id_that_is_not_the_episodes_is_not_adopted(server: AirflowServer) -> None:
    trainer = trainer_at(server)
    trainer.start(REQUEST, again=None)
    for conf in ({}, None, {"episode": "another"}):
        server.dags["train"].runs[EPISODE]["conf"] = conf
        for again in (None, OPENED):
            with pytest.raises(Refused, match="in the way"):
                trainer.start(REQUEST, again=again)


def test_a_conflict_without_the_run_leaves_it_open(server: AirflowServer) -> None:
    server.inject(Fault("status", 409, {"detail": "DAGRun logical date: '2026-01-02' already exists"}))
    with pytest.raises(Unavailable, match="409"):
        trainer_at(server, token=TOKEN).start(REQUEST, again=None)


# --- following -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "expected", "why"),
    [
        ("queued", "accepted", ""),
        ("running", "running", ""),
        ("success", "succeeded", ""),
        ("failed", "failed", "the DAG run failed"),
        ("dreaming", "running", "Airflow says state 'dreaming', which is not known here"),
    ],
)
def test_how_a_run_stands(server: AirflowServer, state: str, expected: Any, why: str) -> None:
    trainer = trainer_at(server)
    run = trainer.start(REQUEST, again=None)
    server.dags["train"].runs[EPISODE]["state"] = state
    assert trainer.observe(REQUEST, run) == Run(id=EPISODE, url=page(server), state=expected, why=why)


def test_a_run_of_a_paused_dag_says_why_it_waits(server: AirflowServer) -> None:
    trainer = trainer_at(server)
    server.dags["train"].is_paused = True
    run = trainer.start(REQUEST, again=None)
    assert (run.state, "paused" in run.why) == ("accepted", True)
    assert trainer.observe(REQUEST, run) == run
    server.may_read_dags = False
    assert trainer.observe(REQUEST, run) == msgspec.structs.replace(run, why="")


def test_a_run_that_is_gone_has_failed(server: AirflowServer) -> None:
    trainer = trainer_at(server)
    run = trainer.start(REQUEST, again=None)
    server.dags["train"].runs.clear()
    assert trainer.observe(REQUEST, run) == msgspec.structs.replace(
        run, state="failed", why="the DAG run is not there any more"
    )


@pytest.mark.parametrize("body", [None, {"error": "default backend"}, ["detail"]])
def test_a_proxys_404_says_nothing_of_the_run(server: AirflowServer, body: Any) -> None:
    trainer = trainer_at(server, token=TOKEN)
    run = trainer.start(REQUEST, again=None)
    server.inject(Fault("status", 404, body))
    with pytest.raises(Unavailable, match="404"):
        trainer.observe(REQUEST, run)


# --- tokens of Airflow 3 ---------------------------------------------------------------------------------------


def test_a_token_is_kept(airflow_3: AirflowServer) -> None:
    trainer = trainer_at(airflow_3)
    run = trainer.start(REQUEST, again=None)
    for _ in range(3):
        trainer.observe(REQUEST, run)
    assert airflow_3.logins == 1


def test_a_token_that_has_expired_is_replaced_once(airflow_3: AirflowServer) -> None:
    trainer = trainer_at(airflow_3)
    run = trainer.start(REQUEST, again=None)
    airflow_3.end_tokens()
    assert trainer.observe(REQUEST, run) == run
    assert airflow_3.logins == 2
    airflow_3.inject(Fault("status", 401), None, Fault("status", 401))  # the new one is not good either
    with pytest.raises(Refused, match="401"):
        trainer.observe(REQUEST, run)
    assert airflow_3.logins == 3


def test_a_fresh_token_that_is_not_good_is_final(airflow_3: AirflowServer) -> None:
    airflow_3.inject(None, Fault("status", 401))
    with pytest.raises(Refused, match="401"):
        trainer_at(airflow_3).start(REQUEST, again=None)
    assert (airflow_3.logins, len(triggers(airflow_3))) == (1, 1)


@pytest.mark.parametrize("body", [{}, {"access_token": None}, {"access_token": ""}, [], None])
def test_an_answer_without_a_token_is_unavailable(airflow_3: AirflowServer, body: Any) -> None:
    airflow_3.inject(Fault("status", 201, body))
    with pytest.raises(Unavailable):
        trainer_at(airflow_3).start(REQUEST, again=None)
    assert triggers(airflow_3) == []


# --- what goes wrong -------------------------------------------------------------------------------------------

LATER = [*(Fault("status", code) for code in (408, 429, 500, 502, 503, 504)), Fault("drop"), Fault("garble")]


@pytest.mark.parametrize("fault", LATER, ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_a_failure_that_may_pass_is_unavailable(server: AirflowServer, fault: Fault) -> None:
    trainer = trainer_at(server, token=TOKEN)
    server.inject(fault)
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    run = trainer.start(REQUEST, again=OPENED)
    server.inject(fault)
    with pytest.raises(Unavailable):
        trainer.observe(REQUEST, run)


@pytest.mark.parametrize("status", [301, 400, 403, 404, 422])
def test_what_airflow_will_never_do_is_refused(server: AirflowServer, status: int) -> None:
    server.inject(Fault("status", status, {"detail": "No."}, {"location": "/elsewhere"}))
    with pytest.raises(Refused, match=f"{status}.*No"):
        trainer_at(server, token=TOKEN).start(REQUEST, again=None)
    assert len(server.asked) == 1


def test_a_dag_that_is_not_there_or_broken_is_refused(server: AirflowServer) -> None:
    with pytest.raises(Refused, match=r"404.*'other' not found"):
        trainer_at(server, dag="other").start(REQUEST, again=None)
    server.dags["train"].has_import_errors = True
    with pytest.raises(Refused, match=r"400.*import errors"):
        trainer_at(server).start(REQUEST, again=None)


def test_a_server_that_hangs_is_left_at_the_deadline(server: AirflowServer) -> None:
    trainer = trainer_at(server, token=TOKEN, seconds=0.3)
    server.inject(Fault("hang", after_effect=True))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    assert time.monotonic() - began < 3
    assert server.hanging.is_set()
    assert trainer.start(REQUEST, again=OPENED).id == EPISODE
    assert len(server.dags["train"].runs) == 1


def test_a_server_that_is_gone_is_unavailable() -> None:
    with airflow("v2") as gone:
        trainer = trainer_at(gone)
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
def test_no_secret_is_in_any_error(server: AirflowServer, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a server quotes back: FastAPI does, and then the password is what was sent."""
    caplog.set_level("DEBUG")
    errors: list[str] = []
    for well, token in product(range(4), (None, TOKEN)):
        server.dags["train"] = Dag()
        server.inject(*[None] * well, Fault("echo", status))
        trainer = trainer_at(server, token=token)
        try:
            trainer.observe(REQUEST, trainer.start(REQUEST, again=OPENED))
        except ModeldropError as error:
            errors.append(f"{error} {error!r}")
    assert errors
    given_out = {
        asked.headers["authorization"].split()[-1] for asked in server.asked if "authorization" in asked.headers
    }
    said = " ".join(errors) + caplog.text
    assert [secret for secret in {*SECRETS, *given_out} if secret in said] == []


def test_a_wrong_password_is_refused_and_not_repeated(server: AirflowServer) -> None:
    with pytest.raises(Refused, match="401") as refused:
        trainer_at(server, password="wrong-password").start(REQUEST, again=None)
    assert "wrong-password" not in str(refused.value)
    assert len(server.asked) == 1
