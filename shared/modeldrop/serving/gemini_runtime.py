"""The runtime of ``gemini`` versions: text to SQL by an LLM, called with the configuration that was deployed."""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from modeldrop.errors import InvalidInput, Refused, Unavailable
from modeldrop.serving.gemini.answer import Signature, to_answer
from modeldrop.serving.gemini.calling import Caller
from modeldrop.serving.gemini.circuit_breaker import BreakerRules
from modeldrop.serving.gemini.configuration import read_configuration
from modeldrop.serving.gemini.describing import describe_answer
from modeldrop.serving.gemini.explanation_deltas import ExplanationDeltas
from modeldrop.serving.gemini.language_model import ConnectLlm, LanguageModel
from modeldrop.serving.gemini.outcomes import Outcome
from modeldrop.serving.gemini.request import read_request
from modeldrop.serving.gemini.retrying import RetryRules
from modeldrop.serving.gemini.shared_breaker import SharedBreaker
from modeldrop.serving.package import Package
from modeldrop.serving.runtime import Described

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30.0
CHECK_SECONDS = 10.0
MOST_CALLS_AT_ONCE = 8
"""Of one request with several instances."""


class GeminiRuntime:
    """Answers ``{"sql_query", "visualization_config", "explanation", …}`` or ``{"refused": true, "reason", …}``.

    ``timeout_seconds`` is for everything together: all instances of a request, all attempts.
    """

    def __init__(
        self,
        llm: LanguageModel,
        caller: Caller,
        signature: Signature,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._llm = llm
        self._caller = caller
        self._signature = signature
        self._timeout_seconds = timeout_seconds

    def predict(self, instances: list[object]) -> list[dict[str, Any]]:
        """See ``Runtime``."""
        ends = monotonic() + self._timeout_seconds
        if len(instances) <= 1:
            return [self._answer(instance, ends) for instance in instances]
        with ThreadPoolExecutor(min(len(instances), MOST_CALLS_AT_ONCE)) as threads:
            return list(threads.map(lambda instance: self._answer(instance, ends), instances))

    def stream(self, instance: object) -> Iterator[dict[str, Any]]:
        """See ``Runtime``. Deltas are of the explanation, as the LLM writes it."""
        began = monotonic()
        try:
            request = read_request(instance)
        except InvalidInput as error:
            yield {"prediction": {"error": str(error)}}
            return
        deltas = ExplanationDeltas()
        prompt = self._signature.configuration.template.prompt(request)
        for element in self._caller.stream(prompt, began + self._timeout_seconds):
            if isinstance(element, Outcome):
                yield {"prediction": to_answer(element, request, self._signature, monotonic() - began)}
            elif text := deltas.add(element):
                yield {"delta": text}

    def describe(self, instance: object, answer: Mapping[str, Any], seconds: float) -> Described | None:
        """See ``Runtime``."""
        return describe_answer(instance, answer, seconds, log_text=self._signature.configuration.log_text)

    def self_check(self) -> None:
        """See ``Runtime``: asks the LLM service whether it would answer."""
        failure = self._llm.check(CHECK_SECONDS)
        if failure is None:
            return
        raise (Refused if failure.kind == "refused" else Unavailable)(failure.reason)

    def _answer(self, instance: object, ends: float) -> dict[str, Any]:
        began = monotonic()
        try:
            request = read_request(instance)
            outcome = self._caller.call(self._signature.configuration.template.prompt(request), ends)
            return to_answer(outcome, request, self._signature, monotonic() - began)
        except InvalidInput as error:
            return {"error": str(error)}
        except Exception as error:  # unforeseen: it must not cost the neighbours a second call
            logger.exception("an instance failed")
            return {"error": f"{type(error).__name__} in the runtime"}


def load_gemini(package: Package, connect_llm: ConnectLlm) -> GeminiRuntime:
    """The runtime a package describes. Raises InvalidInput with all problems, ConfigurationError without a key."""
    configuration = read_configuration(package.metadata)
    llm = connect_llm(configuration)
    caller = Caller(llm, SharedBreaker(BreakerRules()), RetryRules())
    return GeminiRuntime(llm, caller, Signature(configuration, package.version))
