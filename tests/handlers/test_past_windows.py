"""Trends: what was reported on a version's windows, page by page, with few reads."""

from collections.abc import Iterable
from datetime import datetime
from itertools import chain
from typing import Any

from msgspec.structs import replace

from modeldrop.handlers.reports.past_windows import (
    DRIFT_REPORTS_AT_ONCE,
    LISTED_AT_ONCE,
    MOST_FEATURES,
    MOST_LISTED,
    PastReports,
    past_drifts,
    past_qualities,
)
from modeldrop.handlers.reports.report_quality import report_quality
from modeldrop.records.reports import Reports, drift_path, quality_path
from modeldrop.records.stored import Stored
from modeldrop.records.windows import Windows, new_window
from tests.handlers.control import MODEL, Control
from tests.handlers.counted import counted
from tests.handlers.reporting import bring_reference, events, hour, reference_csv, report, take

QUIET = {"test": "psi", "value": 0.0, "threshold": 0.2, "verdict": "ok"}
FIGURES = {"name", "test", "value", "threshold", "verdict"}


def fill(control: Control, numbers: Iterable[int], *versions: str, features: int | None = None) -> None:
    """Windows of versions with reports on them, both alike but for version and window."""
    documents = control.services.documents
    if Reports(documents).drift(MODEL, "v2", hour(0)) is None:
        take(control.services, events(0, 30, version="v2"))
        report(control, 0, "v2")
        report_quality(control.services, MODEL, version="v2")
    made, quality = Reports(documents).drift(MODEL, "v2", hour(0)), Reports(documents).quality(MODEL, "v2", hour(0))
    assert made is not None and quality is not None
    drift = made.value
    if features is not None:
        drift = replace(drift, features=[{"name": f"x{each}"} | QUIET for each in range(features)])
    policy = control.services.registry.policy(MODEL).value.policy.drift
    keys = [(version, hour(number)) for number in numbers for version in versions if (version, number) != ("v2", 0)]
    Windows(documents).open([new_window(MODEL, *key, policy, control.clock.now) for key in keys])
    for version, window in keys:
        new = [replace(drift, version=version, window=window), replace(quality.value, version=version, window=window)]
        paths = [drift_path(MODEL, version, window), quality_path(MODEL, version, window)]
        documents.commit([Stored(path, record).write(record) for path, record in zip(paths, new, strict=True)])


def starts(past: PastReports[Any]) -> list[datetime]:
    return [each.window for each in past.reports]


def test_the_newest_first_and_page_by_page(serving: Control) -> None:
    fill(serving, range(25), "v1", "v2")
    for read in (past_drifts, past_qualities):
        pages: list[list[datetime]] = []
        before = None
        while not pages or before is not None:
            page = read(serving.services, MODEL, "v2", limit=10, before=before)
            pages.append(starts(page))
            before = page.following
        assert [len(page) for page in pages] == [10, 10, 5]
        assert list(chain(*pages)) == [hour(number) for number in reversed(range(25))]
        assert starts(read(serving.services, MODEL, "v2", limit=2, before=hour(7))) == [hour(6), hour(5)]
        assert read(serving.services, MODEL, "v3", limit=10).reports == []


def test_a_full_last_page_has_an_empty_one_after_it(serving: Control) -> None:
    fill(serving, range(3), "v2")
    page = past_drifts(serving.services, MODEL, "v2", limit=3)
    assert (len(page.reports), page.following) == (3, hour(0))
    assert past_drifts(serving.services, MODEL, "v2", limit=3, before=page.following).reports == []


def test_windows_without_a_report_are_passed_over(serving: Control) -> None:
    bring_reference(serving, reference_csv(events(-1, 500)), version="v2")
    for number in range(3):
        take(serving.services, events(number, 300, version="v2", moved=number))
    report(serving, 0, "v2")
    report(serving, 2, "v2")
    page = past_drifts(serving.services, MODEL, "v2", limit=10)
    assert [(each.window, each.verdict) for each in page.reports] == [(hour(2), "drifted"), (hour(0), "ok")]
    assert past_qualities(serving.services, MODEL, "v2", limit=10).reports == []


def test_of_a_feature_no_more_is_kept_than_a_trend_shows(serving: Control) -> None:
    bring_reference(serving, reference_csv(events(-1, 500)), version="v2")
    take(serving.services, events(0, 300, version="v2"))
    whole = report(serving, 0, "v2")
    assert whole.features[0]["distribution"]["kind"] == "numeric"
    (short,) = past_drifts(serving.services, MODEL, "v2", limit=10).reports
    assert short.features == [{name: feature[name] for name in FIGURES} for feature in whole.features]
    assert short.prediction is not None and short.prediction.keys() == FIGURES


def test_a_page_takes_few_reads(serving: Control) -> None:
    fill(serving, range(60), "v1", "v2")
    services, documents = counted(serving, "documents")
    assert len(past_drifts(services, MODEL, "v2", limit=50).reports) == 50
    assert documents.calls == {"list": 1, "get_many": 3}
    documents.calls.clear()
    assert len(past_qualities(services, MODEL, "v2", limit=50).reports) == 50
    assert documents.calls == {"list": 1, "get_many": 1}


def test_a_version_of_long_ago_is_looked_for_piece_by_piece(serving: Control) -> None:
    """However many windows of others lie between, a page reads so many; none is passed over where it stops."""
    half = MOST_LISTED // 2
    fill(serving, [2], "v0")
    fill(serving, range(2, 2 + half), "v3", "v4")
    fill(serving, [2 + half], "v4")  # so that a page stops between two windows of one time
    services, documents = counted(serving, "documents")
    first = past_drifts(services, MODEL, "v0", limit=50)
    assert first.reports == [] and first.following is not None
    assert documents.calls == {"list": MOST_LISTED // LISTED_AT_ONCE}
    second = past_drifts(services, MODEL, "v0", limit=50, before=first.following)
    assert (starts(second), second.following) == ([hour(2)], None)


def test_reports_of_many_features_make_a_shorter_page(serving: Control) -> None:
    """Each may have a thousand: all at once would be more than can be sent."""
    fill(serving, range(1, 46), "v2", features=MOST_FEATURES // DRIFT_REPORTS_AT_ONCE)
    first = past_drifts(serving.services, MODEL, "v2", limit=45)
    assert starts(first) == [hour(number) for number in range(45, 25, -1)]
    second = past_drifts(serving.services, MODEL, "v2", limit=20, before=first.following)
    assert (starts(second)[0], len(second.reports), second.following) == (hour(25), 20, hour(6))
    third = past_drifts(serving.services, MODEL, "v2", limit=45, before=second.following)
    assert (starts(third), third.following) == ([hour(number) for number in range(5, -1, -1)], None)
