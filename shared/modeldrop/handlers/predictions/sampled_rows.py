"""Events → rows of a sample: what is kept of those that may still matter, under the hash of their id."""

from collections.abc import Sequence

import msgspec

from modeldrop.domain.sampling.hashing import hash_id
from modeldrop.domain.sampling.kept_values import KeepRule, fitting_features, kept_features, kept_value
from modeldrop.domain.sampling.payload import SampledLabel, SampledPrediction, label_row, prediction_row
from modeldrop.domain.sampling.rows import MAX_ROW_BYTES, Row, RowTooLarge
from modeldrop.domain.sampling.windows import milliseconds
from modeldrop.errors import InvalidInput
from modeldrop.events.prediction_events import Event, LabelEvent, Poison, PredictionEvent
from modeldrop.handlers.predictions.place_events import poisoned

_BYTES_AROUND_FEATURES = 16  # the heads of lists get longer with their number of items


class SampledRows(msgspec.Struct, frozen=True):
    """The rows, and the events that cannot be kept."""

    rows: list[Row]
    poison: list[Poison]


def sample_events(events: Sequence[Event], threshold: int, keep: KeepRule) -> SampledRows:
    """The rows of the events whose hash is at most ``threshold``. The others are not looked at."""
    entering = [(hash_of_id, event) for event in events if (hash_of_id := hash_id(event.prediction_id)) <= threshold]
    rows: list[Row] = []
    poison: list[Poison] = []
    for hash_of_id, event in entering:
        try:
            rows.append(row_of_event(hash_of_id, event, keep))
        except InvalidInput as error:
            poison.append(poisoned(event, error.problems))
    return SampledRows(rows, poison)


def row_of_event(hash_of_id: int, event: Event, keep: KeepRule) -> Row:
    """The row of an event. Declared features always fit (``KeepRule``); of others, the first that do are kept."""
    if isinstance(event, LabelEvent):
        return label_row(hash_of_id, SampledLabel(kept_value(event.label), _label_time(event)))
    kept = _kept(event, keep)
    if keep.declared:
        return prediction_row(hash_of_id, kept)
    try:
        row = prediction_row(hash_of_id, kept)
    except RowTooLarge:
        return prediction_row(hash_of_id, _narrowed(hash_of_id, kept))
    # Rows that need not share their names must have room for them: nobody else pays for these.
    fits = len(row.names) + len(row.values) <= MAX_ROW_BYTES
    return row if fits else prediction_row(hash_of_id, _narrowed(hash_of_id, kept))


def _label_time(event: LabelEvent) -> int | None:
    """In milliseconds; not below 0, where later times would no longer be larger bytes."""
    return None if event.labelled_at is None else max(0, milliseconds(event.labelled_at))


def _kept(event: PredictionEvent, keep: KeepRule) -> SampledPrediction:
    return SampledPrediction(
        event_time_ms=milliseconds(event.timestamp),
        prediction=kept_value(event.prediction),
        latency_ms=event.latency_ms,
        status=event.status,
        features=kept_features(event.features, keep),
    )


def _narrowed(hash_of_id: int, kept: SampledPrediction) -> SampledPrediction:
    alone = prediction_row(hash_of_id, msgspec.structs.replace(kept, features={}))
    room = MAX_ROW_BYTES - len(alone.names) - len(alone.values) - _BYTES_AROUND_FEATURES
    return msgspec.structs.replace(kept, features=fitting_features(kept.features, room))
