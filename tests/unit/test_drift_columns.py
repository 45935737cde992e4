"""Values of a column become numbers, categories and buckets, whatever comes."""

import math
import subprocess
import sys

import numpy as np
import pytest

from modeldrop.domain.drift.binning import bin_counts, quantile_edges
from modeldrop.domain.drift.buckets import Buckets, histogram
from modeldrop.domain.drift.categories import (
    MOST_CATEGORIES,
    Categories,
    category_buckets,
    category_name,
    read_booleans,
    read_categories,
    unseen_share,
)
from modeldrop.domain.drift.columns import Column, Observations, count_rows
from modeldrop.domain.drift.numeric_values import read_numbers, read_texts
from modeldrop.domain.drift.text_features import TextFeatures, text_features
from modeldrop.errors import InvalidInput


def test_numbers_apart_from_what_is_none() -> None:
    found = read_numbers([2**63, 1, None, "1", True, [1], math.inf, math.nan, 10**400, -1e300])
    assert found.ordered.tolist() == [-1e300, 1.0, float(2**63)]
    assert (found.missing, found.other_type) == (1, 6)


def test_plain_numbers_with_one_too_large_for_a_float() -> None:
    found = read_numbers([1.5, 10**400, 2**53 + 1])
    assert found.ordered.tolist() == [1.5, float(2**53)]
    assert (found.missing, found.other_type) == (0, 1)


def test_no_values_at_all() -> None:
    found = read_numbers([])
    assert (found.ordered.size, found.missing, found.other_type) == (0, 0, 0)
    assert read_categories([]).counts == {}


def test_texts_come_as_four_numbers_each() -> None:
    found = read_texts([text_features("ab 1"), [1, 2, 0.5, 0.25], None, "raw", [1, 2], [1, "x", 0, 0]])
    assert list(found) == list(TextFeatures._fields)
    assert found["length"].ordered.tolist() == [1.0, 1.0, 4.0]
    assert found["words"].ordered.tolist() == [2.0, 2.0]
    assert (found["length"].missing, found["length"].other_type, found["words"].other_type) == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0, 0.0, 0.0)),
        ("  \n", (3, 0, 0.0, 0.0)),
        ("a1 b2", (5, 2, 0.4, 0.0)),
        ("naïve €", (7, 2, 0.0, 2 / 7)),
        ("\ud800x", (2, 1, 0.0, 0.5)),
        ("٣", (1, 1, 0.0, 1.0)),  # a digit, but not an ASCII one
    ],
)
def test_text_features(text: str, expected: tuple[int, int, float, float]) -> None:
    assert text_features(text) == expected


def test_text_features_do_without_numpy() -> None:
    """Ingest makes them; numpy would be cold start for every prediction."""
    code = "import sys, modeldrop.domain.drift.text_features; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_categories_of_every_kind() -> None:
    found = read_categories(["a", 1, 1.0, "1", True, "true", None, [], {}, math.nan, 1e300, 10**5000])
    assert found.counts == {"a": 1, "1": 3, "true": 2, "1e+300": 1}
    assert (found.missing, found.other_type) == (1, 4)


def test_plain_categories_are_counted_the_same_way() -> None:
    found = read_categories(["a", None, "b", "a"])
    assert (found.counts, found.missing, found.other_type) == ({"a": 2, "b": 1}, 1, 0)


def test_whole_numbers_are_one_category_however_written() -> None:
    assert category_name(2**53) == category_name(2.0**53)
    assert category_name(-0.0) == category_name(0)
    assert category_name(2.5) == "2.5"


def test_booleans_are_strict() -> None:
    found = read_booleans([True, False, True, 1, 0, "true", None, 1.0, []])
    assert (found.counts, found.missing, found.other_type) == ({"false": 1, "true": 2}, 1, 5)


def test_bins_have_equal_shares_of_the_reference() -> None:
    ordered = np.sort(np.random.default_rng(0).normal(size=4096))
    counts = bin_counts(ordered, quantile_edges(ordered))
    assert counts.size == 10
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == 4096


@pytest.mark.parametrize(
    ("reference", "moved", "expected"),
    [
        ([5.0] * 50, [4.9, 5.0, 5.1], [1, 1, 1]),  # constant: below, at, above
        ([0.0] * 25 + [1.0] * 25, [0.0, 0.5, 1.0, 2.0], [0, 1, 1, 1, 1]),  # two values: each has its own
        ([sys.float_info.max] * 9, [0.0, sys.float_info.max], [1, 1, 0]),
        ([-sys.float_info.max] * 9, [0.0, -sys.float_info.max], [1, 1]),  # nothing lies below
        ([3.0], [2.0, 3.0, 4.0], [1, 1, 1]),
    ],
)
def test_frequent_values_have_bins_of_their_own(
    reference: list[float], moved: list[float], expected: list[int]
) -> None:
    edges = quantile_edges(np.array(reference))
    assert np.isfinite(edges).all()
    assert bin_counts(np.array(sorted(moved)), edges).tolist() == expected


def test_the_most_frequent_of_both_sides_have_buckets() -> None:
    reference = Categories({f"r{i:03}": 1000 - i for i in range(150)}, 2, 0)
    current = Categories({"new": 5000, "r149": 5000}, 0, 3)
    buckets = category_buckets(reference, current)
    assert len(buckets.names) == MOST_CATEGORIES
    assert buckets.names[:3] == ("r149", "new", "r000")
    assert buckets.reference[-3:].tolist() == [sum(1000 - i for i in range(98, 149)), 2, 0]
    assert buckets.current[:2].tolist() == [5000, 5000]
    assert buckets.current[-3:].tolist() == [0, 0, 3]
    assert unseen_share(reference, current) == 5000 / 10_003


def test_buckets_do_not_depend_on_the_order_of_rows_or_sides() -> None:
    values = [f"c{i % 130}" for i in range(500)]
    one, other = read_categories(values), read_categories(["c1", "x"])
    there = category_buckets(one, other)
    back = category_buckets(other, read_categories(values[::-1]))
    assert there.names == back.names
    assert there.reference.tolist() == back.current.tolist()


def test_a_histogram_names_single_values() -> None:
    edges = quantile_edges(np.zeros(10))
    shown = histogram(Buckets(edges, (), np.array([0, 10, 0, 0, 0]), np.array([1, 2, 1, 0, 0])))
    assert shown.labels == ["< 0", "= 0", "> 0", "(missing)", "(other type)"]
    assert shown.current == [0.25, 0.5, 0.25, 0.0, 0.0]


def test_long_names_of_categories_are_cut() -> None:
    buckets = category_buckets(Categories({"x" * 500: 1}, 0, 0), Categories({"y": 1}, 0, 0))
    assert histogram(buckets).labels == ["x" * 63 + "…", "y", "(other)", "(missing)", "(other type)"]


def test_columns_must_fit_together() -> None:
    one, long = Column("a", "numeric", [1.0]), Column("b", "numeric", [1.0, 2.0])
    with pytest.raises(InvalidInput, match="b: has 2 rows, and a has 1"):
        count_rows(Observations([one, long]))
    with pytest.raises(InvalidInput, match="a: is there twice"):
        count_rows(Observations([one, one]))
    with pytest.raises(InvalidInput, match="b: has 2 rows"):
        count_rows(Observations([one], prediction=long))
    assert count_rows(Observations([one, Column("b", "numeric", [], unobserved=1)])) == 1
    assert count_rows(Observations([])) == 0
    assert count_rows(Observations([], prediction=long)) == 2
