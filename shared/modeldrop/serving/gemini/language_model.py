"""The port to the LLM, and what makes one: the client itself is an adapter, handed in from outside."""

from collections.abc import Callable, Iterator
from typing import Protocol

from modeldrop.serving.gemini.configuration import GeminiConfiguration
from modeldrop.serving.gemini.outcomes import Failure, Reply
from modeldrop.serving.gemini.prompt import Prompt


class LanguageModel(Protocol):
    """One LLM, called with one configuration, by many threads at once.

    Every call is one attempt and ends within its ``seconds``. None raises: what goes wrong is a ``Failure``.
    """

    def generate(self, prompt: Prompt, seconds: float) -> Reply | Failure:
        """The whole answer at once."""

    def stream(self, prompt: Prompt, seconds: float) -> Iterator[str | Reply | Failure]:
        """Pieces of the answer's text as they arrive; the last element is the ``Reply`` or ``Failure``."""

    def check(self, seconds: float) -> Failure | None:
        """Whether the LLM would answer us, at next to no cost; None if it would."""


ConnectLlm = Callable[[GeminiConfiguration], LanguageModel]
"""Nothing is sent yet; raises ConfigurationError without what is needed to call. See ``wiring.connect_llm``."""
