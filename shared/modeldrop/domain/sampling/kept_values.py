"""Which values of an event are kept, and in what form: the same for every telling of the event.

- A feature that the metadata does not declare is left out, where they declare any.
- A text is never kept, only numbers derived from it (``drift.text_features``). A text is what is declared as one, and
  whatever is too long for a category.
- What the policy redacts is left out, or replaced by a keyed hash.
- Of a version with more features than a row has room for, the first are kept, in the order of their names.
"""

import hmac
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from modeldrop.domain.drift.text_features import text_features

LONGEST_CATEGORY = 256
LONGEST_UNDECLARED = 64
"""A category in characters; a lower limit where nothing says that it is one."""
BYTES_OF_NUMBER = 9
BYTES_OF_TEXT_FEATURES = 1 + 4 * BYTES_OF_NUMBER
BYTES_AROUND_TEXT = 5


class KeepRule(msgspec.Struct, frozen=True):
    """What is kept of a version's features: their declared types by name (empty: all are kept), and what is redacted.

    Without ``key`` a feature that is to be hashed is left out: hashes without one can be guessed.
    """

    declared: dict[str, str] = {}
    redact: dict[str, Literal["drop", "hash"]] = {}
    key: bytes | None = None


def kept_features(features: Mapping[str, Any], rule: KeepRule) -> dict[str, Any]:
    """The features that may be stored, by name.

    >>> rule = KeepRule({"amount": "numeric", "note": "text", "iban": "categorical"}, {"iban": "drop"})
    >>> kept_features({"amount": 5.0, "note": "by 9", "iban": "DE00", "age": 40}, rule)
    {'amount': 5.0, 'note': [4, 2, 0.25, 0.0]}
    """
    declared, redact = rule.declared, rule.redact
    kept = {}
    for name, value in features.items():
        if declared and name not in declared:
            continue
        if name in redact:
            if redact[name] == "hash" and rule.key is not None:
                kept[name] = keyed_hash(value, rule.key)
        else:
            kept[name] = kept_value(value, declared.get(name)) if type(value) is str else value
    return kept


def kept_value(value: Any, declared: str | None = None) -> Any:
    """A feature's value, a prediction or a label as it may be stored.

    >>> kept_value("DE"), kept_value("DE", "text"), kept_value(7.5)
    ('DE', [2, 1, 0.0, 0.0], 7.5)
    """
    if type(value) is not str:
        return value
    longest = LONGEST_UNDECLARED if declared is None else LONGEST_CATEGORY
    return value if len(value) <= longest and declared != "text" else list(text_features(value))


def keyed_hash(value: int | float | str | bool | None, key: bytes) -> str | None:
    """HMAC-SHA256 in hex, as ``modeldrop.client`` writes it; a missing value stays missing: drift has to see that.

    5 and 5.0 are one number in JSON, and so have one hash (as has the text "5").

    >>> keyed_hash(5, b"key") == keyed_hash(5.0, b"key"), keyed_hash(None, b"key")
    (True, None)
    """
    if value is None:
        return None
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, float):
        text = str(int(value)) if value.is_integer() else repr(value)
    else:
        text = str(value)
    return hmac.digest(key, text.encode(), "sha256").hex()


def fitting_features(features: Mapping[str, Any], room_bytes: int) -> dict[str, Any]:
    """The first features, in the order of their names, that surely fit into so many bytes of names and values.

    Sizes are counted such that equal values count the same however they are written (5 and 5.0).

    >>> fitting_features({"b": "x" * 50, "a": 1}, 20)
    {'a': 1}
    """
    kept = {}
    for name in sorted(features):
        room_bytes -= BYTES_AROUND_TEXT + len(name.encode()) + _most_bytes(features[name])
        if room_bytes < 0:
            break
        kept[name] = features[name]
    return kept


def _most_bytes(value: Any) -> int:
    if type(value) is str:
        return BYTES_AROUND_TEXT + len(value.encode())
    return BYTES_OF_TEXT_FEATURES if type(value) is list else BYTES_OF_NUMBER
