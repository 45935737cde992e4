"""Predictions with their labels, joined inside the sample.

A label has the hash of the prediction it belongs to, and labels have a bottom-k sample of their own. Up to the smaller
of the two thresholds both samples hold *everything*, so the pairs found there are a uniform sample of all labelled
predictions, whichever of the two came first and however much later.
"""

from collections.abc import Sequence

import msgspec

from modeldrop.domain.sampling.hashing import LARGEST_HASH
from modeldrop.domain.sampling.rows import Row
from modeldrop.domain.sampling.window_sample import WindowSample, unite_samples


class LabelledSample(msgspec.Struct, frozen=True):
    """Pairs (prediction, label), in the order of their hashes, among ``predictions`` sampled up to ``threshold``."""

    threshold: int
    predictions: int
    pairs: tuple[tuple[Row, Row], ...]

    @property
    def coverage(self) -> float | None:
        """Which share of the predictions has a label; None where there is no prediction to ask for."""
        return len(self.pairs) / self.predictions if self.predictions else None


def join_labels(predictions: WindowSample, labels: WindowSample) -> LabelledSample:
    """The predictions that have a label, each with it. Labels of other predictions (another version's) are passed over.

    >>> answered = WindowSample(2, 5, (Row(1, b"", b"p1"), Row(3, b"", b"p3")))
    >>> known = WindowSample(2, 2, (Row(1, b"", b"l1"), Row(2, b"", b"l2")))
    >>> joined = join_labels(answered, known)
    >>> [(prediction.values, label.values) for prediction, label in joined.pairs], joined.coverage
    ([(b'p1', b'l1')], 1.0)
    """
    threshold = min(predictions.threshold, labels.threshold)
    by_hash = {row.hash: row for row in labels.rows}
    asked_for = [row for row in predictions.rows if row.hash <= threshold]
    pairs = tuple((row, by_hash[row.hash]) for row in asked_for if row.hash in by_hash)
    return LabelledSample(threshold, len(asked_for), pairs)


def join_nearby(predictions: WindowSample, nearby: Sequence[WindowSample]) -> LabelledSample:
    """The same with labels of several windows, the one they are expected in first.

    Each further one is taken if that gives more pairs. One with far more labels of other predictions, whose threshold
    is low, gives fewer: its few pairs are not worth those beyond its threshold. Which are taken follows from hashes
    alone, and they know nothing of what labels say: the pairs remain a uniform sample.

    >>> answered = WindowSample(4, LARGEST_HASH, (Row(1, b"", b"p1"), Row(3, b"", b"p3"), Row(5, b"", b"p5")))
    >>> own, late = (WindowSample(4, 9, (Row(each, b"", b"l"),)) for each in (3, 5))
    >>> busy = WindowSample(1, 2, (Row(1, b"", b"l"),))
    >>> [prediction.hash for prediction, _ in join_nearby(answered, [own, busy, late]).pairs]
    [3, 5]
    """
    taken = nearby[0] if nearby else WindowSample(1, LARGEST_HASH, ())  # no labels are a sample too, and a whole one
    best = join_labels(predictions, taken)
    for labels in nearby[1:]:
        wider = unite_samples([taken, labels])
        joined = join_labels(predictions, wider)
        if len(joined.pairs) > len(best.pairs):
            taken, best = wider, joined
    return best
