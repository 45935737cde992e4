"""Drift: each feature with its two distributions over each other, and how its value moved over the windows."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from markupsafe import Markup

from modeldrop.web.dashboard.charts.distributions import Size, category_overlay, numeric_overlay
from modeldrop.web.dashboard.charts.trend import SMALL, Point, trend
from modeldrop.web.dashboard.figures import figure, percent, whole
from modeldrop.web.dashboard.marks import Mark, verdict_mark
from modeldrop.web.dashboard.moments import Moment, moment, short
from modeldrop.web.dashboard.reader import Answer, Reader

WINDOWS = 24
FEATURES_AT_A_GLANCE = 6
MOST_FEATURES = 200
MOST_CATEGORIES = 8
LARGE, USUAL = Size(460.0, 190.0), Size()
LARGE_TREND = Size(460.0, 90.0)
REST = "(the rest)"
_TESTS = {
    "psi": "PSI",
    "ks": "Kolmogorov–Smirnov",
    "wasserstein": "Wasserstein",
    "jensen_shannon": "Jensen–Shannon",
    "missing_values": "missing values",
}


@dataclass(frozen=True)
class FeatureCard:
    """One feature, or the prediction: pictures, the test, and what it says."""

    name: str
    type: str
    test: str
    value: str
    threshold: str
    p_value: str
    missing: str
    mark: Mark
    reason: str
    picture: Markup | None
    trend: Markup | None


@dataclass(frozen=True)
class WindowLink:
    """A window to choose."""

    query: str
    text: str
    mark: Mark
    shown: bool
    rows: str


@dataclass(frozen=True)
class Drift:
    """A window's report. ``cards``: drifted features first; ``others``: how many are left out here."""

    version: str
    window: Moment | None
    window_query: str
    mark: Mark
    so_far: bool
    rows: str
    events: str
    reference: str
    problems: list[str]
    cards: list[FeatureCard]
    others: int
    prediction: FeatureCard | None
    windows: list[WindowLink]
    older: str | None


@dataclass(frozen=True)
class Asked:
    """Which window of which version is shown; None: the latest, the one in production."""

    window: str | None = None
    version: str | None = None
    windows_before: str | None = None


def drift(reader: Reader, model: str, asked: Asked, now: datetime, *, glance: bool) -> Drift | None:
    """The report and the windows before; None while nothing was logged. ``glance``: only what matters most."""
    found = reader.find(f"/v1/models/{model}/drift", window=asked.window, version=asked.version)
    if found is None:
        return None
    windows = _windows(reader, model, found["version"], asked.windows_before)
    size = USUAL if glance else LARGE
    ordered = sorted(found["features"], key=_urgency)
    shown = ordered[: FEATURES_AT_A_GLANCE if glance else MOST_FEATURES]
    prediction = found["prediction"]
    return Drift(
        found["version"],
        moment(found["window"], now),
        _query(found["window"], found["version"]),
        verdict_mark(found["verdict"]),
        not found["complete"],
        whole(found["rows"]),
        whole(found["estimated_events"]),
        _reference(found["reference"]),
        [str(each.get("problem", each)) for each in found["problems"]],
        [_card(each, _points(windows["windows"], each["name"]), size) for each in shown],
        len(ordered) - len(shown) + found["features_left_out"],
        _card(prediction, _points(windows["windows"], None), size) if prediction else None,
        [_link(each, found) for each in reversed(windows["windows"])],
        windows["next"],
    )


def _windows(reader: Reader, model: str, version: str, before: str | None) -> Answer:
    """The newest first; none where the API does not keep them."""
    path = f"/v1/models/{model}/drift/windows"
    return reader.find(path, version=version, limit=WINDOWS, before=before) or {"windows": [], "next": None}


def _urgency(feature: Answer) -> tuple[int, float]:
    """Drifted ones first, then by how near a value is to its threshold."""
    order = {"drifted": 0, "ok": 1}.get(feature["verdict"], 2)
    near = feature["value"] / feature["threshold"] if feature["value"] is not None and feature["threshold"] else 0.0
    return order, -near


def _card(feature: Answer, points: list[Point], size: Size) -> FeatureCard:
    test = feature["test"]
    told = f" of {feature['derived']}" if feature.get("derived") else ""
    return FeatureCard(
        feature["name"],
        feature["type"],
        str(_TESTS.get(test, test)) + told,
        figure(feature["value"], 3),
        figure(feature["threshold"], 3),
        figure(feature["p_value"], 2),
        percent(feature["missing"]),
        verdict_mark(feature["verdict"]),
        feature["reason"],
        _picture(feature, size),
        trend(
            f"{feature['name']}: {test}",
            points,
            feature["threshold"],
            "threshold",
            LARGE_TREND if size is LARGE else SMALL,
        )
        if len(points) > 1
        else None,
    )


def _picture(feature: Answer, size: Size) -> Markup | None:
    shown = feature.get("distribution")
    if not shown:
        return None
    if shown["kind"] == "numeric":
        return numeric_overlay(feature["name"], shown["edges"], shown["reference"], shown["live"], size)
    names, before, after = shown["categories"], shown["reference"], shown["live"]
    most = MOST_CATEGORIES if size is USUAL else len(names)
    if len(names) > most:
        names = [*names[: most - 1], REST]
        before, after = ([*side[: most - 1], sum(side[most - 1 :])] for side in (before, after))
    return category_overlay(feature["name"], names, before, after, size)


def _points(windows: list[Answer], feature: str | None) -> list[Point]:
    """The oldest first; a window without the feature is a gap. None: the prediction."""
    points = []
    for window in reversed(windows):
        one = window["prediction"] if feature is None else window["features"].get(feature)
        value, bad = (one["value"], one["verdict"] == "drifted") if one else (None, False)
        points.append(Point(short(window["window"]), value, bad))
    return points if any(point.value is not None for point in points) else []


def _link(window: Answer, shown: Answer) -> WindowLink:
    return WindowLink(
        _query(window["window"], shown["version"]),
        short(window["window"]),
        verdict_mark(window["verdict"]),
        window["window"] == shown["window"],
        whole(window["rows"]),
    )


def _query(window: str, version: str) -> str:
    return urlencode({"window": window, "version": version})


def _reference(found: Answer) -> str:
    kinds = {
        "package": "the rows in the package",
        "stable_version": "the stable version's rows of the same time",
        "first_window": "the version's own first window",
        "none": "nothing",
    }
    of = f" of {found['version']}" if found.get("version") else ""
    why = f" ({found['why']})" if found["why"] and found["kind"] != "package" else ""  # that is as it should be
    return f"{kinds.get(found['kind'], found['kind'])}{of}{why}"
