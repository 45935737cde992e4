"""JSON from outside, with every limit checked before anything is built from it.

Stricter than RFC 8259 where it leaves a choice: a document that two readers could understand differently is refused.

- at most ``limit_bytes`` and 32 levels of nesting, both checked on the bytes: no bomb reaches the decoder;
- numbers must be finite as a double (``1e999`` is refused), integers must fit into signed 64 bits: rounding an id in
  silence, or failing later in a store, would both be worse than a clear refusal here;
- the same key twice in one object is refused (msgspec alone keeps the last one, others keep the first);
- text must be UTF-8 without lone surrogates; one byte order mark at the start is dropped (Windows tools write it);
- nothing may follow the document.
"""

import json
import re
from typing import Any

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput

MOST_LEVELS = 32
SMALLEST_INTEGER = -(2**63)
LARGEST_INTEGER = 2**63 - 1

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Strings are matched whole, so that brackets and colons inside them are passed over. Possessive: linear time.
_STRING_OR_SIGN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[][{}:]', re.DOTALL)


def decode(data: bytes, *, limit_bytes: int) -> Any:
    """The document as None, bool, int, float, str, list and dict.

    Raises InvalidInput with one problem, at field ``$``.

    >>> decode(b'{"f1": 0.9}', limit_bytes=100)
    {'f1': 0.9}
    >>> decode(b'{"f1": 0.9, "f1": 0.1}', limit_bytes=100)
    Traceback (most recent call last):
    modeldrop.errors.InvalidInput: $: an object has the key 'f1' twice
    """
    data = _within_size(data, limit_bytes)
    return _decode_whole(data)


def decode_list_field(data: bytes, name: str, *, limit_bytes: int, limit_count: int) -> list[Any]:
    """The elements of the list ``name`` in a top-level object, each decoded by itself.

    An element that is JSON but not acceptable (a key twice, a number out of range) stands in the list as the
    InvalidInput that says why, and leaves its neighbours alone. Raises InvalidInput if the object is not JSON, has no
    such list, or the list is longer than ``limit_count``. Other fields of the object are not looked at.

    >>> decode_list_field(b'{"rows": [1, 1e999]}', "rows", limit_bytes=100, limit_count=10)
    [1, InvalidInput('$: Number out of range')]
    """
    data = _within_size(data, limit_bytes)
    top_level_keys = _count_keys(data, deepest=1)
    fields = _typed(data, dict[str, msgspec.Raw])
    if len(fields) != top_level_keys:
        raise _invalid("the object has a key twice")
    if name not in fields:
        raise _invalid(f"the field {name!r} is missing")
    elements = _typed(bytes(fields[name]), list[msgspec.Raw], f" in {name!r}")
    if len(elements) > limit_count:
        raise _invalid(f"{name!r} has {len(elements):,} elements, more than {limit_count:,}")
    return [_decode_or_problem(bytes(element)) for element in elements]


def _within_size(data: bytes, limit_bytes: int) -> bytes:
    if len(data) > limit_bytes:
        raise _invalid(f"{len(data):,} bytes, more than the {limit_bytes:,} allowed")
    return without_mark(data)


def without_mark(data: bytes) -> bytes:
    """The document without a byte order mark at its start.

    >>> without_mark("\\ufeff[]".encode())
    b'[]'
    """
    return data.removeprefix(_BYTE_ORDER_MARK)


def _decode_or_problem(data: bytes) -> Any:
    try:
        return _decode_whole(data)
    except InvalidInput as problem:
        return problem


def _decode_whole(data: bytes) -> Any:
    keys_written = _count_keys(data)
    value = _typed(data, Any)
    if _count_kept_keys(value) != keys_written:
        raise _invalid(f"an object has the key {_repeated_key(data)[:128]!a} twice")
    return value


def _count_keys(data: bytes, deepest: int = MOST_LEVELS) -> int:
    """How many keys are written in objects down to level ``deepest``; raises InvalidInput if nested too deeply.

    Every colon outside a string follows a key. On bytes that are not JSON the number means nothing, but the levels
    are right up to the first error, and that is as far as a decoder gets.
    """
    level = keys = 0
    for match in _STRING_OR_SIGN.finditer(data):
        sign = data[match.start()]
        if sign == 0x3A:  # colon
            keys += level <= deepest
        elif sign in b"[{":
            level += 1
            if level > MOST_LEVELS:
                raise _invalid(f"nested more than {MOST_LEVELS} levels deep")
        elif sign in b"]}":
            level -= 1
    return keys


def _count_kept_keys(value: object) -> int:
    """How many keys the decoded value holds in all; raises InvalidInput for an integer beyond 64 bits."""
    keys = 0
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            keys += len(part)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, int) and not SMALLEST_INTEGER <= part <= LARGEST_INTEGER:
            raise _invalid("an integer does not fit into 64 bits")
    return keys


def _typed(data: bytes, kind: Any, place: str = "") -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise _invalid(f"{error}{place}") from None
    except UnicodeDecodeError:
        raise _invalid(f"not UTF-8{place}") from None


def _repeated_key(data: bytes) -> str:
    """The key that stands twice. Slow, as every object goes through Python: asked only where there is one."""

    def note_repeated(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                repeated.append(key)
            seen.add(key)

    repeated: list[str] = []
    json.loads(data, object_pairs_hook=note_repeated)
    return repeated[0]


def _invalid(message: str) -> InvalidInput:
    return InvalidInput([FieldProblem("$", message)])
