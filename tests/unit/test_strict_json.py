"""strict_json: hostile bytes end in InvalidInput, never in another error or in a value two readers see differently."""

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.errors import InvalidInput
from modeldrop.events import strict_json

LIMIT_BYTES = 100_000


def decode(data: bytes) -> object:
    return strict_json.decode(data, limit_bytes=LIMIT_BYTES)


REFUSED = {
    "empty": b"",
    "blank": b"  \n",
    "not json": b"model: flights",
    "truncated": b'{"a": [1, 2',
    "trailing text": b'{"a": 1} x',
    "two documents": b"1 2",
    "trailing comma": b"[1,]",
    "comment": b"/* x */ 1",
    "single quotes": b"{'a': 1}",
    "leading zero": b"01",
    "NaN": b"[NaN]",
    "Infinity": b"[Infinity]",
    "minus Infinity": b"[-Infinity]",
    "number beyond a double": b"[1e999]",
    "negative beyond a double": b"[-1E+999]",
    "integer beyond a double": b"[" + b"9" * 400 + b"]",
    "integer beyond 4,300 digits": b"[" + b"9" * 5_000 + b"]",
    "integer beyond 64 bits": b"[9223372036854775808]",
    "integer below 64 bits": b"[-9223372036854775809]",
    "key twice": b'{"a": 1, "a": 2}',
    "key twice, once escaped": b'{"a": 1, "\\u0061": 2}',
    "key twice, far down": b'[{"x": {"": [{"k": ":", "k": "{"}]}}]',
    "lone high surrogate": b'["\\ud800"]',
    "lone low surrogate": b'["\\udc00"]',
    "surrogates in the wrong order": b'["\\udc00\\ud800"]',
    "lone surrogate in a key": b'{"\\ud800x": 1}',
    "surrogate as UTF-8": b'["\xed\xa0\x80"]',
    "not UTF-8": b'["\xff"]',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "raw control character": b'["\x00"]',
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "33 levels": b"[" * 33 + b"]" * 33,
    "nested bomb": b"[" * 90_000,
    "nested bomb of objects": b'{"a":' * 15_000,
    "nested after an escaped quote": b'["\\"",' * 15_000,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_one_problem_of_the_whole_document(data: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode(data)
    (problem,) = caught.value.problems
    assert problem.field == "$"
    assert problem.message


ACCEPTED = {
    "scalar": (b"null", None),
    "bounds of 64 bits": (b"[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
    "32 levels": (b"[" * 32 + b"]" * 32, None),
    "brackets in strings": (b'["' + b"[{" * 100 + b'", "\\"[[", "\\\\"]', ["[{" * 100, '"[[', "\\"]),
    "colons in strings": (b'{"a:b": "c:d"}', {"a:b": "c:d"}),
    "the same key in two objects": (b'[{"a": 1}, {"a": {"a": 2}}]', [{"a": 1}, {"a": {"a": 2}}]),
    "byte order mark": (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    "surrogate pair": (b'["\\ud83d\\ude00"]', ["\N{GRINNING FACE}"]),
    "empty key": (b'{"": 0}', {"": 0}),
    "whitespace around": (b" \r\n\t[1.5] \n", [1.5]),
    "underflow": (b"[1e-999]", [0.0]),
}


@pytest.mark.parametrize(("data", "value"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(data: bytes, value: object) -> None:
    decoded = decode(data)
    assert value is None or decoded == value


def test_the_size_is_checked_first() -> None:
    assert strict_json.decode(b"[1]", limit_bytes=3) == [1]
    with pytest.raises(InvalidInput, match=r"\$: 4 bytes, more than the 3 allowed"):
        strict_json.decode(b"[12]", limit_bytes=3)


def test_the_repeated_key_is_named_in_ascii() -> None:
    with pytest.raises(InvalidInput, match=r"the key 'f\\u202e1' twice"):
        decode('{"f\u202e1": 1, "f\u202e1": 2}'.encode())


def test_hostile_documents_take_linear_time() -> None:
    """Two megabytes of the dearest shapes; quadratic work would take minutes."""
    size = 2_000_000
    shapes = [
        b'"' + b"\\\\" * (size // 2),
        b"[" + b"[]," * (size // 3),
        b'["' + b'","' * (size // 3),
        b'{"a":1,' * 250_000,
    ]
    started = time.process_time()
    for data in shapes:
        with pytest.raises(InvalidInput):
            strict_json.decode(data, limit_bytes=len(data))
    assert time.process_time() - started < 10


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab:[{"\\é', max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES, st.booleans())
def test_whatever_the_standard_library_writes_is_read_back(value: object, in_ascii: bool) -> None:
    assert decode(json.dumps(value, ensure_ascii=in_ascii).encode()) == value


@given(st.text('[]{}",:\\ 0u1ea-.', max_size=40) | st.binary(max_size=40))
def test_any_bytes_give_a_value_or_invalid_input(text: str | bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    try:
        value = decode(data)
    except InvalidInput:
        return
    assert value == json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    assert not isinstance(value, float) or math.isfinite(value)


# --- a list, element by element --------------------------------------------------------------------------------


def elements(data: bytes, limit_count: int = 10) -> list[object]:
    return strict_json.decode_list_field(data, "rows", limit_bytes=LIMIT_BYTES, limit_count=limit_count)


def test_a_bad_element_leaves_its_neighbours_alone() -> None:
    big = b"9" * 5_000
    data = b'\xef\xbb\xbf{"x": 1, "rows": [1, 1e999, {"a": 1, "a": 2}, ' + big + b', {"a": "\xff"}, {"a": [2]}]}'
    first, infinite, twice, too_big, not_utf8, last = elements(data)
    assert (first, last) == (1, {"a": [2]})
    for problem in (infinite, twice, too_big, not_utf8):
        assert isinstance(problem, InvalidInput)
    assert "'a' twice" in str(twice)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "the field 'rows' is missing"),
        (b'{"rows": {}}', "Expected `array`, got `object` in 'rows'"),
        (b'{"rows": null}', "Expected `array`, got `null` in 'rows'"),
        (b'{"rows": [1], "rows": [2]}', "twice"),
        (b'{"rows": [1], "rows": [{"a": "\xff", "a": ' + b"9" * 5_000 + b"}]}", "twice"),
        (b'{"rows": [NaN]}', "malformed"),
        (b'{"rows": [1] } x', "malformed"),
        (b'{"rows": ' + b"[" * 40 + b"]" * 40 + b"}", "nested more than 32 levels"),
        (b'{"rows": [1, 2, 3]}', "'rows' has 3 elements, more than 2"),
    ],
)
def test_a_document_wrong_as_a_whole(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        elements(data, limit_count=2)
    assert reason in str(caught.value)


def test_keys_inside_elements_do_not_count_as_the_documents_own() -> None:
    assert elements(b'{"rows": [{"a": {"b": 1}}], "c": {"rows": 2}}') == [{"a": {"b": 1}}]
