"""The token bucket of each caller."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from modeldrop.handlers.serving import rate_limit
from modeldrop.handlers.serving.rate_limit import RateLimit


def test_a_burst_then_the_rate() -> None:
    limit = RateLimit(2.0, 3)
    assert [limit.admit("a", 0.0) for _ in range(3)] == [None] * 3
    assert limit.admit("a", 0.0) == pytest.approx(0.5)
    assert limit.admit("a", 0.4) == pytest.approx(0.1)
    assert limit.admit("a", 0.5) is None
    assert limit.admit("a", 0.5) is not None


def test_callers_do_not_pay_for_each_other() -> None:
    limit = RateLimit(1.0, 1)
    assert limit.admit("a", 0.0) is None
    assert limit.admit("a", 0.0) is not None
    assert limit.admit("b", 0.0) is None


def test_a_batch_goes_into_debt_and_is_paid_off() -> None:
    limit = RateLimit(10.0, 5)
    assert limit.admit("a", 0.0) is None
    limit.charge("a", 99, 0.0)  # a hundred instances
    assert limit.admit("a", 0.0) == pytest.approx(9.6)
    assert limit.admit("a", 9.5) is not None
    assert limit.admit("a", 9.6) is None


def test_rest_fills_the_bucket_but_not_beyond_its_rim() -> None:
    limit = RateLimit(1.0, 2)
    limit.admit("a", 0.0)
    assert [limit.admit("a", 1e6) is None for _ in range(3)] == [True, True, False]


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    limit = RateLimit(1.0, 1)
    assert limit.admit("a", 100.0) is None
    assert limit.admit("a", 0.0) == pytest.approx(1.0)


def test_no_more_pass_together_than_one_after_the_other() -> None:
    limit = RateLimit(1.0, 100)
    with ThreadPoolExecutor(8) as threads:
        admitted = list(threads.map(lambda _: limit.admit("a", 0.0) is None, range(1_000)))
    assert sum(admitted) == 100


def test_strangers_without_number_take_no_memory_without_end() -> None:
    limit = RateLimit(1.0, 1)
    for number in range(rate_limit.MOST_CALLERS + 10):
        limit.admit(str(number), 0.0)
    assert len(limit._levels) == rate_limit.MOST_CALLERS
    assert limit.admit(str(rate_limit.MOST_CALLERS), 0.0) is not None  # of the last ones, all are remembered
