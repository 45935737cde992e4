"""What is kept of a prediction or a label, in its one canonical encoding: equal events are equal bytes.

MessagePack, with every choice taken away: features in order of their names (by code point), keys of maps likewise, and
a number that has a whole value within 64 bits is written as an integer. So 5 and 5.0 and 5e0 are one number, as they
are in JSON, and -0.0 is 0. ``true`` is not 1. Text stays as it is.

names:  the features' names, a list (no bytes at all for a label)
values: [event time, status is ok, latency, prediction, [value of each feature]]   or   [label time, label]

The time comes first since of two tellings the larger bytes stay (``rows.merge_rows``), and MessagePack writes larger
integers from 0 on as larger bytes: of two labels that say when they were known, the later one stays.
"""

import math
from typing import Any, Literal

import msgspec

from modeldrop.domain.sampling.rows import Row, check_size
from modeldrop.errors import FieldProblem, InvalidInput

MOST_LEVELS = 32
MOST_PROBLEMS = 100
_INT64 = range(-(2**63), 2**63)
_WHOLE_FROM, _WHOLE_BELOW = -(2.0**63), 2.0**63
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class SampledPrediction(msgspec.Struct, frozen=True):
    """What is kept of a prediction. Times are milliseconds since 1970 in UTC, as the app stated them.

    ``prediction`` and the features' values are JSON values: None, bool, int (64 bit), finite float, str, list, dict.
    """

    event_time_ms: int
    prediction: Any
    latency_ms: float | None
    status: Literal["ok", "error"]
    features: dict[str, Any]


class SampledLabel(msgspec.Struct, frozen=True):
    """What is kept of a label: a JSON value, and when it was known (milliseconds since 1970), where that is stated."""

    label: Any
    label_time_ms: int | None = None


class _PredictionValues(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    event_time_ms: int
    is_ok: bool
    latency_ms: float | None
    prediction: Any
    features: list[Any]


class _LabelValues(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    label_time_ms: int | None
    label: Any


_read_names = msgspec.msgpack.Decoder(list[str]).decode
_read_prediction = msgspec.msgpack.Decoder(_PredictionValues).decode
_read_label = msgspec.msgpack.Decoder(_LabelValues).decode


def prediction_row(hash_of_id: int, kept: SampledPrediction) -> Row:
    """The row of a prediction. Raises RowTooLarge, or InvalidInput for what JSON cannot say or 64 bits cannot hold.

    >>> event = SampledPrediction(1_767_225_600_000, 0.93, 12.0, "ok", {"country": "DE", "amount": 5.0})
    >>> row = prediction_row(7, event)
    >>> read_prediction(row).features
    {'amount': 5, 'country': 'DE'}
    """
    known_status = kept.status in ("ok", "error")
    problems = [] if known_status else [FieldProblem("status", f"{str(kept.status)[:80]!a} is neither ok nor error")]
    names = sorted(kept.features)
    values = [
        _canonical(kept.event_time_ms, "timestamp", problems),
        kept.status == "ok",
        _canonical(kept.latency_ms, "latency_ms", problems),
        _canonical(kept.prediction, "prediction", problems),
        [_canonical(kept.features[name], f"features.{_shown(name)}", problems) for name in names],
    ]
    return _row(hash_of_id, names, values, problems)


def label_row(hash_of_id: int, kept: SampledLabel) -> Row:
    """The row of a label, under the hash of the prediction's id. Raises as ``prediction_row`` does."""
    problems: list[FieldProblem] = []
    values = [_canonical(kept.label_time_ms, "timestamp", problems), _canonical(kept.label, "label", problems)]
    return _row(hash_of_id, None, values, problems)


def read_prediction(row: Row) -> SampledPrediction:
    """What the row keeps of a prediction. Raises InvalidInput if it is not the row of one."""
    names, values = _read(_read_names, row.names), _read(_read_prediction, row.values)
    if len(names) != len(values.features):
        raise _unreadable(f"{len(names)} names, but {len(values.features)} values")
    return SampledPrediction(
        event_time_ms=values.event_time_ms,
        prediction=values.prediction,
        latency_ms=values.latency_ms,
        status="ok" if values.is_ok else "error",
        features=dict(zip(names, values.features, strict=True)),
    )


def read_label(row: Row) -> SampledLabel:
    """What the row keeps of a label. Raises InvalidInput if it is not the row of one."""
    if row.names:
        raise _unreadable("a label has no features")
    values = _read(_read_label, row.values)
    return SampledLabel(label=values.label, label_time_ms=values.label_time_ms)


def _row(hash_of_id: int, names: list[str] | None, values: list[Any], problems: list[FieldProblem]) -> Row:
    if problems:
        raise InvalidInput(problems[:MOST_PROBLEMS])
    try:
        row = Row(hash_of_id, b"" if names is None else _encode(names), _encode(values))
    except UnicodeEncodeError:
        raise InvalidInput([FieldProblem("$", "is not Unicode text (half a surrogate pair)")]) from None
    return check_size(row)


def _canonical(value: Any, where: str, problems: list[FieldProblem], level: int = 1) -> Any:
    """The value in the one form it is written in; adds to ``problems`` what cannot be written."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is float:
        if _WHOLE_FROM <= value < _WHOLE_BELOW:
            return int(value) if value.is_integer() else value
        if math.isfinite(value):
            return value
        problems.append(FieldProblem(where, f"{value} is not a finite number"))
    elif kind is int:
        if value in _INT64:
            return value
        problems.append(FieldProblem(where, "is not a 64-bit integer"))
    elif kind is list or kind is dict:
        return _canonical_parts(value, where, problems, level)
    else:
        problems.append(FieldProblem(where, f"a {kind.__name__} is not a JSON value"))
    return None


def _canonical_parts(value: Any, where: str, problems: list[FieldProblem], level: int) -> Any:
    if level > MOST_LEVELS:
        problems.append(FieldProblem(where, f"nested more than {MOST_LEVELS} levels deep"))
        return None
    if type(value) is list:
        return [_canonical(item, where, problems, level + 1) for item in value]
    if not all(type(key) is str for key in value):
        problems.append(FieldProblem(where, "has a key that is not text"))
        return None
    return {key: _canonical(item, where, problems, level + 1) for key, item in value.items()}


def _shown(name: str) -> str:
    """The name short, and fit for UTF-8 also where it is no text."""
    return name[:80].encode("utf-8", "backslashreplace").decode()


def _read(read: Any, data: bytes) -> Any:
    try:
        return read(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(str(error)) from None


def _unreadable(reason: str) -> InvalidInput:
    return InvalidInput([FieldProblem("row", reason)])
