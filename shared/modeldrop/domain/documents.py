"""What a document store may be asked to keep: paths and values, checked before any store sees them.

The limits are Firestore's, the strictest store there is, so that a document that one store takes the other takes too.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from modeldrop.errors import FieldProblem, InvalidInput, InvalidName

MAX_ID_BYTES = 1_500
MAX_PATH_BYTES = 3_500
"""An index entry holds the path, its parent's path and the id, and may have 7.5 KiB."""
MAX_COLLECTIONS = 100
MAX_KEY_BYTES = 1_500
MAX_LEVELS = 20
"""Maps and lists inside one another; the document's own map is the first."""
MAX_DOCUMENT_BYTES = 1_048_576 - 8_192
"""1 MiB, less what a store wraps around the data: the full path, the id once more, two field names."""
MAX_COMMIT_BYTES = 5 * 1_048_576
"""A commit travels as one request of at most 10 MiB, and its bytes there are fewer than twice the estimate."""
MAX_PROBLEMS = 100

_INT64 = range(-(2**63), 2**63)
_BYTES_OF_NUMBER = 8  # also for null and booleans
_BYTES_AROUND = 4  # for each key, text, byte string, map and list


def split_document_path(path: str) -> tuple[str, str]:
    """Collection and id of a document's path; raises InvalidName.

    >>> split_document_path("models/fraud/versions/v1")
    ('models/fraud/versions', 'v1')
    >>> split_document_path("models/../versions/v1")
    Traceback (most recent call last):
    modeldrop.errors.InvalidName: '..' is not an id, in 'models/../versions/v1'
    """
    segments = _segments(path)
    if len(segments) % 2:
        raise InvalidName(f"{_shown(path)} names a collection, not a document")
    return "/".join(segments[:-1]), segments[-1]


def check_collection_path(path: str) -> None:
    """Raises InvalidName unless the path names a collection.

    >>> check_collection_path("models/fraud/versions")
    """
    if len(_segments(path)) % 2 == 0:
        raise InvalidName(f"{_shown(path)} names a document, not a collection")


def check_id(name: str) -> None:
    """Raises InvalidName unless the name can be a document's id: 1 to 1,500 bytes of UTF-8 on one line.

    >>> check_id("2026-01-01T00:00:00Z~v1@3")
    """
    if reason := _id_problem(name):
        raise InvalidName(reason)


def check_page(collection: str, after: str | None, limit: int) -> None:
    """Raises InvalidName or InvalidInput unless these can be asked of a listing."""
    check_collection_path(collection)
    if after is not None:
        check_id(after)
    if limit < 1:
        raise InvalidInput([FieldProblem("limit", f"must be at least 1, not {limit}")])


def check_data(data: object) -> int:
    """The estimated size in bytes of a document's data; raises InvalidInput with all that is wrong with it.

    The estimate is 8 for a number, boolean or null, and 4 around each key, text, byte string, map and list. That is
    never below Firestore's own count (8 a number, 1 a boolean or null, 1 around keys and text, nothing around others).

    >>> check_data({"a": 1})
    17
    >>> check_data({"a": [1, [2]], "b": {"c": float("nan")}})
    Traceback (most recent call last):
    modeldrop.errors.InvalidInput: a[1]: a list directly in a list cannot be stored; b.c: nan is not a finite number
    """
    if type(data) is not dict:
        raise InvalidInput([FieldProblem("$", f"a document is a map, not {type(data).__name__}")])
    walk = _Walk()
    walk.value(data, "", 1)
    if walk.size > MAX_DOCUMENT_BYTES:
        walk.problems.append(FieldProblem("$", f"is larger than {MAX_DOCUMENT_BYTES:,} bytes"))
    if walk.problems:
        raise InvalidInput(walk.problems)
    return walk.size


def check_commit(paths: Sequence[str], documents: Sequence[object]) -> list[tuple[str, str]]:
    """Collection and id of each path, if they may be written in one commit that puts these documents there.

    Raises InvalidName, or InvalidInput where a document is wrong, a path is written twice or all is too large.

    >>> check_commit(["models/fraud"], [{"production": "v1"}])
    [('models', 'fraud')]
    """
    keys = [split_document_path(path) for path in paths]
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise InvalidInput([FieldProblem(path, "is written twice in one commit") for path in twice])
    size = sum(check_data(data) for data in documents)
    if size > MAX_COMMIT_BYTES:
        raise InvalidInput([FieldProblem("$", f"one commit of {size:,} bytes; {MAX_COMMIT_BYTES:,} at most")])
    return keys


def _segments(path: str) -> list[str]:
    if type(path) is not str:
        raise InvalidName(f"a path is text, not {type(path).__name__}")
    segments = path.split("/")
    for segment in segments:
        if reason := _id_problem(segment):
            raise InvalidName(f"{reason}, in {_shown(path)}")
    if len(path.encode()) > MAX_PATH_BYTES or len(segments) > 2 * MAX_COLLECTIONS:
        raise InvalidName(f"longer than {MAX_PATH_BYTES} bytes or {MAX_COLLECTIONS} collections: {_shown(path)}")
    return segments


def _id_problem(name: str) -> str | None:
    if type(name) is not str:
        return f"an id is text, not {type(name).__name__}"
    if name in ("", ".", "..") or "/" in name:
        return f"{_shown(name)} is not an id"
    if _is_reserved(name):
        return f"{_shown(name)} is reserved"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return f"{_shown(name)} has control characters"
    size = _utf8_size(name)
    if size is None:
        return f"{_shown(name)} is not Unicode text"
    return f"{_shown(name)} is longer than {MAX_ID_BYTES} bytes" if size > MAX_ID_BYTES else None


def _is_reserved(name: str) -> bool:
    return len(name) >= 4 and name.startswith("__") and name.endswith("__")


def _utf8_size(text: str) -> int | None:
    """Bytes of the text in UTF-8; None where it holds half a surrogate pair."""
    try:
        return len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        return None


def _shown(text: str) -> str:
    """The text quoted, escaped and short, fit for a message."""
    return ascii(text if len(text) <= 80 else text[:80] + "…")


class _Walk:
    """One pass over a document: adds up its size, gathers problems, and stops early where either is too large."""

    def __init__(self) -> None:
        self.size = 0
        self.problems: list[FieldProblem] = []

    def value(self, value: Any, where: str, level: int) -> None:
        kind = type(value)
        if kind is str:
            self._text(value, where)
        elif kind is bytes:
            self.size += _BYTES_AROUND + len(value)
        elif kind is dict or kind is list:
            self._container(value, where, level)
        else:
            self.size += _BYTES_OF_NUMBER
            self._scalar(value, where)

    def _text(self, value: str, where: str) -> None:
        size = _utf8_size(value)
        if size is None:
            self._problem(where, "is not Unicode text (half a surrogate pair)")
        self.size += _BYTES_AROUND + (size or 0)

    def _scalar(self, value: object, where: str) -> None:
        if type(value) is int:
            if value not in _INT64:
                self._problem(where, "is not a 64-bit integer")
        elif type(value) is float:
            if not math.isfinite(value):
                self._problem(where, f"{value} is not a finite number")
        elif value is not None and type(value) is not bool:
            self._problem(where, f"a {type(value).__name__} cannot be stored")

    def _container(self, value: dict[Any, Any] | list[Any], where: str, level: int) -> None:
        self.size += _BYTES_AROUND
        if level > MAX_LEVELS:
            self._problem(where, f"is nested deeper than {MAX_LEVELS} levels")
        elif isinstance(value, dict):
            for key, item in value.items():
                if self._is_over():
                    return
                inside = self._key(key, where)
                self.value(item, inside, level + 1)
        else:
            for index, item in enumerate(value):
                if self._is_over():
                    return
                self._element(item, f"{where}[{index}]", level)

    def _element(self, item: Any, where: str, level: int) -> None:
        if type(item) is list:
            self._problem(where, "a list directly in a list cannot be stored")
        else:
            self.value(item, where, level + 1)

    def _key(self, key: object, where: str) -> str:
        """Checks a map's key and returns the path of what it holds."""
        if type(key) is not str:
            self._problem(where, f"a key is text, not {type(key).__name__}")
            return where
        size = _utf8_size(key)
        name = key if key.isascii() and key.isprintable() and size and size <= 80 else _shown(key)
        inside = f"{where}.{name}" if where else name
        if size is None:
            self._problem(inside, "the key is not Unicode text")
        elif not 0 < size <= MAX_KEY_BYTES:
            self._problem(inside, f"a key has 1 to {MAX_KEY_BYTES} bytes")
        elif _is_reserved(key):
            self._problem(inside, "the key is reserved")
        self.size += _BYTES_AROUND + (size or 0)
        return inside

    def _problem(self, where: str, message: str) -> None:
        self.problems.append(FieldProblem(where or "$", message))

    def _is_over(self) -> bool:
        return self.size > MAX_DOCUMENT_BYTES or len(self.problems) >= MAX_PROBLEMS
