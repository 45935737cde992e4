"""Poison without what its version must not have stored: quarantine keeps bytes for months, and people read them.

Only where the event can be read as JSON and its version is registered. What is no JSON is kept as it came.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from modeldrop.domain.packages import MODEL_NAME, VERSION_NAME
from modeldrop.domain.sampling.kept_values import KeepRule, kept_feature, kept_value
from modeldrop.events.prediction_events import LONGEST_PREDICTION_ID, LabelEvent, Poison, PredictionEvent

Subject = tuple[str, str | None]
_FIELDS = {*PredictionEvent.__struct_fields__, *LabelEvent.__struct_fields__, "type"}
_ANSWERS = ("prediction", "label")


def document_of(poison: Poison) -> dict[str, Any] | None:
    """The event as JSON, read leniently (NaN is a number); None if it is none, or not one that has each key once."""
    try:
        document = json.loads(poison.raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def subject_of(document: Mapping[str, Any]) -> Subject | None:
    """The model and version it says it is of, without a version for a label; None if it says none that could be."""
    model, version = document.get("model"), document.get("version")
    if not (isinstance(model, str) and MODEL_NAME.fullmatch(model)):
        return None
    if document.get("type") == "label":
        return model, None
    return (model, version) if isinstance(version, str) and VERSION_NAME.fullmatch(version) else None


def masked(poison: Poison, document: Mapping[str, Any], rule: KeepRule) -> Poison:
    """The same poison; marked as cut if that leaves out anything that it would take to put the event back.

    >>> event = {"features": {"note": "private", "iban": "DE0", "amount": "many"}, "comment": "x"}
    >>> rule = KeepRule({"note": "text", "iban": "categorical", "amount": "numeric"}, {"iban": "drop"})
    >>> masked(Poison(0, b"", ()), event, rule).raw
    b'{"features": {}}'
    """
    features = document.get("features")
    known = {name: value for name, value in document.items() if name in _FIELDS and name != "features"}
    kept = {name: value for name, value in known.items() if _is_harmless(name, value)}
    is_cut = len(kept) < len(known)
    if isinstance(features, dict):
        wanted = {name: value for name, value in features.items() if _is_wanted(name, rule)}
        kept["features"] = {name: value for name, value in wanted.items() if _is_kept_as_it_is(name, value, rule)}
        is_cut = is_cut or len(kept["features"]) < len(wanted)
    elif "features" in document:
        is_cut = True
    if kept == document:
        return poison
    return msgspec.structs.replace(poison, raw=json.dumps(kept).encode(), is_cut=poison.is_cut or is_cut)


def _is_wanted(name: str, rule: KeepRule) -> bool:
    """Whether a row of the version would hold the feature: others are not missed when the event is put back."""
    return rule.redact.get(name) != "drop" and (not rule.declared or name in rule.kept)


def _is_kept_as_it_is(name: str, value: object, rule: KeepRule) -> bool:
    if isinstance(value, list | dict):
        return False
    kept = kept_feature(name, value, rule)
    return kept is value or bool(kept == value)


def _is_harmless(name: str, value: object) -> bool:
    if isinstance(value, dict):
        return name == "prediction" and not any(isinstance(part, str | list | dict) for part in value.values())
    if isinstance(value, str):
        return kept_value(value) == value if name in _ANSWERS else len(value) <= LONGEST_PREDICTION_ID
    return not isinstance(value, list)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("a key twice")
    return unique
