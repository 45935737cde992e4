"""Pauses between attempts: they double, spread out, and never go beyond an hour."""

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.backoff import LONGEST_PAUSE, MOST_ATTEMPTS, longest_pause, next_attempt

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHANCE = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10**9), CHANCE)
def test_never_before_now_and_never_beyond_an_hour(attempts: int, chance: float) -> None:
    assert NOW <= next_attempt(attempts, NOW, chance) <= NOW + timedelta(hours=1)


@given(st.integers(1, 40))
def test_the_longest_pause_doubles_until_it_is_an_hour(attempts: int) -> None:
    assert longest_pause(attempts + 1) == min(2 * longest_pause(attempts), LONGEST_PAUSE)


@given(st.integers(1, 40), CHANCE, CHANCE)
def test_a_larger_number_is_a_longer_pause(attempts: int, one: float, other: float) -> None:
    earlier, later = (next_attempt(attempts, NOW, chance) for chance in sorted((one, other)))
    assert earlier <= later


def test_those_who_wait_spread_out() -> None:
    chance = random.Random(1)
    pauses = [(next_attempt(10, NOW, chance.random()) - NOW) / longest_pause(10) for _ in range(1000)]
    tenths = [sum(n / 10 <= pause < (n + 1) / 10 for pause in pauses) for n in range(10)]
    assert min(tenths) > 70
    assert sum(tenths) == 1000


def test_an_outage_of_some_hours_is_outlived() -> None:
    average = sum((longest_pause(n) / 2 for n in range(1, MOST_ATTEMPTS)), timedelta())
    assert timedelta(hours=6) < average < timedelta(hours=9)
