"""What is compared: rows of prediction logs by column, and counts over buckets."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from modeldrop.domain.scorecard import FeatureType
from modeldrop.errors import FieldProblem, InvalidInput

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Column(msgspec.Struct, frozen=True):
    """One feature, or the predictions, of all rows; ``values`` are plain Python values with None where one is missing.

    A text is never kept: its value is the four numbers of ``text_features.TextFeatures``. Rows of which nobody knows
    whether they had a value are not among ``values``, and counted apart: that is not a missing one.
    """

    name: str
    type: FeatureType
    values: Sequence[object]
    unobserved: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return len(self.values) + self.unobserved


class Observations(msgspec.Struct, frozen=True):
    """Rows by column. All columns have one length; the names of features are different.

    ``cut_after``: of rows that had no room for all features, the last one each has: those after it were not looked at.
    """

    features: Sequence[Column]
    prediction: Column | None = None
    cut_after: Sequence[str] = ()


def count_rows(observations: Observations) -> int:
    """The rows of the columns, 0 where there are none; raises InvalidInput where columns do not fit together.

    >>> count_rows(Observations([Column("amount", "numeric", [1.5, None])]))
    2
    """
    columns = [*observations.features, *([observations.prediction] if observations.prediction else [])]
    rows = columns[0].rows if columns else 0
    named = Counter(column.name for column in observations.features)
    problems = [FieldProblem(name, "is there twice") for name, count in named.items() if count > 1]
    problems += [
        FieldProblem(column.name, f"has {column.rows} rows, and {columns[0].name} has {rows}")
        for column in columns
        if column.rows != rows
    ]
    if problems:
        raise InvalidInput(problems)
    return rows
