"""The body of a message on the topic ``predictions``: one event or an array of them → predictions, labels, poison.

Two ways lead to the same answer, and which one was taken shows in nothing but the time. The quick one decodes the whole
array at once with types. Where that fails, or where it is not certain that the strict way would agree, each element is
decoded by itself as ``strict_json`` does it: a bad one becomes poison with all that is wrong with it, and its
neighbours go on. What an event must be is said once, by the types below; fields that are not known are ignored.

msgspec keeps the last of two equal keys in silence, ``strict_json`` refuses them, and the same event must not fare
differently with its neighbours. So the quick way proves that no key stands twice: every key is followed by ``":``, and
if there are no more of these than keys were kept, none was lost. (There may be more: a text that begins with a colon,
a field that is not known. Those arrays take the slow way, at about a seventh of the speed.) The proof takes about 40 %
of the quick way's time.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypedDict

import msgspec

from modeldrop.domain.packages import MODEL_NAME, VERSION_NAME
from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events import strict_json
from modeldrop.events.field_errors import MOST_PROBLEMS, field_problems
from modeldrop.events.json_array import split_array

MESSAGE_LIMIT_BYTES = 10_000_000
MOST_EVENTS = 1_000
"""That is what an array is meant to have. Of more, each thousand is taken by itself."""
MOST_ELEMENTS = 100_000
MOST_EXPLAINED = 1_000  # of the poison in a message: saying all that is wrong takes long
MOST_FEATURES = 1_000
LONGEST_FEATURE_NAME = 128
LONGEST_TEXT = 10_000
LONGEST_PREDICTION_ID = 256
LONGEST_LATENCY_MS = 1e12  # 31 years: far from where whole numbers and floats part

# In JSON, which knows no other numbers; bool stands apart from int.
_Integer = Annotated[int, msgspec.Meta(ge=strict_json.SMALLEST_INTEGER, le=strict_json.LARGEST_INTEGER)]
_Text = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]
_FeatureName = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_FEATURE_NAME)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_PredictionId = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_PREDICTION_ID)]
Value = _Integer | float | _Text | bool | None
FeatureValue = _Integer | float | str | bool | None  # a long text is not kept: there is no reason to refuse it


class ScorecardAnswer(TypedDict):
    """What a scorecard predicts. Kept as a plain dict; other keys of it are dropped."""

    score: _Integer | float
    decision: bool


class PredictionEvent(msgspec.Struct, frozen=True, tag_field="type", tag="prediction"):
    """A version's answer to one request. Every value is finite, ``timestamp`` is in UTC."""

    model: str
    version: str
    prediction_id: _PredictionId
    timestamp: _Moment
    features: Annotated[dict[_FeatureName, FeatureValue], msgspec.Meta(max_length=MOST_FEATURES)]
    prediction: Value | ScorecardAnswer  # None is a value, and must be said: a request that failed has no other
    latency_ms: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_LATENCY_MS)] | None = None
    status: Literal["ok", "error"] = "ok"


class LabelEvent(msgspec.Struct, frozen=True, tag_field="type", tag="label"):
    """What turned out to be true of one prediction, as far as that was known at ``labelled_at``.

    Times are in UTC; None: not said.
    """

    model: str
    prediction_id: _PredictionId
    label: _Integer | float | _Text | bool
    predicted_at: _Moment | None = None
    labelled_at: _Moment | None = None


class Poison(msgspec.Struct, frozen=True):
    """What is no event, and why. ``index`` is its place in the array (0 without one); None: the whole message."""

    index: int | None
    raw: bytes  # as it came
    problems: tuple[FieldProblem, ...]
    is_cut: bool = False  # something is missing: it cannot be put back


class Batch(msgspec.Struct, frozen=True):
    """All that one message held; predictions and labels in their order, each poison with its place."""

    predictions: tuple[PredictionEvent, ...] = ()
    labels: tuple[LabelEvent, ...] = ()
    poison: tuple[Poison, ...] = ()


Event = PredictionEvent | LabelEvent
_Array = tuple[Event, ...]
_KINDS: dict[str, type[Event]] = {"prediction": PredictionEvent, "label": LabelEvent}
_MOMENTS: dict[type[Event], tuple[str, ...]] = {
    PredictionEvent: ("timestamp",),
    LabelEvent: ("predicted_at", "labelled_at"),
}
_FIELDS = {kind: frozenset(kind.__struct_fields__) | {"type"} for kind in _KINDS.values()}
_TYPED: msgspec.json.Decoder[_Array] = msgspec.json.Decoder(Annotated[_Array, msgspec.Meta(max_length=MOST_EVENTS)])
_UNTYPED: msgspec.json.Decoder[_Array] = msgspec.json.Decoder(
    Annotated[tuple[PredictionEvent, ...], msgspec.Meta(max_length=MOST_EVENTS)]
)
_WRITTEN = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_QUOTED = re.compile(r"(Invalid (?:enum )?value).*", re.DOTALL)  # it goes into logs, and is nobody's business
_UNEXPLAINED = FieldProblem("$", f"is no event, as {MOST_EXPLAINED:,} others of this message")
_SPACE = (b" ", b"\t", b"\r", b"\n")


def decode_predictions(data: bytes) -> Batch:
    """Everything in one message. Never raises: what is wrong is poison, of one element or of the whole message.

    The whole message is poison, and nothing is taken of it, if it has more than 10 MB, is neither an object nor an
    array, holds no element or more than 100,000, or if it cannot be told where its elements end.

    >>> batch = decode_predictions(b'[{"type": "label", "model": "m", "prediction_id": "7", "label": 1}, {}]')
    >>> batch.labels
    (LabelEvent(model='m', prediction_id='7', label=1, predicted_at=None, labelled_at=None),)
    >>> [(poison.index, poison.problems[0]) for poison in batch.poison]
    [(1, FieldProblem(field='model', message='missing'))]
    """
    if len(data) > MESSAGE_LIMIT_BYTES:
        return _all_poison(data, _problem("$", f"{len(data):,} bytes, more than the {MESSAGE_LIMIT_BYTES:,} allowed"))
    text = data.removeprefix(_BYTE_ORDER_MARK)
    is_array = text.lstrip(b"".join(_SPACE)).startswith(b"[")
    events = _decode_at_once(text, is_array)
    if events is not None:
        return _batch(events, ())
    try:
        elements = split_array(text, limit_count=MOST_ELEMENTS) if is_array else [text]
    except InvalidInput as error:
        return _all_poison(data, *error.problems)
    if not elements:
        return _all_poison(data, _problem("$", "an array without events"))
    return _decode_each(elements)


# --- all at once -----------------------------------------------------------------------------------------------


def _decode_at_once(text: bytes, is_array: bool) -> _Array | None:
    """All events; None unless each of them is certainly right."""
    array = text if is_array else b"[%b]" % text
    try:
        events = _decode_array(array)
        if not _is_certain(array, events) or not (is_array or len(events) == 1):
            return None
        return tuple([_in_utc(event) for event in events])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError):
        return None


def _decode_array(array: bytes) -> _Array:
    """With the type said everywhere, or nowhere."""
    try:
        return _TYPED.decode(array)
    except msgspec.ValidationError:
        return _UNTYPED.decode(array)


def _is_certain(array: bytes, events: _Array) -> bool:
    """Whether names are right, all fields known, and no key stands twice."""
    written = _WRITTEN.decode(array)
    for kind, known in _FIELDS.items():
        fields = [keys for event, keys in zip(events, written, strict=True) if type(event) is kind]
        if not known.issuperset(set().union(*fields)):
            return False
    predictions = [event for event in events if type(event) is PredictionEvent]
    kept_keys = sum(map(len, written)) + sum([len(event.features) for event in predictions])
    kept_keys += len(ScorecardAnswer.__annotations__) * sum([type(event.prediction) is dict for event in predictions])
    models, versions = {event.model for event in events}, {event.version for event in predictions}
    return (
        len(events) > 0
        and _most_keys(array) == kept_keys
        and all(map(MODEL_NAME.fullmatch, models))
        and all(map(VERSION_NAME.fullmatch, versions))
    )


def _most_keys(array: bytes) -> int | None:
    """No more keys than this are written in valid JSON; None where a space before a colon makes that uncertain."""
    if any(space in array and space + b":" in array for space in _SPACE):
        return None
    return array.count(b'":')


# --- one by one ------------------------------------------------------------------------------------------------


def _decode_each(elements: list[bytes]) -> Batch:
    """An array that is too long is taken as several that are not, each of them at once if it can be."""
    events: list[Event] = []
    poison: list[Poison] = []
    for first in range(0, len(elements), MOST_EVENTS):
        some = elements[first : first + MOST_EVENTS]
        at_once = _decode_at_once(b"[%b]" % b",".join(some), is_array=True) if len(elements) > MOST_EVENTS else None
        if at_once is not None:
            events += at_once
        else:
            _decode_into(events, poison, some, first)
    return _batch(events, poison)


def _decode_into(events: list[Event], poison: list[Poison], elements: list[bytes], first: int) -> None:
    for index, element in enumerate(elements, first):
        try:
            events.append(_decode_one(element, explain=len(poison) < MOST_EXPLAINED))
        except InvalidInput as error:
            poison.append(Poison(index, element, error.problems))


def _decode_one(element: bytes, *, explain: bool) -> Event:
    """The event; raises InvalidInput with all that is wrong with it, or that something is."""
    value = strict_json.decode(element, limit_bytes=MESSAGE_LIMIT_BYTES)
    if not isinstance(value, dict):
        raise InvalidInput([_problem("$", "an event is a JSON object")])
    kind = value.get("type", "prediction")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidInput([_problem("type", f"one of {', '.join(_KINDS)}")])
    problems = _name_problems(value)
    try:
        event = msgspec.convert(value, _KINDS[kind])
    except (msgspec.ValidationError, RecursionError):
        raise InvalidInput(problems + _field_problems(value, _KINDS[kind]) if explain else [_UNEXPLAINED]) from None
    if problems:
        raise InvalidInput(problems)
    try:
        return _in_utc(event)
    except OverflowError:
        raise InvalidInput(_calendar_problems(event)) from None


def _name_problems(value: dict[str, Any]) -> list[FieldProblem]:
    patterns = {"model": MODEL_NAME}
    if value.get("type") != "label":
        patterns["version"] = VERSION_NAME
    texts = [(field, value[field], pattern) for field, pattern in patterns.items() if isinstance(value.get(field), str)]
    return [_problem(field, f"is not {p.pattern}") for field, text, p in texts if not p.fullmatch(text)]


def _field_problems(value: dict[str, Any], kind: type[Event]) -> list[FieldProblem]:
    features = value.get("features")
    problems = []
    if kind is PredictionEvent and isinstance(features, dict) and len(features) > MOST_FEATURES:
        problems = [_problem("features", f"{len(features):,} features, more than {MOST_FEATURES:,}")]
        value = value | {"features": {}}  # looking at each of a million of them would take seconds
    found = [FieldProblem(p.field, _QUOTED.sub(r"\1", p.message)) for p in field_problems(value, kind, "")]
    return [*problems, *found][:MOST_PROBLEMS]


def _calendar_problems(event: Event) -> list[FieldProblem]:
    problems = []
    for field in _MOMENTS[type(event)]:
        try:
            (getattr(event, field) or _EARLIEST).astimezone(UTC)
        except OverflowError:
            problems.append(_problem(field, "in UTC it lies outside the years 1 to 9999"))
    return problems


# --- what both share -------------------------------------------------------------------------------------------


def _batch(events: list[Event] | _Array, poison: list[Poison] | tuple[Poison, ...]) -> Batch:
    return Batch(
        tuple([event for event in events if type(event) is PredictionEvent]),
        tuple([event for event in events if type(event) is LabelEvent]),
        tuple(poison),
    )


def _in_utc(event: Event) -> Event:
    """The same event, its times in UTC. Raises OverflowError at the two ends of the calendar."""
    if isinstance(event, LabelEvent):
        predicted_at, labelled_at = event.predicted_at, event.labelled_at
        if (predicted_at is None or predicted_at.tzinfo is UTC) and (labelled_at is None or labelled_at.tzinfo is UTC):
            return event
        moments = {"predicted_at": predicted_at, "labelled_at": labelled_at}
        changes = {field: moment.astimezone(UTC) for field, moment in moments.items() if moment is not None}
        return msgspec.structs.replace(event, **changes)
    if event.timestamp.tzinfo is UTC:
        return event
    return msgspec.structs.replace(event, timestamp=event.timestamp.astimezone(UTC))


def _all_poison(data: bytes, *problems: FieldProblem) -> Batch:
    return Batch(poison=(Poison(None, data, problems),))


def _problem(field: str, message: str) -> FieldProblem:
    return FieldProblem(field, message)
