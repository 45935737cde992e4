"""The audit trail on SQLite and on Firestore's official emulator: many writers, answers that are lost."""

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from modeldrop.domain.audit_chain import START, AuditEntry, link, sealed, verify
from modeldrop.errors import Conflict, Unavailable
from modeldrop.ports import Create, DocumentStore, Write
from modeldrop.records.audit import PAGE, AuditTrail, audit_path

WRITERS, ROUNDS = 8, 6
AT = datetime(2026, 5, 1, tzinfo=UTC)


def entry(detail: str = "") -> AuditEntry:
    return AuditEntry(0, AT, "ada", "POST /", "asked", 0, detail, None, uuid.uuid4().hex, "", "")


class Lossy:
    """A store whose next commits have their effect, and then this happens."""

    def __init__(self, store: DocumentStore, *happens: Exception) -> None:
        self._store = store
        self._happens = list(happens)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, writes: Sequence[Write]) -> None:
        """Commit; the answer is lost."""
        self._store.commit(writes)
        if self._happens:
            raise self._happens.pop(0)


def test_entries_are_numbered_and_chained(store: DocumentStore) -> None:
    trail = AuditTrail(store)
    assert trail.end() == START
    written = [trail.append(entry(f"{number}")) for number in range(3)]
    assert [one.number for one in written] == [1, 2, 3]
    assert list(trail.entries()) == written
    assert list(trail.entries(after=2)) == written[2:]
    assert trail.end() == link(written[2])
    assert trail.latest(limit=2) == [written[2], written[1]]
    assert trail.latest(before="000000000002") == [written[0]]


def test_many_writers_make_one_chain(store: DocumentStore) -> None:
    together = threading.Barrier(WRITERS)

    def write(writer: int) -> list[int]:
        trail = AuditTrail(store)
        together.wait()
        return [trail.append(entry(f"{writer}.{round_}"), 60).number for round_ in range(ROUNDS)]

    with ThreadPoolExecutor(WRITERS) as pool:
        numbers = [number for found in pool.map(write, range(WRITERS)) for number in found]
    assert sorted(numbers) == list(range(1, WRITERS * ROUNDS + 1))
    found = verify(AuditTrail(store).entries())
    assert (found.end.number, found.broken) == (WRITERS * ROUNDS, None)
    assert len({one.detail for one in AuditTrail(store).latest()}) == WRITERS * ROUNDS


@pytest.mark.parametrize("answer", [Unavailable("lost"), Conflict("it is there: the client had repeated it")])
def test_an_entry_whose_answer_was_lost_is_not_written_twice(store: DocumentStore, answer: Exception) -> None:
    lossy = Lossy(store, answer)
    first = AuditTrail(lossy).append(entry())
    second = AuditTrail(lossy).append(entry())
    assert list(AuditTrail(store).entries()) == [first, second]


def test_more_than_a_page(store: DocumentStore) -> None:
    end = START
    for batch in range(3):
        writes: list[Write] = []
        for _ in range(PAGE // 2 + 1):
            placed = sealed(entry(f"{batch}"), end)
            writes.append(Create(audit_path(placed.number), msgspec.to_builtins(placed)))
            end = link(placed)
        store.commit(writes)
    found = verify(AuditTrail(store).entries())
    assert (found.end, found.broken) == (end, None)
    assert AuditTrail(store).append(entry()).number == end.number + 1


def test_what_is_no_entry_ends_no_trail_and_hides_nothing(store: DocumentStore) -> None:
    trail = AuditTrail(store)
    trail.append(entry())
    store.commit([Create(audit_path(2), {"number": 2, "hash": 7})])
    third = trail.append(entry())
    assert (third.number, third.previous) == (3, "")
    assert list(trail.entries())[1:] == [None, third]
    found = verify(trail.entries())
    assert found.broken is not None and found.broken.number == 2
    assert [one.detail for one in trail.latest()][1] == "this entry is not as it was written: modeldrop audit verify"


def test_behind_a_document_without_a_number_nothing_is_written(store: DocumentStore) -> None:
    trail = AuditTrail(store)
    store.commit([Create("audit/zero", {})])
    with pytest.raises(Unavailable, match="audit/zero"):
        trail.append(entry())


def test_patience_comes_to_an_end(store: DocumentStore) -> None:
    """Somebody is always faster."""

    class Slow(Lossy):
        def commit(self, writes: Sequence[Write]) -> None:
            AuditTrail(store).append(entry("faster"))
            super().commit(writes)

    with pytest.raises(Unavailable, match="too many at once"):
        AuditTrail(Slow(store)).append(entry("slow"), patience_seconds=0.2)
    found = verify(AuditTrail(store).entries())
    assert (found.broken, found.end.number >= 1) == (None, True)
