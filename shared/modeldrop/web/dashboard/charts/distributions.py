"""Two distributions over each other: what it was (reference) and what it is (live).

The reference is a plain area, the live one hatched with a bold outline: told apart without any colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from modeldrop.web.dashboard.charts.scale import Scale, round_up
from modeldrop.web.dashboard.charts.svg import element, number, picture
from modeldrop.web.dashboard.figures import figure, percent

HATCH = "url(#hatch)"
_ROW, _NAME_WIDTH, _NUMBER_WIDTH = 30.0, 108.0, 46.0
_LONGEST_NAME = 17


@dataclass(frozen=True)
class Size:
    """Of a picture, in units of its own."""

    width: float = 340.0
    height: float = 132.0


def numeric_overlay(
    name: str, edges: Sequence[float], reference: Sequence[float], live: Sequence[float], size: Size
) -> Markup:
    """Shares of numbers by bin as two stepped outlines; bins lie between the n + 1 ``edges``."""
    most = round_up(max([*reference, *live, 0.0]))
    across = Scale(edges[0], edges[-1], 30, size.width - 6)
    up = Scale(0, most, size.height - 18, 8)
    ends = [across(edge) for edge in edges]
    shapes = [
        _axis(most, size),
        element("path", d=_steps(ends, [up(share) for share in reference], up(0), closed=True), class_="reference"),
        element(
            "path", d=_steps(ends, [up(share) for share in live], up(0), closed=True), class_="hatched", fill=HATCH
        ),
        element("path", d=_steps(ends, [up(share) for share in live], up(0), closed=False), class_="live"),
        element("text", figure(edges[0]), x=30, y=size.height - 4, class_="axis"),
        element("text", figure(edges[-1]), x=size.width - 6, y=size.height - 4, class_="axis", text_anchor="end"),
    ]
    words = f"{len(live)} bins from {figure(edges[0])} to {figure(edges[-1])}. {_peaks(edges, reference, live)}"
    return picture(f"{name}: live values over the reference", words, size.width, size.height, *shapes, class_="overlay")


def category_overlay(
    name: str, categories: Sequence[str], reference: Sequence[float], live: Sequence[float], size: Size
) -> Markup:
    """Shares of categories as pairs of bars, one category a row."""
    most = max([*reference, *live, 0.01])
    along = Scale(0, most, 0, size.width - _NAME_WIDTH - _NUMBER_WIDTH)
    rows = zip(categories, reference, live, strict=True)
    shapes = [_pair(number_, row, along) for number_, row in enumerate(rows)]
    words = "; ".join(
        f"{category}: {percent(before)} in the reference, {percent(now)} live"
        for category, before, now in zip(categories, reference, live, strict=True)
    )
    height = max(1, len(categories)) * _ROW
    return picture(f"{name}: live shares beside the reference", words, size.width, height, *shapes, class_="pairs")


def _pair(row: int, shares: tuple[str, float, float], along: Scale) -> Markup:
    category, before, now = shares
    top = row * _ROW + 3
    shown = category if len(category) <= _LONGEST_NAME else f"{category[: _LONGEST_NAME - 1]}…"
    left = _NAME_WIDTH
    return element(
        "g",
        element("text", shown, x=left - 8, y=top + 15, class_="name", text_anchor="end"),
        element("rect", x=left, y=top, width=max(0.5, along(before)), height=11, class_="reference"),
        element("rect", x=left, y=top + 12, width=max(0.5, along(now)), height=11, class_="hatched live", fill=HATCH),
        element("text", percent(before), x=left + along(before) + 4, y=top + 9, class_="axis"),
        element("text", percent(now), x=left + along(now) + 4, y=top + 21, class_="axis"),
    )


def _steps(ends: Sequence[float], heights: Sequence[float], ground: float, *, closed: bool) -> str:
    points = [f"M{number(ends[0])} {number(ground)}"]
    for right, height in zip(ends[1:], heights, strict=True):
        points.append(f"V{number(height)}H{number(right)}")
    points.append(f"V{number(ground)}")
    return "".join(points) + ("Z" if closed else "")


def _axis(most: float, size: Size) -> Markup:
    ground = size.height - 18
    return element(
        "g",
        element("line", x1=30, x2=size.width - 6, y1=8, y2=8, class_="grid"),
        element("line", x1=30, x2=size.width - 6, y1=(8 + ground) / 2, y2=(8 + ground) / 2, class_="grid"),
        element("line", x1=30, x2=size.width - 6, y1=ground, y2=ground, class_="ground"),
        element("text", percent(most), x=26, y=12, class_="axis", text_anchor="end"),
        element("text", "0", x=26, y=ground, class_="axis", text_anchor="end"),
    )


def _peaks(edges: Sequence[float], reference: Sequence[float], live: Sequence[float]) -> str:
    """Where most values are, in words."""
    texts = []
    for side, shares in (("the reference", reference), ("live", live)):
        if shares:
            top = max(range(len(shares)), key=lambda bin_: shares[bin_])
            texts.append(
                f"Most of {side}: {percent(shares[top])} from {figure(edges[top])} to {figure(edges[top + 1])}."
            )
    return " ".join(texts)
