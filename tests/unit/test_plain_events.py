"""The quick ways to a push and to a single prediction find what the strict ones find, or nothing."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.errors import InvalidInput
from modeldrop.events.plain_prediction import plain_prediction
from modeldrop.events.plain_push import data_of_plain_push
from modeldrop.events.prediction_events import Batch, decode_predictions
from modeldrop.events.pubsub_push import read_pubsub_push
from tests.unit.sampled_events import steady

USUAL: dict[str, Any] = {
    "model": "fraud",
    "version": "v1",
    "prediction_id": "order-1",
    "timestamp": "2026-01-01T00:00:00Z",
    "features": {"amount": 12.5, "country": "DE"},
    "prediction": 0.93,
}
OPTIONS: dict[str, Any] = {
    "type": ["prediction", "label", "other", None],
    "latency_ms": [12, 0.5, None, -1],
    "status": ["ok", "error", "odd"],
    "unknown": [1],
    "prediction": ["yes", None, {"score": 0.5, "decision": True}, {"score": 1, "decision": True, "more": 1}, [1]],
    "features": [{}, {"status": 1}, {"type": 1, "a": ":"}, {"a": '":'}, {"a": {}}, {"a": 2**63}, {'"': 1}],
    "timestamp": ["2026-01-01T00:00:00+02:00", "2026-01-01T00:00:00", 5, "0001-01-01T00:00:00+05:00"],
    "model": ["Fraud", ""],
    "version": ["/", "v" * 129],
    "prediction_id": ["", "ü" * 256, "\ud800"],
}
changes = st.dictionaries(st.sampled_from(sorted(OPTIONS)), st.integers(0, 9), max_size=4)
layouts = st.sampled_from([(", ", ": "), (",", ":"), (",", " : "), (",\n", "\t:"), (" , ", ":  ")])
ends = st.sampled_from(["", "", "", ', "status": "ok"', ', "type": "prediction", "type": "prediction"', ", "])


def written(pairs: list[tuple[str, Any]], layout: tuple[str, str], more: str) -> bytes:
    comma, colon = layout
    fields = comma.join(f"{json.dumps(k)}{colon}{json.dumps(v, separators=layout)}" for k, v in pairs)
    return f"{{{fields}{more}}}".encode()


@given(changes, layouts, ends, st.lists(st.sampled_from(sorted(USUAL)), max_size=1))
@steady
def test_a_plain_prediction_is_the_prediction(
    changed: dict[str, int], layout: tuple[str, str], more: str, twice: list[str]
) -> None:
    event = USUAL | {name: OPTIONS[name][place % len(OPTIONS[name])] for name, place in changed.items()}
    data = written([*event.items(), *((name, USUAL[name]) for name in twice)], layout, more)
    found = plain_prediction(data)
    if found is not None:
        assert decode_predictions(data) == Batch((found,))


@given(st.binary(max_size=60))
@steady
def test_no_bytes_break_it(data: bytes) -> None:
    assert plain_prediction(data) is None
    assert data_of_plain_push(data) is None


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"type": "prediction", "latency_ms": 12.5, "status": "error"},
        {"latency_ms": None},
        {"prediction": {"score": 0.5, "decision": True}},
        {"features": {"status": 1, "type": "x", "note": "at 12:30", "ü": None}},
    ],
)
@pytest.mark.parametrize("layout", [(", ", ": "), (",", ":")])
def test_what_apps_write_is_taken_the_quick_way(change: dict[str, Any], layout: tuple[str, str]) -> None:
    data = written(list((USUAL | change).items()), layout, "")
    assert Batch((plain_prediction(data),)) == decode_predictions(data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        '"status" :"ok","status":"ok"',
        '"status"\t:"ok","status":"ok"',
        '"features": {}',
        '"status": "ok", "status": "ok"',
        '"x": 1',
        '"features": {"a": 1, "a": 1}',
    ],
)
def test_what_is_not_certain_is_left_to_the_strict_way(more: str) -> None:
    assert plain_prediction(written(list(USUAL.items()), (",", ":"), f",{more}")) is None


def push(**message: Any) -> dict[str, Any]:
    sent = {"data": base64.b64encode(b"{}").decode(), "messageId": "7", "attributes": {"a": "b"}} | message
    return {"message": sent, "subscription": "projects/p/subscriptions/s", "deliveryAttempt": 3}


PUSHES = [
    json.dumps(push()),
    json.dumps(push(data="")),
    json.dumps(push(attributes={"data": "x"})),
    json.dumps(push(attributes={"\\": "x"})),
    json.dumps(push(data="e30")),
    json.dumps(push(data="e30=\n")),
    json.dumps(push(data="é")),
    json.dumps(push(data=5)),
    json.dumps({"message": {"messageId": "7"}}),
    json.dumps({"message": {}, "data": {"message": push()}}),
    json.dumps({"specversion": "1.0", "type": "t", "data": push()}),
    '{"message": {"data": "e30=", "data": "W10="}}',
    '{"message": {"data": "e30=", "d\\u0061ta": "W10="}}',
    '{"message": {"data": "e30="}, "message": {"data": "W10="}}',
    '{"message": {"data": "e30="}} x',
    '{"message": "data"}',
    "[" * 5_000 + '"message" "data"',
]


@pytest.mark.parametrize("text", PUSHES)
@pytest.mark.parametrize("headers", [{}, {"ce-type": "google.cloud.pubsub.topic.v1.messagePublished"}])
def test_a_plain_push_holds_what_the_strict_reader_finds(text: str, headers: dict[str, str]) -> None:
    found = data_of_plain_push(text.encode())
    if found is None:
        return
    try:
        assert read_pubsub_push(headers, text.encode()).data == found
    except InvalidInput as error:
        pytest.fail(f"{text} is none: {error}")


def test_what_pubsub_writes_is_taken_the_quick_way() -> None:
    for text in PUSHES[:2]:
        assert data_of_plain_push(text.encode()) is not None
