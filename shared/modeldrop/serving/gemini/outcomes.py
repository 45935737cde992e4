"""What a call to the LLM comes to."""

from typing import Literal

import msgspec

UNREADABLE = "UNREADABLE"
"""``Reply.finish`` of an answer that came and cannot be read. One of ours, beside those of the service."""
MOST_TOKENS = 10_000_000
"""More than any LLM reads or writes for one answer."""


class Reply(msgspec.Struct, frozen=True):
    """The LLM answered, if only to say that it will not. ``text`` is as untrusted as its author."""

    text: str
    finish: str
    """Its reason to end (``STOP``, ``MAX_TOKENS``, ``SAFETY`` …); "" where there is no candidate."""
    blocked: str = ""
    """Why it did not look at the prompt; "" if it did."""
    llm_version: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    """As the service counted them, from 0 to ``MOST_TOKENS``; None where it did not say."""


class Failure(msgspec.Struct, frozen=True):
    """The call failed. ``reason`` is ours, may be shown, and holds nothing secret."""

    reason: str
    kind: Literal["overloaded", "down", "refused"]
    """Not now (429, 503); no answer or a broken service; it will never answer this call."""
    retry_after_seconds: float | None = None
    """How long the service asks to wait."""


class Outcome(msgspec.Struct, frozen=True):
    """How it ended, after how many attempts."""

    result: Reply | Failure
    attempts: int


def plausible_tokens(count: int | None) -> int:
    """A count as it may be believed: what is nowhere near the truth must not become a cost. None is none.

    >>> plausible_tokens(120), plausible_tokens(None), plausible_tokens(-7), plausible_tokens(10**30)
    (120, 0, 0, 10000000)
    """
    return min(max(count or 0, 0), MOST_TOKENS)
