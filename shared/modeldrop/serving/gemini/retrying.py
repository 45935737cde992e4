"""Whether and when a failed call is tried again.

Full jitter (M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015): uniform from nothing to a longest
pause that doubles. A pause the service asks for comes before that, so that those it turned away do not return at once.
"""

import msgspec

from modeldrop.serving.gemini.outcomes import Failure


class RetryRules(msgspec.Struct, frozen=True):
    """How patient a call is."""

    most_attempts: int = 3
    first_pause_seconds: float = 0.5
    longest_wait_asked_seconds: float = 10.0
    """A service that asks for more is not waited for."""


def pause_seconds(
    failure: Failure, attempts: int, seconds_left: float, chance: float, rules: RetryRules
) -> float | None:
    """How long to wait before the next attempt; None: there is none.

    ``attempts``: made so far; ``seconds_left``: until the deadline; ``chance``: a random number, 0 <= chance < 1.

    >>> pause_seconds(Failure("busy", "overloaded"), 2, 20.0, 0.5, RetryRules())
    0.5
    >>> pause_seconds(Failure("busy", "overloaded", retry_after_seconds=4.0), 1, 20.0, 0.5, RetryRules())
    4.25
    >>> pause_seconds(Failure("no such model", "refused"), 1, 20.0, 0.5, RetryRules()) is None
    True
    """
    asked = failure.retry_after_seconds or 0.0
    if failure.kind != "overloaded" or attempts >= rules.most_attempts or asked > rules.longest_wait_asked_seconds:
        return None
    pause = asked + chance * rules.first_pause_seconds * 2 ** (attempts - 1)
    return pause if pause < seconds_left else None
