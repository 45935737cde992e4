"""A Cloud Storage "finalized" event out of an HTTP request, whichever way it was wrapped (see events.delivery).

Also taken is the bucket's own Pub/Sub notification. The event says where to look and nothing else: state is read from
the bucket.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events.delivery import read_delivery

EVENT_LIMIT_BYTES = 512 << 10
FINALIZED = "google.cloud.storage.object.v1.finalized"
NAME_LIMIT_BYTES = 1024


class StorageEvent(msgspec.Struct, frozen=True):
    """Which object changed, and whether the change was an upload."""

    bucket: str
    name: str
    is_upload: bool


def read_storage_event(headers: Mapping[str, str], body: bytes) -> StorageEvent:
    """The event; raises InvalidInput where the request is none we know. Header names are in lower case."""
    delivery = read_delivery(headers, body, limit_bytes=EVENT_LIMIT_BYTES)
    if delivery.message is not None:
        return _notification(delivery.message)
    if not isinstance(delivery.kind, str):
        raise _invalid("type", "missing")
    if not isinstance(delivery.data, dict):
        raise _invalid("data", "missing: bucket and name")
    return StorageEvent(_text(delivery.data, "bucket"), _text(delivery.data, "name"), delivery.kind == FINALIZED)


def _notification(message: dict[str, Any]) -> StorageEvent:
    """Cloud Storage's own Pub/Sub notifications name the object in attributes."""
    attributes = message.get("attributes")
    if not isinstance(attributes, dict):
        raise _invalid("message.attributes", "missing: bucketId and objectId")
    finalized = attributes.get("eventType") == "OBJECT_FINALIZE"
    return StorageEvent(_text(attributes, "bucketId"), _text(attributes, "objectId"), finalized)


def _text(data: Mapping[str, Any], field: str) -> str:
    value = data.get(field)
    if not isinstance(value, str) or not value or len(value.encode()) > NAME_LIMIT_BYTES:
        raise _invalid(field, f"must be text of 1 to {NAME_LIMIT_BYTES} bytes")
    return value


def _invalid(field: str, message: str) -> InvalidInput:
    return InvalidInput([FieldProblem(field, message)])
