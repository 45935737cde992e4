"""Rows by column: what is compared, in the types that were declared, or those the values have."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import msgspec

from modeldrop.domain.drift.columns import Column, Observations
from modeldrop.domain.sampling.kept_values import KeepRule
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

    Declared features are there whether or not a row has them. Where none are declared, all are taken that any row has;
    of more than 1,000 those that most rows have.
    """
    rows = [read_prediction(row) for row in sample.rows]
    types, left_out = known_types(rule), 0
    if not types:
        names, left_out = _names(rows)
        columns = [_inferred(name, [row.features.get(name) for row in rows]) for name in names]
    else:
        columns = [Column(name, types[name], [row.features.get(name) for row in rows]) for name in sorted(types)]
    prediction = _inferred(PREDICTION, [answer(row.prediction) for row in rows])
    return Observed(Observations(columns, prediction), left_out)


def known_types(rule: KeepRule) -> dict[str, FeatureType]:
    """Types of the declared features as they are stored: a keyed hash is a category, what is left out has none.

    >>> declared = {"age": "numeric", "iban": "text", "zip": "numeric"}
    >>> known_types(KeepRule(declared, {"iban": "drop", "zip": "hash"}, b"k"))
    {'age': 'numeric', 'zip': 'categorical'}
    """
    types: dict[str, FeatureType] = {}
    for name, declared in rule.declared.items():
        redaction = rule.redact.get(name)
        if redaction == "hash" and rule.key is not None:
            types[name] = "categorical"
        elif redaction is None:
            types[name] = next(known for known in get_args(FeatureType) if known == declared)
    return types


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


def _names(rows: Sequence[SampledPrediction]) -> tuple[list[str], int]:
    counts = Counter(name for row in rows for name in row.features)
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return sorted(ranked[:MOST_FEATURES]), max(0, len(ranked) - MOST_FEATURES)


def _inferred(name: str, values: Sequence[object]) -> Column:
    return Column(name, infer_type(values), values)
