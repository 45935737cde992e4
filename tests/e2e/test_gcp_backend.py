"""The main job on the gcp backend, from outside: real functions over HTTP, real Google clients."""

# ruff: noqa: F401, F811 - a fixture is imported by its name, and asked for by it

from collections import Counter

import pytest

from tests.e2e.eventarc import WRAPPINGS
from tests.e2e.gcp_cloud import BUCKET, OURS, STEPS, GcpCloud, cloud

pytestmark = pytest.mark.emulator("firestore")


def test_a_better_version_takes_over_step_by_step_and_a_worse_one_is_rejected(cloud: GcpCloud) -> None:
    cloud.policy("flights")
    for version in ("v1", "v2", "v3"):
        cloud.drop("flights", version)
        cloud.settle("flights")

    assert cloud.statuses("flights") == {"v1": "superseded", "v2": "live", "v3": "rejected"}
    assert cloud.splits("flights") == [*STEPS]
    assert cloud.behind_endpoint("flights") == {"v2": 100}
    assert cloud.uploads("flights") == ["v1", "v2"]
    assert cloud.deployments("flights") == ["v1", "v2"]

    model = cloud.ask("/v1/models/flights")
    assert model["endpoint"] == {"traffic": {"v2": 100}}
    assert model["aliases"] == {"production": "v2", "previous": "v1", "staging": None, "latest": "v3"}
    rollouts = cloud.ask("/v1/models/flights/rollouts")["rollouts"]
    assert {(r["version"], r["phase"], r["stable"]) for r in rollouts} == {("v1", "live", None), ("v2", "live", "v1")}
    _assert_records_tell_the_same(cloud, "flights")


def _assert_records_tell_the_same(cloud: GcpCloud, model: str) -> None:
    """What lies beside the metadata is what the API says."""
    rejection = cloud.record(model, "v3", "rejection.json")
    assert rejection is not None
    assert (rejection["verdict"], rejection["rule"]) == ("rejected", "no_improvement")
    assert "0.8245 of v2" in rejection["reasons"][0]
    for version, status in cloud.statuses(model).items():
        said = cloud.ask(f"/v1/models/{model}/versions/{version}/explain")
        records = {name: cloud.record(model, version, name) for name in OURS}
        there = {name: record for name, record in records.items() if record}
        expected = {"rejection.json"} if status == "rejected" else {"deployment_info.json", "model_comparison.json"}
        assert there.keys() == expected
        for record in there.values():
            assert record["status"] == status
            assert {name: record[name] for name in ("verdict", "rule", "reasons")} == {
                name: said[name] for name in ("verdict", "rule", "reasons")
            }


def test_what_we_write_ourselves_never_triggers(cloud: GcpCloud) -> None:
    model = "flights-own-files"
    cloud.policy(model)
    for version in ("v1", "v3"):
        cloud.drop(model, version)
        cloud.settle(model)
    ours = [n for n in cloud.storage.objects(BUCKET) if n.startswith(f"verified/{model}/") or _is_ours(n, model)]
    assert len(ours) == 5  # two verified copies, v1's two records, v3's one
    before = cloud.registry.head(model)
    for name in ours:
        cloud.eventarc.deliver([(name, 1)])
    cloud.settle(model)
    for name in ours:
        answers = cloud.eventarc.answers_for(name)
        assert len(answers) >= 2 * len(WRAPPINGS)
        assert set(answers) == {"ignored"}
    assert cloud.registry.head(model) == before
    for name in (f"models/{model}/v1/metadata.json", f"models/{model}/v1/reference.csv"):
        assert len(cloud.eventarc.answers_for(name)) == len(WRAPPINGS)
        assert not {"ignored", "quarantined"} & set(cloud.eventarc.answers_for(name))


def _is_ours(name: str, model: str) -> bool:
    return name.startswith(f"models/{model}/") and name.rpartition("/")[2] in OURS


def test_two_instances_shuffled_duplicates_end_where_the_ordered_ones_do(cloud: GcpCloud) -> None:
    ordered, shuffled = "flights-ordered", "flights-shuffled"
    for model in (ordered, shuffled):
        cloud.policy(model)
    cloud.await_delivery()
    for version in ("v1", "v2", "v3"):
        cloud.drop(ordered, version)
        cloud.settle(ordered)
    cloud.eventarc.hold()
    for version in ("v3", "v1", "v2"):
        cloud.drop(shuffled, version)
    cloud.eventarc.release(shuffled=True)
    cloud.settle(shuffled)

    assert cloud.statuses(shuffled) == {"v1": "superseded", "v2": "live", "v3": "rejected"}
    assert _decided(cloud, shuffled) == _decided(cloud, ordered)
    assert cloud.behind_endpoint(shuffled) == cloud.behind_endpoint(ordered) == {"v2": 100}
    for done in (cloud.uploads(shuffled), cloud.deployments(shuffled)):
        assert max(Counter(done).values()) == 1
        assert "v2" in done
    assert all(sum(split.values()) == 100 for split in cloud.splits(shuffled))


def _decided(cloud: GcpCloud, model: str) -> list[object]:
    """All versions in the registry with what was decided of them, but what tells two models or two moments apart."""
    head = cloud.registry.head(model).value
    champion = head.production.version if head.production else None
    assert head.is_settled
    return [
        (champion, v.version, v.key, v.status, v.decision, v.standing, v.problems, v.fallen, v.late)
        for v in cloud.registry.versions(model)
    ]
