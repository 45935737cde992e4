"""How an answer may be drawn: a small closed schema for what the language model proposes."""

import re
from collections.abc import Collection
from typing import Annotated, Literal

import msgspec

from modeldrop.serving.sql.verdicts import Refusal, shown

LONGEST_TITLE = 200
LONGEST_NAME = 256
MOST_SERIES = 20

ChartType = Literal["bar", "line", "pie", "scatter", "table", "area", "histogram"]
Aggregation = Literal["none", "sum", "avg", "count", "min", "max", "median"]
Title = Annotated[str, msgspec.Meta(max_length=LONGEST_TITLE)]
ColumnName = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
Series = Annotated[list[ColumnName], msgspec.Meta(min_length=1, max_length=MOST_SERIES)]

# Tags and entities, control characters, separators of lines, and signs that turn the direction of writing.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff<]|&#|&[A-Za-z0-9]+;"
)
_NEEDS_X_AND_Y = frozenset({"bar", "line", "pie", "scatter", "area"})


class VisualizationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``x``, ``y``, ``color``: columns of the result. Texts are plain: still escape them where they are shown."""

    type: ChartType
    x: ColumnName | None = None
    y: ColumnName | Series | None = None
    title: Title | None = None
    color: ColumnName | None = None
    aggregation: Aggregation | None = None
    x_label: Title | None = None
    y_label: Title | None = None
    stacked: bool = False


def check_visualization(value: object, columns: Collection[str] | None = None) -> VisualizationConfig | Refusal:
    """The configuration in ``value`` (decoded JSON), or why it is not one. None is a plain table.

    ``columns``: the result's columns where they are known; then x, y and color must be among them, whatever their case
    (PostgreSQL makes names without quotes small).

    >>> check_visualization({"type": "bar", "x": "month", "y": "revenue"}).y
    'revenue'
    >>> check_visualization({"type": "bar", "script": "alert(1)"})
    Refusal(reason='visualization: Object contains unknown field `script`')
    """
    if value is None:
        return VisualizationConfig(type="table")
    if not isinstance(value, dict):
        return Refusal("visualization: must be an object")
    try:
        config = msgspec.convert(value, VisualizationConfig)
    except (msgspec.ValidationError, RecursionError) as error:
        return Refusal(f"visualization: {ascii(str(error)[:200])[1:-1]}")
    problem = _problem(config, columns)
    return Refusal(f"visualization: {problem}") if problem else config


def _problem(config: VisualizationConfig, columns: Collection[str] | None) -> str | None:
    series = config.y if isinstance(config.y, list) else [config.y]
    named = {name for name in (config.x, config.color, *series) if name is not None}
    texts = [*named, config.title, config.x_label, config.y_label]
    if any(text is not None and _UNSAFE.search(text) for text in texts):
        return "a text has HTML or control characters"
    if config.type in _NEEDS_X_AND_Y and (config.x is None or config.y is None):
        return f"{config.type} needs x and y"
    if config.type == "histogram" and config.x is None:
        return "histogram needs x"
    if columns is None:
        return None
    known = {name.casefold() for name in columns}
    unknown = sorted(name for name in named if name.casefold() not in known)
    return f"column {shown(unknown[0])} is not in the result" if unknown else None
