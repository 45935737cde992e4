"""A model's history as a chain: each entry has the SHA-256 of itself and of the one before; the head keeps the last.

The bytes that are hashed are a JSON array in UTF-8 without white space, as those of ``audit_chain``:

    ["modeldrop history 1",model,number,at,what,version,by,why,previous]

Numbers grow and leave gaps: an entry has that of its commit. Entries from before there was a chain have no hash; they
are taken as they are, as long as none of them stands behind one that has.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from modeldrop.domain.audit_chain import Break

FORMAT: Final = "modeldrop history 1"
_HASHED: Final = ("at", "what", "version", "by", "why")


def history_hash(model: str, number: int, entry: Mapping[str, Any], previous: str) -> str:
    """The hash of an entry as it is stored, by its fields ``at``, ``what``, ``version``, ``by`` and ``why``.

    >>> history_hash("fraud", 1, {"at": "", "what": "live", "version": "v1", "by": "", "why": ""}, "")[:8]
    '88951e2b'
    """
    values = [FORMAT, model, number, *(entry.get(name) for name in _HASHED), previous]
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()


def first_break(model: str, entries: Iterable[tuple[int, Mapping[str, Any]]], last: str) -> Break | None:
    """The first entry, of those stored (number and content, by number), that does not follow from the one before.

    ``last``: the hash that the head kept before the entries were read; it must be among them.
    """
    previous, number = "", 0
    reached = not last
    for number, entry in entries:
        digest = entry.get("hash", "")
        if not digest and not previous:
            continue  # from before there was a chain
        if entry.get("previous", "") != previous:
            return Break(number, "it does not follow from the entry before")
        if digest != history_hash(model, number, entry, previous):
            return Break(number, "its content is not what its hash is of")
        previous = digest
        reached = reached or digest == last
    return None if reached else Break(number + 1, "the history ends before the entry that the head knows")
