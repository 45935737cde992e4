"""Shards as bytes: one form, bounded, and every other form refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.documents import check_data
from modeldrop.domain.sampling.packing import FORMAT, pack, unpack
from modeldrop.domain.sampling.rows import MAX_NAMES_BYTES, MAX_ROW_BYTES, Row
from modeldrop.domain.sampling.shards import ROWS_OF_SHARD, Shard, merge_into
from modeldrop.errors import InvalidInput
from tests.unit.sampled_events import histories

capacities = st.integers(2, 80)
RIGHT: list[Any] = [
    FORMAT,
    3,
    (1).to_bytes(8, "big") + (2).to_bytes(8, "big"),
    [1],
    [b"m", b"n"],
    [1, 0],
    [b"v", b"w"],
]


@given(histories, capacities)
def test_what_is_packed_is_unpacked(events: list[Row], capacity: int) -> None:
    shard = merge_into(Shard(capacity), events)
    assert unpack(pack(shard)) == shard


@given(histories, histories, capacities)
def test_equal_shards_and_no_others_are_equal_bytes(one: list[Row], other: list[Row], capacity: int) -> None:
    shards = merge_into(Shard(capacity), one), merge_into(Shard(capacity), other)
    assert (pack(shards[0]) == pack(shards[1])) == (shards[0] == shards[1])


def test_the_largest_shard_fits_into_a_document() -> None:
    """Rows as large as they may be: no two of which share their names, or which share a few long lists of them."""
    own = [(place.to_bytes(2, "big") * 500, bytes(MAX_ROW_BYTES - 1_000)) for place in range(ROWS_OF_SHARD)]
    shared = [(bytes([place % 5]) * MAX_NAMES_BYTES, bytes(MAX_ROW_BYTES)) for place in range(ROWS_OF_SHARD)]
    for payloads in (own, shared):
        _check_largest([Row((place << 55) + 1, *each, conflicted=True) for place, each in enumerate(payloads)])


def _check_largest(rows: list[Row]) -> None:
    shard = merge_into(Shard(ROWS_OF_SHARD), rows)
    packed = pack(shard)
    assert len(packed) <= 1_040_000
    assert check_data({"rows": packed, "revision": 1, "window": "2026-01-01T00:00:00Z"}) > 990_000
    assert unpack(packed) == shard


def test_names_that_rows_share_stand_there_once() -> None:
    rows = [Row(place, b"n" * 200, b"v" * 100) for place in range(100)]
    assert len(pack(Shard(512, tuple(rows)))) < 100 * 115


def test_the_form_is_what_it_is() -> None:
    expected = Shard(3, (Row(1, b"n", b"v"), Row(2, b"m", b"w", conflicted=True)))
    assert unpack(msgspec.msgpack.encode(RIGHT)) == expected
    assert pack(expected) == msgspec.msgpack.encode(RIGHT)


def test_names_stand_in_order_whatever_rows_brought_them() -> None:
    names = [bytes([place]) for place in range(100)]
    rows = [Row(99 - place, each, b"") for place, each in enumerate(names)]
    assert msgspec.msgpack.decode(pack(merge_into(Shard(512), rows)))[4] == names


def test_a_later_format_is_named() -> None:
    with pytest.raises(InvalidInput, match="format 2 is not known, 1 is"):
        unpack(msgspec.msgpack.encode([2, *RIGHT[1:]]))


WRONG: dict[str, dict[int, Any]] = {
    "another format": {0: 2},
    "capacity too small": {1: 1},
    "capacity too large": {1: ROWS_OF_SHARD + 1},
    "more rows than room": {1: 2, 2: RIGHT[2] + (3).to_bytes(8, "big"), 5: [1, 0, 0], 6: [b""] * 3},
    "hashes cut": {2: bytes(15)},
    "hashes too many": {2: bytes(24)},
    "hashes descend": {2: RIGHT[2][8:] + RIGHT[2][:8]},
    "a hash twice": {2: RIGHT[2][:8] * 2},
    "conflict of a row that is not there": {3: [2]},
    "a negative place": {3: [-1]},
    "conflict twice": {3: [1, 1]},
    "conflicts turned": {3: [1, 0]},
    "names turned": {4: [b"n", b"m"], 5: [0, 1]},
    "names twice": {4: [b"n", b"n"]},
    "names nobody has": {4: [b"m", b"n", b"o"]},
    "names missing": {4: [b"m"]},
    "names of a row negative": {5: [-1, 0]},
    "names of a row far off": {5: [-3, 0]},
    "names of too few rows": {5: [1]},
    "values of too few rows": {6: [b"v"]},
    "a row too large": {6: [b"v", b"w" * (MAX_ROW_BYTES + 1)]},
    "names too large": {4: [b"m" * (MAX_NAMES_BYTES + 1), b"n"]},
    "text for bytes": {6: ["v", "w"]},
    "a fraction": {5: [1.5, 0]},
    "one column too many": {7: []},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_any_other_form_is_refused(change: dict[int, Any]) -> None:
    columns = dict(enumerate(RIGHT)) | change
    with pytest.raises(InvalidInput):
        unpack(msgspec.msgpack.encode(list(columns.values())))


@pytest.mark.parametrize("data", [b"", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\x87", b"\xc1", b"{}"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        unpack(data)


@given(histories, capacities, st.integers(0), st.integers(1, 255))
def test_a_damaged_shard_is_refused_or_another_whole_one(
    events: list[Row], capacity: int, place: int, damage: int
) -> None:
    packed = bytearray(pack(merge_into(Shard(capacity), events)))
    packed[place % len(packed)] ^= damage
    try:
        shard = unpack(bytes(packed))
    except InvalidInput:
        return
    assert pack(shard) == packed


@pytest.mark.parametrize("extra", [b"\x00", b"\xc0"])
def test_nothing_may_follow(extra: bytes) -> None:
    with pytest.raises(InvalidInput):
        unpack(msgspec.msgpack.encode(RIGHT) + extra)
