"""The real client, google-genai: one LLM, called with one configuration.

Credentials and addresses are the client's own business: GOOGLE_API_KEY, or GOOGLE_GENAI_USE_VERTEXAI with
GOOGLE_CLOUD_PROJECT, GOOGLE_CLOUD_LOCATION and application default credentials; GOOGLE_GEMINI_BASE_URL and
GOOGLE_VERTEX_BASE_URL for another address. They are no settings of ours, and so not in ``settings``: the client reads
them itself wherever it runs, and anybody who uses it elsewhere knows them by these names. Here they are looked at only
to tell it again what it has read, and to keep its keys out of what we say.

It does not try again by itself: that is the part of ``serving.gemini.calling``.
"""

import math
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any

import httpx
from google import genai
from google.auth.exceptions import GoogleAuthError

from modeldrop.adapters.gcp.gemini_deadline import DeadlineTransport, ThreadDeadline
from modeldrop.adapters.gcp.gemini_failures import Failures, is_of_the_answer
from modeldrop.errors import ConfigurationError
from modeldrop.serving.gemini.configuration import GeminiConfiguration
from modeldrop.serving.gemini.outcomes import UNREADABLE, Failure, Reply, plausible_tokens
from modeldrop.serving.gemini.prompt import Prompt
from modeldrop.serving.gemini.response_schema import RESPONSE_SCHEMA

SHORTEST_SERVER_TIMEOUT_SECONDS = 10
"""The client tells the service its timeout, and the Gemini API answers a shorter one with 400."""

# Not as the client's own argument: with that it would parse what the LLM wrote, piece by piece and without limits, and
# raise for a number of 5,000 digits or brackets without end. What the LLM wrote is read by us, once it is whole.
_SCHEMA_IN_BODY: dict[str, Any] = {"extra_body": {"generationConfig": {"responseSchema": RESPONSE_SCHEMA}}}

_ON = ("true", "1")  # as the client reads it


class GeminiConnection:
    """See ``LanguageModel``."""

    def __init__(
        self,
        client: genai.Client,
        deadline: ThreadDeadline,
        configuration: GeminiConfiguration,
        to_failure: Callable[[Exception], Failure],
    ) -> None:
        self._client = client
        self._deadline = deadline
        self._configuration = configuration
        self._to_failure = to_failure

    def generate(self, prompt: Prompt, seconds: float) -> Reply | Failure:
        """The whole answer at once."""
        gathered = _Gathered()
        try:
            with self._deadline.within(seconds):
                response = self._client.models.generate_content(**self._arguments(prompt, seconds))
            return gathered.add(response).reply()
        except Exception as error:
            return self._ended(error, gathered)

    def stream(self, prompt: Prompt, seconds: float) -> Iterator[str | Reply | Failure]:
        """Pieces of the answer's text as they arrive; the last element is the ``Reply`` or ``Failure``."""
        ends = monotonic() + seconds
        gathered = _Gathered()
        try:
            # The deadline is set for each step alone: between two of them the thread belongs to whoever reads.
            with self._deadline.within(seconds):
                pieces = self._client.models.generate_content_stream(**self._arguments(prompt, seconds))
            while True:
                with self._deadline.within(ends - monotonic()):
                    piece = next(pieces, None)
                if piece is None:
                    break
                text_before = len(gathered.text)
                yield gathered.add(piece).text[text_before:]
            yield gathered.reply()
        except Exception as error:
            yield self._ended(error, gathered)

    def check(self, seconds: float) -> Failure | None:
        """Whether the LLM would answer us: counting tokens is free, and needs the same name, rights and region."""
        try:
            with self._deadline.within(seconds):
                self._client.models.count_tokens(
                    model=self._configuration.llm, contents="SELECT 1", config=_counting(seconds)
                )
        except Exception as error:
            return self._to_failure(error)
        return None

    def _ended(self, error: Exception, gathered: "_Gathered") -> Reply | Failure:
        """What cannot be read was answered all the same: it says nothing about the service, and is not asked again."""
        if is_of_the_answer(error):
            return gathered.unreadable()
        return self._to_failure(error)

    def _arguments(self, prompt: Prompt, seconds: float) -> dict[str, Any]:
        configuration = self._configuration
        thinking = configuration.thinking_budget
        config = {
            "system_instruction": prompt.instruction,
            "temperature": configuration.temperature,
            "top_p": configuration.top_p,
            "top_k": configuration.top_k,
            "max_output_tokens": configuration.max_output_tokens,
            "candidate_count": 1,
            "response_mime_type": "application/json",
            "automatic_function_calling": {"disable": True},
            "http_options": _http_options(seconds) | _SCHEMA_IN_BODY,
        }
        if thinking is not None:
            config["thinking_config"] = {"thinking_budget": thinking}
        contents = [{"role": "user", "parts": [{"text": prompt.data}]}]
        return {"model": configuration.llm, "contents": contents, "config": config}


def connect(configuration: GeminiConfiguration, environment: Mapping[str, str] = os.environ) -> GeminiConnection:
    """A connection by the client's own variables; nothing is sent yet. Raises ConfigurationError if they are wrong."""
    deadline = ThreadDeadline()
    transport = DeadlineTransport(deadline, httpx.create_ssl_context())
    http = httpx.Client(transport=transport, follow_redirects=False)  # a redirect would be sent the key
    options: Any = {"httpx_client": http}
    try:
        client = genai.Client(**_place(environment), http_options=options)
    except (ValueError, GoogleAuthError) as error:
        http.close()
        raise ConfigurationError(f"the Gemini client cannot be set up: {str(error)[:200]}") from None
    keys = [environment.get(name, "").strip() for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY")]
    connection = GeminiConnection(client, deadline, configuration, Failures([key for key in keys if key]))
    # Closed with its last user: a version that was replaced may still be answering.
    weakref.finalize(connection, http.close)
    return connection


def _place(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the client reads from the environment, said again: told so, it also heeds GOOGLE_VERTEX_BASE_URL.

    Otherwise it takes the address of the other service, and drops project and location for any address of ours.
    """
    on_vertex = environment.get("GOOGLE_GENAI_USE_ENTERPRISE", environment.get("GOOGLE_GENAI_USE_VERTEXAI", ""))
    if on_vertex.lower() not in _ON:
        return {}
    project, location = environment.get("GOOGLE_CLOUD_PROJECT"), environment.get("GOOGLE_CLOUD_LOCATION")
    return {"vertexai": True} | ({"project": project, "location": location} if project and location else {})


def _counting(seconds: float) -> Any:
    return {"http_options": _http_options(seconds)}


def _http_options(seconds: float) -> dict[str, Any]:
    told = max(SHORTEST_SERVER_TIMEOUT_SECONDS, math.ceil(seconds))
    return {"timeout": max(1, int(seconds * 1000)), "headers": {"X-Server-Timeout": str(told)}}


class _Gathered:
    """One response, from one or several pieces."""

    def __init__(self) -> None:
        self.text = ""
        self._finish = self._blocked = ""
        self._llm_version: str | None = None
        self._tokens_in: int | None = None
        self._tokens_out: int | None = None

    def add(self, piece: Any) -> "_Gathered":
        """Texts are joined, without what the LLM only thought; of all else the last word counts."""
        feedback, usage = piece.prompt_feedback, piece.usage_metadata
        if feedback and feedback.block_reason:
            self._blocked = _name(feedback.block_reason)
        for candidate in (piece.candidates or [])[:1]:
            self._finish = _name(candidate.finish_reason) if candidate.finish_reason else self._finish
            parts = (candidate.content and candidate.content.parts) or []
            self.text += "".join(part.text for part in parts if part.text and not part.thought)
        if usage:
            self._tokens_in = plausible_tokens(usage.prompt_token_count)
            written, thought = usage.candidates_token_count, usage.thoughts_token_count
            self._tokens_out = plausible_tokens(plausible_tokens(written) + plausible_tokens(thought))
        self._llm_version = piece.model_version or self._llm_version
        return self

    def reply(self) -> Reply:
        return Reply(self.text, self._finish, self._blocked, self._llm_version, self._tokens_in, self._tokens_out)

    def unreadable(self) -> Reply:
        return Reply("", UNREADABLE, "", self._llm_version, self._tokens_in, self._tokens_out)


def _name(reason: Any) -> str:
    """The client makes members of reasons it does not know, too."""
    return str(getattr(reason, "value", reason))[:64]
