"""Which values of an event are kept, and in what form: the same for every telling of the event.

- A feature that the metadata does not declare is left out, where they declare any. Those they declare are kept with
  every row, None where an event has none: rows of a version share their names, and what a row lacks was not looked at.
- Which declared features fit into a row is decided once a version, by what each may take at most: the first in the
  order of their names. So the same ones are kept of every row, whatever is in it.
- A text is never kept, only numbers derived from it (``drift.text_features``). A text is what is declared as one, and
  whatever is too long for a category. Where a number or a boolean is declared, a text is ``[]``: of another type.
- A declared category of more than 32 bytes is kept as a short digest, which is as good a name.
- What the policy redacts is left out, or replaced by a keyed hash.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from modeldrop.domain.drift.text_features import text_features
from modeldrop.domain.sampling.rows import MAX_NAMES_BYTES, MAX_ROW_BYTES

LONGEST_CATEGORY = 256
LONGEST_UNDECLARED = 64
"""A category in characters; a lower limit where nothing says that it is one."""
LONGEST_RAW_BYTES = 32
"""Declared categories of more bytes are kept as a digest."""
CUT = ""
"""The name of no feature: it marks a row that had no room for the undeclared features after its last one."""

_BYTES_OF_NUMBER = 9
_BYTES_OF_TEXT_FEATURES = 1 + 4 * _BYTES_OF_NUMBER
_BYTES_OF_KEYED_HASH = 66
_BYTES_AROUND_TEXT = 5
_BYTES_BESIDE_FEATURES = 23 + 2 + 4 * LONGEST_UNDECLARED  # time, status, latency, heads; and the longest prediction
_OTHER_TYPE: list[object] = []
_KEYED_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)

Form = Literal["numeric", "boolean", "categorical", "text", "keyed_hash"]
_MOST_BYTES: Mapping[str, int] = {
    "numeric": _BYTES_OF_NUMBER,
    "boolean": 1,
    "categorical": max(LONGEST_RAW_BYTES + 2, _BYTES_OF_TEXT_FEATURES),
    "text": _BYTES_OF_TEXT_FEATURES,
    "keyed_hash": _BYTES_OF_KEYED_HASH,
}


class KeepRule(msgspec.Struct, frozen=True):
    """What is kept of a version's features: their declared types by name (empty: all are kept), and what is redacted.

    Without ``key`` a feature that is to be hashed is left out: hashes without one can be guessed. What follows from
    these: ``kept``, the declared features a row holds, in the order of their names, each with its form; ``left_out``,
    how many others there is no room for.

    >>> KeepRule({"zip": "numeric", "age": "numeric", "iban": "text"}, {"iban": "drop", "zip": "hash"}, b"k").kept
    {'age': 'numeric', 'zip': 'keyed_hash'}
    """

    declared: dict[str, str] = {}
    redact: dict[str, Literal["drop", "hash"]] = {}
    key: bytes | None = None
    kept: dict[str, str] = {}
    left_out: int = 0

    def __post_init__(self) -> None:
        forms = {name: form for name in sorted(self.declared) if (form := self._form(name)) is not None}
        kept = _fitting_forms(forms)
        msgspec.structs.force_setattr(self, "kept", kept)
        msgspec.structs.force_setattr(self, "left_out", len(forms) - len(kept))

    def is_dropped(self, name: str) -> bool:
        """Whether the policy leaves the feature out."""
        return name in self.redact and (self.redact[name] == "drop" or self.key is None)

    def _form(self, name: str) -> str | None:
        if name not in self.redact:
            return self.declared[name]
        return None if self.is_dropped(name) else "keyed_hash"


def kept_features(features: Mapping[str, Any], rule: KeepRule) -> dict[str, Any]:
    """The features that may be stored, by name.

    >>> rule = KeepRule({"amount": "numeric", "note": "text", "iban": "categorical"}, {"iban": "drop"})
    >>> kept_features({"amount": 5.0, "note": "by 9", "iban": "DE00", "age": 40}, rule)
    {'amount': 5.0, 'note': [4, 2, 0.25, 0.0]}
    >>> kept_features({"note": None}, rule)
    {'amount': None, 'note': None}
    """
    if rule.declared:
        said, key = features.get, rule.key
        return {
            name: value if type(value := said(name)) is float and form == "numeric" else _in_form(value, form, key)
            for name, form in rule.kept.items()
        }  # most are numbers, and a call takes longer than all the rest
    return {name: kept_feature(name, value, rule) for name, value in features.items() if not rule.is_dropped(name)}


def kept_feature(name: str, value: Any, rule: KeepRule) -> Any:
    """A feature's value as a row of the version would hold it; None if it would hold none.

    >>> kept_feature("amount", "not a number", KeepRule({"amount": "numeric"}))
    []
    """
    if rule.declared:
        return _in_form(value, rule.kept[name], rule.key) if name in rule.kept else None
    if name in rule.redact:
        return None if rule.is_dropped(name) else keyed_hash(value, rule.key or b"")
    return kept_value(value)


def observed_feature(name: str, value: Any, rule: KeepRule) -> Any:
    """A stored value as it would be stored by this rule: rows may be older than the policy's wish to redact.

    >>> observed_feature("zip", "10115", KeepRule({"zip": "categorical"}, {"zip": "hash"}, b"key"))[:8]
    '24e8e22e'
    """
    if name not in rule.redact or (type(value) is str and _KEYED_HASH.fullmatch(value)):
        return value
    return kept_feature(name, value, rule)


def kept_value(value: Any) -> Any:
    """A prediction, a label or the value of a feature that nothing declares, as it may be stored.

    >>> kept_value("DE"), kept_value(7.5), kept_value("by " * 30)
    ('DE', 7.5, [90, 30, 0.0, 0.0])
    """
    return list(text_features(value)) if type(value) is str and len(value) > LONGEST_UNDECLARED else value


def keyed_hash(value: Any, key: bytes) -> str | None:
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

    For features that nothing declares. ``CUT`` stands among them where one did not fit. Sizes are counted such that
    equal values count the same however they are written (5 and 5.0).

    >>> fitting_features({"b": "x" * 50, "a": 1}, 20)
    {'a': 1, '': None}
    """
    kept: dict[str, Any] = {}
    for name in sorted(features):
        room_bytes -= _BYTES_AROUND_TEXT + len(name.encode()) + _most_bytes(features[name])
        if room_bytes < 0:
            return kept | {CUT: None}
        kept[name] = features[name]
    return kept


def _fitting_forms(forms: Mapping[str, str]) -> dict[str, str]:
    kept = {}
    values, names = MAX_ROW_BYTES - _BYTES_BESIDE_FEATURES, MAX_NAMES_BYTES - _BYTES_AROUND_TEXT
    for name, form in forms.items():
        values -= _MOST_BYTES[form]
        names -= _BYTES_AROUND_TEXT + len(name.encode())
        if values < 0 or names < 0:
            break
        kept[name] = form
    return kept


def _in_form(value: Any, form: str, key: bytes | None) -> Any:
    return keyed_hash(value, key or b"") if form == "keyed_hash" else _FORMS[form](value)


def _number(value: Any) -> Any:
    return value if type(value) is not str else _OTHER_TYPE


def _boolean(value: Any) -> Any:
    return value if value is None or type(value) is bool else _OTHER_TYPE


def _category(value: Any) -> Any:
    if type(value) is not str or 4 * len(value) <= LONGEST_RAW_BYTES:
        return value
    if len(value) > LONGEST_CATEGORY:
        return list(text_features(value))
    written = value.encode()
    return value if len(written) <= LONGEST_RAW_BYTES else f"#{hashlib.blake2b(written, digest_size=12).hexdigest()}"


def _text(value: Any) -> Any:
    return list(text_features(value)) if type(value) is str else value


_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "numeric": _number,
    "boolean": _boolean,
    "categorical": _category,
    "text": _text,
}


def _most_bytes(value: Any) -> int:
    if type(value) is str:
        return _BYTES_AROUND_TEXT + len(value.encode())
    return _BYTES_OF_TEXT_FEATURES if type(value) is list else _BYTES_OF_NUMBER
