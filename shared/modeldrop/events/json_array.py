"""A JSON array taken apart, so that each element can be judged by itself."""

import re

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput

# Strings are matched whole, so that brackets and commas inside them are passed over. Possessive: linear time.
_STRING_OR_SIGN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[][{},]', re.DOTALL)
_CLOSING = {ord("["): ord("]"), ord("{"): ord("}")}
_COMMA, _QUOTE = b',"'
_SPACE = b" \t\r\n"
_MOST_COMMAS = 1_000_000  # msgspec makes an object of each element before we can count them: 64 bytes and more


def split_array(data: bytes, *, limit_count: int) -> list[bytes]:
    """The text of each element of the array ``data``, in order; none of them has been checked.

    Also where an element is no JSON, as long as strings and brackets still tell where it ends: Python's ``json.dumps``
    writes ``NaN`` unasked, and that must not cost the neighbours. Raises InvalidInput if the ends cannot be told, or
    if there are more than ``limit_count`` elements.

    >>> split_array(b'[1, {"a": NaN}, [2, "]"]]', limit_count=3)
    [b'1', b'{"a": NaN}', b'[2, "]"]']
    """
    elements = _split_valid(data)
    if elements is None:
        elements = _split_by_brackets(data.strip(_SPACE), limit_count)
    if len(elements) > limit_count:
        raise _invalid(f"more than {limit_count:,} elements")
    return elements


def _split_valid(data: bytes) -> list[bytes] | None:
    """The quick way; None where it does not lead there."""
    if data.count(b",") > _MOST_COMMAS:
        return None
    try:
        return [bytes(element) for element in msgspec.json.decode(data, type=list[msgspec.Raw])]
    except (msgspec.MsgspecError, RecursionError):
        return None


def _split_by_brackets(data: bytes, limit_count: int) -> list[bytes]:
    """The slow way; stops at the first element too many. A string that does not end reaches to the end of the data."""
    missing_brackets = bytearray()  # innermost last
    elements: list[bytes] = []
    start, end = 1, -1
    for match in _STRING_OR_SIGN.finditer(data):
        at = match.start()
        sign = data[at]
        if sign in _CLOSING:
            missing_brackets.append(_CLOSING[sign])
        elif sign == _COMMA and len(missing_brackets) == 1:
            elements.append(data[start:at].strip(_SPACE))
            start = at + 1
            if len(elements) > limit_count:
                return elements
        elif sign not in (_COMMA, _QUOTE):
            if not missing_brackets or missing_brackets.pop() != sign:
                raise _invalid("brackets do not match")
            if not missing_brackets:
                end = at
                break
    if data[:1] != b"[" or end != len(data) - 1:
        raise _invalid("not one array from the first character to the last")
    return [*elements, data[start:end].strip(_SPACE)]


def _invalid(message: str) -> InvalidInput:
    return InvalidInput([FieldProblem("$", message)])
