"""Reads of reports: drift and quality of a window, and how they went over the windows."""

from modeldrop.web import reports
from modeldrop.web.answers.reports import DriftAnswer, DriftWindows, QualityAnswer, QualityWindows
from modeldrop.web.calls import Call, TrendQuery, WindowQuery
from modeldrop.web.problem import Problem
from modeldrop.wiring import Services


def drift(services: Services, call: Call[WindowQuery]) -> DriftAnswer | Problem:
    """The drift report on a window of a version."""
    return reports.drift(services, call.model, _named(call))


def quality(services: Services, call: Call[WindowQuery]) -> QualityAnswer | Problem:
    """The quality reports of the versions that serve and the one before, or of the one asked for."""
    return reports.quality(services, call.model, _named(call))


def drift_windows(services: Services, call: Call[TrendQuery]) -> DriftWindows | Problem:
    """Drift of a version over its windows, the newest first."""
    query = call.query
    return reports.drift_windows(services, call.model, {"version": query.version}, query.limit, query.before)


def quality_windows(services: Services, call: Call[TrendQuery]) -> QualityWindows | Problem:
    """Quality of a version over its windows, the newest first."""
    query = call.query
    return reports.quality_windows(services, call.model, {"version": query.version}, query.limit, query.before)


def _named(call: Call[WindowQuery]) -> dict[str, str | None]:
    return {"window": call.query.window, "version": call.query.version}
