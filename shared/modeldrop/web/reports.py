"""Reports on request: ``GET /v1/models/{model}/drift`` and ``/quality``, and both over windows.

The use cases are imported when they are asked for: most instances of the API never make a report.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from modeldrop.errors import NotFound
from modeldrop.records.reports import DriftRecord, QualityRecord, Reports
from modeldrop.records.windows import start_text
from modeldrop.web.answers.reports import (
    DriftAnswer,
    DriftWindow,
    DriftWindows,
    QualityAnswer,
    QualityWindow,
    QualityWindows,
)
from modeldrop.web.instants import instant
from modeldrop.web.problem import Problem, not_found
from modeldrop.wiring import Services

Query = Mapping[str, str | None]
A = TypeVar("A", bound=msgspec.Struct)


def drift(services: Services, model: str, query: Query) -> DriftAnswer | Problem:
    """The drift report on a window of a version."""
    from modeldrop.handlers.reports.report_drift import report_drift  # noqa: PLC0415 - see above

    def made(window: datetime | None) -> DriftAnswer:
        record = report_drift(services, model, version=query.get("version"), window=window)
        return msgspec.convert(record, DriftAnswer, from_attributes=True)

    return _answered(made, "window", query.get("window"))


def quality(services: Services, model: str, query: Query) -> QualityAnswer | Problem:
    """The quality reports of the versions that serve and the one before, or of the one asked for."""
    from modeldrop.handlers.reports.report_quality import report_quality  # noqa: PLC0415 - see above

    def made(window: datetime | None) -> QualityAnswer:
        return QualityAnswer(model, report_quality(services, model, version=query.get("version"), window=window))

    return _answered(made, "window", query.get("window"))


def drift_windows(
    services: Services, model: str, query: Query, limit: int, before: str | None
) -> DriftWindows | Problem:
    """What was reported on the drift of a version's windows; ``before``: of those that start earlier than then."""
    from modeldrop.handlers.reports.past_windows import past_drifts  # noqa: PLC0415 - see above

    def found(moment: datetime | None) -> DriftWindows:
        version = _version(services, model, query)
        past = past_drifts(services, model, version, limit=limit, before=moment)
        return DriftWindows(model, version, [_drift_window(each) for each in past.reports], _next(past.following))

    return _answered(found, "before", before)


def quality_windows(
    services: Services, model: str, query: Query, limit: int, before: str | None
) -> QualityWindows | Problem:
    """What was reported on the quality of a version in its windows, as ``drift_windows``."""
    from modeldrop.handlers.reports.past_windows import past_qualities  # noqa: PLC0415 - see above

    def found(moment: datetime | None) -> QualityWindows:
        version = _version(services, model, query)
        past = past_qualities(services, model, version, limit=limit, before=moment)
        return QualityWindows(model, version, [_quality_window(each) for each in past.reports], _next(past.following))

    return _answered(found, "before", before)


def latest_drifts(services: Services, versions: Mapping[str, str]) -> dict[str, str]:
    """By model, the verdict of the newest report on its version, where there is one: one round trip, no measuring."""
    return Reports(services.documents).latest_drifts(versions)


def _answered(make: Callable[[datetime | None], A], name: str, text: str | None) -> A | Problem:
    """The answer, made with the time that ``name`` gives."""
    moment = None if text is None else instant(name, text)
    if isinstance(moment, Problem):
        return moment
    try:
        return make(moment)
    except NotFound as error:
        return not_found(str(error))


def _version(services: Services, model: str, query: Query) -> str:
    from modeldrop.handlers.reports.report_drift import asked_version  # noqa: PLC0415 - see above

    _, known = asked_version(services, model, query.get("version"))
    return known.version


def _drift_window(record: DriftRecord) -> DriftWindow:
    return msgspec.convert(
        {
            "window": record.window,
            "verdict": record.verdict,
            "complete": record.complete,
            "rows": record.rows,
            "estimated_events": record.estimated_events,
            "features": {feature["name"]: feature for feature in record.features},
            "prediction": record.prediction,
        },
        DriftWindow,
    )


def _quality_window(record: QualityRecord) -> QualityWindow:
    return msgspec.convert(record, QualityWindow, from_attributes=True)


def _next(following: datetime | None) -> str | None:
    return None if following is None else start_text(following)
