"""Upload events, however they are wrapped."""

import base64
import json
from typing import Any

import pytest

from modeldrop.errors import InvalidInput
from modeldrop.events.storage_event import FINALIZED, StorageEvent, read_storage_event

DATA = {"bucket": "models", "name": "models/fraud/v1/metadata.json", "generation": "17"}
EXPECTED = StorageEvent("models", "models/fraud/v1/metadata.json", is_upload=True)
ATTRIBUTES = {"bucketId": "models", "objectId": DATA["name"], "eventType": "OBJECT_FINALIZE"}


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_cloud_event_in_binary_mode() -> None:
    assert read_storage_event({"ce-type": FINALIZED, "ce-id": "1"}, encoded(DATA)) == EXPECTED


def test_cloud_event_in_structured_mode_as_the_command_line_sends_it() -> None:
    event = {"specversion": "1.0", "type": FINALIZED, "source": "s", "id": "1", "data": DATA}
    assert read_storage_event({"content-type": "application/cloudevents+json"}, encoded(event)) == EXPECTED


def test_cloud_event_with_data_in_base64() -> None:
    data = base64.b64encode(encoded(DATA)).decode()
    assert read_storage_event({}, encoded({"specversion": "1.0", "type": FINALIZED, "data_base64": data})) == EXPECTED


def test_raw_push_of_a_bucket_notification() -> None:
    assert read_storage_event({}, encoded({"message": {"attributes": ATTRIBUTES, "messageId": "1"}})) == EXPECTED


def test_bucket_notification_through_eventarc() -> None:
    headers = {"ce-type": "google.cloud.pubsub.topic.v1.messagePublished"}
    assert read_storage_event(headers, encoded({"message": {"attributes": ATTRIBUTES}})) == EXPECTED


@pytest.mark.parametrize("kind", ["google.cloud.storage.object.v1.deleted", "x"])
def test_other_events_are_no_uploads(kind: str) -> None:
    assert read_storage_event({"ce-type": kind}, encoded(DATA)).is_upload is False


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"message":{"attributes":[]}}',
        b'{"message":{"attributes":{"bucketId":"b"}}}',
        encoded({"specversion": "1.0", "type": FINALIZED}),
        encoded({"specversion": "1.0", "type": 7, "data": DATA}),
        encoded({"specversion": "1.0", "type": FINALIZED, "data_base64": "%%%"}),
        encoded({"specversion": "1.0", "type": FINALIZED, "data": {"bucket": "b", "name": ""}}),
        encoded({"specversion": "1.0", "type": FINALIZED, "data": {"bucket": "b", "name": "n" * 1025}}),
        encoded({"specversion": "1.0", "type": FINALIZED, "data": {"bucket": "b", "name": 7}}),
        b'{"specversion":"1.0","data":' + b'"' + b"x" * (512 << 10) + b'"}',
    ],
)
def test_what_is_no_event(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_storage_event({}, body)
