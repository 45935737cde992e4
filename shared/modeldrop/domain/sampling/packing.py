"""A shard as bytes: equal shards are equal bytes.

MessagePack: [format, capacity, hashes, conflicted, names, names of each row, values of each row]. Columns rather than
rows: the hashes are one byte string (8 bytes each, big endian, ascending), names that rows share stand there once (in
order of their bytes, rows hold their index), and ``conflicted`` lists the indices of the few rows that are.
"""

import struct
from itertools import pairwise

import msgspec

from modeldrop.domain.sampling.rows import MAX_NAMES_BYTES, MAX_ROW_BYTES, Row
from modeldrop.domain.sampling.shards import ROWS_OF_SHARD, Shard
from modeldrop.errors import FieldProblem, InvalidInput

FORMAT = 1
_HASH_BYTES = 8
_SMALLEST_CAPACITY = 2  # of a sample of one row


class _Packed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    format: int
    capacity: int
    hashes: bytes
    conflicted: list[int]
    names: list[bytes]
    names_of_rows: list[int]
    values: list[bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def pack(shard: Shard) -> bytes:
    """The shard as bytes, at most 1,040,000 of them.

    >>> unpack(pack(Shard(2, (Row(1, b"", b"a"),))))
    Shard(capacity=2, rows=(Row(hash=1, names=b'', values=b'a', conflicted=False),))
    """
    rows = shard.rows
    names = sorted({row.names for row in rows})
    places = {each: place for place, each in enumerate(names)}
    packed = _Packed(
        format=FORMAT,
        capacity=shard.capacity,
        hashes=struct.pack(f">{len(rows)}Q", *[row.hash for row in rows]),
        conflicted=[place for place, row in enumerate(rows) if row.conflicted],
        names=names,
        names_of_rows=[places[row.names] for row in rows],
        values=[row.values for row in rows],
    )
    return _encode(packed)


def unpack(data: bytes) -> Shard:
    """The shard of these bytes. Raises InvalidInput for any that ``pack`` does not write."""
    try:
        packed = _decode(data)
    except msgspec.MsgspecError as error:
        raise _unreadable(str(error)) from None
    reason = _problem(packed)
    if reason:
        raise _unreadable(reason)
    names, conflicted = packed.names, set(packed.conflicted)
    hashes = struct.unpack(f">{len(packed.values)}Q", packed.hashes)
    parts = zip(hashes, packed.names_of_rows, packed.values, strict=True)
    rows = [Row(each, names[at], values, place in conflicted) for place, (each, at, values) in enumerate(parts)]
    shard = Shard(packed.capacity, tuple(rows))
    if not all(one < next_one for one, next_one in pairwise(hashes)):
        raise _unreadable("the hashes do not ascend")
    if any(len(row.values) > MAX_ROW_BYTES or len(row.names) > MAX_NAMES_BYTES for row in rows):
        raise _unreadable(f"a row has more than {MAX_ROW_BYTES:,} bytes of values, or {MAX_NAMES_BYTES:,} of names")
    if pack(shard) != data:  # indices that repeat, names nobody has: another way to write the same shard
        raise _unreadable("not in the one form a shard is written in")
    return shard


def _problem(packed: _Packed) -> str | None:
    count = len(packed.values)
    if packed.format != FORMAT:
        return f"format {packed.format} is not known, {FORMAT} is"
    if not _SMALLEST_CAPACITY <= packed.capacity <= ROWS_OF_SHARD:
        return f"a shard has room for {_SMALLEST_CAPACITY} to {ROWS_OF_SHARD} rows, not {packed.capacity}"
    if count > packed.capacity:
        return f"{count} rows, but room for {packed.capacity}"
    if len(packed.hashes) != _HASH_BYTES * count or len(packed.names_of_rows) != count:
        return "its columns differ in length"
    if not all(0 <= place < len(packed.names) for place in packed.names_of_rows):
        return "a row's names are missing"
    return None


def _unreadable(reason: str) -> InvalidInput:
    return InvalidInput([FieldProblem("shard", reason)])
