"""Metrics from labels against scikit-learn's, and how predictions and labels are matched."""

import math
import random as chance

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from modeldrop.domain.policy import QualityPolicy
from modeldrop.domain.quality.absolute_errors import absolute_errors, absolute_percentage_errors, mean_error
from modeldrop.domain.quality.auc import auc
from modeldrop.domain.quality.confusion import accuracy, confusion, f1, precision, recall
from modeldrop.domain.quality.measured import are_numbers, measure_classes, measure_numbers
from modeldrop.domain.quality.outcomes import class_of, number_of, predicted_class, score_of
from modeldrop.domain.quality.report import Yardsticks, quality_report

steady = settings(deadline=None, max_examples=60)
anything = (
    st.none()
    | st.floats()
    | st.integers()
    | st.booleans()
    | st.text(max_size=2)
    | st.sampled_from(["fraud", "fine", "1", "true", 0.5])
    | st.fixed_dictionaries({"score": st.floats()}, optional={"decision": st.none() | st.booleans()})
)


def mean_absolute_error(pairs: list[tuple[float, float]]) -> float | None:
    return mean_error(absolute_errors(pairs))


def mean_absolute_percentage_error(pairs: list[tuple[float, float]]) -> float | None:
    return mean_error(absolute_percentage_errors(pairs))


def drawn(seed: int, names: list[str], rows: int = 300) -> tuple[list[str], list[str]]:
    """Predicted classes and labels, of which about six in ten agree."""
    source = chance.Random(seed)
    labels = [source.choice(names) for _ in range(rows)]
    return [label if source.random() < 0.6 else source.choice(names) for label in labels], labels


@pytest.mark.parametrize("seed", range(10))
def test_binary_metrics_are_scikit_learns(seed: int) -> None:
    said, labels = drawn(seed, ["0", "1"])
    counts = confusion(list(zip(said, labels, strict=True)))
    assert accuracy(counts) == pytest.approx(metrics.accuracy_score(labels, said))
    assert precision(counts, "1") == pytest.approx(metrics.precision_score(labels, said, pos_label="1"))
    assert recall(counts, "1") == pytest.approx(metrics.recall_score(labels, said, pos_label="1"))
    assert f1(counts, "1") == pytest.approx(metrics.f1_score(labels, said, pos_label="1"))


@pytest.mark.parametrize("seed", range(10))
def test_macro_averages_are_scikit_learns(seed: int) -> None:
    said, labels = drawn(seed, ["a", "b", "c", "d"])
    said[:2], labels[:2] = ["never a label", "a"], ["a", "never predicted"]
    counts = confusion(list(zip(said, labels, strict=True)))
    keywords = {"average": "macro", "zero_division": 0.0}
    assert precision(counts, None) == pytest.approx(metrics.precision_score(labels, said, **keywords))
    assert recall(counts, None) == pytest.approx(metrics.recall_score(labels, said, **keywords))
    assert f1(counts, None) == pytest.approx(metrics.f1_score(labels, said, **keywords))


@pytest.mark.parametrize("digits", [1, 2, 12])
def test_auc_is_scikit_learns_with_and_without_ties(digits: int) -> None:
    random = np.random.default_rng(digits)
    labels = random.random(500) < 0.3
    scores = (random.normal(size=500) + labels).round(digits)
    found = auc(scores[labels].tolist(), scores[~labels].tolist())
    assert found == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)


def test_auc_of_ties_alone_is_exactly_a_half() -> None:
    assert auc([0.3] * 7, [0.3] * 11) == 0.5
    assert auc([], [0.3]) is None
    assert auc([0.3], []) is None


def test_errors_are_scikit_learns() -> None:
    random = np.random.default_rng(3)
    labels = random.normal(10, 3, 200)
    said = labels + random.normal(size=200)
    pairs = list(zip(said.tolist(), labels.tolist(), strict=True))
    assert mean_absolute_error(pairs) == pytest.approx(metrics.mean_absolute_error(labels, said))
    assert mean_absolute_percentage_error(pairs) == pytest.approx(metrics.mean_absolute_percentage_error(labels, said))


def test_errors_too_large_for_a_float_are_no_figure() -> None:
    assert mean_absolute_error([(1.7e308, -1.7e308)]) is None
    assert mean_absolute_error([(1e308, 0.0), (1e308, 0.0), (1e308, 0.0)]) is None
    assert mean_absolute_percentage_error([(1e308, 1e-308)]) is None
    assert mean_absolute_error([]) is None


def test_zeros_have_no_percentage_and_are_counted() -> None:
    found = measure_numbers([(110, 100), (1, 0), (2, 0.0), ("3", 3), (4, None), (True, 1)])
    assert found.values == {"mae": pytest.approx(13 / 3), "mape": pytest.approx(0.1)}
    assert (found.counts, found.zero_labels) == ({"mae": 3, "mape": 1}, 2)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        *((value, "1") for value in (True, 1, 1.0, "1", "true", "True", "TRUE")),
        *((value, "0") for value in (False, 0, 0.0, -0.0, "0", "false")),
        (2**60, str(2**60)),
        (2.0**60, str(2**60)),
        ("Fraud", "Fraud"),
        *((value, None) for value in (0.5, None, [], {}, math.nan, math.inf, 10**400)),
    ],
)
def test_classes(value: object, name: str | None) -> None:
    assert class_of(value) == name


@pytest.mark.parametrize(
    ("prediction", "threshold", "name"),
    [
        (0.5, 0.5, "1"),
        (0.49, 0.5, "0"),
        (0.49, 0.3, "1"),
        (1, 0.9, "1"),
        (0, 0.1, "0"),
        (3, 0.5, "3"),
        (3.5, 0.5, None),
        ({"score": -7.0, "decision": True}, 0.5, "1"),
        ({"score": 0.6}, 0.5, "1"),
        ({"decision": None, "score": 0.6}, 0.5, None),
        ({"error": "no"}, 0.5, None),
        ("fraud", 0.5, "fraud"),
        (True, 0.5, "1"),
    ],
)
def test_what_a_prediction_says(prediction: object, threshold: float, name: str | None) -> None:
    assert predicted_class(prediction, threshold) == name


def test_scores_and_numbers() -> None:
    assert [score_of(said) for said in ({"score": 0.25}, 3, False, "x", None)] == [0.25, 3.0, 0.0, None, None]
    assert [number_of(value) for value in (3, True, "3", math.nan)] == [3.0, None, None, None]


def test_a_scorecards_decisions_count_for_classes_and_its_scores_for_auc() -> None:
    pairs = [
        ({"score": 0.4, "decision": True}, 1),
        ({"score": 0.3, "decision": False}, False),
        ({"score": 0.9, "decision": False}, "true"),
        ({"score": 0.4, "decision": True}, 0),
    ]
    found = measure_classes(pairs, None, 0.5)
    assert found.values == {"accuracy": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5, "auc": 0.875}


@pytest.mark.parametrize("said", [[0.9, 0.2, 0.7], [True, False, True], [1, 0, 1], ["fraud", "fine", "fraud"]])
def test_named_labels_are_matched_through_the_positive_one(said: list[object]) -> None:
    found = measure_classes(list(zip(said, ["fraud", "fraud", "fine"], strict=True)), "fraud", 0.5)
    assert found.values["accuracy"] == pytest.approx(1 / 3)
    assert found.values["precision"] == found.values["recall"] == 0.5
    assert found.problem is None


def test_scores_against_names_cannot_be_measured_without_a_positive_one() -> None:
    for positive in (None, True, 1):
        found = measure_classes([(0.9, "fraud"), (0.1, "fine")], positive, 0.5)
        assert found.values == {}
        assert found.problem is not None


def test_two_named_classes_without_a_positive_one_are_averaged() -> None:
    found = measure_classes([("a", "a"), ("a", "b"), ("b", "b"), ("b", "b")], None, 0.5)
    assert found.values["recall"] == pytest.approx((1 + 2 / 3) / 2)
    assert "auc" not in found.values
    assert "auc" not in measure_classes([(0, 0), (1, 1), (2, 2)], None, 0.5).values


@pytest.mark.parametrize("stray", ["unknown", 2, "n/a"])
@pytest.mark.parametrize("said", [(0.9, 0.1), (True, False), ({"score": 0.9, "decision": True}, {"score": 0.1})])
def test_a_label_that_is_none_of_the_two_says_nothing(said: tuple[object, object], stray: object) -> None:
    """It is not a third class over which everything is averaged."""
    pairs = [(said[0], True), (said[1], False)] * 50
    clean, found = measure_classes(pairs, None, 0.5), measure_classes([*pairs, (said[0], stray)], None, 0.5)
    assert (found.values, found.counts) == (clean.values, clean.counts)
    assert found.values["f1"] == found.values["auc"] == 1.0


def test_a_third_class_among_whole_numbers_is_one() -> None:
    found = measure_classes([(1, 1), (0, 0), (1, 2)], None, 0.5)
    assert found.values["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("said", [(0.9, 0.1), (True, False), ("fraud", "fine")])
def test_a_positive_class_that_no_label_has_is_said_and_not_held_against_anybody(said: tuple[object, object]) -> None:
    pairs = [(said[0], "Fraud"), (said[1], "fine")] * 50
    found = measure_classes(pairs, "fraud", 0.5)
    assert found.problem == "no label is 'fraud' (quality.positive)"
    assert found.values == ({"accuracy": 0.5} if said == ("fraud", "fine") else {})
    policy = QualityPolicy(metric="f1", min=0.5, positive="fraud", min_labels=10)
    report = quality_report(pairs, policy, Yardsticks(), None)
    assert (report.verdict, report.reasons) == ("insufficient_data", [found.problem])


@pytest.mark.parametrize("tiny", [5e-324, 1e-9, -1e-12])
def test_labels_that_are_zero_but_for_the_rounding_have_no_percentage_either(tiny: float) -> None:
    found = measure_numbers([(110, 100), (220, 200), (1, tiny)])
    assert (found.values["mape"], found.counts["mape"], found.zero_labels) == (pytest.approx(0.1), 2, 1)


def test_small_labels_count_where_all_are_small() -> None:
    assert measure_numbers([(1.1e-12, 1e-12), (2.2e-12, 2e-12)]).values["mape"] == pytest.approx(0.1)


def test_one_class_among_several_can_be_the_positive_one() -> None:
    found = measure_classes([(2, 2), (2, 1), (0, 2), (1, 1)], 2, 0.5)
    assert (found.values["precision"], found.values["recall"], found.values["accuracy"]) == (0.5, 0.5, 0.5)


def test_the_negative_class_can_be_the_positive_one() -> None:
    found = measure_classes([(0.1, False), (0.2, True), (0.9, True), (0.8, True)], False, 0.5)
    assert (found.values["precision"], found.values["recall"]) == (0.5, 1.0)
    assert found.values["auc"] == 1.0


def test_what_is_undefined_is_left_out() -> None:
    nothing_positive = measure_classes([(0.1, 0), (0.2, 0)], None, 0.5)
    assert nothing_positive.values == {"accuracy": 1.0}
    nothing_predicted = measure_classes([(0.1, 0), (0.2, 1)], None, 0.5)
    assert nothing_predicted.values == {"accuracy": 0.5, "recall": 0.0, "f1": 0.0, "auc": 1.0}
    assert measure_classes([], None, 0.5).values == {}


def test_which_labels_ask_for_numbers() -> None:
    assert are_numbers([(1.0, 2.5), (1.0, None)])
    assert not are_numbers([(1.0, None)])
    assert not are_numbers([(1.0, "2.5"), (1.0, 2.5)])


@steady
@given(st.lists(st.tuples(anything, anything), max_size=30), anything.filter(lambda value: not isinstance(value, dict)))
def test_any_pairs_give_finite_figures_in_their_range(pairs: list[tuple[object, object]], positive: object) -> None:
    classes = measure_classes(pairs, positive, 0.5)
    assert all(0.0 <= value <= 1.0 for value in classes.values.values())
    numbers = measure_numbers(pairs)
    assert all(0.0 <= value < math.inf for value in numbers.values.values())
    assert all(0 <= count <= len(pairs) for count in (*classes.counts.values(), *numbers.counts.values()))


@steady
@given(st.lists(st.tuples(anything, anything), max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_pairs_means_nothing(pairs: list[tuple[object, object]], random: chance.Random) -> None:
    told = measure_classes(pairs, "fraud", 0.5), measure_numbers(pairs)
    shuffled = random.sample(pairs, len(pairs))
    assert (measure_classes(shuffled, "fraud", 0.5), measure_numbers(shuffled)) == told
