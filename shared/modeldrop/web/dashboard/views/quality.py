"""Quality: what labels say of each version that serves, how many predictions have one, and the trend."""

from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from modeldrop.web.dashboard.charts.trend import Point, trend
from modeldrop.web.dashboard.figures import figure, percent, whole
from modeldrop.web.dashboard.marks import Mark, quality_mark
from modeldrop.web.dashboard.moments import Moment, moment, short
from modeldrop.web.dashboard.reader import Answer, Reader

WINDOWS = 24


@dataclass(frozen=True)
class QualityRow:
    """A version's quality in a window."""

    version: str
    window: Moment | None
    mark: Mark
    metric: str
    value: str
    bounds: str
    expected: str
    coverage: str
    labelled: str
    metrics: list[tuple[str, str]]
    reasons: list[str]
    trend: Markup | None


def quality(reader: Reader, model: str, now: datetime) -> list[QualityRow]:
    """The versions that serve, and the one before; none while there are no predictions."""
    found = reader.find(f"/v1/models/{model}/quality")
    return [_row(reader, model, each, now) for each in found["versions"]] if found else []


def _row(reader: Reader, model: str, found: Answer, now: datetime) -> QualityRow:
    metric = found["metric"] or ""
    return QualityRow(
        found["version"],
        moment(found["window"], now),
        quality_mark(found["verdict"]),
        metric,
        figure(found["value"]),
        _bounds(found["bounds"]),
        figure(found["expected"]),
        percent(found["coverage"]),
        whole(found["labelled"]),
        [(name, figure(value)) for name, value in sorted(found["metrics"].items()) if name != metric],
        found["reasons"],
        _trend(reader, model, found["version"], metric, found["expected"]),
    )


def _bounds(bounds: list[float] | None) -> str:
    return f"{figure(bounds[0])} … {figure(bounds[1])}" if bounds else ""


def _trend(reader: Reader, model: str, version: str, metric: str, expected: float | None) -> Markup | None:
    path = f"/v1/models/{model}/quality/windows"
    found = reader.find(path, version=version, limit=WINDOWS)
    windows = list(reversed(found["windows"])) if found else []
    measured = [each for each in windows if each["value"] is not None]
    if len(measured) < 2:
        return None
    points = [_point(each) for each in windows]
    return trend(f"{version}: {metric or 'quality'}", points, expected, "expected")


def _point(window: Answer) -> Point:
    low, high = window["bounds"] or (None, None)
    return Point(short(window["window"]), window["value"], window["verdict"] == "degraded", low, high)
