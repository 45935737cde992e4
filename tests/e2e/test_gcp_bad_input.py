"""Bad input to the gcp backend: metadata, names and events nobody should send; whatever is good goes on unharmed."""

# ruff: noqa: F401, F811 - a fixture is imported by its name, and asked for by it

import json
from hashlib import sha256

import pytest

from tests.e2e.eventarc import WRAPPINGS, binary
from tests.e2e.gcp_cloud import BUCKET, GcpCloud, cloud

pytestmark = pytest.mark.emulator("firestore")

GOOD = {"runtime": "scorecard", "parameters": {"intercept": 1.0, "coefficients": {"hour": 0.1}}}
MANY_MISTAKES = {
    "model": "../../etc",
    "version": "v%2f1\x07",
    "runtime": 7,
    "created_at": "yesterday",
    "metrics": {"f1": "good", "auc": [1]},
    "features": {"hour": {"type": "colour"}},
    "deployment_ready": "yes",
}
HOSTILE: dict[str, tuple[bytes, set[str]]] = {
    "empty": (b"", {"$"}),
    "not-json": (b"{not json", {"$"}),
    "not-an-object": (b"[]", {"$"}),
    "not-utf8": (b'{"runtime": "\xff\xfe"}', {"$"}),
    "large": (b'{"pad": "' + b"x" * (1 << 20) + b'"}', {"$"}),
    "nan": (json.dumps(GOOD | {"metrics": {"f1": float("nan")}}).encode(), {"$"}),
    "infinite": (json.dumps(GOOD | {"metrics": {"f1": 1}}).replace('"f1": 1', '"f1": 1e999').encode(), {"$"}),
    "digits": (b'{"runtime": "scorecard", "metrics": {"f1": ' + b"9" * 5000 + b"}}", {"$"}),
    "surrogate": (rb'{"runtime": "scorecard", "labels": {"x": "\ud800"}}', {"$"}),
    "bomb": (b"[" * 100_000, {"$"}),
    "deep-object": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, {"$"}),
    "runtime": (json.dumps(GOOD | {"runtime": "oracle"}).encode(), {"runtime"}),
    "unpinned": (b'{"runtime": "container", "image": "repo/image:latest"}', {"image"}),
    "mistakes": (
        json.dumps(MANY_MISTAKES).encode(),
        {*MANY_MISTAKES} - {"metrics", "features"} | {"metrics.f1", "metrics.auc", "features.hour.type"},
    ),
}
HOSTILE_NAMES: dict[str, bool] = {
    "models/{}/../metadata.json": False,  # no bucket of ours has such an object: there is no "beside it"
    "models/../{}/metadata.json": False,
    "models/{}//metadata.json": False,
    "models/{}/%2e%2e%2fetc/metadata.json": True,
    "models/{}%2f/v1/metadata.json": True,
    "models/{}/v1\x01\x1b[31m/metadata.json": True,
    "models/{}/v1\u202e/metadata.json": True,
    "models/{}/-v1/metadata.json": True,
}
"""Names of metadata, and whether ``rejection.json`` can be put beside it."""


def test_bad_metadata_is_rejected_with_all_its_mistakes_and_nothing_else_is_affected(cloud: GcpCloud) -> None:
    model = "flights-hostile"
    cloud.policy(model)
    for version, (data, _) in HOSTILE.items():
        cloud.put(f"models/{model}/{version}/metadata.json", data)
    cloud.drop(model, "v1")
    cloud.settle(model)

    assert cloud.statuses(model) == {"v1": "live"} | dict.fromkeys(HOSTILE, "rejected")
    assert cloud.behind_endpoint(model) == {"v1": 100}
    for version, (_, fields) in HOSTILE.items():
        assert cloud.eventarc.answers_for(f"models/{model}/{version}/metadata.json") == ["rejected"] * len(WRAPPINGS)
        record = cloud.record(model, version, "rejection.json") or {}
        assert {problem["field"] for problem in record["problems"]} == fields, version
        assert record["rule"] == "invalid_package"
        said = cloud.ask(f"/v1/models/{model}/versions/{version}/explain")
        assert said["reasons"] == record["reasons"]
        assert len(said["reasons"]) == len(fields)


def test_bad_names_are_quarantined_and_nothing_else_is_affected(cloud: GcpCloud) -> None:
    model = "flights-named"
    names = {name.format(model): beside for name, beside in HOSTILE_NAMES.items()}
    for name in names:
        cloud.put(name, json.dumps(GOOD).encode())
    cloud.policy(model)
    cloud.drop(model, "v1")
    cloud.settle(model)

    objects = cloud.storage.objects(BUCKET)
    for name, beside in names.items():
        assert cloud.eventarc.answers_for(name) == ["quarantined"] * len(WRAPPINGS)
        found = cloud.registry.quarantined(sha256(name.encode()).hexdigest())
        assert found is not None
        assert found.value.problems
        assert (name.removesuffix("metadata.json") + "rejection.json" in objects) == beside, name
    assert cloud.statuses(model) == {"v1": "live"}


def test_what_is_no_event_is_quarantined_and_acknowledged(cloud: GcpCloud) -> None:
    headers, good = binary(BUCKET, "models/nothing/v1/metadata.json", 1)
    bodies = [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"bucket": NaN}', b"x" * (600 << 10), good[:-1]]
    bodies.append(json.dumps({"bucket": BUCKET, "name": "n" * 2000}).encode())
    for body in bodies:
        answer = cloud.eventarc.call(cloud.uploaders[0].url, (headers, body))
        assert (answer.status_code, answer.json()) == (200, {"status": "quarantined"})
        found = cloud.registry.quarantined(sha256(body).hexdigest())
        assert found is not None
        assert found.value.problems
    strange = binary("somebody-elses", "models/nothing/v1/metadata.json", 1)
    deleted = ({**headers, "ce-type": "google.cloud.storage.object.v1.deleted"}, good)
    for request, said in ((strange, "ignored"), (deleted, "ignored"), ((headers, good), "nothing there")):
        answer = cloud.eventarc.call(cloud.uploaders[0].url, request)
        assert (answer.status_code, answer.json()) == (200, {"status": said})
