"""Values of a package's reference rows: checked against their types, and made into what is stored of an event.

A reference is compared with samples. So each of its values goes the way an event's value goes: texts become numbers,
what the policy redacts is left out or hashed.
"""

import math
import re
from collections.abc import Mapping, Sequence

from modeldrop.domain.sampling.kept_values import KeepRule, kept_feature
from modeldrop.domain.scorecard import FeatureType

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INT64 = range(-(2**63), 2**63)
_BOOLEANS = {"true": True, "false": False}
_WIDEST_WHOLE = 20  # characters of a whole number of 64 bits, with its sign
_MISSING = "NA"  # as R writes it
_NAMES = {"numeric": "a number", "boolean": "true or false", "categorical": "a category", "text": "a text"}
_KINDS: Mapping[str, tuple[type, ...]] = {
    "numeric": (int, float),
    "boolean": (bool,),
    "categorical": (str, int, float, bool),
    "text": (str,),
}


def value_of_cell(text: str, type_: str) -> object:
    """A cell of CSV as a value of that type. Raises ValueError that says what it is not.

    An empty one is missing; so is ``NA`` among numbers and booleans (as a category, it is Namibia).

    >>> value_of_cell("5", "numeric"), value_of_cell("", "numeric"), value_of_cell("True", "boolean")
    (5, None, True)
    >>> value_of_cell("NA", "numeric"), value_of_cell("NA", "categorical")
    (None, 'NA')
    >>> value_of_cell("NaN", "numeric")
    Traceback (most recent call last):
    ValueError: 'NaN' is not a number
    """
    if text == "" or (text.strip() == _MISSING and type_ in ("numeric", "boolean")):
        return None
    if type_ == "numeric":
        return _number(text.strip())
    if type_ == "boolean":
        if (known := _BOOLEANS.get(text.strip().lower())) is not None:
            return known
        raise ValueError(f"{text[:40]!a} is not {_NAMES[type_]}")
    return text


def value_of_json(value: object, type_: str | None) -> object:
    """A JSON value, if it is one of that type (None: any that a feature can have); null is missing.

    >>> value_of_json(5, "numeric"), value_of_json(None, "boolean"), value_of_json(5, "categorical")
    (5, None, 5)
    """
    wanted = _KINDS["categorical" if type_ is None else type_]
    if value is None or type(value) in wanted:
        return value
    raise ValueError(f"{type(value).__name__} is not {_NAMES[type_ or 'categorical']}")


def infer_cells(cells: Sequence[str]) -> FeatureType:
    """The type of a column of CSV that nothing declares: what all of its cells can be read as.

    >>> infer_cells(["1", "NA", "2.5"]), infer_cells(["true", "False"]), infer_cells(["1", "x"]), infer_cells(["NA"])
    ('numeric', 'boolean', 'categorical', 'categorical')
    """
    there = {cell.strip() for cell in cells if cell} - {_MISSING}
    if there and all(cell.lower() in _BOOLEANS for cell in there):
        return "boolean"
    return "numeric" if there and all(map(_NUMBER.fullmatch, there)) else "categorical"


def stored_value(name: str, value: object, rule: KeepRule) -> object:
    """What a sample would hold of the feature's value.

    >>> stored_value("note", "by 9", KeepRule({"note": "text"}))
    [4, 2, 0.25, 0.0]
    """
    if type(value) is str or name in rule.redact:
        return kept_feature(name, value, rule)
    return value


def _number(text: str) -> int | float:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!a} is not a number")
    if len(text) <= _WIDEST_WHOLE and text.lstrip("+-").isdigit() and (whole := int(text)) in _INT64:
        return whole  # to the last digit, as in an event: else its hash would be another one
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]!a} is not a finite number")
    return number
