"""Rows by column: what is compared, in the types that were declared, or those the values have."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import msgspec

from modeldrop.domain.drift.columns import Column, Observations
from modeldrop.domain.sampling.kept_values import CUT, KeepRule, observed_feature
from modeldrop.domain.sampling.payload import SampledPrediction, read_prediction
from modeldrop.domain.sampling.window_sample import WindowSample
from modeldrop.domain.scorecard import FeatureType

PREDICTION = "prediction"
MOST_FEATURES = 1_000
"""As many as a version can declare, and a report has room for."""


class Observed(msgspec.Struct, frozen=True):
    """The columns, and how many features are not among them since they were too many."""

    observations: Observations
    left_out: int = 0


def observe_sample(sample: WindowSample, rule: KeepRule) -> Observed:
    """The sampled predictions of a version by column, in the order of the features' names.

    Of declared features those that rows have room for. Where none are declared, all are taken that any row has; of more
    than 1,000 those that most rows have. What the policy redacts is redacted here as well: rows may be older than it.
    """
    rows = [read_prediction(row) for row in sample.rows]
    prediction = inferred(PREDICTION, [answer(row.prediction) for row in rows])
    if rule.declared:
        columns = [_column(name, type_, rows, rule) for name, type_ in known_types(rule).items()]
        return Observed(Observations(columns, prediction), rule.left_out)
    names, left_out = _names(rows, rule)
    lasts = [_last_observed(row) for row in rows]
    columns = [_undeclared(name, rows, lasts, rule) for name in names]
    return Observed(Observations(columns, prediction, [last for last in lasts if last is not None]), left_out)


def comparable(reference: Observations, current: Observations) -> Observations:
    """Another version's rows without the columns the current ones do not have, or have with another type."""
    types = {column.name: column.type for column in current.features}
    return Observations(
        [each for each in reference.features if types.get(each.name) == each.type], reference.prediction
    )


def known_types(rule: KeepRule) -> dict[str, FeatureType]:
    """Types of the declared features as they are stored: a keyed hash is a category, what is left out has none.

    >>> declared = {"age": "numeric", "iban": "text", "zip": "numeric"}
    >>> known_types(KeepRule(declared, {"iban": "drop", "zip": "hash"}, b"k"))
    {'age': 'numeric', 'zip': 'categorical'}
    """
    known: Mapping[str, FeatureType] = {name: name for name in get_args(FeatureType)} | {"keyed_hash": "categorical"}
    return {name: known[form] for name, form in rule.kept.items()}


def infer_type(values: Iterable[object]) -> FeatureType:
    """The type most of the values have; a list stands for a text's derived numbers.

    >>> infer_type([1, 2.5, None, "x"]), infer_type([True, None]), infer_type([[9, 3, 0.2, 0.0]]), infer_type([])
    ('numeric', 'boolean', 'text', 'categorical')
    """
    counts = Counter(_TYPES.get(kind, "categorical") for kind in map(type, values) if kind is not type(None))
    return max(_ORDER, key=lambda name: counts[name])


def answer(prediction: object) -> object:
    """What is compared of a prediction: a scorecard's score, else the prediction itself.

    >>> answer({"score": 0.7, "decision": True}), answer("fraud")
    (0.7, 'fraud')
    """
    return prediction.get("score") if isinstance(prediction, Mapping) else prediction


_TYPES: Mapping[type, FeatureType] = {bool: "boolean", int: "numeric", float: "numeric", list: "text"}
_ORDER: Sequence[FeatureType] = ("categorical", "numeric", "boolean", "text")  # of two as frequent, the first


def _column(name: str, type_: FeatureType, rows: Sequence[SampledPrediction], rule: KeepRule) -> Column:
    """Rows hold every declared feature they were asked for: one without it was made by another rule."""
    values = [observed_feature(name, row.features[name], rule) for row in rows if name in row.features]
    return Column(name, type_, values, len(rows) - len(values))


def _undeclared(name: str, rows: Sequence[SampledPrediction], lasts: Sequence[str | None], rule: KeepRule) -> Column:
    values = [
        observed_feature(name, row.features.get(name), rule)
        for row, last in zip(rows, lasts, strict=True)
        if last is None or name <= last
    ]
    return Column(name, infer_type(values), values, len(rows) - len(values))


def _last_observed(row: SampledPrediction) -> str | None:
    """Up to which name the row had room; None: for all."""
    return max(row.features) if CUT in row.features else None


def _names(rows: Sequence[SampledPrediction], rule: KeepRule) -> tuple[list[str], int]:
    counts = Counter(name for row in rows for name in row.features if name != CUT and not rule.is_dropped(name))
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return sorted(ranked[:MOST_FEATURES]), max(0, len(ranked) - MOST_FEATURES)


def inferred(name: str, values: Sequence[object]) -> Column:
    """A column of the type its values have."""
    return Column(name, infer_type(values), values)
