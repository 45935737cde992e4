"""A Cloud Storage "finalized" event out of an HTTP request, whichever way it was wrapped.

Taken: CloudEvents in binary and structured mode, and a raw Pub/Sub push of a bucket notification. The event says
where to look and nothing else: state is read from the bucket.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events import strict_json

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
    document = strict_json.decode(body, limit_bytes=EVENT_LIMIT_BYTES)
    if not isinstance(document, dict):
        raise _invalid("$", "the event is not a JSON object")
    if "ce-type" in headers:
        return _event(headers["ce-type"], document)
    if isinstance(document.get("message"), dict):
        return _notification(document["message"])
    if "specversion" in document:
        data = _base64_json(document["data_base64"]) if "data_base64" in document else document.get("data")
        return _event(document.get("type"), data)
    raise _invalid("$", "neither a CloudEvent nor a Pub/Sub push")


def _event(kind: object, data: object) -> StorageEvent:
    if isinstance(data, dict) and isinstance(data.get("message"), dict):
        return _notification(data["message"])
    if not isinstance(kind, str):
        raise _invalid("type", "missing")
    if not isinstance(data, dict):
        raise _invalid("data", "missing: bucket and name")
    return StorageEvent(_text(data, "bucket"), _text(data, "name"), kind == FINALIZED)


def _notification(message: dict[str, Any]) -> StorageEvent:
    """Cloud Storage's own Pub/Sub notifications name the object in attributes."""
    attributes = message.get("attributes")
    if not isinstance(attributes, dict):
        raise _invalid("message.attributes", "missing: bucketId and objectId")
    finalized = attributes.get("eventType") == "OBJECT_FINALIZE"
    return StorageEvent(_text(attributes, "bucketId"), _text(attributes, "objectId"), finalized)


def _base64_json(value: object) -> object:
    try:
        raw = base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("data_base64", "is not base64") from None
    return strict_json.decode(raw, limit_bytes=EVENT_LIMIT_BYTES)


def _text(data: Mapping[str, Any], field: str) -> str:
    value = data.get(field)
    if not isinstance(value, str) or not value or len(value.encode()) > NAME_LIMIT_BYTES:
        raise _invalid(field, f"must be text of 1 to {NAME_LIMIT_BYTES} bytes")
    return value


def _invalid(field: str, message: str) -> InvalidInput:
    return InvalidInput([FieldProblem(field, message)])
