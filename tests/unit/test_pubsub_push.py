"""Messages out of pushes, however they are wrapped; the recorded ones say themselves where they are from."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.errors import InvalidInput
from modeldrop.events.prediction_events import decode_predictions
from modeldrop.events.pubsub_push import PushedMessage, read_pubsub_push

RECORDED = sorted((Path(__file__).parent / "recorded").glob("prediction_*.json"))
KIND = {"ce-type": "google.cloud.pubsub.topic.v1.messagePublished"}


def pushed(**message: Any) -> bytes:
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()


def test_every_wrapping_is_recorded() -> None:
    assert len(RECORDED) == 3


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded(path: Path) -> None:
    recorded = json.loads(path.read_text())
    message = read_pubsub_push(recorded["headers"], recorded["body"].encode())
    assert message.attributes == {"source": "app"}
    assert message.message_id == "1"
    assert message.publish_time == datetime(2026, 11, 21, 6, 36, 1, 740_000, tzinfo=UTC)
    (event,) = decode_predictions(message.data).predictions
    assert (event.model, event.version, event.features) == ("fraud", "v3", {"amount": 12.5, "country": "DE"})


def test_a_structured_event_may_carry_its_data_in_base64() -> None:
    push = base64.b64encode(pushed(data="e30=")).decode()
    body = json.dumps({"specversion": "1.0", "type": "x", "data_base64": push}).encode()
    assert read_pubsub_push({}, body).data == b"{}"


@pytest.mark.parametrize("data", [{}, {"data": ""}])
def test_a_message_may_be_attributes_alone(data: dict[str, Any]) -> None:
    assert read_pubsub_push({}, pushed(attributes={"a": "b"}, **data)) == PushedMessage(b"", {"a": "b"}, None, None)


def test_any_bytes_can_be_the_data() -> None:
    data = bytes(range(256)) * 4
    assert read_pubsub_push(KIND, pushed(data=base64.b64encode(data).decode())).data == data


def test_the_largest_message_is_read_with_the_largest_attributes() -> None:
    data, attributes = b"x" * 9_870_000, {f"{n:0256}": "\x01" * 1_024 for n in range(100)}
    message = read_pubsub_push({}, pushed(data=base64.b64encode(data).decode(), attributes=attributes))
    assert (message.data, message.attributes) == (data, attributes)


@pytest.mark.parametrize(
    ("headers", "body", "fields"),
    [
        ({}, b"", ["$"]),
        ({}, b"null", ["$"]),
        ({}, b"{}", ["$"]),
        ({}, b"[" * 100_000, ["$"]),
        ({}, b'{"message": {"data": "e30=", "data": "W10="}}', ["$"]),
        ({}, b'{"message": []}', ["$"]),
        (KIND, b'{"message": []}', ["message"]),
        (KIND, b'{"model": "fraud"}', ["message"]),
        ({}, b'{"specversion": "1.0", "type": "x"}', ["message"]),
        ({}, b'{"specversion": "1.0", "type": "x", "data": "text"}', ["message"]),
        ({}, b'{"specversion": "1.0", "type": "x", "data_base64": 7}', ["data_base64"]),
        ({}, b'{"specversion": "1.0", "type": "x", "data_base64": "bnVsbA=="}', ["message"]),
        ({}, pushed(data="e30"), ["message.data"]),
        ({}, pushed(data="e3 0="), ["message.data"]),
        ({}, pushed(data="e30=e30="), ["message.data"]),
        ({}, pushed(data="é30="), ["message.data"]),
        ({}, pushed(data=7, messageId=7, publishTime=7), ["message.data", "message.messageId", "message.publishTime"]),
        ({}, pushed(data="e30=", publishTime="2026-01-01T00:00:00"), ["message.publishTime"]),
        ({}, pushed(data="e30=", attributes={"a": 1, "b": None}), ["message.attributes.a", "message.attributes.b"]),
        ({}, b'{"message": {"data": "' + b"A" * (17 << 20) + b'"}}', ["$"]),
    ],
)
def test_what_is_no_push(headers: Mapping[str, str], body: bytes, fields: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_pubsub_push(headers, body)
    assert [problem.field for problem in caught.value.problems] == fields


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["message", "data", "attributes", "specversion", "data_base64", "messageId", "publishTime"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), st.sampled_from([{}, KIND]))
def test_any_request_is_a_message_or_invalid(body: bytes, headers: Mapping[str, str]) -> None:
    try:
        message = read_pubsub_push(headers, body)
    except InvalidInput as error:
        assert error.problems
    else:
        assert isinstance(message.data, bytes)
