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

    A text is never kept: its value is the four numbers of ``text_features.TextFeatures``.
    """

    name: str
    type: FeatureType
    values: Sequence[object]


class Observations(msgspec.Struct, frozen=True):
    """Rows by column. All columns have one length; the names of features are different."""

    features: Sequence[Column]
    prediction: Column | None = None


def count_rows(observations: Observations) -> int:
    """The rows of the columns, 0 where there are none; raises InvalidInput where columns do not fit together.

    >>> count_rows(Observations([Column("amount", "numeric", [1.5, None])]))
    2
    """
    columns = [*observations.features, *([observations.prediction] if observations.prediction else [])]
    rows = len(columns[0].values) if columns else 0
    named = Counter(column.name for column in observations.features)
    problems = [FieldProblem(name, "is there twice") for name, count in named.items() if count > 1]
    problems += [
        FieldProblem(column.name, f"has {len(column.values)} rows, and {columns[0].name} has {rows}")
        for column in columns
        if len(column.values) != rows
    ]
    if problems:
        raise InvalidInput(problems)
    return rows
