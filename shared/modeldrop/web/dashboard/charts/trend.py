"""A value over windows, with the line it is held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from modeldrop.web.dashboard.charts.distributions import Size
from modeldrop.web.dashboard.charts.scale import Scale, round_up
from modeldrop.web.dashboard.charts.svg import element, number, picture
from modeldrop.web.dashboard.figures import figure

SMALL = Size(340.0, 84.0)


@dataclass(frozen=True)
class Point:
    """One window's value; None: it could not be measured. ``low`` and ``high``: how far chance may have moved it."""

    label: str
    value: float | None
    bad: bool = False
    low: float | None = None
    high: float | None = None


def trend(name: str, points: Sequence[Point], line: float | None, line_name: str, size: Size = SMALL) -> Markup:
    """The points from the oldest to the newest, bad ones as diamonds; what could not be measured leaves a gap."""
    top = round_up(max([*_reach(points), line or 0.0, 0.0]))
    bottom = -round_up(-min([*_reach(points), 0.0])) if min([*_reach(points), 0.0]) < 0 else 0.0
    up = Scale(bottom, top, size.height - 16, 8)
    across = Scale(0, max(1, len(points) - 1), 38, size.width - 10)
    placed = [(across(place) if len(points) > 1 else (38 + size.width) / 2, each) for place, each in enumerate(points)]
    shapes = [
        _frame(bottom, top, size),
        *([_line(line, up, size)] if line is not None else []),
        *[_whisker(x, point, up) for x, point in placed if point.low is not None and point.high is not None],
        element("path", d=_path(placed, up), class_="trend"),
        *[_dot(x, point, up) for x, point in placed if point.value is not None],
        *_ends(points, size),
    ]
    return picture(
        f"{name} over {len(points)} windows",
        _words(points, line, line_name),
        size.width,
        size.height,
        *shapes,
        class_="windows",
    )


def _reach(points: Sequence[Point]) -> list[float]:
    return [each for point in points for each in (point.value, point.low, point.high) if each is not None]


def _frame(bottom: float, top: float, size: Size) -> Markup:
    ground = size.height - 16
    return element(
        "g",
        element("line", x1=34, x2=size.width - 4, y1=8, y2=8, class_="grid"),
        element("line", x1=34, x2=size.width - 4, y1=ground, y2=ground, class_="ground"),
        element("text", figure(top), x=30, y=12, class_="axis", text_anchor="end"),
        element("text", figure(bottom), x=30, y=ground, class_="axis", text_anchor="end"),
    )


def _line(value: float, up: Scale, size: Size) -> Markup:
    return element("line", x1=34, x2=size.width - 4, y1=up(value), y2=up(value), class_="threshold")


def _whisker(x: float, point: Point, up: Scale) -> Markup:
    assert point.low is not None and point.high is not None
    return element("line", x1=x, x2=x, y1=up(point.low), y2=up(point.high), class_="whisker")


def _path(placed: Sequence[tuple[float, Point]], up: Scale) -> str:
    """Lines between neighbours that both have a value."""
    parts = []
    for known, run in groupby(placed, key=lambda each: each[1].value is not None):
        if known:
            spots = [f"{number(x)} {number(up(point.value))}" for x, point in run if point.value is not None]
            parts.append("M" + "L".join(spots))
    return "".join(parts)


def _dot(x: float, point: Point, up: Scale) -> Markup:
    assert point.value is not None
    y = up(point.value)
    said = element("title", f"{point.label}: {figure(point.value)}")
    if point.bad:
        corners = f"{number(x)},{number(y - 5)} {number(x + 5)},{number(y)} {number(x)},{number(y + 5)}"
        return element("polygon", said, points=f"{corners} {number(x - 5)},{number(y)}", class_="bad")
    return element("circle", said, cx=x, cy=y, r=2.5, class_="well")


def _ends(points: Sequence[Point], size: Size) -> list[Markup]:
    if not points:
        return []
    first = element("text", points[0].label, x=34, y=size.height - 3, class_="axis")
    if len(points) == 1:
        return [first]
    last = points[-1].label
    return [first, element("text", last, x=size.width - 4, y=size.height - 3, class_="axis", text_anchor="end")]


def _words(points: Sequence[Point], line: float | None, line_name: str) -> str:
    values = "; ".join(
        f"{point.label}: {'not measured' if point.value is None else figure(point.value)}{', bad' if point.bad else ''}"
        for point in points
    )
    return values if line is None else f"{line_name} {figure(line)}. {values}"
