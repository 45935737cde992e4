"""The quick way to the data of a Pub/Sub push, for the form in which Pub/Sub itself writes it.

Reading a push strictly (events.pubsub_push) takes longer than all that is then to be done for most events.
"""

import binascii

import msgspec


class _Message(msgspec.Struct, frozen=True):
    data: str


class _Push(msgspec.Struct, frozen=True):
    message: _Message


_decode = msgspec.json.Decoder(_Push).decode


def data_of_plain_push(body: bytes) -> bytes | None:
    """The message's data; None where it is not certain that the strict reader would find the same.

    What it asks for stands there once, and nothing is written as an escape, so no reader could understand it otherwise.
    Fields that are of no use here are not looked at.

    >>> data_of_plain_push(b'{"message": {"data": "e30=", "messageId": "7"}, "subscription": "s"}')
    b'{}'
    >>> data_of_plain_push(b'{"message": {"data": "e30=", "data": "W10="}}') is None
    True
    """
    if body.count(b'"message"') != 1 or body.count(b'"data"') != 1 or b"\\" in body:
        return None
    try:
        return binascii.a2b_base64(_decode(body).message.data, strict_mode=True)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
