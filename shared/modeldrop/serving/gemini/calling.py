"""One question to the LLM: attempts, pauses, the deadline and the circuit breaker around them."""

import random
import time
from collections.abc import Callable, Iterator
from time import monotonic

from modeldrop.serving.gemini.language_model import LanguageModel
from modeldrop.serving.gemini.outcomes import Failure, Outcome, Reply
from modeldrop.serving.gemini.prompt import Prompt
from modeldrop.serving.gemini.retrying import RetryRules, pause_seconds
from modeldrop.serving.gemini.shared_breaker import SharedBreaker


class Caller:
    """Used by many threads at once, which share the circuit. ``draw``: random numbers from 0 up to 1."""

    def __init__(
        self,
        llm: LanguageModel,
        breaker: SharedBreaker,
        rules: RetryRules,
        *,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._llm = llm
        self._breaker = breaker
        self._rules = rules
        self._sleep = sleep
        self._draw = draw

    def call(self, prompt: Prompt, ends: float) -> Outcome:
        """How the call ended; ``ends``: its deadline, by ``monotonic``."""

        def attempt(seconds: float) -> Iterator[str | Reply | Failure]:
            yield self._llm.generate(prompt, seconds)

        *_, outcome = self._attempts(attempt, ends)
        assert isinstance(outcome, Outcome)
        return outcome

    def stream(self, prompt: Prompt, ends: float) -> Iterator[str | Outcome]:
        """Pieces of the answer's text, then how the call ended. What has begun to come is not asked for again."""
        return self._attempts(lambda seconds: self._llm.stream(prompt, seconds), ends)

    def _attempts(
        self, attempt: Callable[[float], Iterator[str | Reply | Failure]], ends: float
    ) -> Iterator[str | Outcome]:
        attempts = 0
        failure: Failure | None = None
        while True:
            seconds = ends - monotonic()
            ticket = self._breaker.ask() if seconds > 0 else None
            if ticket is None:
                yield Outcome(failure or self._not_asked(seconds), attempts)
                return
            attempts += 1
            has_text = False
            result: Reply | Failure = Failure("the LLM service gave no answer", "down")
            for element in self._watched(attempt(seconds), ticket):
                if isinstance(element, str):
                    has_text = has_text or bool(element)
                    yield element
                else:
                    result = element
            failure = result if isinstance(result, Failure) else None
            pause = None if failure is None or has_text else self._pause(failure, attempts, ends)
            if pause is None:
                yield Outcome(result, attempts)
                return
            self._sleep(pause)

    def _watched(self, elements: Iterator[str | Reply | Failure], ticket: int) -> Iterator[str | Reply | Failure]:
        """The same elements; the circuit is told how it ended, also when nobody reads to the end."""
        ended = False
        try:
            for element in elements:
                if not isinstance(element, str):
                    ended = True
                    # A service that refuses what it is asked is there.
                    is_up = isinstance(element, Reply) or element.kind == "refused"
                    (self._breaker.succeeded if is_up else self._breaker.failed)(ticket)
                yield element
        finally:
            if not ended:
                self._breaker.given_up(ticket)

    def _pause(self, failure: Failure, attempts: int, ends: float) -> float | None:
        return pause_seconds(failure, attempts, ends - monotonic(), self._draw(), self._rules)

    def _not_asked(self, seconds: float) -> Failure:
        if seconds <= 0:
            return Failure("there was no time left to ask the LLM service", "down")
        left = self._breaker.seconds_left()
        return Failure(f"the LLM service failed too often: it is not asked for another {left:.0f} s", "down")
