"""Events as JSON. The limits are those of the reader (``modeldrop.events.prediction_events``).

They are checked here as well, so that the app's log says what is wrong, in the process that knows why. Messages name
fields and types, never values: those may be nobody's business.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

import msgspec

from modeldrop.client.event_ids import is_uuid7
from modeldrop.client.redaction import Redaction, Scalar
from modeldrop.errors import FieldProblem, InvalidInput

MODEL_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
VERSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LONGEST_PREDICTION_ID = 256
LONGEST_TEXT = 10_000
LONGEST_FEATURE_NAME = 128
MOST_FEATURES = 1_000
LONGEST_LATENCY_MS = 1e12
MOST_EVENT_BYTES = 1_000_000 - len(b"[]")
"""A batch of one, in the brackets of its array, has at most a megabyte."""

_INTEGERS = (-(2**63), 2**63 - 1)
_ENCODER = msgspec.json.Encoder()
_SCORECARD_KEYS = {"score", "decision"}


class Prediction(msgspec.Struct, frozen=True):
    """One prediction as the app gave it: nothing has been checked."""

    prediction_id: Any
    timestamp: Any
    features: Any
    prediction: Any
    latency_ms: Any
    status: Any


def encode_prediction(model: str, version: str, given: Prediction, redaction: Redaction) -> bytes:
    """The event; raises InvalidInput for what its reader would not take."""
    if given.status not in ("ok", "error"):
        _refuse("status", "is ok or error")
    return _encoded(
        {
            "type": "prediction",
            "model": model,
            "version": version,
            "prediction_id": _prediction_id(given.prediction_id),
            "timestamp": _moment(given.timestamp, "timestamp"),
            "features": _features(given.features, redaction),
            "prediction": _prediction(given.prediction),
            "latency_ms": _latency(given.latency_ms),
            "status": given.status,
        }
    )


def encode_label(model: str, prediction_id: Any, label: Any, predicted_at: Any, labelled_at: Any = None) -> bytes:
    """The event; raises InvalidInput for what its reader would not take."""
    name = _prediction_id(prediction_id)
    value = _scalar(label, "label")
    if value is None:
        _refuse("label", "is missing")
    event: dict[str, Any] = {"type": "label", "model": model, "prediction_id": name, "label": value}
    if labelled_at is not None:
        event["labelled_at"] = _moment(labelled_at, "labelled_at")
    if predicted_at is not None:
        event["predicted_at"] = _moment(predicted_at, "predicted_at")
    elif not is_uuid7(name):
        _refuse("predicted_at", "is needed where the prediction_id is no UUIDv7, which carries its time")
    return _encoded(event)


def _encoded(event: dict[str, Any]) -> bytes:
    data = _ENCODER.encode(event)
    if len(data) > MOST_EVENT_BYTES:
        _refuse("$", f"an event of {len(data):,} bytes, more than {MOST_EVENT_BYTES:,}")
    return data


def _prediction_id(given: Any) -> str:
    if not isinstance(given, str | UUID):
        _refuse("prediction_id", f"is text, not {type(given).__name__}")
    text = str(given)
    if not 0 < len(text) <= LONGEST_PREDICTION_ID:
        _refuse("prediction_id", f"has 1 to {LONGEST_PREDICTION_ID} characters")
    return text


def _moment(given: Any, field: str) -> datetime:
    if not isinstance(given, datetime) or given.tzinfo is None:
        _refuse(field, "is a datetime with a time zone")
    try:
        return given.astimezone(UTC)
    except OverflowError:
        _refuse(field, "lies outside the years 1 to 9999 in UTC")


def _features(given: Any, redaction: Redaction) -> dict[str, Scalar]:
    if not isinstance(given, Mapping):
        _refuse("features", f"is a mapping, not {type(given).__name__}")
    features: dict[str, Scalar] = {}
    for name, value in given.items():
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_FEATURE_NAME:
            _refuse("features", f"a name is text of 1 to {LONGEST_FEATURE_NAME} characters")
        if not redaction.drops(name):
            features[name] = redaction.applied(name, _plain(value, name, is_feature=True))
    if len(features) > MOST_FEATURES:
        _refuse("features", f"more than {MOST_FEATURES:,}")
    return features


def _prediction(given: Any) -> Scalar | dict[str, Scalar]:
    if not isinstance(given, Mapping):
        return _scalar(given, "prediction")
    if given.keys() != _SCORECARD_KEYS:
        _refuse("prediction", "an object has a score and a decision, nothing else")
    score, decision = _scalar(given["score"], "prediction.score"), _scalar(given["decision"], "prediction.decision")
    if isinstance(score, bool) or not isinstance(score, int | float) or not isinstance(decision, bool):
        _refuse("prediction", "a score is a number, a decision true or false")
    return {"score": score, "decision": decision}


def _latency(given: Any) -> float | None:
    value = _scalar(given, "latency_ms")
    if value is None:
        return None
    if isinstance(value, bool | str) or not 0 <= value <= LONGEST_LATENCY_MS:
        _refuse("latency_ms", f"is a number from 0 to {LONGEST_LATENCY_MS:g}")
    return float(value)


def _scalar(value: Any, field: str) -> Scalar:
    return _short(_plain(value, field), field)


def _short(value: Scalar, field: str) -> Scalar:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        _refuse(field, f"a text of more than {LONGEST_TEXT:,} characters")
    return value


def _plain(value: Any, field: str, *, is_feature: bool = False) -> Scalar:
    """The value as JSON knows it. NaN becomes None: in numpy and pandas that is how a missing number is written.

    So does an infinite feature: a drift report will show it, and the others are not lost.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, int):
        if not _INTEGERS[0] <= value <= _INTEGERS[1]:
            _refuse(field, "an integer beyond 64 bits")
        return int(value)
    if isinstance(value, float):
        if math.isinf(value) and not is_feature:
            _refuse(field, "an infinite number")
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "item"):  # numbers of numpy and its kin, and arrays that hold a single one
        inner = value.item()
        if inner is None or isinstance(inner, bool | str | int | float):
            return _plain(inner, field, is_feature=is_feature)
    _refuse(field, f"is a {type(value).__name__}: numbers, texts, True, False and None can be logged")


def _refuse(field: str, message: str) -> NoReturn:
    raise InvalidInput([FieldProblem(ascii(field)[1:-1][:LONGEST_FEATURE_NAME], message)])
