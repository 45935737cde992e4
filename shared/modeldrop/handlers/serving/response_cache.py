"""Answers that were given, kept for a while for the same input. Off by default.

In the memory of this process, or in a Redis that several share (``adapters.redis.shared_answers``).

The key holds the digest of the version and the input in one spelling, so a swap forgets nothing and mixes nothing. The
least recently used answers go first when there is no room. The time is an argument.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

_ENTRY_BYTES = 300
"""What an entry takes beside its answer: the key, the tuple, and its place in the dictionary."""


class KeptAnswers(Protocol):
    """Where answers are kept. Used by many threads at once; never raises, and hardly waits."""

    def get_many(self, keys: Sequence[bytes], now: float) -> list[dict[str, Any] | None]:
        """The answer to each key, as an object of its own; None where there is none, or it is too old."""

    def put_many(self, answers: Mapping[bytes, Mapping[str, Any]], now: float) -> None:
        """Keep these answers by their keys."""


class ResponseCache:
    """At most ``most_bytes`` of answers, each for ``keep_seconds``. Safe from many threads."""

    def __init__(self, keep_seconds: float, most_bytes: int) -> None:
        self._keep_seconds = keep_seconds
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def get_many(self, keys: Sequence[bytes], now: float) -> list[dict[str, Any] | None]:
        """See ``KeptAnswers``."""
        return [self.get(key, now) for key in keys]

    def put_many(self, answers: Mapping[bytes, Mapping[str, Any]], now: float) -> None:
        """See ``KeptAnswers``."""
        for key, answer in answers.items():
            self.put(key, answer, now)

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
        """Keep the answer; the older one to the same key goes in any case."""
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


def is_worth_keeping(answer: Mapping[str, Any]) -> bool:
    """Not one that says that something went wrong: the next attempt may go better.

    >>> is_worth_keeping({"score": 0.5}), is_worth_keeping({"refused": True}), is_worth_keeping({"error": "no"})
    (True, False, False)
    """
    return "error" not in answer and not answer.get("refused")


def given_again(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer of the cache as it goes out: of one that says what it cost, nothing is paid a second time.

    >>> given_again({"sql_query": "SELECT 1", "metadata": {"tokens_in": 80, "tokens_out": 9, "cost_usd": 0.001}})
    {'sql_query': 'SELECT 1', 'metadata': {'tokens_in': 0, 'tokens_out': 0, 'cost_usd': 0.0, 'cached': True}}
    >>> given_again({"score": 0.5})
    {'score': 0.5}
    """
    figures = answer.get("metadata")
    if not isinstance(figures, dict):
        return answer
    nothing = {"tokens_in": 0, "tokens_out": 0, "cost_usd": 0.0, "latency_ms": 0.0, "attempts": 0}
    spent = {name: amount for name, amount in nothing.items() if name in figures}
    return answer | {"metadata": figures | spent | {"cached": True}}


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
