"""Every metric that predictions and labels allow, and how many pairs each was measured on."""

from collections.abc import Sequence

import msgspec

from modeldrop.domain.quality.absolute_errors import absolute_errors, absolute_percentage_errors, mean_error
from modeldrop.domain.quality.auc import auc
from modeldrop.domain.quality.auc_bounds import auc_bounds
from modeldrop.domain.quality.class_bounds import accuracy_bounds, f1_bounds_of, precision_bounds, recall_bounds
from modeldrop.domain.quality.confusion import accuracy, confusion, f1, precision, recall
from modeldrop.domain.quality.interval import Interval
from modeldrop.domain.quality.mean_bounds import mean_bounds
from modeldrop.domain.quality.outcomes import (
    NEGATIVE,
    POSITIVE,
    class_of,
    is_binary,
    number_of,
    predicted_class,
    score_of,
)

Pair = tuple[object, object]  # prediction, label
Classes = list[tuple[str, str]]
BINARY = frozenset({POSITIVE, NEGATIVE})


class Measured(msgspec.Struct, frozen=True):
    """``values`` and ``counts`` (pairs used) by metric; what cannot be measured is not in ``values``.

    ``intervals``: how far off each value may be by chance.
    """

    values: dict[str, float]
    counts: dict[str, int]
    intervals: dict[str, Interval] = {}
    zero_labels: int = 0  # pairs that MAPE leaves out
    problem: str | None = None  # why classes cannot be compared


def are_numbers(pairs: Sequence[Pair]) -> bool:
    """Whether the labels ask for MAE and MAPE rather than for classes: all are numbers, not only 0 and 1.

    >>> are_numbers([(0.5, 1), (0.2, 0)]), are_numbers([(3.1, 3.5), (2.0, 1)]), are_numbers([(True, 2), (1, "a")])
    (False, True, False)
    """
    labels = [label for _, label in pairs if label is not None]
    known = [isinstance(label, int | float) and not isinstance(label, bool) for label in labels]
    return bool(labels) and all(known) and any(label not in (0, 1) for label in labels)


def measure_numbers(pairs: Sequence[Pair]) -> Measured:
    """MAE and MAPE over the pairs of two numbers."""
    numbers = [
        (said, known)
        for prediction, label in pairs
        if (said := number_of(prediction)) is not None and (known := number_of(label)) is not None
    ]
    errors = {"mae": absolute_errors(numbers), "mape": absolute_percentage_errors(numbers)}
    values = {metric: mean for metric, each in errors.items() if (mean := mean_error(each)) is not None}
    intervals = {metric: mean_bounds(errors[metric], value) for metric, value in values.items()}
    counts = {metric: len(each) for metric, each in errors.items()}
    return Measured(values, counts, intervals, counts["mae"] - counts["mape"])


def measure_classes(pairs: Sequence[Pair], positive: object, threshold: float) -> Measured:
    """Accuracy, precision, recall and F1 over the pairs of two classes; AUC over those of a score and a class.

    Where predictions are scores or decisions, labels that are neither 0 nor 1 say nothing (unless the policy calls a
    name the positive one): "unknown" is no third class.

    >>> measure_classes([(0.9, "fraud"), (0.2, "fraud"), (0.1, "fine")], "fraud", 0.5).values["recall"]
    0.5
    """
    wanted = class_of(positive)
    labelled = _usable(
        [(prediction, label) for prediction, raw in pairs if (label := class_of(raw)) is not None], wanted
    )
    classes = [(said, label) for raw, label in labelled if (said := predicted_class(raw, threshold)) is not None]
    counts = {name: len(classes) for name in ("accuracy", "precision", "recall", "f1")}
    says_binary = any(said in BINARY for said, _ in classes)
    problem = _no_common_names(classes, wanted)
    if problem is not None and says_binary:
        return Measured({}, counts, problem=problem)
    if wanted is not None and _is_name(wanted) and says_binary:
        classes = [(_as_binary(said, wanted), _as_binary(label, wanted)) for said, label in classes]
        wanted = POSITIVE
    found = _of_table(classes, wanted if wanted is not None else _default_positive(classes))
    above, below, scored = _scores(labelled, class_of(positive))
    if (area := auc(above, below)) is not None:
        found["auc"] = area, auc_bounds(area, len(above), len(below))
    if problem is not None:  # without a positive one, rows of names have an accuracy alone
        found = {"accuracy": found["accuracy"]}
    known = {metric: (value, bounds) for metric, (value, bounds) in found.items() if value is not None}
    values = {metric: value for metric, (value, _) in known.items()}
    bounds = {metric: each for metric, (_, each) in known.items()}
    return Measured(values, counts | {"auc": scored}, bounds, problem=problem)


def _of_table(classes: Classes, positive: str | None) -> dict[str, tuple[float | None, Interval]]:
    table = confusion(classes)
    return {
        "accuracy": (accuracy(table), accuracy_bounds(table)),
        "precision": (precision(table, positive), precision_bounds(table, positive)),
        "recall": (recall(table, positive), recall_bounds(table, positive)),
        "f1": (f1(table, positive), f1_bounds_of(table, positive)),
    }


def _usable(labelled: Sequence[tuple[object, str]], wanted: str | None) -> Sequence[tuple[object, str]]:
    if (wanted is not None and _is_name(wanted)) or not is_binary([prediction for prediction, _ in labelled]):
        return labelled
    binary = [(prediction, label) for prediction, label in labelled if label in BINARY]
    return binary or labelled


def _scores(labelled: Sequence[tuple[object, str]], wanted: str | None) -> tuple[list[float], list[float], int]:
    """Scores of the positives and of the others, and how many there are.

    They rank towards the class 1, also where the policy calls 0 the positive one.
    """
    upper = POSITIVE if wanted is None or wanted in BINARY else wanted
    scores = [(score, label) for prediction, label in labelled if (score := score_of(prediction)) is not None]
    if upper == POSITIVE and not {label for _, label in scores} <= BINARY:
        return [], [], len(scores)
    above = [score for score, label in scores if _as_binary(label, upper) == POSITIVE]
    return above, [score for score, label in scores if _as_binary(label, upper) == NEGATIVE], len(scores)


def _no_common_names(classes: Classes, wanted: str | None) -> str | None:
    """Scores and decisions say 1 or 0; with labels that are names, the policy must say which of them 1 is."""
    said, labels = {prediction for prediction, _ in classes}, {label for _, label in classes}
    is_named = wanted is not None and _is_name(wanted)
    if said & BINARY and not labels & BINARY and not is_named:
        return "the predictions are scores or decisions and the labels names: quality.positive must be one of those"
    if is_named and classes and wanted not in labels and not labels <= BINARY:
        return f"no label is {wanted!r} (quality.positive)"
    return None


def _default_positive(classes: Classes) -> str | None:
    """1 where there is nothing but 0 and 1; else no class is above the others."""
    return POSITIVE if {name for pair in classes for name in pair} <= BINARY else None


def _as_binary(name: str, wanted: str) -> str:
    return POSITIVE if name == wanted or (_is_name(wanted) and name == POSITIVE) else NEGATIVE


def _is_name(wanted: str) -> bool:
    return not wanted.removeprefix("-").isdecimal()
