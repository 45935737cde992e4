"""Reports on request: ``GET /v1/models/{model}/drift`` and ``/quality``.

The use cases are imported when they are asked for: most instances of the API never make a report.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from modeldrop.errors import NotFound
from modeldrop.records.reports import Reports
from modeldrop.web.problem import Problem, bad_request, not_found
from modeldrop.wiring import Services

Query = Mapping[str, str]
T = TypeVar("T")


def drift(services: Services, model: str, query: Query) -> dict[str, Any] | Problem:
    """The drift report on a window of a version."""
    from modeldrop.handlers.reports.report_drift import report_drift  # noqa: PLC0415 - see above

    return _reported(partial(report_drift, services, model), query, msgspec.to_builtins)


def quality(services: Services, model: str, query: Query) -> dict[str, Any] | Problem:
    """The quality reports of the versions that serve and the one before, or of the one asked for."""
    from modeldrop.handlers.reports.report_quality import report_quality  # noqa: PLC0415 - see above

    make = partial(report_quality, services, model)
    return _reported(make, query, lambda made: {"model": model, "versions": [msgspec.to_builtins(one) for one in made]})


def _reported(make: Callable[..., T], query: Query, show: Callable[[T], dict[str, Any]]) -> dict[str, Any] | Problem:
    """The answer on the version and window that the query names."""
    window = _window(query)
    if isinstance(window, Problem):
        return window
    try:
        return show(make(version=query.get("version"), window=window))
    except NotFound as error:
        return not_found(str(error))


def latest_drift(services: Services, model: str, production: str | None) -> str | None:
    """The verdict of the newest report on the version in production; nothing is measured here."""
    found = Reports(services.documents).latest_drift(model, production) if production is not None else None
    return found.verdict if found is not None else None


def _window(query: Query) -> datetime | Problem | None:
    """The start of a window: an ISO 8601 time, in UTC where it says no other zone."""
    text = query.get("window")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return bad_request(f"window must be the start of one, an ISO 8601 time, not {text[:64]!a}")
