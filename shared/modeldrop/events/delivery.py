"""One event out of an HTTP request, whichever way it was wrapped.

Taken: CloudEvents in binary and in structured mode, and a raw Pub/Sub push. A CloudEvent may itself carry a Pub/Sub
push (Eventarc does that): then the message inside is found as well.
"""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events import strict_json


class Delivery(msgspec.Struct, frozen=True):
    """What was delivered. ``kind`` and ``data`` stand as they came: nobody looked at their types yet."""

    kind: Any
    """The type of the CloudEvent; None for a raw push."""
    data: Any
    """The data of the CloudEvent; of a raw push, its whole document."""
    message: dict[str, Any] | None
    """The Pub/Sub message inside, where there is one."""


def read_delivery(headers: Mapping[str, str], body: bytes, *, limit_bytes: int) -> Delivery:
    """The event; raises InvalidInput where the request is none we know. Header names are in lower case.

    >>> read_delivery({"ce-type": "greeting"}, b'{"hello": "world"}', limit_bytes=100)
    Delivery(kind='greeting', data={'hello': 'world'}, message=None)
    """
    document = strict_json.decode(body, limit_bytes=limit_bytes)
    if not isinstance(document, dict):
        raise _invalid("$", "the event is not a JSON object")
    if "ce-type" in headers:
        return _delivery(headers["ce-type"], document)
    if isinstance(document.get("message"), dict):
        return _delivery(None, document)
    if "specversion" in document:
        return _delivery(document.get("type"), _data(document, limit_bytes))
    raise _invalid("$", "neither a CloudEvent nor a Pub/Sub push")


def base64_bytes(text: object, field: str) -> bytes:
    """The bytes behind a base64 text; raises InvalidInput at ``field`` for anything else."""
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except ValueError:  # wrong letters, wrong padding, not ASCII
        pass
    raise _invalid(field, "is not base64")


def _data(document: Mapping[str, Any], limit_bytes: int) -> object:
    if "data_base64" not in document:
        return document.get("data")
    return strict_json.decode(base64_bytes(document["data_base64"], "data_base64"), limit_bytes=limit_bytes)


def _delivery(kind: object, data: object) -> Delivery:
    message = data.get("message") if isinstance(data, dict) else None
    return Delivery(kind, data, message if isinstance(message, dict) else None)


def _invalid(field: str, message: str) -> InvalidInput:
    return InvalidInput([FieldProblem(field, message)])
