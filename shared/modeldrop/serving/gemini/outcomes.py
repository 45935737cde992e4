"""What a call to the LLM comes to."""

from typing import Literal

import msgspec


class Reply(msgspec.Struct, frozen=True):
    """The LLM answered, if only to say that it will not. ``text`` is as untrusted as its author."""

    text: str
    finish: str
    """Its reason to end (``STOP``, ``MAX_TOKENS``, ``SAFETY`` …); "" where there is no candidate."""
    blocked: str = ""
    """Why it did not look at the prompt; "" if it did."""
    llm_version: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0


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
