"""Rows of which nobody knows what they had, and times that two samples share."""

import msgspec
import numpy as np
import pytest

from modeldrop.domain.drift.columns import Column, Observations
from modeldrop.domain.drift.reference_profile import profile_reference
from modeldrop.domain.drift.report import DriftReport, drift_report
from modeldrop.domain.drift.shared_span import Span, shared_span
from modeldrop.domain.policy import DriftPolicy

ROWS = 600


def normal(seed: int, rows: int) -> list[object]:
    return list(np.random.default_rng(seed).normal(size=rows).tolist())


def seen(count: int, seed: int = 1) -> Column:
    """A column of which only so many rows are known."""
    return Column("x", "numeric", normal(seed, count), ROWS - count)


def compared(before: Observations, after: Observations) -> DriftReport:
    return drift_report(profile_reference(before), after, DriftPolicy(tests={"numeric": "ks"}))


@pytest.mark.parametrize(
    ("known", "verdict"), [(600, "ok"), (250, "ok"), (199, "insufficient_data"), (0, "insufficient_data")]
)
def test_what_was_not_observed_is_not_missing(known: int, verdict: str) -> None:
    whole = Column("x", "numeric", normal(2, ROWS))
    for before, after in ((seen(known), whole), (whole, seen(known))):
        report = compared(Observations([before]), Observations([after]))
        (feature,) = report.features
        assert (feature.verdict, feature.missing, feature.missing_reference) == (verdict, 0.0, 0.0)
        assert (report.rows, report.reference_rows) == (ROWS, ROWS)
        msgspec.json.encode(report)


def test_what_is_missing_among_the_observed_counts() -> None:
    half = Column("x", "numeric", [*normal(1, 150), *[None] * 150], 300)
    (feature,) = compared(Observations([Column("x", "numeric", normal(2, ROWS))]), Observations([half])).features
    assert (feature.verdict, feature.missing) == ("drifted", 0.5)


@pytest.mark.parametrize(
    ("cut", "verdict"), [(["a"] * ROWS, "insufficient_data"), (["a"] * 100, "drifted"), ([], "drifted")]
)
def test_a_feature_no_row_has_is_missing_where_rows_were_not_cut_before_it(cut: list[str], verdict: str) -> None:
    other = Column("a", "numeric", normal(3, ROWS))
    reference = Observations([other, Column("x", "numeric", normal(2, ROWS))])
    report = compared(reference, Observations([other], cut_after=cut))
    assert {feature.name: feature.verdict for feature in report.features} == {"a": "ok", "x": verdict}


def test_the_span_that_both_share() -> None:
    morning, day, night = range(0, 1200), range(600, 2400), range(1200, 2400)
    assert shared_span(day, range(0, 2400), 200) == Span(618, 2375)
    assert shared_span(morning, day, 200) is None  # not half of it is left, of the 1 % at each end
    assert shared_span(range(300, 1200), day, 200) == Span(618, 1190)
    assert shared_span(morning, night, 200) is None
    assert shared_span([], night, 0) is None
    assert shared_span([7] * 300, [7] * 300, 200) == Span(7, 7)  # an app that logs the hour


@pytest.mark.parametrize("strays", [0, 5])
def test_clocks_that_are_wrong_stretch_no_span(strays: int) -> None:
    morning = [*range(0, 1200), *[2_400] * strays]
    night = [*[0] * strays, *range(1200, 2400)]
    assert shared_span(night, morning, 200) is None


def test_too_few_rows_on_either_side() -> None:
    assert shared_span(range(1000), range(0, 1000, 10), 101) is None
    assert shared_span(range(0, 1000, 10), range(1000), 101) is None
    assert shared_span(range(0, 1000, 10), range(1000), 90) is not None
