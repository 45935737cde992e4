"""Every statistic of one column, each with what chance alone would show.

The p-value of a test on buckets (PSI, Jensen–Shannon) is that of χ² on the same buckets: in the limit both are the same
statistic, and χ² stays honest where buckets are rare. Kolmogorov–Smirnov and Wasserstein have their own.
"""

from collections.abc import Mapping

import msgspec

from modeldrop.domain.drift.buckets import Buckets
from modeldrop.domain.drift.chi_square import chi_square
from modeldrop.domain.drift.columns import Floats
from modeldrop.domain.drift.cumulative import cumulative_gap
from modeldrop.domain.drift.jensen_shannon import jensen_shannon
from modeldrop.domain.drift.kolmogorov_smirnov import kolmogorov_smirnov, kolmogorov_smirnov_p_value
from modeldrop.domain.drift.l_infinity import l_infinity
from modeldrop.domain.drift.noise_floor import (
    jensen_shannon_floor,
    kolmogorov_smirnov_floor,
    psi_floor,
    wasserstein_floor,
)
from modeldrop.domain.drift.psi import psi
from modeldrop.domain.drift.wasserstein import wasserstein, wasserstein_p_value


class Outcome(msgspec.Struct, frozen=True):
    """A test's value, its noise floor, and the chance of such a value without drift."""

    value: float
    floor: float
    p_value: float


class Statistics(msgspec.Struct, frozen=True):
    """All values of a column; None where a statistic is not defined for its type."""

    psi: float | None = None
    ks: float | None = None
    wasserstein: float | None = None
    jensen_shannon: float | None = None
    l_infinity: float | None = None
    chi_square: float | None = None


def category_outcomes(buckets: Buckets) -> tuple[Mapping[str, Outcome], Statistics]:
    """Of categories and booleans; each side has at least one row."""
    outcomes, statistic = _bucket_outcomes(buckets)
    return outcomes, Statistics(
        psi=outcomes["psi"].value,
        jensen_shannon=outcomes["jensen_shannon"].value,
        l_infinity=l_infinity(buckets.reference, buckets.current),
        chi_square=statistic,
    )


def number_outcomes(buckets: Buckets, reference: Floats, current: Floats) -> tuple[Mapping[str, Outcome], Statistics]:
    """Of numbers: the bins, and both sides' values in ascending order, at least one each."""
    outcomes, _ = _bucket_outcomes(buckets)
    outcomes |= _order_outcomes(reference, current)
    values = {test: outcome.value for test, outcome in outcomes.items()}
    return outcomes, Statistics(**values)


def _bucket_outcomes(buckets: Buckets) -> tuple[dict[str, Outcome], float]:
    """With the χ² statistic."""
    sides = buckets.reference, buckets.current
    sizes = int(buckets.reference.sum()), int(buckets.current.sum())
    test = chi_square(*sides)
    outcomes = {
        "psi": Outcome(psi(*sides), psi_floor(buckets.used, *sizes), test.p_value),
        "jensen_shannon": Outcome(jensen_shannon(*sides), jensen_shannon_floor(buckets.used, *sizes), test.p_value),
    }
    return outcomes, test.statistic


def _order_outcomes(reference: Floats, current: Floats) -> dict[str, Outcome]:
    sizes = reference.size, current.size
    gap = cumulative_gap(reference, current)
    largest = kolmogorov_smirnov(gap)
    moved = wasserstein(gap, reference)
    return {
        "ks": Outcome(largest, kolmogorov_smirnov_floor(*sizes), kolmogorov_smirnov_p_value(largest, *sizes)),
        "wasserstein": Outcome(moved.distance, wasserstein_floor(moved, *sizes), wasserstein_p_value(moved, *sizes)),
    }
