"""What an app does not want to hand out: features left out, or replaced by a keyed hash."""

import hmac
from collections.abc import Mapping
from typing import Literal

from modeldrop.errors import ConfigurationError

Scalar = int | float | str | bool | None
Rule = Literal["drop", "hash"]


class Redaction:
    """Rules by feature. Equal values have equal hashes under one key, so that categories can still be compared."""

    def __init__(self, rules: Mapping[str, Rule], key: bytes | str | None) -> None:
        unknown = sorted({str(rule) for rule in rules.values()} - {"drop", "hash"})
        if unknown:
            raise ConfigurationError(f"redact knows drop and hash, not {', '.join(unknown)}")
        if "hash" in rules.values() and not key:
            raise ConfigurationError("redact by hash needs a hash_key: without one, values can be guessed")
        self._rules = dict(rules)
        self._key = key.encode() if isinstance(key, str) else key or b""

    def drops(self, feature: str) -> bool:
        """Whether the feature is left out."""
        return self._rules.get(feature) == "drop"

    def applied(self, feature: str, value: Scalar) -> Scalar:
        """The value as it may leave the app. A missing one stays missing: drift has to see that.

        >>> Redaction({"email": "hash"}, b"key").applied("email", "a@b.c")
        '39ae49c50426b2bd08543508b376ed900cccf8729da709864ff1e0ef842c25b6'
        """
        if value is None or self._rules.get(feature) != "hash":
            return value
        return hmac.digest(self._key, canonical_text(value).encode(), "sha256").hex()


def canonical_text(value: int | float | str | bool) -> str:
    """One text for what JSON cannot keep apart: 5 and 5.0 are one number, and so is the text "5".

    >>> [canonical_text(value) for value in (5, 5.0, "5", -0.0, 0.1, True, "DE")]
    ['5', '5', '5', '0', '0.1', 'true', 'DE']
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)
