"""Bad input to the embedded cloud: each piece is rejected with all its reasons, acknowledged, and harms nobody else."""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.embedded_cloud import QUICK, Cloud, running, scorecard, until

WAIT_SECONDS = 4
UPLOADED = "google.cloud.storage.object.v1.finalized"
BINARY = {"ce-type": UPLOADED, "ce-id": "1", "ce-source": "//test", "ce-specversion": "1.0"}


def _text(**fields: object) -> bytes:
    """Metadata of a good package with these fields changed, for whichever model and version the path names."""
    metadata = scorecard("any", "v1", **fields)
    return json.dumps({name: value for name, value in metadata.items() if name not in {"model", "version"}}).encode()


ALL_WRONG = {
    "model": 7,
    "version": ["v1"],
    "runtime": "abacus",
    "created_at": 20260101,
    "metrics": {"f1": "good", "auc": None},
    "features": {"amount": {"type": "money"}, "": {"type": "numeric"}},
    "hyperparameters": [],
    "lineage": "abc",
    "labels": {"team": 1},
    "deployment_ready": "yes",
    "image": False,
}
ALL_WRONG_FIELDS = [
    "model:",
    "version:",
    "runtime:",
    "created_at:",
    "metrics.f1:",
    "metrics.auc:",
    "features.amount.type:",
    "hyperparameters:",
    "lineage:",
    "labels.team:",
    "deployment_ready:",
    "image:",
]

BAD_METADATA: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["$:"]),
    "not-json": (b"model: fraud\n", ["$:"]),
    "binary": (bytes(range(256)), ["$:"]),
    "utf-16": (_text().decode().encode("utf-16"), ["$:"]),
    "cut-short": (_text()[:-20], ["$:"]),
    "two-documents": (_text() * 2, ["$:"]),
    "a-list": (b"[]", ["$:"]),
    "null": (b"null", ["$:"]),
    "too-large": (_text(padding="x" * (1 << 20)), ["$:", "1048576"]),
    "not-a-number": (_text().replace(b'"f1": 0.5', b'"f1": NaN'), ["$:"]),
    "infinity": (_text().replace(b'"f1": 0.5', b'"f1": -Infinity'), ["$:"]),
    "too-great": (_text().replace(b'"f1": 0.5', b'"f1": 1e999'), ["$:", "out of range"]),
    "endless-integer": (_text().replace(b'"f1": 0.5', b'"f1": ' + b"9" * 5_000), ["$:"]),
    "nested-lists": (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ["$:", "levels"]),
    "nested-objects": (b'{"x":' * 50_000 + b"1" + b"}" * 50_000, ["$:", "levels"]),
    "key-twice": (_text().replace(b'"f1": 0.5', b'"f1": 0.5, "f1": 0.9'), ["$:", "f1", "twice"]),
    "lone-surrogate": (_text(labels={"a": "\ud800"}), ["$:"]),
    "raw-surrogate": (_text().replace(b"scorecard", b"\xed\xa0\x80"), ["$:"]),
    "unknown-runtime": (_text(runtime="abacus"), ["runtime:", "abacus"]),
    "no-runtime": (_text(runtime=None), ["runtime: missing"]),
    "empty-object": (b"{}", ["runtime: missing"]),
    "other-names": (json.dumps(scorecard("another", "v9")).encode(), ["model:", "version:"]),
    "dangerous-names": (json.dumps(scorecard("../../x", "a%2fb\x1b")).encode(), ["model:", "version:"]),
    "no-time": (_text(created_at="yesterday"), ["created_at:"]),
    "the-future": (_text(created_at="9999-12-31T23:59:59Z"), ["created_at:"]),
    "no-parameters": (_text(parameters=None), ["parameters"]),
    "image-by-tag": (_text(runtime="container", image="app:latest"), ["image:"]),
    "all-wrong": (json.dumps(ALL_WRONG).encode(), ALL_WRONG_FIELDS),
    "hostile-keys": (_text(metrics={"\x1b[2J[bold]": "x", "__proto__": 1}), ["metrics."]),
}


BAD_FOLDERS = (
    "Fraud/v1",
    "..%2f..%2fsecrets/v1",
    "%2e%2e/v1",
    "fraud/..%2f",
    "fraud/v 1",
    "fraud\x01\x1b[31m/v1",
    "fraud/v1\x7f\u202e",
    "frau\u0308d/v1",
    "[bold]/v1",
    "x" * 64 + "/v1",
    "fraud/" + "v" * 129,
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One that serves a good model, and into whose bucket all bad packages were copied at once."""
    environment = {"MODELDROP_ARTIFACT_WAIT_SECONDS": str(WAIT_SECONDS)}
    with running(tmp_path_factory.mktemp("bad") / "data", **environment) as started:
        started.drop_live(scorecard("good", "v1"))
        for name, (content, _) in BAD_METADATA.items():
            started.put(f"models/{name}/v1/metadata.json", content)
        for folder in BAD_FOLDERS:
            started.put(f"models/{folder}/metadata.json", _text(metrics={"f1": "high"}))
        yield started


@pytest.fixture(autouse=True)
def others_are_unaffected(cloud: Cloud) -> Iterator[None]:
    """Whatever a test does, the good model serves and the scheduler's tick finds nothing wrong."""
    yield
    assert cloud.ask("good") == {"v1": 1}
    assert cloud.client.post("/functions/health_tick", json={}).json()["errors"] == {}


@pytest.mark.parametrize("name", BAD_METADATA)
def test_bad_metadata_are_a_rejected_version_with_every_reason(cloud: Cloud, name: str) -> None:
    expected = BAD_METADATA[name][1]
    cloud.wait_for(name, "v1", "rejected")
    decision = cloud.get(f"/v1/models/{name}/versions/v1/explain")
    assert (decision["verdict"], decision["rule"]) == ("rejected", "invalid_package")
    for part in expected:
        assert any(part in reason for reason in decision["reasons"]), decision["reasons"]
    record = cloud.rejection(f"models/{name}/v1")
    assert record["reasons"] == decision["reasons"]
    assert len(record["problems"]) == len(decision["reasons"]) >= len([part for part in expected if ":" in part])
    assert record["status"] == "rejected"
    assert not (cloud.data / "bucket/models" / name / "v1/deployment_info.json").exists()


def test_a_byte_order_mark_does_no_harm(cloud: Cloud) -> None:
    cloud.put("policies/marked.yaml", QUICK)
    cloud.put("models/marked/v1/metadata.json", b"\xef\xbb\xbf" + _text())
    cloud.wait_for("marked", "v1", "live")
    assert cloud.ask("marked") == {"v1": 1}


@pytest.mark.parametrize("folder", BAD_FOLDERS)
def test_bad_names_in_the_folder_are_quarantined(cloud: Cloud, folder: str) -> None:
    """They have no place in the registry; the reasons lie beside the metadata."""
    name = f"models/{folder}/metadata.json"
    record = cloud.rejection(f"models/{folder}")
    assert record["object"] == name
    assert any(" name: " in reason for reason in record["reasons"])
    assert any(reason.startswith("metrics.f1:") for reason in record["reasons"]), "all problems at once"
    assert _quarantined(cloud, name.encode()) == record["problems"]


def test_a_file_whose_name_is_no_text_is_passed_over(cloud: Cloud) -> None:
    for folder in (b"models/\xff\xfe/v1", b"models/line\nbreak/v1"):
        path = Path(os.fsdecode(os.fsencode(cloud.data / "bucket") + b"/" + folder))
        path.mkdir(parents=True)
        (path / "metadata.json").write_bytes(_text())
    cloud.drop_live(scorecard("after-no-text", "v1"))
    assert {model["model"] for model in cloud.get("/v1/models?limit=200")["models"]} >= {"good", "after-no-text"}


@pytest.fixture
def linked(cloud: Cloud, tmp_path: Path) -> Iterator[Path]:
    """A good package outside the bucket, and links in the bucket to its folder and to its metadata."""
    outside = tmp_path / "outside/v1"
    outside.mkdir(parents=True)
    (outside / "metadata.json").write_bytes(_text())
    folder, file = (cloud.data / "bucket/models" / name for name in ("linked-model", "linked-file/v1/metadata.json"))
    file.parent.mkdir(parents=True)
    folder.symlink_to(outside.parent)
    file.symlink_to(outside / "metadata.json")
    yield outside
    shutil.rmtree(cloud.data / "bucket/models/linked-file")
    folder.unlink()


def _assert_not_followed(cloud: Cloud, outside: Path) -> None:
    assert [path.name for path in outside.iterdir()] == ["metadata.json"], "nothing was written through the link"
    for model in ("linked-model", "linked-file"):
        assert cloud.client.get(f"/v1/models/{model}").status_code == 404


def test_symbolic_links_are_not_followed(cloud: Cloud, linked: Path) -> None:
    cloud.drop_live(scorecard("after-links", "v1"))
    _assert_not_followed(cloud, linked)


@pytest.mark.parametrize("model", ["linked-model", "linked-file"])
def test_an_event_that_names_a_symbolic_link_is_acknowledged(cloud: Cloud, linked: Path, model: str) -> None:
    name = f"models/{model}/v1/metadata.json"
    answer = _tell(cloud, name)
    assert answer.status_code == 200, answer.text
    assert "link" in str(_quarantined(cloud, name.encode()))
    _assert_not_followed(cloud, linked)


EVENTS: dict[str, tuple[dict[str, str], bytes]] = {
    "empty": ({}, b""),
    "not-json": ({}, b"<event/>"),
    "a-list": ({}, b"[]"),
    "no-event": ({}, b"{}"),
    "not-a-number": (BINARY, b'{"bucket": "b", "name": NaN}'),
    "nested": (BINARY, b"[" * 200_000),
    "lone-surrogate": (BINARY, b'{"bucket": "b", "name": "models/\\ud800/v1/metadata.json"}'),
    "not-utf-8": (BINARY, b'{"bucket": "b", "name": "\xff"}'),
    "key-twice": (BINARY, b'{"bucket": "b", "name": "x", "name": "y"}'),
    "too-large": (BINARY, json.dumps({"bucket": "b", "name": "x" * 600_000}).encode()),
    "no-name": (BINARY, b'{"bucket": "b"}'),
    "name-is-a-number": (BINARY, b'{"bucket": "b", "name": 1}'),
    "name-is-long": (BINARY, json.dumps({"bucket": "b", "name": "models/" + "x" * 1_024}).encode()),
    "structured-no-type": ({}, b'{"specversion": "1.0", "data": {"bucket": "b", "name": "x"}}'),
    "structured-no-data": ({}, b'{"specversion": "1.0", "type": "x"}'),
    "structured-bad-base64": ({}, b'{"specversion": "1.0", "type": "x", "data_base64": "*"}'),
    "structured-base64-bomb": (
        {},
        json.dumps({"specversion": "1.0", "data_base64": base64.b64encode(b"[" * 9_999).decode()}).encode(),
    ),
    "push-no-attributes": ({}, b'{"message": {"data": "e30="}}'),
    "push-wrong-attributes": ({}, b'{"message": {"attributes": {"bucketId": 1, "objectId": []}}}'),
}


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_that_is_none_is_quarantined_and_acknowledged(cloud: Cloud, name: str) -> None:
    headers, body = EVENTS[name]
    for _ in range(2):  # at least once
        answer = cloud.client.post("/functions/model_uploaded", headers=headers, content=body)
        assert (answer.status_code, answer.json()) == (200, {"status": "quarantined"})
    assert _quarantined(cloud, body)


HOSTILE_NAMES = {
    "models/../good/v1/metadata.json": "quarantined",
    "models/good/../v1/metadata.json": "quarantined",
    "models/good/v1/../../../../etc/passwd": "live",  # a change somewhere in that folder: the package is looked at
    "/models/good/v1/metadata.json": "ignored",
    "models//v1/metadata.json": "quarantined",
    "models/new\nline/v1/metadata.json": "quarantined",
    "models/nul\x00/v1/metadata.json": "quarantined",
    "models/none\x01/v1/metadata.json": "nothing there",
    "models/good%2fv1/v1/metadata.json": "nothing there",
    "models/good/v9/metadata.json": "nothing there",
    "models/good/v1/" + "a/" * 400 + "b": "live",
    "policies/../good.yaml": "ignored",
    "policies/..%2f.yaml": "rejected",
    "policies/\x1b[2J.yaml": "rejected",
    "..": "ignored",
    "/": "ignored",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_an_event_with_a_hostile_name_is_acknowledged(cloud: Cloud, name: str) -> None:
    before = cloud.get("/v1/models/good")
    for wrapping in ("binary", "structured", "push"):
        answer = _tell(cloud, name, wrapping)
        assert (answer.status_code, answer.json()) == (200, {"status": HOSTILE_NAMES[name]})
    if HOSTILE_NAMES[name] == "quarantined":
        package = "/".join(name.split("/")[:3])
        assert _quarantined(cloud, f"{package}/metadata.json".encode())
    assert cloud.get("/v1/models/good") == before
    assert not list(cloud.data.glob("*rejection.json")), "nothing beside the bucket"
    assert not list(cloud.data.parent.glob("*rejection.json"))


def test_artifacts_that_are_not_there_yet_are_waited_for(cloud: Cloud) -> None:
    contents = {"metadata.json": _text(), "weights.bin": b"w", "words.txt": b"w"}
    raw = {name: data.encode() if isinstance(data, str) else data for name, data in contents.items()}
    listed = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in raw.items()}
    manifest = json.dumps({"files": listed})
    for model in ("patient", "forgotten"):
        cloud.put(f"policies/{model}.yaml", QUICK)
        cloud.put(f"models/{model}/v1/manifest.json", manifest)
        cloud.put(f"models/{model}/v1/metadata.json", _text())
        cloud.wait_for(model, "v1", "received")
        missing = _version(cloud, model)["waiting_for"]
        assert missing == [f"models/{model}/v1/{name}" for name in ("weights.bin", "words.txt")]
    assert cloud.client.get("/v1/models/patient/versions/v1/explain").status_code == 404
    cloud.put("models/patient/v1/weights.bin", b"w")
    cloud.put("models/patient/v1/words.txt", b"w")
    cloud.wait_for("patient", "v1", "live")
    assert _version(cloud, "patient")["waiting_for"] == []

    cloud.put("models/forgotten/v1/words.txt", b"w")
    until(lambda: len(_version(cloud, "forgotten")["waiting_for"]) < 2, "one of them came")
    cloud.wait_for("forgotten", "v1", "rejected")
    (reason,) = cloud.rejection("models/forgotten/v1")["reasons"]
    assert reason == f"models/forgotten/v1/weights.bin: is not there after {WAIT_SECONDS} s"
    assert _version(cloud, "forgotten")["waiting_for"] == []


def _version(cloud: Cloud, model: str) -> dict[str, Any]:
    return cloud.get(f"/v1/models/{model}/versions/v1")


def _tell(cloud: Cloud, name: str, wrapping: str = "binary") -> httpx.Response:
    """Tell of an upload by hand, in one of the three ways it may come."""
    headers, data = {}, {"bucket": "b", "name": name}
    if wrapping == "binary":
        headers, body = BINARY, json.dumps(data)
    elif wrapping == "structured":
        body = json.dumps({"specversion": "1.0", "type": UPLOADED, "id": "1", "source": "//test", "data": data})
    else:
        attributes = {"eventType": "OBJECT_FINALIZE", "bucketId": "b", "objectId": name}
        body = json.dumps({"message": {"attributes": attributes, "messageId": "1"}, "subscription": "s"})
    return cloud.client.post("/functions/model_uploaded", headers=headers, content=body)


def _quarantined(cloud: Cloud, what: bytes) -> list[dict[str, str]]:
    """The problems recorded for a name or an event's body; none if there is no record."""
    found = cloud.registry().quarantined(hashlib.sha256(what).hexdigest())
    return [{"field": p.field, "message": p.message} for p in found.value.problems] if found else []
