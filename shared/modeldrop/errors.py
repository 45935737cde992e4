"""Every error modeldrop raises on purpose.

ModeldropError
├── PermanentError         the same input fails the same way: quarantine it and acknowledge
│   ├── InvalidInput       a document from outside is wrong; carries *all* its problems
│   ├── InvalidName        a name no store may be asked for (``..``, control characters, too long)
│   ├── TooLarge           more bytes than the reader is willing to take
│   ├── NotFound           what was addressed does not exist
│   └── Refused            a server understood the request and will never do it
├── TransientError         later it may work: raise it, and the event is delivered again
│   ├── Conflict           a precondition failed: somebody was faster, read again and decide anew
│   └── Unavailable        no answer, or "not now" (408, 429, 5xx): the effect may have happened
│       └── NotAsked       not now, and nothing was sent: there was no effect
└── ConfigurationError     a setting is missing or unknown: nothing starts
"""

from collections.abc import Sequence

import msgspec


class FieldProblem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a document: where (a path such as ``metrics.f1``), and what."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class ModeldropError(Exception):
    """The root of the tree above."""


class PermanentError(ModeldropError):
    """Will fail the same way again."""


class InvalidInput(PermanentError):
    """A document from outside is wrong; ``problems`` holds everything found, never only the first."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class InvalidName(PermanentError):
    """A name that must not reach a store."""


class TooLarge(PermanentError):
    """More bytes than allowed."""


class NotFound(PermanentError):
    """The thing addressed does not exist."""


class Refused(PermanentError):
    """A server understood and said no for good."""


class TransientError(ModeldropError):
    """Worth another try."""


class Conflict(TransientError):
    """A precondition no longer holds."""


class Unavailable(TransientError):
    """No answer, or not now; whether the effect happened is unknown."""


class NotAsked(Unavailable):
    """Not now, and nothing was sent: what an earlier request led to is waited for first."""


class ConfigurationError(ModeldropError):
    """The settings do not describe a system that can run."""
