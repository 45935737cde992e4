"""The ModelServer port on versions that share one deployment, over local processes.

Every test of the port's own suite that applies is taken from there. Two do not: traffic cannot be split, and a version
that cannot answer is refused before anything is deployed; both have one of their own here.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from modeldrop.adapters.hot_swap.model_server import HotSwapModelServer
from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.adapters.local.serving_table import ServingTableReader
from modeldrop.domain.endpoint import CARRIER
from modeldrop.domain.serving_pointer import Swappable, pointer_name
from modeldrop.errors import Conflict, Refused, Unavailable
from modeldrop.ports import Bucket, ServedVersion
from modeldrop.serving.loading import load_runtime
from modeldrop.wiring import connect_llm
from tests.contract.model_server_system import ModelServerSystem, bring_up, carry_out, listed, observed, until
from tests.contract.process_system import running, scorecard_version
from tests.contract.test_model_server import (
    test_a_split_that_can_never_be_is_refused,
    test_a_version_name_stands_for_one_content,
    test_an_old_etag_is_a_conflict_and_changes_nothing,
    test_deploy_makes_what_is_missing_and_lists_the_version_when_done,
    test_many_are_seen_as_each_is_seen_alone,
    test_repeated_deploys_adopt_the_first,
    test_two_who_deploy_at_once_make_one_deployment,
    test_upload_is_none_once_known,
    test_what_was_never_made_is_none,
)
from tests.e2e.test_local_serving import PREDICT, REQUEST, once_known, routed

__all__ = [
    "test_a_split_that_can_never_be_is_refused",
    "test_a_version_name_stands_for_one_content",
    "test_an_old_etag_is_a_conflict_and_changes_nothing",
    "test_deploy_makes_what_is_missing_and_lists_the_version_when_done",
    "test_many_are_seen_as_each_is_seen_alone",
    "test_repeated_deploys_adopt_the_first",
    "test_two_who_deploy_at_once_make_one_deployment",
    "test_upload_is_none_once_known",
    "test_what_was_never_made_is_none",
]


def following(bucket: FolderBucket, root: Path, version: str) -> ServedVersion:
    """A scorecard in the bucket that is to follow the pointer of its model."""
    pinned = scorecard_version(root / "verified" / "fraud", version)
    return ServedVersion(
        "fraud",
        version,
        pinned.digest,
        "scorecard",
        f"{bucket.uri}/verified/fraud/{version}",
        pointer=f"{bucket.uri}/{pointer_name('fraud')}",
    )


def tampered(bucket: FolderBucket, root: Path, version: str) -> ServedVersion:
    """One whose metadata say nothing that could be served."""
    served = following(bucket, root, version)
    content = json.dumps({"model": "fraud", "version": version, "runtime": "scorecard"}).encode()
    (root / "verified" / "fraud" / version / "metadata.json").write_bytes(content)
    fields = {name: getattr(served, name) for name in served.__struct_fields__}
    return ServedVersion(**fields | {"digest": sha256(content).hexdigest()})


def checked(bucket: Bucket) -> Callable[[Swappable], None]:
    """The self-check as the product does it."""

    def check(one: Swappable) -> None:
        load_runtime(bucket, one.folder, one.digest, one.version, connect_llm=connect_llm).self_check()

    return check


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "bucket")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[ProcessModelServer]:
    with running(tmp_path) as server:
        yield server


@pytest.fixture
def system(machines: ProcessModelServer, bucket: FolderBucket, tmp_path: Path) -> ModelServerSystem:
    """Versions that follow, on real processes."""
    return ModelServerSystem(
        server=HotSwapModelServer(machines, bucket, checked(bucket)),
        loadable=lambda version: following(bucket, tmp_path / "bucket", version),
        broken=lambda version: tampered(bucket, tmp_path / "bucket", version),
    )


def test_a_pointer_that_cannot_be_read_hides_no_other_model(
    bucket: FolderBucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(ProcessModelServer(tmp_path / "serving.sqlite")) as processes:
        server = HotSwapModelServer(processes, bucket, lambda _: None)
        for model in ("churn", "fraud"):
            scorecard = following(bucket, tmp_path / "bucket", "v1")
            folder = f"{bucket.uri}/verified/{model}/v1"
            operation = server.deploy(
                ServedVersion(model, "v1", "d" * 64, "scorecard", folder, pointer=scorecard.pointer)
            )
            assert operation is not None
            processes.report_answering(operation.name, 1)
        seen = server.observe_many(["fraud", "churn"])
        assert {model: [d.version for d in endpoint.deployed] for model, endpoint in seen.items()} == {
            "churn": ["v1"],
            "fraud": ["v1"],
        }
        pointer = tmp_path / "bucket" / pointer_name("churn")
        pointer.unlink()
        pointer.symlink_to(pointer)
        with pytest.raises(Refused):
            server.observe("churn")
        assert server.observe_many(["fraud", "churn"]).keys() == {"fraud"}
        assert "the pointer of churn cannot be read" in caplog.text


def test_traffic_moves_as_a_whole_and_only_an_idle_version_is_undeployed(
    system: ModelServerSystem, machines: ProcessModelServer
) -> None:
    server = system.server
    endpoint = bring_up(server, system.loadable("v1"), system.loadable("v2"))
    deployment = listed(machines)
    assert deployment.keys() == {CARRIER}
    for split in ({"v1": 100}, {"v2": 100}, {"v1": 100}, {"v1": 0, "v2": 100}):
        endpoint = server.set_traffic("fraud", split, endpoint.etag)
        assert endpoint.traffic == {version: percent for version, percent in split.items() if percent}
        assert observed(server) == endpoint
    with pytest.raises(Refused, match="share one deployment"):
        server.set_traffic("fraud", {"v1": 95, "v2": 5}, endpoint.etag)
    with pytest.raises(Refused):
        server.undeploy("fraud", "v2")
    assert observed(server) == endpoint
    carry_out(server, partial(server.undeploy, "fraud", "v1"))
    assert listed(server).keys() == {"v2"}
    assert server.undeploy("fraud", "v1") is None
    assert listed(machines)[CARRIER].deployed_id == deployment[CARRIER].deployed_id


def test_a_version_that_cannot_answer_is_refused_and_changes_nothing(
    system: ModelServerSystem, bucket: FolderBucket, machines: ProcessModelServer
) -> None:
    before = bring_up(system.server, system.loadable("v1"))
    broken = system.broken("v2")
    carry_out(system.server, partial(system.server.upload, broken))
    with pytest.raises(Refused, match=r"v2 does not pass its self-check: .*parameters"):
        system.server.deploy(broken)
    assert observed(system.server) == before


def test_a_first_version_that_cannot_answer_has_nothing_deployed(
    system: ModelServerSystem, bucket: FolderBucket, machines: ProcessModelServer
) -> None:
    broken = system.broken("v1")
    carry_out(system.server, partial(system.server.upload, broken))
    with pytest.raises(Refused):
        system.server.deploy(broken)
    assert bucket.stat(pointer_name("fraud")) is None
    assert listed(machines) == {}


def test_with_the_last_version_the_carrier_goes(system: ModelServerSystem, machines: ProcessModelServer) -> None:
    server = system.server
    bring_up(server, system.loadable("v1"), system.loadable("v2"))
    carry_out(server, partial(server.undeploy, "fraud", "v2"))
    assert listed(machines).keys() == {CARRIER}
    carry_out(server, partial(server.undeploy, "fraud", "v1"))
    assert listed(machines) == {}
    bring_up(server, system.loadable("v3"))
    assert listed(server).keys() == {"v3"}


def test_a_carrier_without_traffic_is_on_the_new_version_before_it_gets_any(
    system: ModelServerSystem, bucket: FolderBucket
) -> None:
    bring_up(system.server, system.loadable("v1"), system.loadable("v2"))
    found = bucket.read(pointer_name("fraud"), limit_bytes=10_000)
    assert found is not None
    assert json.loads(found[1])["version"] == "v2"


def test_both_kinds_stand_behind_one_endpoint(
    system: ModelServerSystem, machines: ProcessModelServer, tmp_path: Path
) -> None:
    server = system.server
    own = scorecard_version(tmp_path / "packages", "v0")
    endpoint = bring_up(server, own, system.loadable("v1"), system.loadable("v2"))
    endpoint = server.set_traffic("fraud", {"v0": 100}, endpoint.etag)
    endpoint = server.set_traffic("fraud", {"v0": 30, "v1": 70}, endpoint.etag)
    assert endpoint.traffic == {"v0": 30, "v1": 70}
    assert observed(machines).traffic == {"v0": 30, CARRIER: 70}
    server.set_traffic("fraud", {"v2": 100}, endpoint.etag)
    assert observed(machines).traffic == {CARRIER: 100}
    assert observed(server).traffic == {"v2": 100}
    carry_out(server, partial(server.undeploy, "fraud", "v0"))
    assert listed(machines).keys() == {CARRIER}


def test_two_who_swap_at_once_and_one_wins(
    system: ModelServerSystem, machines: ProcessModelServer, bucket: FolderBucket
) -> None:
    endpoint = bring_up(system.server, *map(system.loadable, ("v1", "v2", "v3")))
    other = HotSwapModelServer(machines, FolderBucket(Path(bucket.uri.removeprefix("file://"))), checked(bucket))
    other.set_traffic("fraud", {"v1": 100}, endpoint.etag)
    with pytest.raises(Conflict):
        system.server.set_traffic("fraud", {"v2": 100}, endpoint.etag)
    assert observed(system.server).traffic == {"v1": 100}


def test_a_swap_while_another_version_is_checked_is_not_lost(
    system: ModelServerSystem, machines: ProcessModelServer, bucket: FolderBucket
) -> None:
    endpoint = bring_up(system.server, system.loadable("v1"), system.loadable("v2"))
    endpoint = system.server.set_traffic("fraud", {"v1": 100}, endpoint.etag)

    def meanwhile(_: Swappable) -> None:
        system.server.set_traffic("fraud", {"v2": 100}, endpoint.etag)

    slow = HotSwapModelServer(machines, bucket, meanwhile)
    with pytest.raises(Conflict):
        slow.deploy(system.loadable("v3"))
    assert observed(system.server).traffic == {"v2": 100}
    assert listed(system.server).keys() == {"v1", "v2"}


def test_a_check_that_could_not_be_made_leaves_all_as_it_was(
    system: ModelServerSystem, machines: ProcessModelServer, bucket: FolderBucket
) -> None:
    before = bring_up(system.server, system.loadable("v1"))

    def out_of_reach(one: Swappable) -> None:
        raise Unavailable(f"{one.folder} is out of reach")

    unlucky = HotSwapModelServer(machines, bucket, out_of_reach)
    with pytest.raises(Unavailable):
        unlucky.deploy(system.loadable("v2"))
    assert observed(system.server) == before
    assert unlucky.deploy(system.loadable("v1")) is None, "what is there already is not checked again"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"runtime": "onnx"}, "this one is onnx"),
        ({"image": "registry.example/own@sha256:" + "0" * 64}, "with its own container"),
        ({"artifact_uri": "file:///elsewhere/v1"}, "is not in file://"),
    ],
)
def test_what_cannot_be_swapped_is_refused(system: ModelServerSystem, changes: dict[str, str], reason: str) -> None:
    good = system.loadable("v1")
    fields = {name: getattr(good, name) for name in good.__struct_fields__}
    version = ServedVersion(**fields | changes)
    for call in (system.server.upload, system.server.deploy):
        with pytest.raises(Refused, match=reason):
            call(version)


def test_figures_are_those_of_the_version_the_containers_answer_with(
    system: ModelServerSystem, machines: ProcessModelServer
) -> None:
    """Also of an answer that does not say who made it."""
    endpoint = bring_up(system.server, system.loadable("v1"), system.loadable("v2"))
    with routed(machines.path) as (metrics, client):
        for version, requests in (("v1", 2), ("v2", 4)):
            endpoint = system.server.set_traffic("fraud", {version: 100}, endpoint.etag)

            def answers(version: str = version) -> bool | None:
                """Requests of the version before are not counted here: they are asked of the worker itself."""
                with closing(ServingTableReader(machines.path)) as table:
                    (deployment,) = table.read()["fraud"]
                worker = httpx.get(f"http://127.0.0.1:{deployment.port}/health", trust_env=False)
                return worker.json().get("version") == version or None

            until(answers, f"{version} answers")
            answer = client.post(PREDICT, json=REQUEST).raise_for_status().json()
            carrier = listed(machines)[CARRIER].deployed_id
            assert (answer["modelVersionId"], answer["deployedModelId"]) == (version, carrier)
            assert client.post(PREDICT, content=b"not JSON").status_code == 400
            measured = once_known(metrics, endpoint, requests)
            assert (measured[version].requests, measured[version].errors) == (2, 1)
            others = [measured[other].answering for other in ("v1", "v2") if other != version]
            assert (measured[version].answering, others) == (True, [None])
