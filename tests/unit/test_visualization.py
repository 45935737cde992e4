"""What a language model may say about drawing an answer, and what it may not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.serving.sql.verdicts import Refusal
from modeldrop.serving.sql.visualization import VisualizationConfig, check_visualization


def test_null_is_a_table() -> None:
    assert check_visualization(None) == VisualizationConfig(type="table")


@pytest.mark.parametrize(
    "value",
    [
        {"type": "table"},
        {"type": "bar", "x": "month", "y": "revenue", "title": "Revenue > 100 & falling"},
        {"type": "line", "x": "month", "y": ["revenue", "cost"], "color": "region", "aggregation": "sum"},
        {"type": "pie", "x": "region", "y": "revenue"},
        {"type": "scatter", "x": "a", "y": "b", "x_label": "größer", "y_label": "kleiner"},
        {"type": "area", "x": "a", "y": "b", "stacked": True},
        {"type": "histogram", "x": "amount", "title": "x" * 200},
    ],
    ids=lambda value: value["type"],
)
def test_what_is_allowed_comes_back_as_it_was(value: dict[str, object]) -> None:
    config = check_visualization(value)
    assert isinstance(config, VisualizationConfig)
    assert msgspec.to_builtins(config) == value


XY = {"type": "bar", "x": "a", "y": "b"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "must be an object"),
        ('{"type": "table"}', "must be an object"),
        ({}, "missing required field `type`"),
        ({"type": "iframe"}, "Invalid enum value"),
        ({"type": None}, "`str`"),
        ({**XY, "onload": "x"}, "unknown field `onload`"),
        ({**XY, "title": "x" * 201}, "length <= 200"),
        ({**XY, "title": "<script>alert(1)</script>"}, "HTML"),
        ({**XY, "title": "<!-- x"}, "HTML"),
        ({**XY, "title": "&lt;b&gt;"}, "HTML"),
        ({**XY, "title": "&#60;b"}, "HTML"),
        ({**XY, "title": "a\x00b"}, "control"),
        ({**XY, "title": "a\nb"}, "control"),
        ({**XY, "title": "a\u202eb"}, "control"),
        ({**XY, "title": "\ud800"}, "control"),
        ({**XY, "x": "<img src=x>"}, "HTML"),
        ({**XY, "y": ["b", "<b>"]}, "HTML"),
        ({**XY, "color": "c\x1b[0m"}, "control"),
        ({**XY, "x_label": "<i>"}, "HTML"),
        ({**XY, "y_label": "<i>"}, "HTML"),
        ({**XY, "x": 1}, "`int`"),
        ({**XY, "x": ""}, "length >= 1"),
        ({**XY, "x": "x" * 257}, "length <= 256"),
        ({**XY, "y": []}, "length >= 1"),
        ({**XY, "y": ["b"] * 21}, "length <= 20"),
        ({**XY, "y": {"b": 1}}, "`object`"),
        ({**XY, "aggregation": "exec"}, "Invalid enum value"),
        ({**XY, "stacked": "yes"}, "`bool`"),
        ({"type": "bar", "x": "a"}, "bar needs x and y"),
        ({"type": "pie", "y": "a"}, "pie needs x and y"),
        ({"type": "histogram"}, "histogram needs x"),
    ],
)
def test_everything_else_is_refused_with_its_reason(value: object, reason: str) -> None:
    refusal = check_visualization(value)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason
    assert refusal.reason.isascii()


@pytest.mark.parametrize("place", ["x", "y", "color"])
def test_columns_must_be_in_the_result_where_it_is_known(place: str) -> None:
    assert check_visualization(XY, ["a", "b"]) == check_visualization(XY)
    refusal = check_visualization({**XY, place: "secret"}, ["a", "b"])
    assert refusal == Refusal("visualization: column 'secret' is not in the result")
    assert check_visualization({**XY, place: "A"}, ["a", "B"]) == check_visualization({**XY, place: "A"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELDS = ("type", "x", "y", "title", "color", "aggregation")


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(), JSON | st.just("bar"), max_size=6))
def test_no_value_breaks_it_and_no_tag_gets_through(value: dict[str, object]) -> None:
    config = check_visualization(value)
    if isinstance(config, VisualizationConfig):
        assert b"<" not in msgspec.json.encode(config)
    else:
        assert config.reason.startswith("visualization: ")
