"""Hot swaps on the gcp backend: Vertex AI hears of one upload and one deployment, whatever takes over later."""

import pytest

from modeldrop.domain.endpoint import CARRIER
from modeldrop.domain.serving_pointer import pointer_name, read_pointer
from modeldrop.serving.followed_version import FollowedVersion
from modeldrop.serving.served_version import Serving
from modeldrop.wiring import connect_llm
from tests.e2e.function_process import until
from tests.e2e.gcp_cloud import BUCKET, QUICK, GcpCloud, cloud

__all__ = ["cloud"]
pytestmark = [pytest.mark.emulator("firestore")]

HOT = "rollout: {strategy: hot_swap, bake_seconds: 0, min_requests: 0, keep_warm_seconds: 3600}\n"


def live(cloud: GcpCloud, model: str, version: str) -> None:
    cloud.drop(model, version)
    cloud.await_delivery()
    until(lambda: cloud.tick() and cloud.statuses(model)[version] == "live", f"{version} is live")


def answering(cloud: GcpCloud, model: str, container: FollowedVersion) -> str:
    """The version a container answers with once it has looked; it must be the one the pointer names."""
    serving = container.reload()
    assert isinstance(serving, Serving), serving
    found = cloud.storage.objects(BUCKET)[pointer_name(model)]
    assert read_pointer(found.data, model).digest == serving.digest
    return serving.version


def test_one_container_for_all_versions(cloud: GcpCloud) -> None:
    model = "flights-hot"
    cloud.policy(model, HOT)
    live(cloud, model, "v1")
    (upload,) = [
        one for one in cloud.vertex.effects("models.upload") if one.body["model"]["displayName"].startswith(f"{model} ")
    ]
    told = {one["name"]: one["value"] for one in upload.body["model"]["containerSpec"]["env"]}
    uri = told["MODELDROP_SERVED_POINTER"]
    assert told.pop("MODELDROP_SERVED_POINTER") == f"gs://{BUCKET}/{pointer_name(model)}" == uri
    assert told.keys() == {"GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"}
    assert "artifactUri" not in upload.body["model"]
    container = FollowedVersion(uri, lambda _: (cloud.bucket, ""), connect_llm, pause_seconds=3_600)
    assert answering(cloud, model, container) == "v1"
    live(cloud, model, "v2")
    assert answering(cloud, model, container) == "v2"
    assert cloud.ask(f"/v1/models/{model}")["endpoint"]["traffic"] == {"v2": 100}
    assert cloud.command(model, "rollback", {})["status"] == "accepted"
    until(lambda: cloud.tick() and cloud.statuses(model) == {"v1": "live", "v2": "rolled_back"}, "v1 is back")
    assert answering(cloud, model, container) == "v1"
    assert cloud.behind_endpoint(model) == {CARRIER: 100}
    assert (cloud.uploads(model), cloud.deployments(model)) == ([CARRIER], [CARRIER])
    assert cloud.splits(model) == [{CARRIER: 100}]


def test_a_model_changes_its_strategy_and_back(cloud: GcpCloud) -> None:
    model = "flights-changing"
    cloud.policy(model, QUICK)
    live(cloud, model, "v1")
    cloud.policy(model, HOT.replace("3600", "0"))
    cloud.await_delivery()
    live(cloud, model, "v2")
    cloud.settle(model)
    assert cloud.behind_endpoint(model) == {CARRIER: 100}
    assert cloud.splits(model) == [{"v1": 100}, {CARRIER: 100}]
