"""What of an event is stored: the same features of every row, no text, and never more than a row has room for."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.domain.sampling.kept_values import (
    CUT,
    LONGEST_RAW_BYTES,
    KeepRule,
    fitting_features,
    kept_feature,
    kept_features,
    kept_value,
    observed_feature,
)
from modeldrop.domain.sampling.payload import SampledPrediction, prediction_row
from modeldrop.domain.sampling.rows import MAX_NAMES_BYTES, MAX_ROW_BYTES

TYPES = ("numeric", "boolean", "categorical", "text")
INT64 = st.integers(-(2**63), 2**63 - 1)
values = st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=300)
rules = st.builds(
    KeepRule,
    st.dictionaries(st.text(min_size=1, max_size=40), st.sampled_from(TYPES), min_size=1, max_size=300),
    st.just({}),
    st.none() | st.just(b"a key"),
)


@settings(deadline=None, max_examples=60)
@given(rules, st.data())
def test_every_row_of_a_version_has_its_features_and_room_for_them(rule: KeepRule, data: st.DataObject) -> None:
    hashed = data.draw(st.lists(st.sampled_from(sorted(rule.declared)), max_size=5))
    rule = KeepRule(rule.declared, dict.fromkeys(hashed, "hash"), rule.key)
    said: dict[str, Any] = {name: data.draw(values) for name in sorted(rule.declared)[:20]}
    kept = kept_features(said | {"not declared": "x"}, rule)
    assert list(kept) == list(rule.kept)
    assert rule.left_out == len([n for n in rule.declared if not rule.is_dropped(n)]) - len(kept)
    longest = "\U0001f600" * 64
    row = prediction_row(7, SampledPrediction(2**62, kept_value(longest), 0.1, "ok", kept))
    assert len(row.values) <= MAX_ROW_BYTES


@pytest.mark.parametrize(
    ("type_", "worst", "fewest"), [("numeric", 0.1, 180), ("boolean", True, 500), ("categorical", "ä" * 16, 40)]
)
def test_the_widest_rows_fit(type_: str, worst: object, fewest: int) -> None:
    rule = KeepRule({f"f{number:04d}": type_ for number in range(1_000)})
    kept = kept_features(dict.fromkeys(rule.declared, worst), rule)
    row = prediction_row(7, SampledPrediction(2**62, "\U0001f600" * 64, 0.1, "ok", kept))
    assert fewest < len(kept) == 1_000 - rule.left_out
    assert len(row.values) <= MAX_ROW_BYTES


def test_long_names_have_their_own_limit() -> None:
    rule = KeepRule({f"{number:03d}" + "n" * 125: "boolean" for number in range(300)})
    row = prediction_row(7, SampledPrediction(0, 1, None, "ok", kept_features({}, rule)))
    assert MAX_NAMES_BYTES - 200 < len(row.names) <= MAX_NAMES_BYTES
    assert (len(rule.kept), rule.left_out) == (45, 255)


@pytest.mark.parametrize(
    ("type_", "value", "kept"),
    [
        ("numeric", "12.5 or so", []),
        ("numeric", True, True),
        ("boolean", "yes", []),
        ("boolean", 1, []),
        ("boolean", None, None),
        ("categorical", "x" * LONGEST_RAW_BYTES, "x" * LONGEST_RAW_BYTES),
        ("categorical", "x" * 257, [257, 1, 0.0, 0.0]),
        ("categorical", 7, 7),
        ("text", "by 9", [4, 2, 0.25, 0.0]),
        ("text", 9, 9),
    ],
)
def test_of_a_value_what_its_type_says(type_: str, value: object, kept: object) -> None:
    assert kept_feature("f", value, KeepRule({"f": type_})) == kept


def test_a_long_category_is_a_digest_of_its_own() -> None:
    rule = KeepRule({"f": "categorical"})
    one, same, other = (kept_feature("f", text, rule) for text in ("x" * 33, "x" * 33, "x" * 34))
    assert one == same != other
    assert len(one) == 25 and "x" not in one


def test_a_rule_changed_is_a_rule_made_anew() -> None:
    rule = KeepRule({"zip": "numeric"}, {"zip": "hash"}, b"key")
    assert rule.kept == {"zip": "keyed_hash"}
    assert msgspec.structs.replace(rule, key=None).kept == {}


def test_what_is_to_be_hashed_is_never_taken_for_a_hash_when_it_is_stored() -> None:
    """An app may send the plain SHA-256 of something that can be guessed."""
    rule, digest = KeepRule({"id": "categorical"}, {"id": "hash"}, b"key"), "0a" * 32
    assert kept_feature("id", digest, rule) not in (digest, None)
    assert observed_feature("id", kept_feature("id", "7", rule), rule) == kept_feature("id", "7", rule)


def test_undeclared_features_say_where_they_were_cut() -> None:
    features = {f"f{number:03d}": 0.5 for number in range(100)}
    kept = fitting_features(features, 1_000)
    assert kept.pop(CUT, "none") is None
    assert list(kept) == list(features)[: len(kept)]
    assert CUT not in fitting_features(features, 10_000)
