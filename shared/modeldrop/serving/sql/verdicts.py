"""What a check says: a statement that may be run, or why not."""

import msgspec


class Accepted(msgspec.Struct, frozen=True):
    """A statement that may be run: rendered anew from its checked tree, never the text that came in."""

    sql: str
    columns: tuple[str, ...] | None = None
    """Of the result, in their order and as they are written; None where the database alone knows (``SELECT *``)."""


class Refusal(msgspec.Struct, frozen=True):
    """Why something is not accepted, in one sentence that may be shown to the caller."""

    reason: str


class NotAccepted(Exception):
    """Carries the reason of a refusal from the check that found it to the function that answers."""


def shown(name: object) -> str:
    """A name from outside as it may stand in a reason: quoted, ASCII, at most 128 characters of it."""
    return ascii(str(name)[:128])
