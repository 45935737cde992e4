"""Quality reports: predictions joined with their labels, against the policy's limits and what was promised."""

from typing import Any

import pytest

from modeldrop.errors import NotFound
from modeldrop.handlers.reports.report_quality import report_quality
from modeldrop.records.reports import QualityRecord, Reports
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.prediction_log import NOW, between
from tests.handlers.reporting import HOUR, events, hour, take

POLICY = FAST + "quality: {metric: f1, max_drop: 0.1, min_labels: 50}\n"


def answers(number: int, count: int, version: str, wrong: int) -> list[dict[str, Any]]:
    """Predictions of a window: every second one says yes; the first ``wrong`` of every ten will prove wrong."""
    said = events(number, count, version=version)
    for each, event in enumerate(said):
        event["prediction"] = {"score": 0.9 if each % 2 else 0.1, "decision": each % 2 == 1}
    return said


def labels(said: list[dict[str, Any]], wrong: int) -> list[dict[str, Any]]:
    """What turned out to be true."""
    return [
        {
            "type": "label",
            "model": MODEL,
            "prediction_id": event["prediction_id"],
            "label": event["prediction"]["decision"] != (number % 10 < wrong),
            "predicted_at": event["timestamp"],
        }
        for number, event in enumerate(said)
    ]


def tell(control: Control, number: int, count: int, version: str, wrong: int, labelled: int | None = None) -> None:
    """A window of a version, and labels of the first of its predictions."""
    said = answers(number, count, version, wrong)
    take(control.services, labels(said, wrong)[:labelled] + said)  # labels may come first


def asked(control: Control, number: int | None = None, version: str | None = None) -> list[QualityRecord]:
    control.clock.forward(61)
    return report_quality(control.services, MODEL, version=version, window=None if number is None else hour(number))


@pytest.fixture
def serving(control: Control) -> Control:
    """v2 serves, v1 did before; both declare an F1."""
    control.clock.now = NOW
    control.policy(POLICY)
    control.tell(f"policies/{MODEL}.yaml")
    control.make_live("v1", 0.5, day=1)
    control.make_live("v2", 0.9, day=2)
    control.clock.now = NOW + 6 * HOUR
    return control


def test_worse_than_the_package_declared(serving: Control) -> None:
    tell(serving, 0, 400, "v2", wrong=3)
    (made,) = asked(serving)
    assert (made.version, made.window, made.verdict) == ("v2", hour(0), "degraded")
    assert (made.metric, made.compared_with, made.compared_version, made.expected) == ("f1", "declared", "v2", 0.9)
    assert made.metrics["accuracy"] == 0.7
    assert made.value == made.metrics["f1"] < 0.8
    assert (made.rows, made.labelled, made.n, made.coverage) == (400, 400, 400, 1.0)
    assert "declared by the package" in made.reasons[0]
    stored = Reports(serving.services.documents).quality(MODEL, "v2", hour(0))
    assert stored is not None and stored.value == made


def test_as_good_as_declared(serving: Control) -> None:
    tell(serving, 0, 400, "v2", wrong=1)
    (made,) = asked(serving)
    assert made.verdict == "ok"


def test_what_was_not_declared_is_compared_with_the_stable_version(serving: Control) -> None:
    serving.policy(POLICY.replace("f1", "accuracy"))
    serving.tell(f"policies/{MODEL}.yaml")
    tell(serving, 0, 400, "v1", wrong=1)
    tell(serving, 0, 400, "v2", wrong=4)
    newer, older = asked(serving, 0)
    assert (newer.version, newer.verdict, newer.compared_with) == ("v2", "degraded", "baseline")
    assert (newer.compared_version, newer.expected, newer.value) == ("v1", 0.9, 0.6)
    assert (older.version, older.verdict, older.expected) == ("v1", "ok", 0.6)


def test_too_few_labels_of_the_stable_version_are_no_measure(serving: Control) -> None:
    serving.policy(POLICY.replace("f1", "accuracy"))
    serving.tell(f"policies/{MODEL}.yaml")
    tell(serving, 0, 400, "v1", wrong=0, labelled=49)
    tell(serving, 0, 400, "v2", wrong=4)
    (made,) = asked(serving, 0, "v2")
    assert (made.verdict, made.compared_with, made.compared_version) == ("insufficient_data", None, None)


def test_coverage_counts_the_predictions_of_that_version(serving: Control) -> None:
    tell(serving, 0, 400, "v2", wrong=0, labelled=100)
    tell(serving, 0, 300, "v1", wrong=0)
    newer, older = asked(serving, 0)
    assert (newer.labelled, newer.coverage) == (100, 0.25)
    assert (older.labelled, older.coverage) == (300, 1.0)


def test_the_latest_window_with_labels(serving: Control) -> None:
    tell(serving, 0, 100, "v2", wrong=0)
    tell(serving, 1, 100, "v2", wrong=0, labelled=0)
    assert asked(serving)[0].window == hour(0)
    (made,) = asked(serving, 1)
    assert (made.window, made.labelled, made.coverage, made.verdict) == (hour(1), 0, 0.0, "insufficient_data")


def test_without_any_label_the_latest_window(serving: Control) -> None:
    tell(serving, 0, 100, "v2", wrong=0, labelled=0)
    tell(serving, 1, 100, "v2", wrong=0, labelled=0)
    assert [each.window for each in asked(serving)] == [hour(1)]


def test_made_anew_only_when_labels_came(serving: Control) -> None:
    tell(serving, 0, 200, "v2", wrong=2, labelled=100)
    (first,) = asked(serving, 0)
    store = between(serving.services)
    (again,) = report_quality(serving.services, MODEL, window=hour(0))
    assert (again, store.writes) == (first, 0)
    (same,) = asked(serving, 0)
    assert (same.inputs, same.n, store.writes) == (first.inputs, 100, 1)
    tell(serving, 0, 200, "v2", wrong=2)
    (second,) = asked(serving, 0)
    assert (second.n, second.inputs != first.inputs) == (200, True)


def test_labels_and_predictions_in_any_order_and_often(serving: Control) -> None:
    said = answers(0, 300, "v2", wrong=1)
    known = labels(said, 1)
    take(serving.services, known[:150])
    take(serving.services, said)
    (half,) = asked(serving, 0)
    take(serving.another_instance(), [*reversed(known), *said, *known])
    (made,) = asked(serving, 0)
    assert (half.labelled, made.labelled, made.rows) == (150, 300, 300)
    assert made.value is not None and abs(made.value - 0.9) < 0.01


def test_what_is_not_there(serving: Control) -> None:
    with pytest.raises(NotFound, match="no predictions"):
        report_quality(serving.services, MODEL)
    with pytest.raises(NotFound, match="no window"):
        report_quality(serving.services, MODEL, version="v1", window=hour(0))
    with pytest.raises(NotFound, match="no version"):
        report_quality(serving.services, MODEL, version="v9")
