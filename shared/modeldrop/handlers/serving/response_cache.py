"""Answers that were given, kept for a while for the same input. In the memory of this process; off by default.

The key holds the digest of the version and the input in one spelling, so a swap forgets nothing and mixes nothing. The
least recently used answers go first when there is no room. The time is an argument.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

_ENTRY_BYTES = 300
"""What an entry takes beside its answer: the key, the tuple, and its place in the dictionary."""


class ResponseCache:
    """At most ``most_bytes`` of answers, each for ``keep_seconds``. Safe from many threads."""

    def __init__(self, keep_seconds: float, most_bytes: int) -> None:
        self._keep_seconds = keep_seconds
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, key: bytes, now: float) -> dict[str, Any] | None:
        """The answer, as an object of its own; None if there is none, or it is too old."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if now >= entry[0]:
                self._forget(key)
                return None
            self._entries.move_to_end(key)
        answer: dict[str, Any] = msgspec.json.decode(entry[1])
        return answer

    def put(self, key: bytes, answer: Mapping[str, Any], now: float) -> None:
        """Keep the answer, unless it says that something went wrong: the next attempt may go better."""
        if "error" in answer or answer.get("refused"):
            return
        data = msgspec.json.encode(answer)
        with self._lock:
            self._forget(key)
            if len(data) + _ENTRY_BYTES > self._most_bytes:
                return
            self._entries[key] = (now + self._keep_seconds, data)
            self._bytes += len(data) + _ENTRY_BYTES
            while self._bytes > self._most_bytes:
                self._forget(next(iter(self._entries)))

    def __len__(self) -> int:
        return len(self._entries)

    def _forget(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry[1]) + _ENTRY_BYTES


_QUOTES = frozenset("'\"`„“”«»‘’")


def cache_key(served: str, instance: object) -> bytes:
    """Of what is served (version and digest), and the input: keys in order, white space of the question as one.

    In a question with quotes white space may mean something, and stays.

    >>> a = cache_key("d", {"user_query": "how  many? ", "dataset_name": "x"})
    >>> a == cache_key("d", {"dataset_name": "x", "user_query": "how many?"})
    True
    """
    question = instance.get("user_query") if isinstance(instance, dict) else None
    if isinstance(instance, dict) and isinstance(question, str) and not set(question) & _QUOTES:
        instance = instance | {"user_query": " ".join(question.split())}
    return hashlib.sha256(served.encode() + b"\0" + msgspec.json.encode(instance, order="deterministic")).digest()
