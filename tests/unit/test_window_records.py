"""Windows as records: opened once, read as samples, listed, and forgotten when their time has come."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from modeldrop.adapters.local.sqlite_documents import SqliteDocuments
from modeldrop.domain.documents import check_data
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.rows import MAX_ROW_BYTES, Row
from modeldrop.domain.sampling.shards import ROWS_OF_SHARD, Shard, merge_into
from modeldrop.errors import Unavailable
from modeldrop.ports import Create, Write
from modeldrop.records.windows import RETENTION, SHARDS_AT_ONCE, SHARDS_OUTLIVE, WindowRecord, Windows, new_window
from tests.handlers.prediction_log import Between

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = DriftPolicy(sample_size=1024)


@pytest.fixture
def documents(tmp_path: Path) -> Iterator[SqliteDocuments]:
    store = SqliteDocuments(tmp_path / "documents.sqlite", busy_seconds=30)
    yield store
    store.close()


def store_rows(documents: SqliteDocuments, record: WindowRecord, *rows: Row) -> None:
    windows = Windows(documents)
    for row in rows:
        slot = windows.shard(record, row.hash % 4)
        documents.commit([slot.write(merge_into(slot.shard, [row]))])


def window(hours: int = 0, version: str | None = "v1", policy: DriftPolicy = POLICY) -> WindowRecord:
    return new_window("fraud", version, START + hours * HOUR, policy, START)


def test_a_window_keeps_what_it_was_opened_with(documents: SqliteDocuments) -> None:
    windows = Windows(documents)
    (record,) = windows.open([window()])
    later = new_window("fraud", "v1", START, DriftPolicy(sample_size=64, window_seconds=60), START + HOUR)
    assert windows.open([later, window(1), later]) == [record, window(1), record]
    assert windows.record("fraud", "v1", START) == record


def test_a_shorter_one_is_lengthened(documents: SqliteDocuments) -> None:
    windows = Windows(documents)
    short = window(policy=DriftPolicy(sample_size=64, window_seconds=60))
    windows.open([short])
    (longer,) = windows.open([window()])
    assert (longer.seconds, longer.sample_size, longer.end) == (3600, 64, START + HOUR)
    assert longer.expire_at == window().expire_at
    assert windows.record("fraud", "v1", START) == longer


def test_many_that_open_the_same_at_once(documents: SqliteDocuments) -> None:
    wanted = [window(hours) for hours in range(20)]
    with ThreadPoolExecutor(4) as pool:
        opened = [pool.submit(Windows(documents).open, wanted) for _ in range(4)]
        assert [future.result() for future in opened] == [wanted] * 4


def test_more_windows_than_one_commit_takes(documents: SqliteDocuments) -> None:
    wanted = [window(hours) for hours in range(900)]
    assert Windows(documents).open(wanted) == wanted
    assert len(list(Windows(documents).records("fraud"))) == 900


def test_samples_and_labels(documents: SqliteDocuments) -> None:
    windows = Windows(documents)
    assert windows.sample("fraud", "v1", START) is None
    assert windows.labels("fraud", START) is None
    predictions, labels = windows.open([window(), window(version=None)])
    store_rows(documents, predictions, Row(2, b"n", b"a"), Row(1, b"n", b"b"))
    store_rows(documents, labels, Row(3, b"", b"c"))
    sample, known = windows.sample("fraud", "v1", START), windows.labels("fraud", START)
    assert sample is not None
    assert known is not None
    assert [row.hash for row in sample.rows] == [1, 2]
    assert [row.hash for row in known.rows] == [3]
    assert windows.sample("fraud", "v2", START) is None


def test_listed_from_the_newest_on(documents: SqliteDocuments) -> None:
    windows = Windows(documents)
    windows.open([window(hours, version) for hours in range(40) for version in ("v1", "v2")])
    windows.open([window(hours, None) for hours in range(40)])
    starts = [(record.start - START) // HOUR for record in windows.records("fraud", "v2")]
    assert starts == list(range(39, -1, -1))
    earlier = islice(windows.records("fraud", before=START + 3 * HOUR), 3)
    assert [(record.version, (record.start - START) // HOUR) for record in earlier] == [("v2", 2), ("v1", 2), ("v2", 1)]
    assert list(windows.records("other")) == []


def test_what_is_expired_is_forgotten_with_its_shards(documents: SqliteDocuments) -> None:
    windows = Windows(documents)
    for record in windows.open([window(hours, version) for hours in range(5) for version in ("v1", None)]):
        store_rows(documents, record, Row(1, b"", b"x"), Row(2, b"", b"y"))
    end = START + 3 * HOUR + RETENTION  # of the third window
    assert windows.forget_expired("fraud", end - timedelta(seconds=1), most=1) == 2
    assert windows.forget_expired("fraud", end - timedelta(seconds=1)) == 2
    assert windows.forget_expired("fraud", end) == 2
    assert windows.forget_expired("fraud", end) == 0
    assert windows.sample("fraud", "v1", START + 2 * HOUR) is None
    assert windows.shard(window(2), 1).revision is None
    assert windows.labels("fraud", START + 3 * HOUR) is not None


def test_one_that_is_written_to_stays_and_the_others_are_counted(documents: SqliteDocuments) -> None:
    windows = Windows(documents)
    records = windows.open([window(hours) for hours in range(3)])
    for record in records:
        store_rows(documents, record, Row(1, b"", b"x"))
    store = Between(documents)

    def write_to_the_second(writes: Sequence[Write]) -> None:
        if writes[-1].path == records[1].path:
            store_rows(documents, records[1], Row(5, b"", b"z"))

    store.before = write_to_the_second
    assert Windows(store).forget_expired("fraud", START + RETENTION + 9 * HOUR) == 2  # type: ignore[arg-type]
    assert list(windows.records("fraud")) == [records[1]]


def test_a_shard_that_cannot_be_read_is_no_fault_of_who_reads_it(documents: SqliteDocuments) -> None:
    windows = Windows(documents)
    (record,) = windows.open([window()])
    documents.commit(
        [Create(f"{record.path}/shards/002", {"packed": b"\x97\x02", "expire_at": "2026-04-01T00:00:00Z"})]
    )
    for read in (lambda: windows.shard(record, 2), lambda: windows.sample("fraud", "v1", START)):
        with pytest.raises(Unavailable, match="shards/002 cannot be read"):
            read()


def test_the_largest_sample_is_read_in_parts(documents: SqliteDocuments) -> None:
    """Packed, all of it would be a quarter of a gigabyte at once."""
    (record,) = Windows(documents).open([window(policy=DriftPolicy(sample_size=65_536))])
    asked: list[int] = []
    store = Between(documents)
    read = store.get_many
    store.get_many = lambda paths: (asked.append(len(paths)), read(paths))[1]  # type: ignore[method-assign]
    assert Windows(store).sample("fraud", "v1", record.start) is not None  # type: ignore[arg-type]
    assert sum(asked) == 256
    assert max(asked) == SHARDS_AT_ONCE


def test_labels_nearby(documents: SqliteDocuments) -> None:
    """Those of its own time first, then the neighbours; of another length those that overlap or touch it."""
    windows = Windows(documents)
    starts = [-7200, -3600, 0, 3600, 7200, -60, 600, 3540, 3660]
    lengths = [3600] * 5 + [60] * 4
    for start, seconds in zip(starts, lengths, strict=True):
        at = START + timedelta(seconds=start)
        (record,) = windows.open(
            [new_window("fraud", None, at, DriftPolicy(sample_size=64, window_seconds=seconds), START)]
        )
        slot = windows.shard(record, 0)
        documents.commit([slot.write(merge_into(slot.shard, [Row(start + 10_000, b"", b"")]))])
    found = windows.labels_nearby(window(), 3600)
    assert [row.hash - 10_000 for sample in found for row in sample.rows] == [0, -3600, 3600]
    found = windows.labels_nearby(window(), 60)
    assert [row.hash - 10_000 for sample in found for row in sample.rows] == [0, -3600, 3600, -60, 600, 3540]
    found = windows.labels_nearby(
        new_window("fraud", "v1", START + HOUR / 2, DriftPolicy(window_seconds=60), START), 3600
    )
    assert [row.hash - 10_000 for sample in found for row in sample.rows] == [0]


def test_every_document_says_when_it_may_go_the_shards_last(documents: SqliteDocuments) -> None:
    longest = timedelta(seconds=604_800)  # a window lengthened to that keeps the time on its shards
    assert longest + timedelta(days=1) <= SHARDS_OUTLIVE  # stores delete within a day of the time
    windows = Windows(documents)
    (record,) = windows.open([window()])
    store_rows(documents, record, Row(1, b"", b"x"))
    head, shard = documents.get(record.path), documents.get(f"{record.path}/shards/001")
    assert head is not None
    assert shard is not None
    assert msgspec.convert(head.data["expire_at"], datetime) == START + HOUR + RETENTION
    assert msgspec.convert(shard.data["expire_at"], datetime) == START + HOUR + RETENTION + SHARDS_OUTLIVE


def test_the_fullest_shard_fits_into_a_document(documents: SqliteDocuments) -> None:
    half = MAX_ROW_BYTES // 2
    rows = tuple(Row(4 * n + 1, n.to_bytes(half, "big"), n.to_bytes(half, "little")) for n in range(ROWS_OF_SHARD))
    slot = Windows(documents).shard(window(), 1)
    write = slot.write(Shard(ROWS_OF_SHARD, rows))
    check_data(write.data)  # type: ignore[union-attr]
    documents.commit([write])
    assert Windows(documents).shard(window(), 1).shard.rows == rows
