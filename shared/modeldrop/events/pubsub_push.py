"""A Pub/Sub message out of an HTTP request: as a push of a subscription, alone or inside a CloudEvent."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events import field_errors
from modeldrop.events.delivery import base64_bytes, read_delivery

PUSH_LIMIT_BYTES = 16 << 20
"""A message of 10 MB in base64, with its attributes even if each character of theirs is written as an escape."""


class PushedMessage(msgspec.Struct, frozen=True):
    """A message as its subscriber gets it. Id and time of publishing are None where an event was made by hand."""

    data: bytes
    attributes: dict[str, str]
    message_id: str | None
    publish_time: datetime | None


class _Message(msgspec.Struct, frozen=True, rename="camel"):
    """The message as it is pushed; what it says twice in snake_case is not looked at."""

    data: str = ""
    attributes: dict[str, str] = {}
    message_id: str | None = None
    publish_time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


def read_pubsub_push(headers: Mapping[str, str], body: bytes) -> PushedMessage:
    """The message; raises InvalidInput where the request holds none. Header names are in lower case.

    >>> read_pubsub_push({}, b'{"message": {"data": "e30=", "messageId": "7"}}')
    PushedMessage(data=b'{}', attributes={}, message_id='7', publish_time=None)
    """
    delivery = read_delivery(headers, body, limit_bytes=PUSH_LIMIT_BYTES)
    if delivery.message is None:
        raise InvalidInput([FieldProblem("message", "missing: the event carries no Pub/Sub message")])
    message = field_errors.convert(delivery.message, _Message, "message")
    data = base64_bytes(message.data, "message.data")
    return PushedMessage(data, message.attributes, message.message_id, message.publish_time)
