"""Rollouts that heal themselves on the gcp backend: Cloud Monitoring's figures, edits by others, rollback by hand."""

import time
from contextlib import suppress

import pytest

from modeldrop.adapters.gcp.vertex_ids import endpoint_id
from tests.e2e.function_process import until
from tests.e2e.gcp_cloud import GcpCloud, cloud

__all__ = ["cloud"]
pytestmark = [pytest.mark.emulator("firestore")]

WATCHED = "rollout: {steps: [20, 100], bake_seconds: 1, min_requests: 10, failure_limit: 1, keep_warm_seconds: 3600}\n"
WARM = "rollout: {steps: [20, 100], bake_seconds: 0, min_requests: 0, keep_warm_seconds: 3600}\n"


def answered(cloud: GcpCloud, model: str, version: str, code: str, count: int) -> None:
    """Cloud Monitoring gets to know of requests of the last seconds."""
    deployed = cloud.vertex.state.endpoints[endpoint_id(model)]["deployedModels"]
    key = next(one["id"] for one in deployed if one["displayName"] == version)
    resource = {"resource_container": "123456789012", "location": "us-central1", "endpoint_id": endpoint_id(model)}
    now = int(time.time())
    labels = {"deployed_model_id": key, "response_code": code}
    cloud.monitoring.state.write("response_count", resource, labels, (now - 1, now), count)


def both_live(cloud: GcpCloud, model: str) -> None:
    cloud.policy(model, WARM)
    for version in ("v1", "v2"):
        cloud.drop(model, version)
        cloud.await_delivery()
        until(lambda version=version: cloud.tick() and cloud.statuses(model)[version] == "live", f"{version} is live")


def test_a_canary_that_fails_by_cloud_monitoring_is_rolled_back(cloud: GcpCloud) -> None:
    model = "flights-failing"
    cloud.policy(model, WATCHED)
    cloud.drop(model, "v1")
    cloud.settle(model)
    cloud.drop(model, "v2")
    cloud.await_delivery()

    def rolled_back() -> bool:
        with suppress(KeyError, StopIteration):
            if cloud.behind_endpoint(model).get("v2"):
                answered(cloud, model, "v1", "200", 80)
                answered(cloud, model, "v2", "503", 20)
        cloud.tick()
        return cloud.statuses(model)["v2"] == "rolled_back"

    until(rolled_back, "v2 is rolled back")
    assert {**cloud.behind_endpoint(model), "v2": 0} == {"v1": 100, "v2": 0}
    assert cloud.splits(model) == [{"v1": 100}, {"v1": 80, "v2": 20}, {"v1": 100}]
    rollout = cloud.ask(f"/v1/models/{model}/rollouts")["rollouts"][0]
    assert rollout["phase"] == "rolled_back"
    assert "requests failed" in rollout["reason"]
    digest = cloud.ask(f"/v1/models/{model}/versions/v2")["digest"]
    assert cloud.registry.ledger_entry(model, digest) is not None


def test_a_rollback_by_hand_is_one_update_of_traffic(cloud: GcpCloud) -> None:
    model = "flights-by-hand"
    both_live(cloud, model)
    uploads, deployments = cloud.uploads(model), cloud.deployments(model)
    reply = cloud.command(model, "rollback", {})
    assert reply["status"] == "accepted"
    until(lambda: cloud.tick() and cloud.behind_endpoint(model).get("v1") == 100, "v1 serves again")
    assert cloud.splits(model)[-2:] == [{"v2": 100}, {"v1": 100}]
    assert (cloud.uploads(model), cloud.deployments(model)) == (uploads, deployments)
    until(lambda: cloud.tick() and cloud.statuses(model) == {"v1": "live", "v2": "rolled_back"}, "v2 is rolled back")


@pytest.mark.parametrize("policy", ["pause", "repair"])
def test_traffic_edited_at_vertex(cloud: GcpCloud, policy: str) -> None:
    model = f"flights-edited-{policy}"
    both_live(cloud, model)
    cloud.policy(model, WARM.replace("}", f", out_of_band: {policy}}}"))
    cloud.await_delivery()
    cloud.edit_traffic(model, {"v1": 50, "v2": 50})
    if policy == "pause":
        until(lambda: cloud.tick() and cloud.ask(f"/v1/models/{model}")["paused"], "the model is paused")
        assert cloud.behind_endpoint(model) == {"v1": 50, "v2": 50}, "what somebody did is not fought"
        cloud.command(model, "resume", {})
    until(lambda: cloud.tick() and cloud.behind_endpoint(model).get("v2") == 100, "v2 has all traffic again")
    until(lambda: cloud.tick() and cloud.ask(f"/v1/models/{model}")["rollout"] is None, "the repair has ended")
    assert cloud.statuses(model)["v2"] == "live"


def test_the_endpoint_is_deleted_and_made_again(cloud: GcpCloud) -> None:
    model = "flights-deleted"
    both_live(cloud, model)
    cloud.policy(model, WARM.replace("}", ", out_of_band: repair}"))
    cloud.await_delivery()
    cloud.delete_endpoint(model)
    until(lambda: cloud.tick() and cloud.behind_endpoint(model).get("v2") == 100, "v2 serves again")
    cloud.settle(model)
    assert cloud.statuses(model)["v2"] == "live"
