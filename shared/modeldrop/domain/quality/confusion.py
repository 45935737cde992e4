"""Accuracy, precision, recall and F1: how often a class was right. All from 0 to 1; higher is better.

accuracy = right / all; precision = TP / (TP + FP): of what was called positive, how much is; recall = TP / (TP + FN):
of what is positive, how much was found; F1 = 2·TP / (2·TP + FP + FN) (van Rijsbergen 1979). Where several classes
count and none is positive, each of the three is the plain mean over the classes that occur in labels or predictions
(macro average); a class nobody predicted has precision 0 then, as is usual.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

Pair = tuple[str, str]  # predicted class, class of the label


class Confusion(msgspec.Struct, frozen=True):
    """How often each class was predicted rightly, predicted at all, and is the label."""

    right: dict[str, int]
    predicted: dict[str, int]
    labelled: dict[str, int]
    rows: int

    @property
    def classes(self) -> list[str]:
        """All that occur."""
        return sorted(self.predicted.keys() | self.labelled.keys())


def confusion(pairs: Sequence[Pair]) -> Confusion:
    """The counts of pairs of predicted class and label's class."""
    return Confusion(
        right=Counter(label for prediction, label in pairs if prediction == label),
        predicted=Counter(prediction for prediction, _ in pairs),
        labelled=Counter(label for _, label in pairs),
        rows=len(pairs),
    )


def accuracy(counts: Confusion) -> float | None:
    """The share of right classes; None without rows.

    >>> accuracy(confusion([("1", "1"), ("1", "0"), ("0", "0"), ("0", "0")]))
    0.75
    """
    return sum(counts.right.values()) / counts.rows if counts.rows else None


def precision(counts: Confusion, positive: str | None) -> float | None:
    """Of the positive class, or the macro average; None where nothing was predicted positive.

    >>> precision(confusion([("1", "1"), ("1", "0"), ("0", "0"), ("0", "1")]), "1")
    0.5
    """
    if positive is None:
        return _macro([_ratio(counts.right.get(name, 0), counts.predicted.get(name, 0)) for name in counts.classes])
    return _ratio(counts.right.get(positive, 0), counts.predicted.get(positive, 0))


def recall(counts: Confusion, positive: str | None) -> float | None:
    """Of the positive class, or the macro average; None where nothing is positive.

    >>> recall(confusion([("1", "1"), ("0", "1"), ("0", "1"), ("0", "0")]), "1")
    0.3333333333333333
    """
    if positive is None:
        return _macro([_ratio(counts.right.get(name, 0), counts.labelled.get(name, 0)) for name in counts.classes])
    return _ratio(counts.right.get(positive, 0), counts.labelled.get(positive, 0))


def f1(counts: Confusion, positive: str | None) -> float | None:
    """Of the positive class, or the macro average; None where nothing is positive nor was predicted so.

    >>> f1(confusion([("1", "1"), ("0", "1"), ("0", "0")]), "1")
    0.6666666666666666
    """
    if positive is None:
        return _macro([_f1(counts, name) for name in counts.classes])
    return _f1(counts, positive)


def _f1(counts: Confusion, name: str) -> float | None:
    return _ratio(2 * counts.right.get(name, 0), counts.predicted.get(name, 0) + counts.labelled.get(name, 0))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _macro(values: Sequence[float | None]) -> float | None:
    return sum(value or 0.0 for value in values) / len(values) if values else None
