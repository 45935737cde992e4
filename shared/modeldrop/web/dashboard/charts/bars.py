"""Bars: how traffic is split, and what a metric adds to a score."""

from collections.abc import Sequence

from markupsafe import Markup

from modeldrop.web.dashboard.charts.distributions import HATCH
from modeldrop.web.dashboard.charts.svg import element, picture

WIDTH, HEIGHT = 200.0, 12.0


def split_bar(shares: Sequence[tuple[str, float]]) -> Markup:
    """Shares of traffic in percent, side by side: the first one plain, the second hatched, others outlined."""
    left, shapes = 0.0, []
    for place, (_, share) in enumerate(shares):
        width = WIDTH * share / 100
        kind = ("stable", "hatched candidate", "other")[min(place, 2)]
        shapes.append(
            element(
                "rect",
                x=left,
                y=0,
                width=max(0.0, width - (2 if left + width < WIDTH - 0.5 else 0)),
                height=HEIGHT,
                rx=2,
                class_=kind,
                fill=HATCH if place == 1 else None,
            )
        )
        left += width
    words = ", ".join(f"{name} {share:g} %" for name, share in shares) or "no traffic"
    return picture("Traffic", words, WIDTH, HEIGHT, *shapes, class_="bar split")


def contribution_bar(metric: str, possible: float, share: float) -> Markup:
    """How much a metric could add to the score (``possible``, 0 to 1), and how much of that it does (``share``)."""
    full = WIDTH * possible
    shapes = [
        element("rect", x=0.5, y=0.5, width=max(1.0, full - 1), height=HEIGHT - 1, rx=2, class_="possible"),
        element("rect", x=0, y=0, width=full * share, height=HEIGHT, rx=2, class_="stable"),
    ]
    words = f"{share:.0%} of what it could add, which is {possible:.0%} of the most weighty metric's"
    return picture(f"What {metric} adds", words, WIDTH, HEIGHT, *shapes, class_="bar contribution")
