"""The reference's side of every comparison, worked out once and used for as many windows as wanted."""

from collections.abc import Mapping

import msgspec

from modeldrop.domain.drift.binning import quantile_edges
from modeldrop.domain.drift.categories import Categories, read_booleans, read_categories
from modeldrop.domain.drift.columns import Column, Counts, Floats, Observations, count_rows
from modeldrop.domain.drift.missing_values import presence
from modeldrop.domain.drift.numeric_values import Numbers, read_numbers, read_texts
from modeldrop.domain.scorecard import FeatureType


class BinnedNumbers(msgspec.Struct, frozen=True, eq=False):
    """The reference's numbers and the bins they set; without numbers there is no edge."""

    numbers: Numbers
    edges: Floats


Content = Categories | Mapping[str | None, BinnedNumbers]
"""A column's values: categories; or numbers, by the name of the derived feature of a text (None: not a text)."""


class ColumnProfile(msgspec.Struct, frozen=True, eq=False):
    """One column of the reference."""

    name: str
    type: FeatureType
    content: Content


class ReferenceProfile(msgspec.Struct, frozen=True, eq=False):
    """All columns of the reference; ``features`` in the order of the columns."""

    rows: int
    features: Mapping[str, ColumnProfile]
    prediction: ColumnProfile | None


def profile_reference(reference: Observations) -> ReferenceProfile:
    """The profile of a reference; raises InvalidInput where its columns do not fit together.

    >>> profile = profile_reference(Observations([Column("amount", "numeric", [1.0, 2.0, None])]))
    >>> profile.rows, list(profile.features)
    (3, ['amount'])
    """
    rows = count_rows(reference)
    features = {column.name: _column_profile(column) for column in reference.features}
    prediction = None if reference.prediction is None else _column_profile(reference.prediction)
    return ReferenceProfile(rows, features, prediction)


def read_column(column: Column, type_: FeatureType) -> Categories | Mapping[str | None, Numbers]:
    """The column's values as those of a feature of that type, whatever the column itself is declared to be."""
    if type_ == "categorical":
        return read_categories(column.values)
    if type_ == "boolean":
        return read_booleans(column.values)
    if type_ == "text":
        return read_texts(column.values)
    return {None: read_numbers(column.values)}


def presence_of(side: Categories | Numbers) -> Counts:
    """Rows of a side that have a usable value, none, or one of another type."""
    usable = side.ordered.size if isinstance(side, Numbers) else sum(side.counts.values())
    return presence(usable, side.missing, side.other_type)


def _column_profile(column: Column) -> ColumnProfile:
    content = read_column(column, column.type)
    if isinstance(content, Categories):
        return ColumnProfile(column.name, column.type, content)
    return ColumnProfile(column.name, column.type, {name: _bins(numbers) for name, numbers in content.items()})


def _bins(numbers: Numbers) -> BinnedNumbers:
    edges = quantile_edges(numbers.ordered) if numbers.ordered.size else numbers.ordered
    return BinnedNumbers(numbers, edges)
