"""Latencies from Cloud Monitoring: every kind of histogram, alone and merged, and what is none."""

# ruff: noqa: F401, F811 - a fixture is imported by its name, and asked for by it

import math
from collections.abc import Sequence
from typing import Any

import pytest
from google.api.distribution_pb2 import Distribution
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.adapters.gcp.distributions import buckets_of, quantile
from modeldrop.adapters.gcp.monitoring_metrics import MonitoringMetrics
from modeldrop.errors import Unavailable
from tests.contract.monitoring_system import (
    CODES,
    TOTAL,
    measured,
    monitoring_metrics,
    monitoring_server,
    write,
)
from tests.servers.monitoring import MonitoringServer


def linear(counts: Sequence[int], *, finite: int = 10, width: float = 10.0, offset: float = 0.0) -> Distribution:
    buckets = Distribution.BucketOptions.Linear(num_finite_buckets=finite, width=width, offset=offset)
    return histogram(counts, linear_buckets=buckets)


def exponential(counts: Sequence[int], *, finite: int = 10, growth: float = 2.0, scale: float = 1.0) -> Distribution:
    buckets = Distribution.BucketOptions.Exponential(num_finite_buckets=finite, growth_factor=growth, scale=scale)
    return histogram(counts, exponential_buckets=buckets)


def explicit(counts: Sequence[int], *bounds: float) -> Distribution:
    return histogram(counts, explicit_buckets=Distribution.BucketOptions.Explicit(bounds=bounds))


def histogram(counts: Sequence[int], **options: Any) -> Distribution:
    return Distribution(count=sum(counts), bucket_options=Distribution.BucketOptions(**options), bucket_counts=counts)


HISTOGRAMS: dict[str, tuple[Distribution, float]] = {
    # 19 of 20 are reached in the middle of (or at the end of) a bucket
    "linear": (linear([0, 0, 18, 2]), 25.0),
    "linear with an offset": (linear([0, 10, 10], offset=100.0), 119.0),
    "linear, lowest bucket": (linear([20], offset=40.0), 38.0),
    "linear, highest bucket": (linear([0] * 11 + [20]), 100.0),
    "exponential": (exponential([0, 0, 0, 18, 2]), 12.0),
    "exponential, lowest bucket": (exponential([20], scale=8.0), 7.6),
    "exponential, highest bucket": (exponential([0, 0, 18, 2], finite=2), 4.0),
    "explicit": (explicit([0, 18, 2], 5.0, 50.0, 90.0), 70.0),
    "explicit with one bound, below it": (explicit([20], 100.0), 95.0),
    "explicit with one bound, above it": (explicit([1, 19], 100.0), 100.0),
    "explicit, empty buckets between": (explicit([0, 18, 0, 0, 2], 5.0, 10.0, 20.0, 30.0, 50.0), 40.0),
    "explicit, a whole bucket": (explicit([0, 19, 1], 5.0, 10.0, 5_000.0), 10.0),
    "explicit from zero on": (explicit([0, 20], 0.0, 100.0), 95.0),
}


@pytest.mark.parametrize(("distribution", "expected"), HISTOGRAMS.values(), ids=HISTOGRAMS)
def test_p95_of_every_kind_of_buckets(
    monitoring_server: MonitoringServer,
    monitoring_metrics: MonitoringMetrics,
    distribution: Distribution,
    expected: float,
) -> None:
    write(monitoring_server, CODES, 1, distribution.count)
    write(monitoring_server, TOTAL, 1, distribution)
    write(monitoring_server, TOTAL, 2, distribution, spot="True")
    assert measured(monitoring_metrics).p95_ms == pytest.approx(expected)


def test_histograms_of_unlike_buckets_are_one_population(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics
) -> None:
    write(monitoring_server, CODES, 1, 100)
    write(monitoring_server, TOTAL, 1, explicit([0, 50], 10.0, 20.0))
    write(monitoring_server, TOTAL, 2, linear([0, 0, 0, 0, 0, 40], width=5.0), spot="True")  # 20 to 25 ms
    write(monitoring_server, TOTAL, 3, exponential([0] * 7 + [10]), spot="False")  # 64 to 128 ms
    write(monitoring_server, TOTAL, 3, explicit([0, 10_000], 1e5, 2e5), "v2")
    assert measured(monitoring_metrics).p95_ms == pytest.approx(96.0)


MERGED: dict[str, tuple[list[Distribution], float]] = {
    "the same bucket in two kinds": ([explicit([0, 50], 10.0, 20.0, 30.0), linear([0, 0, 45, 5])], 20.0),
    "an open bucket within the other's range": ([explicit([5, 94], 10.0), linear([0, 0, 0, 1])], 10.0),
    "beyond an open bucket": ([explicit([5, 75], 10.0), linear([0, 0, 0, 20])], 27.5),
    "overlapping buckets": ([explicit([50], 100.0), linear([0] * 10 + [50])], 90.0 + 50 / 5.5),
    "nothing beside something": ([Distribution(), linear([0, 20])], 9.5),
}


@pytest.mark.parametrize(("distributions", "expected"), MERGED.values(), ids=MERGED)
def test_p95_of_several_histograms(distributions: list[Distribution], expected: float) -> None:
    for in_order in (distributions, distributions[::-1]):
        assert quantile(buckets_of(in_order), 0.95) == pytest.approx(expected)


def test_nothing_has_no_quantile() -> None:
    assert quantile(buckets_of([]), 0.95) is None
    assert quantile(buckets_of([Distribution()]), 0.95) is None


def test_latencies_of_a_part_of_the_way_do_not_count(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics
) -> None:
    write(monitoring_server, CODES, 1, 100)
    write(monitoring_server, TOTAL, 1, linear([0, 100]))
    for kind in ("model", "overhead"):
        write(monitoring_server, TOTAL, 1, linear([0, 0, 0, 0, 900]), latency_type=kind)
    assert measured(monitoring_metrics).p95_ms == pytest.approx(9.5)


NOT_HISTOGRAMS = {
    "no buckets": Distribution(count=3, mean=12.0),
    "buckets without bounds": Distribution(count=3, bucket_counts=[3]),
    "other counts": Distribution(count=4, bucket_counts=[3], bucket_options=explicit([3], 1.0).bucket_options),
    "a negative count": explicit([5, -2], 1.0, 2.0),
    "too many buckets": explicit([1, 1, 1], 1.0),
    "an empty list of bounds": explicit([3]),
    "bounds that fall": explicit([1, 1, 1], 2.0, 1.0),
    "a bound that is no number": explicit([1, 1], math.nan, 5.0),
    "no width": linear([1, 1, 1], width=0.0),
    "no growth": exponential([1, 1, 1], growth=1.0),
    "beyond all numbers": exponential([0] * 9 + [1], growth=1e300),
}


@pytest.mark.parametrize("distribution", NOT_HISTOGRAMS.values(), ids=NOT_HISTOGRAMS)
def test_what_is_no_histogram_cannot_be_measured(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics, distribution: Distribution
) -> None:
    write(monitoring_server, CODES, 1, 3)
    write(monitoring_server, TOTAL, 1, distribution)
    with pytest.raises(Unavailable, match="not Cloud Monitoring's"):
        measured(monitoring_metrics)


@given(
    values=st.lists(st.floats(0.0, 5_000.0), min_size=1, max_size=60),
    bounds=st.lists(st.floats(0.5, 4_000.0), min_size=1, max_size=12, unique=True).map(sorted),
    share=st.floats(0.01, 1.0),
)
def test_a_quantile_is_in_the_bucket_of_the_nearest_rank(
    values: list[float], bounds: list[float], share: float
) -> None:
    def bucket_of(value: float) -> int:
        return sum(bound <= value for bound in bounds)

    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bucket_of(value)] += 1
    estimate = quantile(buckets_of([explicit(counts, *bounds)]), share)
    rank = math.ceil(round(share * len(values), 9))
    ends = [0.0, *bounds, bounds[-1]]
    bucket = bucket_of(sorted(values)[rank - 1])
    assert estimate is not None
    assert ends[bucket] - 1e-9 <= estimate <= ends[bucket + 1] + 1e-9
