"""From variables of the environment to fields of a dataclass, and back to their names."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

SECRETS_PREFIX = "MODELDROP_SECRET_"
"""Variables that begin so are no settings: they hold the secrets of the local backend (``env:MODELDROP_SECRET_…``)."""


def variable(field_name: str) -> str:
    """The environment variable of a field.

    >>> variable("default_model")
    'MODELDROP_DEFAULT_MODEL'
    """
    return f"MODELDROP_{field_name.upper()}"


def typed_values(kind: type[Any], environment: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What the environment says of the fields, and what of that is of a wrong type."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in fields(kind):
        text = environment.get(variable(field.name), "").strip()
        if not text:
            continue
        of = next(t for t in (get_args(hints[field.name]) or (hints[field.name],)) if t is not type(None))
        try:
            values[field.name] = of(text)
        except ValueError:
            problems.append(f"{variable(field.name)} is not a {of.__name__}: {text!r}")
    return values, problems
