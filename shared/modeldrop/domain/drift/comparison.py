"""One column of the current rows against its profile: what was measured, before anything is judged."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from modeldrop.domain.drift.binning import bin_counts
from modeldrop.domain.drift.buckets import Buckets
from modeldrop.domain.drift.categories import Categories, category_buckets, unseen_share
from modeldrop.domain.drift.chosen_tests import OF_NUMBERS_ALONE, ChosenTests
from modeldrop.domain.drift.columns import Column, Counts
from modeldrop.domain.drift.distribution import Distribution
from modeldrop.domain.drift.drawing import categorical_distribution, numeric_distribution
from modeldrop.domain.drift.missing_values import missing_values
from modeldrop.domain.drift.noise_floor import psi_floor
from modeldrop.domain.drift.numeric_values import Numbers
from modeldrop.domain.drift.out_of_range import out_of_range
from modeldrop.domain.drift.outcomes import Outcome, Statistics, category_outcomes, number_outcomes
from modeldrop.domain.drift.reference_profile import BinnedNumbers, ColumnProfile, presence_of, read_column
from modeldrop.domain.scorecard import FeatureType

MISSING_VALUES = "missing_values"


class Measurement(msgspec.Struct, frozen=True, eq=False):
    """One test of a column. ``threshold`` is the one in effect: the policy's, or the noise floor above it.

    ``p_value`` is multiplied by the number of the column's measurements (Bonferroni): the chance that any of them
    comes out as striking.
    """

    test: str
    derived: str | None  # which derived feature of a text
    value: float
    threshold: float
    p_value: float
    statistics: Statistics = Statistics()
    out_of_range: float | None = None
    buckets: Buckets | None = None


class Absence(NamedTuple):
    """Shares of the rows of both sides that have no value, or one of another type."""

    missing: float
    missing_reference: float
    other_type: float
    other_type_reference: float


class Sides(NamedTuple):
    """Both sides of a column's values: categories, or numbers of which ``derived`` names the kind."""

    derived: str | None
    reference: Categories | BinnedNumbers
    current: Categories | Numbers

    @property
    def distribution(self) -> Distribution | None:
        """Both sides for a picture; None where one has no values."""
        if isinstance(self.reference, Categories):
            assert isinstance(self.current, Categories)
            return categorical_distribution(self.reference.counts, self.current.counts)
        assert isinstance(self.current, Numbers)
        return numeric_distribution(self.reference.numbers.ordered, self.current.ordered)


class Comparison(msgspec.Struct, frozen=True, eq=False):
    """A column with all its measurements; none where one side has too few rows."""

    name: str
    type: FeatureType
    test: str  # which the policy wants
    measurements: Sequence[Measurement]
    is_measured: bool  # False: too few usable values, no more than the missing ones could be looked at
    absence: Absence
    unseen: float | None  # share of the rows whose category is new
    sides: Sequence[Sides]  # one, but of a text one for each of its numbers

    @property
    def p_value(self) -> float | None:
        """The smallest of the measurements, the column's own."""
        return min((measurement.p_value for measurement in self.measurements), default=None)

    def distribution(self, derived: str | None) -> Distribution | None:
        """The picture of the column; of a text that of one of its numbers: where none is named there is none."""
        return next((sides.distribution for sides in self.sides if sides.derived == derived), None)


def compare_column(profile: ColumnProfile, column: Column, chosen: ChosenTests, fewest_values: int) -> Comparison:
    """All that the policy's test and the check for missing values say of a column.

    Nothing where a side has too few rows, or too few of which it is known whether they have a value.
    """
    pairs = _pairs(profile, column)
    test = chosen.for_type(profile.type)
    before, after = _presence(pairs[0])
    if min(before.sum(), after.sum()) < fewest_values:
        return leave_unmeasured(profile, column, chosen)
    is_measured = min(before[0], after[0]) >= fewest_values
    found = [_measure(pair, test, chosen.thresholds[test]) for pair in pairs] if is_measured else []
    if not is_measured or test in OF_NUMBERS_ALONE:  # the buckets of the other tests hold the missing values already
        found.append(_measure_missing(before, after, chosen.thresholds["psi"], found[0] if found else None))
    looks = len(found)
    adjusted = [msgspec.structs.replace(each, p_value=min(1.0, each.p_value * looks)) for each in found]
    return Comparison(
        profile.name, profile.type, test, adjusted, is_measured, _absence(before, after), _unseen(pairs[0]), pairs
    )


def leave_unmeasured(profile: ColumnProfile, column: Column, chosen: ChosenTests) -> Comparison:
    """A column of which a side has too few rows to say anything."""
    pairs = _pairs(profile, column)
    absence, unseen = _absence(*_presence(pairs[0])), _unseen(pairs[0])
    return Comparison(profile.name, profile.type, chosen.for_type(profile.type), (), False, absence, unseen, pairs)


def _pairs(profile: ColumnProfile, column: Column) -> list[Sides]:
    current = read_column(column, profile.type)
    if isinstance(profile.content, Categories):
        assert isinstance(current, Categories)
        return [Sides(None, profile.content, current)]
    assert isinstance(current, Mapping)
    return [Sides(derived, reference, current[derived]) for derived, reference in profile.content.items()]


def _measure(pair: Sides, test: str, policy_threshold: float) -> Measurement:
    outcomes: Mapping[str, Outcome]
    beyond = None
    if isinstance(pair.reference, Categories):
        assert isinstance(pair.current, Categories)
        buckets = category_buckets(pair.reference, pair.current)
        outcomes, statistics = category_outcomes(buckets)
    else:
        assert isinstance(pair.current, Numbers)
        values = pair.reference.numbers.ordered, pair.current.ordered
        buckets = _number_buckets(pair.reference, pair.current)
        outcomes, statistics = number_outcomes(buckets, *values)
        outside = out_of_range(*values)
        beyond = outside.below + outside.above
    outcome = outcomes[test]
    threshold = max(policy_threshold, outcome.floor)
    return Measurement(test, pair.derived, outcome.value, threshold, outcome.p_value, statistics, beyond, buckets)


def _measure_missing(before: Counts, after: Counts, policy_threshold: float, beside: Measurement | None) -> Measurement:
    """The check for missing values; it shows the statistics of the values too, where they were measured."""
    check = missing_values(before, after)
    floor = psi_floor(int(np.count_nonzero(before + after)), int(before.sum()), int(after.sum()))
    threshold = max(policy_threshold, floor)
    if beside is None:
        return Measurement(MISSING_VALUES, None, check.value, threshold, check.p_value)
    return msgspec.structs.replace(
        beside, test=MISSING_VALUES, derived=None, value=check.value, threshold=threshold, p_value=check.p_value
    )


def _number_buckets(reference: BinnedNumbers, current: Numbers) -> Buckets:
    edges = reference.edges
    before, after = (
        np.concatenate([bin_counts(side.ordered, edges), presence_of(side)[1:]])
        for side in (reference.numbers, current)
    )
    return Buckets(edges, (), before, after)


def _presence(pair: Sides) -> tuple[Counts, Counts]:
    reference = pair.reference if isinstance(pair.reference, Categories) else pair.reference.numbers
    return presence_of(reference), presence_of(pair.current)


def _absence(before: Counts, after: Counts) -> Absence:
    _, missing_reference, other_reference = (before / max(1, before.sum())).tolist()
    _, missing, other = (after / max(1, after.sum())).tolist()
    return Absence(missing, missing_reference, other, other_reference)


def _unseen(pair: Sides) -> float | None:
    if isinstance(pair.reference, Categories) and isinstance(pair.current, Categories):
        return unseen_share(pair.reference, pair.current)
    return None
