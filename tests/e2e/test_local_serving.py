"""Local model serving from outside: real processes behind a real HTTP server, killed and restarted for real."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
import uvicorn
from starlette.applications import Starlette

from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.adapters.local.router_metrics import LATENCY_STEP, RouterMetrics
from modeldrop.adapters.local.serving_table import ServingTableReader
from modeldrop.errors import Conflict, NotFound, Refused, Unavailable
from modeldrop.localcloud.serving_supervisor import SupervisorTiming
from modeldrop.localcloud.traffic_router import TrafficRouter
from modeldrop.ports import Endpoint, ServedVersion, VersionMetrics
from tests.contract.model_server_system import bring_up, carry_out, finished, listed, observed, until
from tests.contract.process_system import FUNCTIONS, running, scorecard_version, tampered_version

REPOSITORY = Path(__file__).parents[2]
PREDICT = "/v1/endpoints/fraud:predict"
REQUEST = {"instances": [{"amount": 2.0}]}
METRICS = "router-metrics.sqlite"
EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


@contextmanager
def routed(state: Path, timeout_seconds: float = 20.0) -> Iterator[tuple[RouterMetrics, httpx.Client]]:
    """A traffic router in a real HTTP server: what it has measured, and a client of it."""
    metrics = RouterMetrics(state.with_name(METRICS), state)
    router = TrafficRouter(state, state.with_name(METRICS), timeout_seconds=timeout_seconds)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await router.aclose()

    app = Starlette(routes=router.routes(), lifespan=lifespan)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or None, "the HTTP server has started")
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30.0) as client:
            yield metrics, client
    finally:
        server.should_exit = True
        thread.join()
        metrics.close()


def measured(metrics: RouterMetrics, endpoint: Endpoint) -> Mapping[str, VersionMetrics]:
    """All that the functions can read of an endpoint by now."""
    return metrics.measure(endpoint, EVER[0], EVER[1])


def once_known(metrics: RouterMetrics, endpoint: Endpoint, requests: int) -> Mapping[str, VersionMetrics]:
    """What can be read as soon as there are so many requests; there must never be more."""

    def look() -> Mapping[str, VersionMetrics] | None:
        by_version = measured(metrics, endpoint)
        known = sum(each.requests for each in by_version.values())
        assert known <= requests
        return by_version if known == requests else None

    return until(look, f"{requests} requests are known")


def leaders(version: str | None = None, parent: int | None = None) -> list[psutil.Process]:
    """Worker processes started by us (or by ``parent``), all or those of one version."""
    found = []
    for process in psutil.Process(parent).children():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        served = environment.get("MODELDROP_SERVED_VERSION")
        if served is not None and version in (None, served):
            found.append(process)
    return found


def family(leader: psutil.Process) -> list[psutil.Process]:
    """The process and all it has started."""
    return [leader, *leader.children(recursive=True)]


def assert_gone(processes: list[psutil.Process]) -> None:
    """They end within seconds."""
    _, alive = psutil.wait_procs(processes, timeout=5.0)
    assert not alive


def split_of(client: httpx.Client, requests: int) -> Counter[str]:
    """Who answered, counted from outside."""
    return Counter(
        client.post(PREDICT, json=REQUEST).raise_for_status().json()["modelVersionId"] for _ in range(requests)
    )


def has_traffic(server: ProcessModelServer, version: ServedVersion) -> None:
    """Bring the version up and give it all traffic."""
    endpoint = bring_up(server, version)
    server.set_traffic("fraud", {version.version: 100}, endpoint.etag)


def test_traffic_follows_the_split_and_no_request_is_lost_on_the_way(tmp_path: Path) -> None:
    v1, v2 = (scorecard_version(tmp_path / "packages", version) for version in ("v1", "v2"))
    with running(tmp_path) as server, routed(server.path) as (metrics, client):
        assert client.post(PREDICT, json=REQUEST).status_code == 404
        endpoint = bring_up(server, v1, v2)
        assert client.post(PREDICT, json=REQUEST).status_code == 503

        endpoint = server.set_traffic("fraud", {"v1": 80, "v2": 20}, endpoint.etag)
        assert split_of(client, 100) == {"v1": 80, "v2": 20}
        by_version = once_known(metrics, endpoint, 100)
        assert {version: m.requests for version, m in by_version.items()} == {"v1": 80, "v2": 20}
        assert all(m.errors == 0 and m.answering for m in by_version.values())
        assert all(m.p95_ms is not None and m.p95_ms > 0 for m in by_version.values())

        server.set_traffic("fraud", {"v1": 95, "v2": 5}, endpoint.etag)
        assert split_of(client, 100) == {"v1": 95, "v2": 5}
        assert {version: m.requests for version, m in once_known(metrics, endpoint, 200).items()} == {
            "v1": 175,
            "v2": 25,
        }
        with another_connection(server.path) as elsewhere:
            elsewhere.set_traffic("fraud", {"v2": 100}, observed(server).etag)
            assert split_of(client, 20) == {"v2": 20}

        _undeploy_under_load(server, client)
        assert listed(server).keys() == {"v2"}


@contextmanager
def another_connection(state: Path) -> Iterator[ProcessModelServer]:
    """Another connection to the same state, as another process has."""
    server = ProcessModelServer(state)
    try:
        yield server
    finally:
        server.close()


def _undeploy_under_load(server: ProcessModelServer, client: httpx.Client) -> None:
    """Move all traffic from v2 to v1 and back and undeploy v1, while requests keep coming: all are answered."""
    enough = threading.Event()

    def ask() -> list[int]:
        statuses = []
        while not enough.is_set():
            statuses.append(client.post(PREDICT, json={"instances": [{"amount": 2.0}] * 50}).status_code)
        return statuses

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        try:
            server.set_traffic("fraud", {"v1": 100}, observed(server).etag)
            processes = [process for leader in leaders("v1") for process in family(leader)]
            assert len(processes) >= 2
            server.set_traffic("fraud", {"v2": 100}, observed(server).etag)
            carry_out(server, partial(server.undeploy, "fraud", "v1"))
            assert_gone(processes)
        finally:
            enough.set()
    statuses = [status for answers in asking for status in answers.result()]
    assert statuses
    assert set(statuses) == {200}


def test_answers_have_the_shape_of_the_contract(tmp_path: Path) -> None:
    with running(tmp_path) as server, routed(server.path, timeout_seconds=1.0) as (metrics, client):
        has_traffic(server, scorecard_version(tmp_path / "packages", "v1"))
        answer = client.post(PREDICT, json={"instances": [{"amount": 2.0}, {"amount": "much"}]})
        assert answer.status_code == 200
        deployed_id = listed(server)["v1"].deployed_id
        assert {k: v for k, v in answer.json().items() if k != "predictions"} == {
            "deployedModelId": deployed_id,
            "model": "fraud",
            "modelVersionId": "v1",
        }
        first, second = answer.json()["predictions"]
        assert first == {"score": 0.5, "decision": True}
        assert "error" in second
        assert once_known(metrics, observed(server), 1)["v1"].errors == 1, "of an instance"

        assert client.post(PREDICT, content=b"not JSON").status_code == 400
        assert once_known(metrics, observed(server), 2)["v1"].errors == 2, "refused"

        for content in (b" " * 1_500_001, iter([b" " * 1_000_000] * 2)):
            too_large = client.post(PREDICT, content=content)
            assert too_large.status_code == 413
            assert too_large.headers["content-type"] == "application/problem+json"
            assert too_large.json().keys() == {"type", "title", "status", "detail"}
        assert client.post(PREDICT, content=b'{"instances":[]}'.ljust(1_500_000)).status_code == 200
        assert client.post("/v1/endpoints/nobody:predict", json=REQUEST).json()["status"] == 404

        processes = family(leaders("v1")[0])
        for process in processes:
            process.suspend()
        assert client.post(PREDICT, json=REQUEST).status_code == 504
        for process in processes:
            process.resume()
        assert client.post(PREDICT, json=REQUEST).status_code == 200
        # Requests that no version was chosen for count for none.
        after = once_known(metrics, observed(server), 5)["v1"]
        assert after.errors == 3
        assert after.p95_ms is not None
        assert after.p95_ms > 1_000 / LATENCY_STEP, "the slowest of five, which took the whole second"


def test_a_killed_worker_and_a_restarted_cloud_answer_again(tmp_path: Path) -> None:
    version = scorecard_version(tmp_path / "packages", "v1")
    with running(tmp_path) as server, routed(server.path) as (_, client):
        has_traffic(server, version)
        before = observed(server)
        killed = leaders("v1")[0]
        relatives = family(killed)
        killed.kill()
        assert_gone(relatives)
        assert observed(server) == before, "it stays deployed"
        until(lambda: leaders("v1") or None, "the worker is started again")
        until(lambda: _answers(client, {200, 503}), "the new worker answers")
        workers = [process for leader in leaders() for process in family(leader)]
    assert_gone(workers)

    with running(tmp_path) as server, routed(server.path) as (metrics, client):
        assert observed(server) == before
        assert measured(metrics, before)["v1"].requests > 0, "what was measured is kept"
        until(lambda: _answers(client, {200, 503}), "all that is deployed answers again")
        assert split_of(client, 5) == {"v1": 5}
        (leader,) = leaders()
        processes = family(leader)
    assert_gone(processes)


def test_the_functions_see_that_a_worker_is_gone_and_what_that_costs(tmp_path: Path) -> None:
    version = scorecard_version(tmp_path / "packages", "v1")
    with running(tmp_path) as server, routed(server.path) as (metrics, client):
        has_traffic(server, version)
        endpoint = observed(server)
        assert split_of(client, 3) == {"v1": 3}
        seen = once_known(metrics, endpoint, 3)["v1"]
        assert (seen.requests, seen.errors, seen.answering) == (3, 0, True)

        (tmp_path / "packages").rename(tmp_path / "elsewhere")  # so that no new worker comes up
        leaders("v1")[0].kill()
        until(lambda: measured(metrics, endpoint)["v1"].answering is False or None, "its address is gone")
        assert [client.post(PREDICT, json=REQUEST).status_code for _ in range(2)] == [503, 503]
        seen = once_known(metrics, endpoint, 5)["v1"]
        assert (seen.requests, seen.errors, seen.answering) == (5, 2, False)

        (tmp_path / "elsewhere").rename(tmp_path / "packages")
        until(lambda: measured(metrics, endpoint)["v1"].answering or None, "a new worker answers")
        assert split_of(client, 1) == {"v1": 1}


def _answers(client: httpx.Client, allowed: set[int]) -> bool | None:
    """True once an answer is 200; until then nothing but what is allowed."""
    status = client.post(PREDICT, json=REQUEST).status_code
    assert status in allowed
    return status == 200 or None


PARENT = """
import sys
from pathlib import Path
from tests.contract.model_server_system import bring_up
from tests.contract.process_system import FUNCTIONS, running, scorecard_version
data = Path(sys.argv[1])
with running(data) as server:
    bring_up(server, scorecard_version(data / "packages", "v1"))
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_worker_that_hangs_is_ended_and_started_again(tmp_path: Path) -> None:
    """A stopped process keeps its port, and answers nobody."""
    version = scorecard_version(tmp_path / "packages", "v1")
    impatient = SupervisorTiming(check=0.05, silent=0.5)
    with running(tmp_path, impatient) as server, routed(server.path, timeout_seconds=2.0) as (_, client):
        has_traffic(server, version)
        (hung,) = leaders("v1")
        for process in family(hung):
            process.send_signal(signal.SIGSTOP)
        assert_gone([hung])
        until(lambda: client.post(PREDICT, json=REQUEST).is_success or None, "another one answers")


def test_no_process_outlives_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        (leader,) = leaders("v1", parent.pid)
        processes = family(leader)
        assert len(processes) >= 2, "gunicorn forks its own worker"
        parent.send_signal(signal.SIGKILL)
        assert_gone(processes)


@pytest.mark.parametrize(
    ("functions", "reason"),
    [(FUNCTIONS, "SHA-256 is "), (FUNCTIONS / "nowhere", "that is expected to define function doesn't exist")],
    ids=["wrong content", "no function"],
)
def test_a_failed_deploy_says_why_and_can_be_repeated(tmp_path: Path, functions: Path, reason: str) -> None:
    version = tampered_version(tmp_path / "packages", "v1")
    with running(tmp_path, functions=functions) as server:
        assert server.upload(version) is not None
        first = server.deploy(version)
        assert first is not None
        ended = finished(server, first)
        assert ended.error is not None
        assert reason in ended.error
        assert server.undeploy("fraud", "v1") is None
        second = server.deploy(version)
        assert second is not None
        assert second.name != first.name
        assert server.operation(first.name) == ended


def test_state_needs_no_supervisor_and_keeps_to_its_rules(tmp_path: Path) -> None:
    server = ProcessModelServer(tmp_path / "serving.sqlite")
    version = scorecard_version(tmp_path / "packages", "v1")
    with pytest.raises(NotFound):
        server.deploy(version)
    with pytest.raises(NotFound):
        server.set_traffic("fraud", {"v1": 100}, "")
    own_image = ServedVersion("fraud", "v9", "0" * 64, "container", version.artifact_uri, "registry/image@sha256:0")
    with pytest.raises(Refused, match="container images"):
        server.upload(own_image)
    server.upload(version)
    operation = server.deploy(version)
    assert operation is not None
    for call in (partial(server.deploy, version), partial(server.undeploy, "fraud", "v1")):
        with pytest.raises(Conflict):
            call()
    assert not server.report_answering("no-such-operation", 1)
    assert server.report_answering(operation.name, 1)
    assert not server.report_failed(operation.name, "a later life"), "once ready, it is kept"
    assert listed(server).keys() == {"v1"}
    server.close()
    with pytest.raises(Unavailable):
        server.observe("fraud")


WRITER = """
import sys
from pathlib import Path
from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.errors import Conflict
server = ProcessModelServer(Path(sys.argv[1]))
won = 0
while won < 20:
    try:
        server.set_traffic("fraud", {"v1": 100}, server.observe("fraud").etag)
        won += 1
    except Conflict:
        pass
print(won)
"""


def test_many_processes_and_threads_change_one_state(tmp_path: Path) -> None:
    state = tmp_path / "new" / "serving.sqlite"
    with ThreadPoolExecutor(8) as pool:
        servers = list(pool.map(ProcessModelServer, [state] * 8))
    server = servers[0]
    version = scorecard_version(tmp_path / "packages", "v1")
    assert sum(each.upload(version) is not None for each in servers) == 1
    operation = server.deploy(version)
    assert operation is not None
    server.report_answering(operation.name, 1)
    reader = ServingTableReader(state)
    table = reader.read()
    assert reader.read() is table

    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(state)], stdout=subprocess.PIPE) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        seen = observed(server).etag
        winners = sum(pool.map(lambda each: _wins(partial(each.set_traffic, "fraud", {"v1": 100}, seen)), servers))
    assert winners <= 1, "one etag is good for one change"
    assert [writer.communicate()[0] for writer in writers] == [b"20\n"] * 2
    assert reader.read() is not table
    assert observed(server).traffic == {"v1": 100}
    reader.close()
    for each in servers:
        each.close()


def _wins(change: Callable[[], object]) -> bool:
    try:
        change()
    except Conflict:
        return False
    return True


def test_the_router_answers_without_a_worker(tmp_path: Path) -> None:
    """A version whose worker is down, or whose address nobody listens at, is 503 at once and counts against it."""
    server = ProcessModelServer(tmp_path / "serving.sqlite")
    version = scorecard_version(tmp_path / "packages", "v1")
    server.upload(version)
    operation = server.deploy(version)
    assert operation is not None
    server.report_answering(operation.name, 1)
    server.set_traffic("fraud", {"v1": 100}, observed(server).etag)

    async def ask() -> tuple[int, int]:
        router = TrafficRouter(server.path, server.path.with_name(METRICS))
        transport = httpx.ASGITransport(Starlette(routes=router.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            unreachable = await client.post(PREDICT, json=REQUEST)
            server.report_down(operation.name)
            down = await client.post(PREDICT, json=REQUEST)
        await router.aclose()
        return unreachable.status_code, down.status_code

    assert asyncio.run(ask()) == (503, 503)
    with closing(RouterMetrics(server.path.with_name(METRICS), server.path)) as metrics:
        seen = measured(metrics, observed(server))["v1"]
    assert (seen.requests, seen.errors, seen.answering) == (2, 2, False)
    server.close()
