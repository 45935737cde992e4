"""Every sentence of the ModelServer port, on every adapter."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import msgspec
import pytest

from modeldrop.errors import Conflict, Refused
from modeldrop.ports import Operation
from tests.contract.model_server_system import (
    ModelServerSystem,
    bring_up,
    carry_out,
    finished,
    listed,
    observed,
    until,
)
from tests.contract.process_system import process_system  # noqa: F401 (a fixture)
from tests.contract.vertex_system import vertex_server, vertex_system  # noqa: F401 (fixtures)


@pytest.fixture(params=["vertex", "process"])
def system(request: pytest.FixtureRequest) -> ModelServerSystem:
    return request.getfixturevalue(f"{request.param}_system")  # type: ignore[no-any-return]


def test_what_was_never_made_is_none(system: ModelServerSystem) -> None:
    assert system.server.observe("nobody") is None
    assert system.server.observe_many(["nobody", "no-one"]) == system.server.observe_many([]) == {}
    assert system.server.undeploy("nobody", "v1") is None
    assert system.server.operation("no-such-operation") is None


def test_upload_is_none_once_known(system: ModelServerSystem) -> None:
    version = system.loadable("v1")
    carry_out(system.server, partial(system.server.upload, version))
    assert system.server.upload(version) is None


def test_deploy_makes_what_is_missing_and_lists_the_version_when_done(system: ModelServerSystem) -> None:
    version = system.loadable("v1")
    carry_out(system.server, partial(system.server.upload, version))
    operations = 0
    while (operation := system.server.deploy(version)) is not None:
        operations += 1
        _watch(system, operation)
    assert operations >= 1
    endpoint = observed(system.server)
    assert endpoint.model == "fraud"
    assert [(d.version, d.traffic_percent) for d in endpoint.deployed] == [("v1", 0)]
    assert endpoint.traffic == {}
    assert endpoint.etag


def _watch(system: ModelServerSystem, operation: Operation) -> None:
    """Until it is done: a version seen before a look that finds the operation running was listed too early."""

    def look() -> Operation | None:
        seen = listed(system.server)
        now = system.server.operation(operation.name)
        assert now is not None
        assert now.done or not seen
        return now if now.done else None

    assert until(look, "the operation is done").error is None


def test_many_are_seen_as_each_is_seen_alone(system: ModelServerSystem) -> None:
    endpoint = bring_up(system.server, system.loadable("v1"))
    system.server.set_traffic("fraud", {"v1": 100}, endpoint.etag)
    seen = system.server.observe_many(["churn", "fraud", "nobody", "fraud"])
    assert seen == {"fraud": observed(system.server)}
    assert seen["fraud"].traffic == {"v1": 100}


def test_repeated_deploys_adopt_the_first(system: ModelServerSystem) -> None:
    version = system.loadable("v1")
    carry_out(system.server, partial(system.server.upload, version))
    started: list[Operation] = []

    def look() -> bool | None:
        try:
            operation = system.server.deploy(version)
        except Conflict:
            finished(system.server, started[-1])
            return None
        started.extend([operation] if operation else [])
        return None if operation else True

    until(look, "the version is deployed")
    assert listed(system.server).keys() == {"v1"}
    assert len({operation.name for operation in started}) == len(started) <= 2, "the endpoint's, and the version's"
    deployed_id = listed(system.server)["v1"].deployed_id
    assert system.server.deploy(version) is None
    assert listed(system.server)["v1"].deployed_id == deployed_id


def test_two_who_deploy_at_once_make_one_deployment(system: ModelServerSystem) -> None:
    version = system.loadable("v1")
    carry_out(system.server, partial(system.server.upload, version))
    together = Barrier(2)

    def deploy() -> None:
        together.wait()
        carry_out(system.server, partial(system.server.deploy, version))

    with ThreadPoolExecutor(2) as pool:
        for racer in [pool.submit(deploy) for _ in range(2)]:
            racer.result()
    assert listed(system.server).keys() == {"v1"}


def test_a_split_that_can_never_be_is_refused(system: ModelServerSystem) -> None:
    endpoint = bring_up(system.server, system.loadable("v1"))
    impossible: list[dict[str, object]] = [
        {},
        {"v1": 99},
        {"v1": 101},
        {"v1": 0},
        {"v1": 200, "v9": -100},
        {"v1": 100.0},
        {"v1": "100"},
        {"v1": 99, "v9": True},
        {"v9": 100},
        {"v1": 50, "v9": 50},
        {"v1": 100, "v9": 0},
    ]
    for split in impossible:
        with pytest.raises(Refused):
            system.server.set_traffic("fraud", split, endpoint.etag)  # type: ignore[arg-type]
    assert observed(system.server) == endpoint


def test_an_old_etag_is_a_conflict_and_changes_nothing(system: ModelServerSystem) -> None:
    before = bring_up(system.server, system.loadable("v1"))
    for old in ("", "no-such-etag"):
        with pytest.raises(Conflict):
            system.server.set_traffic("fraud", {"v1": 100}, old)
    assert observed(system.server) == before
    after = system.server.set_traffic("fraud", {"v1": 100}, before.etag)
    assert after.etag != before.etag
    with pytest.raises(Conflict):
        system.server.set_traffic("fraud", {"v1": 100}, before.etag)
    assert observed(system.server) == after


def test_traffic_moves_between_versions_and_only_an_idle_one_is_undeployed(system: ModelServerSystem) -> None:
    server = system.server
    endpoint = bring_up(server, system.loadable("v1"), system.loadable("v2"))
    for split in ({"v1": 100}, {"v1": 95, "v2": 5}, {"v1": 1, "v2": 99}):
        endpoint = server.set_traffic("fraud", split, endpoint.etag)
        assert endpoint.traffic == split
        assert observed(server) == endpoint
    with pytest.raises(Refused):
        server.undeploy("fraud", "v1")
    assert observed(server) == endpoint
    server.set_traffic("fraud", {"v1": 0, "v2": 100}, endpoint.etag)
    assert observed(server).traffic == {"v2": 100}
    carry_out(server, partial(server.undeploy, "fraud", "v1"))
    assert listed(server).keys() == {"v2"}
    assert observed(server).traffic == {"v2": 100}
    assert server.undeploy("fraud", "v1") is None
    assert server.undeploy("fraud", "never-there") is None


def test_a_deployment_that_fails_says_why_and_lists_nothing(system: ModelServerSystem) -> None:
    version = system.broken("v1")
    carry_out(system.server, partial(system.server.upload, version))
    ended = None
    for _ in range(2):  # the endpoint's operation may come first
        operation = system.server.deploy(version)
        assert operation is not None
        ended = finished(system.server, operation)
        if ended.error is not None:
            break
    assert ended is not None
    assert ended.error
    assert listed(system.server) == {}
    assert system.server.operation(ended.name) == ended


def test_a_version_name_stands_for_one_content(system: ModelServerSystem) -> None:
    before = bring_up(system.server, system.loadable("v1"))
    other = msgspec.structs.replace(system.loadable("v1"), digest="e" * 64)

    def bring() -> None:
        carry_out(system.server, partial(system.server.upload, other))
        system.server.deploy(other)

    with pytest.raises(Refused):
        bring()
    assert observed(system.server) == before
