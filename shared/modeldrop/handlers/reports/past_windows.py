"""What was reported on a version's windows, page by page from the newest on: for trends. Nothing is measured here.

Windows are listed, which are small, and the reports on those of the version read by their names, so that no report
is read in vain: with its pictures one may have a megabyte.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from modeldrop.records.reports import DriftRecord, QualityRecord, Reports
from modeldrop.records.windows import Windows
from modeldrop.wiring import Services

LISTED_AT_ONCE = 100
MOST_LISTED = 1_000
"""Windows of the model looked through for a page; where they are not enough the page is short, and there is a next."""
DRIFT_REPORTS_AT_ONCE = 20
MOST_FEATURES = 20_000
"""In all drift reports of a page: one of 200 windows with 1,000 features each would be too much to send."""

FIGURES = ("name", "test", "value", "threshold", "verdict")
"""Of a feature, in a trend."""

R = TypeVar("R", bound=DriftRecord | QualityRecord)


class PastReports(msgspec.Struct, Generic[R], frozen=True):
    """Reports, the newest window first. ``following``: the next page is of windows before this; None: that was all."""

    reports: list[R]
    following: datetime | None


def past_drifts(
    services: Services, model: str, version: str, *, limit: int, before: datetime | None = None
) -> PastReports[DriftRecord]:
    """Drift reports on at most ``limit`` windows that start before ``before``; windows without one are passed over.

    Of features and predictions they say no more than ``FIGURES``.
    """
    starts, following = _listed(services, model, version, limit, before)
    reports = Reports(services.documents)
    found: list[DriftRecord] = []
    for first in range(0, len(starts), DRIFT_REPORTS_AT_ONCE):
        some = starts[first : first + DRIFT_REPORTS_AT_ONCE]
        found += map(_in_short, reports.drifts(model, version, some))
        if sum(len(report.features) for report in found) >= MOST_FEATURES:
            is_last = first + len(some) == len(starts)
            return PastReports(found, following if is_last else some[-1])
    return PastReports(found, following)


def past_qualities(
    services: Services, model: str, version: str, *, limit: int, before: datetime | None = None
) -> PastReports[QualityRecord]:
    """Quality reports on at most ``limit`` windows that start before ``before``, as ``past_drifts``."""
    starts, following = _listed(services, model, version, limit, before)
    found = Reports(services.documents).qualities(model, version, starts) if starts else []
    return PastReports(found, following)


def _listed(
    services: Services, model: str, version: str, limit: int, before: datetime | None
) -> tuple[list[datetime], datetime | None]:
    """Starts of the version's windows, the newest first, and where to go on."""
    listed = Windows(services.documents).records(model, before=before, page=LISTED_AT_ONCE)
    starts: list[datetime] = []
    seen, last = 0, before
    for window in islice(listed, MOST_LISTED):
        seen, last = seen + 1, window.start
        if window.version == version:
            starts.append(window.start)
        if len(starts) == limit:
            return starts, last
    if last is None or seen < MOST_LISTED:
        return starts, None
    # windows of other versions that start at the same time may come after the last one: they are listed again
    again = last + timedelta(seconds=1)
    return starts, again if before is None or again < before else last


def _in_short(report: DriftRecord) -> DriftRecord:
    """Without what no trend shows: a page of whole reports would take a lot of memory."""
    features = [_figures(feature) for feature in report.features]
    return msgspec.structs.replace(
        report, features=features, prediction=_figures(report.prediction) if report.prediction else None
    )


def _figures(feature: Mapping[str, Any]) -> dict[str, Any]:
    return {name: feature[name] for name in FIGURES}
