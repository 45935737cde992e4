"""Answers that were given, kept in Redis for all processes that serve the same versions.

It must never cost an answer, nor hold one up: every wait is short, and after a failure Redis is left alone for a while.
What comes back was written by whoever may write there: keep that to this service.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec

from modeldrop.errors import ConfigurationError
from modeldrop.serving.gemini.circuit_breaker import BreakerRules
from modeldrop.serving.gemini.shared_breaker import SharedBreaker

logger = logging.getLogger(__name__)

PREFIX = b"modeldrop:answer:"
LONGEST_WAIT_SECONDS = 0.1
"""For answers; also of a connection, and of each read and write."""
RULES = BreakerRules(failures_to_open=1, open_seconds=10.0)
LARGEST_ANSWER_BYTES = 1024 * 1024
MOST_CALLS = 16
"""At once."""

Answer = dict[str, Any]


class SharedAnswers:
    """See ``handlers.serving.response_cache.KeptAnswers``. How long they are kept is told by Redis's own clock.

    Calls have threads of their own: also finding the address, which has no timeout, holds nobody up.
    """

    def __init__(self, client: Any, keep_seconds: float, breaker: SharedBreaker) -> None:
        self._client = client
        self._keep_milliseconds = max(1, int(keep_seconds * 1000))
        self._breaker = breaker
        self._threads = ThreadPoolExecutor(MOST_CALLS, thread_name_prefix="shared-answers")
        self._free = threading.BoundedSemaphore(MOST_CALLS)

    def get_many(self, keys: Sequence[bytes], _: float) -> list[Answer | None]:
        """The answer to each key; None where there is none, or Redis does not say in time."""
        names = [_name(key) for key in keys]
        found = self._waited_for(lambda: self._client.mget(names)) if names else None
        return [None] * len(names) if found is None else [_answer(data) for data in found]

    def put_many(self, answers: Mapping[bytes, Mapping[str, Any]], _: float) -> None:
        """Keep these answers, if Redis takes them; not waited for."""
        data = {_name(key): msgspec.json.encode(answer) for key, answer in answers.items()}
        fitting = {name: encoded for name, encoded in data.items() if len(encoded) <= LARGEST_ANSWER_BYTES}
        if fitting:
            self._begin(partial(self._write, fitting), self._breaker.ask())

    def close(self) -> None:
        """Ends all connections, once what was begun has ended."""
        self._threads.shutdown()
        self._client.close()

    def _write(self, data: Mapping[bytes, bytes]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for name, encoded in data.items():
            pipeline.set(name, encoded, px=self._keep_milliseconds)
        pipeline.execute()

    def _waited_for(self, call: Callable[[], Any]) -> Any:
        ticket = self._breaker.ask()
        begun = self._begin(call, ticket)
        try:
            return begun.result(LONGEST_WAIT_SECONDS) if begun else None
        except TimeoutError:
            assert ticket is not None
            self._breaker.failed(ticket)
            return None

    def _begin(self, call: Callable[[], Any], ticket: int | None) -> "Future[Any] | None":
        """The call under way; None if Redis is left alone, or has too much to do. Its result is None if it fails."""
        if ticket is None:
            return None
        if not self._free.acquire(blocking=False):
            self._breaker.given_up(ticket)
            return None
        return self._threads.submit(self._end, call, ticket)

    def _end(self, call: Callable[[], Any], ticket: int) -> Any:
        try:
            said = call()
        except Exception as error:  # whatever it is: there is an answer without it. Its text might hold the password
            self._breaker.failed(ticket)
            logger.warning("the shared cache fails (%s): it is left alone for a while", type(error).__name__)
            return None
        finally:
            self._free.release()
        self._breaker.succeeded(ticket)
        return said


def connect(url: str, keep_seconds: float, breaker: SharedBreaker | None = None) -> SharedAnswers:
    """``url``: ``redis://[:password@]host[:port][/database]``, with TLS ``rediss://…``. Nothing is sent yet.

    Raises ConfigurationError for anything else, and where the client is not installed.
    """
    try:
        import redis  # noqa: PLC0415 - an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ConfigurationError(
            "a shared cache needs redis, which is not installed: pip install 'modeldrop[redis]'"
        ) from None
    if not url.startswith(("redis://", "rediss://")):
        raise ConfigurationError("MODELDROP_RESPONSE_CACHE_URL must be redis://… or rediss://…")
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=LONGEST_WAIT_SECONDS,
            socket_connect_timeout=LONGEST_WAIT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            max_connections=MOST_CALLS,
            decode_responses=False,
        )
    except ValueError:  # its message may repeat the password
        raise ConfigurationError("MODELDROP_RESPONSE_CACHE_URL is no address of a Redis") from None
    return SharedAnswers(client, keep_seconds, breaker or SharedBreaker(RULES))


def _name(key: bytes) -> bytes:
    return PREFIX + key.hex().encode()


def _answer(data: object) -> Answer | None:
    """None for what no process of ours has written."""
    if not isinstance(data, bytes) or len(data) > LARGEST_ANSWER_BYTES:
        return None
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
