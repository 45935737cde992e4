"""Group commit: one writer a document, all who wait are told, and nothing waits without bound."""

import threading
import time
from concurrent.futures import Future, wait
from typing import Any

import pytest

from modeldrop.errors import Unavailable
from modeldrop.handlers.predictions.group_commit import GroupCommit


class Document:
    """Writes down which groups were stored; holds the first one until told to go on."""

    def __init__(self) -> None:
        self.groups: list[list[Any]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._writing = threading.Lock()

    def store(self, items: list[Any]) -> None:
        assert self._writing.acquire(blocking=False), "two writers at once"
        self.groups.append(items)
        self.begun.set()
        assert self.go_on.wait(20)
        self._writing.release()


def test_what_arrives_during_a_commit_is_the_next_one() -> None:
    commits, document = GroupCommit(0.0), Document()
    first = commits.add("d", document.store, [1])
    assert document.begun.wait(20)
    later = [commits.add("d", document.store, [number]) for number in range(2, 50)]
    assert len(set(map(id, later))) == 1  # they wait for one and the same commit
    assert not first.done()
    document.go_on.set()
    wait([first, *later], 20)
    assert document.groups == [[1], list(range(2, 50))]
    commits.close()


def test_documents_do_not_wait_for_one_another() -> None:
    commits, held, free = GroupCommit(0.0), Document(), Document()
    free.go_on.set()
    commits.add("held", held.store, [1])
    assert commits.add("free", free.store, [2]).result(20) is None
    held.go_on.set()
    commits.close()
    assert held.groups == [[1]]


def test_it_lingers() -> None:
    commits, document = GroupCommit(0.3), Document()
    document.go_on.set()
    begin = time.monotonic()
    one, other = commits.add("d", document.store, [1]), commits.add("d", document.store, [2])
    assert one is other
    one.result(20)
    assert time.monotonic() - begin >= 0.3
    assert document.groups == [[1, 2]]
    commits.close()


def test_an_error_is_told_to_all_who_wait_and_to_nobody_else() -> None:
    commits = GroupCommit(0.0)

    def fail(items: list[Any]) -> None:
        raise Unavailable(f"{len(items)}")

    with pytest.raises(Unavailable):
        commits.add("d", fail, [1]).result(20)
    assert commits.add("d", lambda _: None, [1]).result(20) is None
    commits.close()


def test_nobody_who_waits_can_cancel_a_commit() -> None:
    commits, document = GroupCommit(10.0), Document()
    document.go_on.set()
    done = commits.add("d", document.store, [1])
    assert not done.cancel()
    commits.close()  # at once, without lingering
    assert document.groups == [[1]]
    assert done.result(0) is None


def test_what_waits_is_bounded() -> None:
    commits, document = GroupCommit(0.0, most_pending=10), Document()
    waits: list[Future[None]] = [commits.add("d", document.store, range(6))]
    assert document.begun.wait(20)
    waits.append(commits.add("d", document.store, range(4)))
    with pytest.raises(Unavailable):
        commits.add("d", document.store, [1])
    document.go_on.set()
    wait(waits, 20)
    assert commits.add("d", document.store, range(10)).result(20) is None
    commits.close()
    with pytest.raises(Unavailable):
        commits.add("d", document.store, [1])
