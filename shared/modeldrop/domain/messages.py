"""What a topic may be asked to carry: Pub/Sub's limits, checked before any queue sees the message."""

import re
from collections.abc import Mapping

from modeldrop.errors import FieldProblem, InvalidInput, TooLarge

MAX_MESSAGE_BYTES = 10_000_000 - 1_024
"""A request of one message has at most 10 MB; what is left out is for the topic's name and the framing."""
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_KEY_BYTES = 256
MAX_ATTRIBUTE_VALUE_BYTES = 1_024
_BYTES_AROUND_ATTRIBUTE = 16
_TOPIC = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}", re.ASCII)


def is_topic_name(name: str) -> bool:
    """Whether a topic of this name can exist.

    >>> is_topic_name("predictions"), is_topic_name("a/b"), is_topic_name("google-topic")
    (True, False, False)
    """
    return _TOPIC.fullmatch(name) is not None


def check_message(data: bytes, attributes: Mapping[str, str]) -> None:
    """Raises InvalidInput with all that is wrong with a message, or TooLarge over 10 MB.

    >>> check_message(b"{}", {"source": "app"})
    >>> check_message(b"", {})
    Traceback (most recent call last):
    modeldrop.errors.InvalidInput: data: a message has data or at least one attribute
    """
    problems: list[FieldProblem] = []
    if type(data) is not bytes:
        raise InvalidInput([FieldProblem("data", f"is bytes, not {type(data).__name__}")])
    if not data and not attributes:
        problems.append(FieldProblem("data", "a message has data or at least one attribute"))
    if len(attributes) > MAX_ATTRIBUTES:
        problems.append(FieldProblem("attributes", f"{len(attributes)} of them; {MAX_ATTRIBUTES} at most"))
    for key, value in list(attributes.items())[:MAX_ATTRIBUTES]:
        problems += _attribute_problems(key, value)
    if problems:
        raise InvalidInput(problems)
    size = len(data) + sum(len(k.encode()) + len(v.encode()) + _BYTES_AROUND_ATTRIBUTE for k, v in attributes.items())
    if size > MAX_MESSAGE_BYTES:
        raise TooLarge(f"a message of {size:,} bytes; {MAX_MESSAGE_BYTES:,} at most")


def _attribute_problems(key: object, value: object) -> list[FieldProblem]:
    where = f"attributes.{ascii(key)[:80]}"
    problems = []
    if not 0 < _utf8_size(key) <= MAX_ATTRIBUTE_KEY_BYTES:
        problems.append(FieldProblem(where, f"a key is text of 1 to {MAX_ATTRIBUTE_KEY_BYTES} bytes of UTF-8"))
    elif str(key).startswith("goog"):
        problems.append(FieldProblem(where, "keys that start with goog are reserved"))
    if not 0 <= _utf8_size(value) <= MAX_ATTRIBUTE_VALUE_BYTES:
        problems.append(FieldProblem(where, f"a value is text of at most {MAX_ATTRIBUTE_VALUE_BYTES} bytes of UTF-8"))
    return problems


def _utf8_size(text: object) -> int:
    """Bytes of the text in UTF-8; -1 for what is not Unicode text."""
    try:
        return len(text.encode()) if type(text) is str else -1
    except UnicodeEncodeError:
        return -1
