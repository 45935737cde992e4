"""What the sample says of all events: uniform, unbiased, of the error it states. All chance is seeded."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from heapq import nsmallest
from math import log, sqrt
from operator import attrgetter
from random import Random
from statistics import fmean, stdev

import pytest

from modeldrop.domain.sampling.hashing import LARGEST_HASH, hash_id
from modeldrop.domain.sampling.labels import join_labels, join_nearby
from modeldrop.domain.sampling.rows import Row
from modeldrop.domain.sampling.shards import (
    ROWS_OF_SHARD,
    Shard,
    empty_shard,
    entry_threshold,
    merge_into,
    shard_count,
    shard_index,
)
from modeldrop.domain.sampling.window_sample import WindowSample, merge_samples, window_sample
from tests.unit.sampled_events import plain_sample

CHI_SQUARE_19 = 43.82  # exceeded once in 1,000 times with 19 degrees of freedom
REPETITIONS = 200


def events(count: int, purpose: str = "order") -> list[Row]:
    """Rows of ``count`` events; ``values`` tells which event it was."""
    return [Row(hash_id(f"{purpose}-{number}"), b"", number.to_bytes(4, "big")) for number in range(count)]


def positions(rows: Sequence[Row]) -> list[int]:
    return [int.from_bytes(row.values, "big") for row in rows]


def chi_square(found: Sequence[int], count: int, bins: int = 20) -> float:
    """χ² of positions 0 to count - 1 against equal shares."""
    seen = Counter(each * bins // count for each in found)
    expected = len(found) / bins
    return sum((seen[each] - expected) ** 2 / expected for each in range(bins))


def ingested(rows: Sequence[Row], sample_size: int, batch: int = 500) -> tuple[dict[int, Shard], int]:
    """Shards after all rows came in arrays, each checked against the threshold known before, and how many entered."""
    count = shard_count(sample_size)
    shards = {at: empty_shard(sample_size) for at in range(count)}
    threshold, entered = LARGEST_HASH, 0
    for start in range(0, len(rows), batch):
        arrivals: dict[int, list[Row]] = {}
        for row in rows[start : start + batch]:
            if row.hash <= threshold:
                arrivals.setdefault(shard_index(row.hash, count), []).append(row)
                entered += 1
        for at, wanted in arrivals.items():
            shards[at] = merge_into(shards[at], wanted)
        if arrivals:
            threshold = entry_threshold(shards, sample_size)
    return shards, entered


@cache
def repeated_samples(sample_size: int, count: int) -> tuple[WindowSample, ...]:
    return tuple(plain_sample(events(count, f"day-{day}"), sample_size) for day in range(REPETITIONS))


# --- uniform ---------------------------------------------------------------------------------------------------


def test_the_sample_is_uniform_over_the_events() -> None:
    count = 40_000
    sample = window_sample(ingested(events(count), 4096)[0], 4096)
    assert len(sample.rows) == 4096
    assert chi_square(positions(sample.rows), count) < CHI_SQUARE_19


def test_its_order_is_random_so_that_any_first_rows_are_a_sample_too() -> None:
    count = 20_000
    sample = plain_sample(events(count), 4096)
    assert chi_square(positions(sample.rows[:1000]), count) < CHI_SQUARE_19


def test_no_event_is_preferred_over_many_samples() -> None:
    """Which 64 of 1,000 events are in it, added up over 200 windows."""
    found = [each for sample in repeated_samples(64, 1_000) for each in positions(sample.rows)]
    assert chi_square(found, 1_000) < CHI_SQUARE_19


def test_shards_have_equal_shares_of_the_smallest_hashes() -> None:
    sample = plain_sample(events(40_000), 4096)
    seen = Counter(shard_index(row.hash, 16) for row in sample.rows)
    assert sum((seen[at] - 256) ** 2 / 256 for at in range(16)) < 37.7  # 15 degrees of freedom, once in 1,000


# --- how many there were -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sample_size", "count"), [(64, 1_000), (64, 100), (257, 1_000)])
def test_the_estimate_is_unbiased_and_of_the_error_it_states(sample_size: int, count: int) -> None:
    samples = repeated_samples(sample_size, count)
    estimates = [sample.estimated_events / count for sample in samples]
    stated = fmean(sample.relative_error or 0 for sample in samples)
    exact = sqrt((count - sample_size) / (count * (sample_size - 1)))
    assert stated == pytest.approx(exact, rel=0.02)
    assert abs(fmean(estimates) - 1) < 3 * stated / sqrt(REPETITIONS)
    assert stdev(estimates) == pytest.approx(stated, rel=0.15)


def test_the_figures_of_a_sample_of_half_of_all_hashes() -> None:
    sample = WindowSample(9, 2**63 - 1, tuple(events(9)))
    assert sample.estimated_events == 18
    assert sample.relative_error == pytest.approx(sqrt(0.5 / 8), rel=1e-12)


def test_a_sample_of_one_row_states_no_error() -> None:
    sample = plain_sample(events(10), 1)
    assert sample.estimated_events > 0
    assert sample.relative_error is None


def test_a_complete_sample_counts_exactly() -> None:
    sample = plain_sample(events(100), 4096)
    assert (sample.is_complete, sample.estimated_events, sample.relative_error) == (True, 100, 0.0)
    nothing = plain_sample([], 4096)
    assert (nothing.is_complete, nothing.estimated_events, nothing.relative_error) == (True, 0, 0.0)


def test_windows_of_very_different_sizes_merge_into_a_uniform_sample() -> None:
    """24 hours, one of which had half of all events: each is in the day's sample by its share."""
    hours = [events(1_000, f"hour-{hour}") for hour in range(23)] + [events(23_000, "rush")]
    everything = [Row(row.hash, b"", bytes([hour])) for hour, rows in enumerate(hours) for row in rows]
    day = merge_samples(
        [plain_sample([row for row in everything if row.values == bytes([hour])], 2048) for hour in range(24)]
    )
    assert day == plain_sample(everything, 2048)
    from_the_rush = sum(row.values == bytes([23]) for row in day.rows)
    assert from_the_rush == pytest.approx(1024, abs=4 * sqrt(2048 / 4))
    assert day.estimated_events == pytest.approx(46_000, rel=4 * (day.relative_error or 0))


# --- a shard that many ids were made to hit ------------------------------------------------------------------------


def test_ids_made_to_hit_one_shard_make_the_sample_smaller_but_not_lopsided() -> None:
    """20,000 honest events and some 20,000 that are all in shard 0: none is preferred, and the estimate still holds."""
    sample_size = 1024
    crafted = [row for row in events(80_000, "crafted") if shard_index(row.hash, shard_count(sample_size)) == 0]
    mixed = [Row(row.hash, b"", place.to_bytes(4, "big")) for place, row in enumerate(events(20_000) + crafted)]
    count = len(mixed)
    Random(1).shuffle(mixed)
    sample = window_sample(ingested(mixed, sample_size)[0], sample_size)
    assert ROWS_OF_SHARD < len(sample.rows) < sample_size - 100
    assert chi_square(positions(sample.rows), count) < CHI_SQUARE_19
    assert abs(sample.estimated_events / count - 1) < 3 * (sample.relative_error or 0)


# --- labels ----------------------------------------------------------------------------------------------------


def test_the_join_is_uniform_over_the_labelled_predictions() -> None:
    """30,000 predictions, of which every one but the last third has a label; labels also of another version."""
    count = 30_000
    mine, others = events(count), events(50_000, "other version")
    labelled = mine[: count * 2 // 3]
    joined = join_labels(plain_sample(mine, 2048), plain_sample(labelled + others, 2048))
    assert all(prediction.values == label.values for prediction, label in joined.pairs)
    assert len(joined.pairs) > 400
    assert chi_square(positions([prediction for prediction, _ in joined.pairs]), len(labelled)) < CHI_SQUARE_19
    error = sqrt(2 / 9 / joined.predictions)
    assert joined.coverage == pytest.approx(2 / 3, abs=4 * error)


def test_coverage_is_unbiased_over_many_windows() -> None:
    """4 in 10 predictions get a label; which, has nothing to do with their hash."""
    covered = []
    for day in range(REPETITIONS):
        predictions = events(500, f"day-{day}")
        labelled = [row for row in predictions if row.values[-1] % 10 < 4]
        share = len(labelled) / len(predictions)
        joined = join_labels(plain_sample(predictions, 64), plain_sample(labelled, 64))
        covered.append((joined.coverage or 0) - share)
    assert abs(fmean(covered)) < 3 * stdev(covered) / sqrt(REPETITIONS)
    assert stdev(covered) < 1.2 * sqrt(0.24 / 64)


def test_complete_samples_join_completely() -> None:
    mine = events(100)
    joined = join_labels(plain_sample(mine, 256), plain_sample(mine[:40] + events(60, "no such prediction"), 256))
    assert sorted(positions([prediction for prediction, _ in joined.pairs])) == list(range(40))
    assert (joined.predictions, joined.coverage, joined.threshold) == (100, 0.4, LARGEST_HASH)


def test_without_predictions_there_is_no_coverage() -> None:
    assert join_labels(plain_sample([], 64), plain_sample(events(10), 64)).coverage is None
    assert join_labels(plain_sample(events(10), 64), plain_sample([], 64)).coverage == 0.0


def test_labels_of_several_windows_join_as_if_they_were_of_one() -> None:
    mine = events(3_000)
    predictions, parts = plain_sample(mine, 256), [plain_sample(mine[part::3], 256) for part in range(3)]
    joined = join_nearby(predictions, parts)
    assert joined.coverage == 1
    assert len(joined.pairs) == 256
    assert join_nearby(predictions, parts[:1]) == join_labels(predictions, parts[0])
    assert join_nearby(predictions, []).coverage == 0


def test_further_labels_are_taken_only_if_they_give_more_pairs() -> None:
    mine = events(200)
    predictions, own = plain_sample(mine, 256), plain_sample(mine[:150], 256)
    busy = plain_sample(events(50_000, "no such prediction") + mine[150:], 64)
    joined = join_nearby(predictions, [own, busy, plain_sample(mine[150:], 256)])
    assert (len(joined.pairs), joined.coverage) == (200, 1)


def test_neither_sample_is_asked_beyond_what_it_holds() -> None:
    """A label beyond the predictions' threshold belongs to nobody known, and the other way round."""
    mine = events(3_000)
    few_labels = join_labels(plain_sample(mine, 64), plain_sample(mine[:100], 256))
    few_predictions = join_labels(plain_sample(mine[:100], 256), plain_sample(mine, 64))
    for joined in (few_labels, few_predictions):
        assert joined.threshold == plain_sample(mine, 64).threshold
        assert all(max(one.hash, other.hash) <= joined.threshold for one, other in joined.pairs)
    assert few_labels.predictions == 64
    assert few_predictions.coverage == 1.0


# --- what it costs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [10_000, 100_000, 1_000_000])
def test_rows_enter_as_rarely_as_the_logarithm_says(count: int) -> None:
    """In arrays of 500 through the real shards and thresholds: at most k(1 + ln(N/k)), and 10 % for stale ones."""
    sample_size, chance = 4096, Random(count)
    rows = [Row(chance.getrandbits(64), b"", b"") for _ in range(count)]
    shards, entered = ingested(rows, sample_size)
    expected = sample_size * (1 + log(count / sample_size))
    assert 0.9 * expected < entered < 1.1 * expected
    assert list(window_sample(shards, sample_size).rows) == nsmallest(sample_size, rows, key=attrgetter("hash"))
