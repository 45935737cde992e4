"""Pictures from numbers: what they show, in shapes and in words."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.web.dashboard.charts.bars import WIDTH, contribution_bar, split_bar
from modeldrop.web.dashboard.charts.distributions import Size, category_overlay, numeric_overlay
from modeldrop.web.dashboard.charts.scale import Scale, round_up
from modeldrop.web.dashboard.charts.trend import Point, trend

HOSTILE = '"><script>1</script>&'
shares = st.lists(st.floats(0, 1), min_size=1, max_size=20)
values = st.one_of(st.none(), st.floats(-1e12, 1e12))


def parsed(picture: str) -> ElementTree.Element:
    """As XML: whatever is not escaped would not be well-formed, or show as an element of its own."""
    return ElementTree.fromstring(picture)


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in root.iter() if name in each.get("class", "").split()]


def test_outlines_rise_with_the_shares() -> None:
    root = parsed(numeric_overlay("amount", [0, 1, 2], [0.5, 0.5], [0.0, 1.0], Size(100, 118)))
    (reference,), (live,) = of_class(root, "reference"), of_class(root, "live")
    assert reference.get("d") == "M30 100V54H62V54H94V100Z"
    assert live.get("d") == "M30 100V100H62V8H94V100"
    assert of_class(root, "hatched")[0].get("fill") == "url(#hatch)"
    assert root.findtext("desc") == (
        "2 bins from 0 to 2. Most of the reference: 50 % from 0 to 1. Most of live: 100 % from 1 to 2."
    )


def test_categories_are_pairs_of_bars() -> None:
    root = parsed(category_overlay("country", ["DE", HOSTILE], [0.5, 0.5], [1.0, 0.0], Size(354, 0)))
    widths = [
        (r.get("width"), n.get("width"))
        for r, n in zip(of_class(root, "reference"), of_class(root, "live"), strict=True)
    ]
    assert widths == [("100", "200"), ("100", "0.5")]
    assert "DE: 50 % in the reference, 100 % live" in str(root.findtext("desc"))
    assert root.find(".//script") is None


def test_what_could_not_be_measured_leaves_a_gap_in_a_trend() -> None:
    points = [Point("a", 0.1), Point("b", 0.3, bad=True), Point("c", None), Point("d", 0.2, low=0.1, high=0.3)]
    root = parsed(trend("psi", points, 0.2, "threshold"))
    (path,) = of_class(root, "trend")
    assert path.get("d", "").count("M") == 2
    assert (len(of_class(root, "bad")), len(of_class(root, "well")), len(of_class(root, "whisker"))) == (1, 2, 1)
    assert root.findtext("desc") == "threshold 0.2. a: 0.1; b: 0.3, bad; c: not measured; d: 0.2"


def test_traffic_fills_its_bar() -> None:
    root = parsed(split_bar([("v1", 80), ("v2", 15), (HOSTILE, 5)]))
    rectangles = root.findall("rect")
    ends = [float(each.get("x", "")) + float(each.get("width", "")) for each in rectangles]
    assert ends == [WIDTH * 0.8 - 2, WIDTH * 0.95 - 2, WIDTH]
    assert [each.get("class") for each in rectangles] == ["stable", "hatched candidate", "other"]


def test_a_metric_fills_what_it_could_add() -> None:
    root = parsed(contribution_bar("f1", 0.5, 0.25))
    possible, real = root.findall("rect")
    assert (possible.get("width"), real.get("width")) == ("99", "25")


@given(shares, shares, st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_every_distribution_stays_inside_its_picture(a: list[float], b: list[float], start: float, span: float) -> None:
    count = min(len(a), len(b))
    edges = [start + span * each / count for each in range(count + 1)]
    root = parsed(numeric_overlay(HOSTILE, edges, a[:count], b[:count], Size(340, 132)))
    for path in of_class(root, "live"):
        numbers = [
            float(each) for each in path.get("d", "").replace("M", " ").replace("V", " ").replace("H", " ").split()
        ]
        assert all(-0.01 <= each <= 340 for each in numbers)


@given(st.lists(values, max_size=30), values)
def test_every_trend_stays_inside_its_picture(given_values: list[float | None], line: float | None) -> None:
    root = parsed(trend(HOSTILE, [Point(HOSTILE, value) for value in given_values], line, "threshold"))
    for dot in of_class(root, "well"):
        assert 0 <= float(dot.get("cx", "")) <= 340
        assert 7.99 <= float(dot.get("cy", "")) <= 68.01


@given(st.floats(1e-300, 1e300))
def test_an_axis_ends_above_the_value_and_not_far(value: float) -> None:
    assert value <= round_up(value) <= 2.5000001 * value


@pytest.mark.parametrize(("value", "place"), [(-5, 10), (0, 10), (5, 15), (10, 20), (50, 20)])
def test_a_scale_cuts_what_lies_outside(value: float, place: float) -> None:
    assert Scale(0, 10, 10, 20)(value) == place
