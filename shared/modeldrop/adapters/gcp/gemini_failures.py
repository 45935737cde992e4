"""What the client raises, as a failure with a reason that may be shown."""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpcore
import httpx
from google.auth import exceptions as auth_errors
from google.genai import errors as genai_errors

from modeldrop.serving.gemini.outcomes import Failure

logger = logging.getLogger(__name__)

LONGEST_EXCERPT = 200
OVERLOADED = frozenset({429, 503})
BROKEN = frozenset({408})  # besides 5xx

_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_CREDENTIAL = re.compile(r"AIza[\w-]{20,}|ya29\.[\w.-]+|eyJ[\w-]{10,}\.[\w.-]+")


class Failures:
    """Turns errors into failures; ``secrets`` are texts that no reason may repeat."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = sorted(secrets, key=len, reverse=True)

    def __call__(self, error: Exception) -> Failure:
        """The failure for anything the client raises."""
        if isinstance(error, genai_errors.APIError):
            return self._answered(error)
        if isinstance(error, httpcore.TimeoutException | httpx.TimeoutException):
            return Failure("the LLM service gave no whole answer in time", "down")
        if isinstance(error, httpcore.NetworkError | httpcore.ProtocolError | httpx.TransportError | OSError):
            return Failure(f"no answer from the LLM service: {self._excerpt(error)}", "down")
        if isinstance(error, auth_errors.GoogleAuthError):
            is_network = isinstance(error, auth_errors.TransportError)
            what = "no token for" if is_network else "no valid credentials for"
            return Failure(f"{what} the LLM service ({type(error).__name__})", "down" if is_network else "refused")
        if isinstance(error, ValueError | httpx.DecodingError):  # no JSON at all: a proxy's page, or half an answer
            return Failure("the LLM service answered what cannot be read", "down")
        logger.error("unforeseen while calling the LLM service: %s", type(error).__name__, exc_info=error)
        return Failure(f"{type(error).__name__} while calling the LLM service", "down")

    def _answered(self, error: genai_errors.APIError) -> Failure:
        code = error.code if isinstance(error.code, int) else 0
        status = f" {error.status[:64]}" if isinstance(error.status, str) else ""
        excerpt = self._excerpt(error.message or "")
        reason = f"the LLM service answered {code}{status}" + (f": {excerpt}" if excerpt else "")
        if code in OVERLOADED:
            return Failure(reason, "overloaded", _seconds_asked(error))
        is_broken = code in BROKEN or not 300 <= code < 500
        return Failure(reason, "down" if is_broken else "refused")

    def _excerpt(self, said: object) -> str:
        text = str(said)[:10_000]
        for secret in self._secrets:
            text = text.replace(secret, "…")
        text = _CREDENTIAL.sub("…", text)
        return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:LONGEST_EXCERPT]


def is_of_the_answer(error: Exception) -> bool:
    """Whether the service answered with JSON that the client cannot make an answer of: that is this answer's fault.

    Text that is no JSON is a service that does not work, or not the service at all.
    """
    if isinstance(error, json.JSONDecodeError | UnicodeError | genai_errors.UnknownApiResponseError):
        return False
    return isinstance(error, ValueError | RecursionError)  # pydantic's are ValueErrors


def _seconds_asked(error: genai_errors.APIError) -> float | None:
    """The header Retry-After (in seconds), or ``retryDelay`` of a google.rpc.RetryInfo in the body; the longer one."""
    headers: Any = getattr(error.response, "headers", None) or {}
    header = str(headers.get("retry-after", ""))
    asked = [float(header)] if header.isascii() and header.isdigit() and len(header) < 10 else []
    for detail in _details(error.details):
        match = _DELAY.fullmatch(str(detail.get("retryDelay", "")))
        asked += [float(match[1])] if match else []
    return max(asked, default=None)


def _details(body: object) -> Iterator[Mapping[str, Any]]:
    """The objects of ``error.details``. An error inside a stream may have its body as text."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return
    inner = body.get("error") if isinstance(body, dict) else None
    details = inner.get("details") if isinstance(inner, dict) else None
    yield from (detail for detail in details or [] if isinstance(detail, dict))
