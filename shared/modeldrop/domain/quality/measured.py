"""Every metric that predictions and labels allow, and how many pairs each was measured on."""

from collections.abc import Sequence

import msgspec

from modeldrop.domain.quality.absolute_errors import mean_absolute_error, mean_absolute_percentage_error, zero_labels
from modeldrop.domain.quality.auc import auc
from modeldrop.domain.quality.confusion import accuracy, confusion, f1, precision, recall
from modeldrop.domain.quality.outcomes import NEGATIVE, POSITIVE, class_of, number_of, predicted_class, score_of

Pair = tuple[object, object]  # prediction, label
Classes = list[tuple[str, str]]
BINARY = frozenset({POSITIVE, NEGATIVE})


class Measured(msgspec.Struct, frozen=True):
    """``values`` and ``counts`` (pairs used) by metric; what cannot be measured is not in ``values``."""

    values: dict[str, float]
    counts: dict[str, int]
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
    zeros = zero_labels(numbers)
    found = {"mae": mean_absolute_error(numbers), "mape": mean_absolute_percentage_error(numbers)}
    return Measured(_known(found), {"mae": len(numbers), "mape": len(numbers) - zeros}, zeros)


def measure_classes(pairs: Sequence[Pair], positive: object, threshold: float) -> Measured:
    """Accuracy, precision, recall and F1 over the pairs of two classes; AUC over those of a score and a class.

    >>> measure_classes([(0.9, "fraud"), (0.2, "fraud"), (0.1, "fine")], "fraud", 0.5).values["recall"]
    0.5
    """
    wanted = class_of(positive)
    labelled = [(prediction, label) for prediction, raw in pairs if (label := class_of(raw)) is not None]
    classes = [(said, label) for raw, label in labelled if (said := predicted_class(raw, threshold)) is not None]
    counts = {name: len(classes) for name in ("accuracy", "precision", "recall", "f1")}
    if problem := _no_common_names(classes, wanted):
        return Measured({}, counts, problem=problem)
    if wanted is not None and _is_name(wanted) and any(said in BINARY for said, _ in classes):
        classes = [(_as_binary(said, wanted), _as_binary(label, wanted)) for said, label in classes]
        wanted = POSITIVE
    table = confusion(classes)
    counted = wanted if wanted is not None else _default_positive(classes)
    found = {
        "accuracy": accuracy(table),
        "precision": precision(table, counted),
        "recall": recall(table, counted),
        "f1": f1(table, counted),
    }
    scored, found["auc"] = _auc(labelled, class_of(positive))
    return Measured(_known(found), counts | {"auc": scored})


def _auc(labelled: Sequence[tuple[object, str]], wanted: str | None) -> tuple[int, float | None]:
    """Scores rank towards the class 1, also where the policy calls 0 the positive one."""
    upper = POSITIVE if wanted is None or wanted in BINARY else wanted
    scores = [(score, label) for prediction, label in labelled if (score := score_of(prediction)) is not None]
    if upper == POSITIVE and not {label for _, label in scores} <= BINARY:
        return len(scores), None
    above = [score for score, label in scores if _as_binary(label, upper) == POSITIVE]
    return len(scores), auc(above, [score for score, label in scores if _as_binary(label, upper) == NEGATIVE])


def _no_common_names(classes: Classes, wanted: str | None) -> str | None:
    """Scores and decisions say 1 or 0; with labels that are names, the policy must say which of them 1 is."""
    said, labels = {prediction for prediction, _ in classes}, {label for _, label in classes}
    if said & BINARY and not labels & BINARY and not (wanted is not None and _is_name(wanted)):
        return "the predictions are scores or decisions and the labels names: quality.positive must be one of those"
    return None


def _default_positive(classes: Classes) -> str | None:
    """1 where there is nothing but 0 and 1; else no class is above the others."""
    return POSITIVE if {name for pair in classes for name in pair} <= BINARY else None


def _as_binary(name: str, wanted: str) -> str:
    return POSITIVE if name == wanted or (_is_name(wanted) and name == POSITIVE) else NEGATIVE


def _is_name(wanted: str) -> bool:
    return not wanted.removeprefix("-").isdecimal()


def _known(found: dict[str, float | None]) -> dict[str, float]:
    return {metric: value for metric, value in found.items() if value is not None}
