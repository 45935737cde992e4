"""One sampled event, and what two tellings of the same event become."""

import msgspec

from modeldrop.errors import TooLarge

MAX_ROW_BYTES = 1_950
"""Of the values, and of the names too where rows do not share them: a document of 512 rows stays below what a store
takes, with five different lists of names that rows share."""
MAX_NAMES_BYTES = 6_000
"""Of the names of the features: rows of a version that declares them share theirs."""


class RowTooLarge(TooLarge):
    """More is to be kept of one event than a row may hold."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """What a sample keeps of one event.

    ``names`` and ``values`` together are the payload (see ``payload``): equal events have equal bytes. The names of the
    features are apart from their values since most rows share them. ``conflicted``: told more than once, differently.
    """

    hash: int
    names: bytes
    values: bytes
    conflicted: bool = False


def check_size(row: Row) -> Row:
    """The row itself; raises RowTooLarge above ``MAX_ROW_BYTES`` of values or ``MAX_NAMES_BYTES`` of names."""
    for what, size, most in (("values", len(row.values), MAX_ROW_BYTES), ("names", len(row.names), MAX_NAMES_BYTES)):
        if size > most:
            raise RowTooLarge(f"{size:,} bytes of {what} are to be kept; {most:,} at most")
    return row


def merge_rows(one: Row, other: Row) -> Row:
    """The one row for two of the same hash: the larger payload, conflicted if the payloads differ or either was.

    Commutative, associative and idempotent: what remains of any number of tellings is their largest payload, and
    whether there were two different ones. Which is the larger means nothing; that all agree on it does.

    >>> told, again = Row(7, b"", b"a"), Row(7, b"", b"b")
    >>> merge_rows(told, told) is told
    True
    >>> merge_rows(told, again) == merge_rows(again, told) == Row(7, b"", b"b", conflicted=True)
    True
    """
    same = one.names == other.names and one.values == other.values
    conflicted = one.conflicted or other.conflicted or not same
    kept = one if (one.names, one.values) >= (other.names, other.values) else other
    return kept if kept.conflicted == conflicted else msgspec.structs.replace(kept, conflicted=conflicted)
