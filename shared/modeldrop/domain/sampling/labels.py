"""Predictions with their labels, joined inside the sample.

A label has the hash of the prediction it belongs to, and labels have a bottom-k sample of their own. Up to the smaller
of the two thresholds both samples hold *everything*, so the pairs found there are a uniform sample of all labelled
predictions, whichever of the two came first and however much later.
"""

import msgspec

from modeldrop.domain.sampling.rows import Row
from modeldrop.domain.sampling.window_sample import WindowSample


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
