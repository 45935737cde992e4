"""The audit trail as a chain: each entry has the SHA-256 of itself and of the one before.

**Canonical bytes** of an entry are a JSON array in UTF-8 without white space,

    ["modeldrop audit 1",number,at,caller,call,outcome,status,detail,answers,key,previous]

``previous`` is the hash of the entry before, ``""`` for the first; ``at`` is as stored (ISO 8601, UTC). Texts hold no
control characters, and only ``"`` and ``\\`` are escaped in them. The hash is in lower-case hex.

Who changes, removes or moves an entry has to change all that follow. What stands outside finds that, too: every number
and hash is in the log, and any of them is an **anchor** that the chain can be checked against later. Only an anchor
finds entries that were cut off at the end.
"""

import hashlib
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

FORMAT: Final = "modeldrop audit 1"
LONGEST_NAME: Final = 320
LONGEST_CALL: Final = 300
LONGEST_DETAIL: Final = 500

Outcome = Literal["asked", "accepted", "refused", "failed"]


class AuditEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was asked, or what came of it."""

    number: int
    """From 1 on, without gaps."""
    at: datetime
    caller: str
    """Who asked; empty: nobody knows."""
    call: str
    """Method and path."""
    outcome: Outcome
    """``asked``: before it is carried out."""
    status: int
    """Of the answer, as in HTTP; 0 while there is none."""
    detail: str
    answers: int | None
    """Number of the ``asked`` this is the outcome of; None: refused before it was asked."""
    key: str
    """Random: no two entries are ever equal, so a writer knows its own again."""
    previous: str
    """Hash of the entry before."""
    hash: str
    """Of all that stands above."""


class Link(msgspec.Struct, frozen=True):
    """A place in the chain: the number of an entry, and its hash. Before the first: 0, and no hash."""

    number: int = 0
    hash: str = ""


START: Final = Link()


class Break(msgspec.Struct, frozen=True):
    """Where the chain is none, and why. ``number``: of the first entry that is not as it was."""

    number: int
    why: str


class Verified(msgspec.Struct, frozen=True):
    """What was found: the last entry that is linked to the start, the first break, what was never answered."""

    end: Link
    broken: Break | None
    unanswered: list[AuditEntry]


def canonical(entry: AuditEntry) -> bytes:
    """The bytes that are hashed."""
    fields: dict[str, Any] = msgspec.to_builtins(entry)
    return msgspec.json.encode([FORMAT, *(value for name, value in fields.items() if name != "hash")])


def sealed(entry: AuditEntry, after: Link) -> AuditEntry:
    """The entry as the next one after ``after``, with its number and hash."""
    placed = msgspec.structs.replace(entry, number=after.number + 1, previous=after.hash, hash="")
    return msgspec.structs.replace(placed, hash=hashlib.sha256(canonical(placed)).hexdigest())


def link(entry: AuditEntry) -> Link:
    """The entry's place in the chain."""
    return Link(entry.number, entry.hash)


def verify(entries: Iterable[AuditEntry | None], start: Link = START, anchors: Iterable[Link] = ()) -> Verified:
    """Go through entries that follow ``start``, in their order, to the end or the first break.

    None stands for something in the trail that is no entry. Each anchor beyond the start must be among them.
    """
    expected: dict[int, set[str]] = {}
    for anchor in anchors:
        if anchor.number > start.number:
            expected.setdefault(anchor.number, set()).add(anchor.hash)
    end, unanswered = start, dict[int, AuditEntry]()

    def found(why: str | None, number: int) -> Verified:
        return Verified(end, Break(number, why) if why else None, list(unanswered.values()))

    for entry in entries:
        if entry is None:
            return found("what stands there is no entry", end.number + 1)
        why = _wrong(entry, end)
        if why is None and expected.pop(entry.number, {entry.hash}) != {entry.hash}:
            why = "it is not the entry that the anchor was taken of"
        if why is not None:
            return found(why, min(entry.number, end.number + 1))
        end = link(entry)
        if entry.outcome == "asked":
            unanswered[entry.number] = entry
        elif entry.answers is not None:
            unanswered.pop(entry.answers, None)
    if expected:
        return found(f"the trail ends before the anchor {min(expected)}", end.number + 1)
    return found(None, 0)


def cleaned(text: str, longest: int) -> str:
    """The text without signs that are not seen, or that change how others are seen, and no longer than that.

    >>> cleaned("ada\\n\\u202e\\x1b[31m" + 20 * "a", 12)
    'ada???[31ma…'
    """
    seen = "".join("?" if unicodedata.category(sign)[0] == "C" or sign in "\u2028\u2029" else sign for sign in text)
    return seen if len(seen) <= longest else f"{seen[: longest - 1]}…"


def read_anchor(text: str) -> Link:
    """``NUMBER:HASH``. Raises ValueError.

    >>> read_anchor("7:" + 64 * "a").number
    7
    """
    number, separator, digest = text.strip().partition(":")
    is_number = number.isascii() and number.isdigit() and len(number) <= 12 and int(number) > 0
    if not (separator and is_number and len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
        raise ValueError("an anchor is NUMBER:HASH, the hash 64 digits of 0-9a-f")
    return Link(int(number), digest)


def _wrong(entry: AuditEntry, before: Link) -> str | None:
    if entry.number != before.number + 1:
        return _gap(entry.number, before.number)
    if entry.previous != before.hash:
        return "it does not follow from the entry before"
    if sealed(entry, before).hash != entry.hash:
        return "its content is not what its hash is of"
    return None


def _gap(number: int, before: int) -> str:
    return (
        f"it is missing: after {before} comes {number}" if number > before else f"{number} comes again after {before}"
    )
