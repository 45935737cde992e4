"""The subscriber's side of the local queue: leases, redelivery, dead letters, several workers at once."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modeldrop.adapters.local.topic_queue import LocalPublisher
from modeldrop.errors import NotFound, Unavailable

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEASE_SECONDS = 10.0


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def open_queue(folder: Path) -> LocalPublisher:
    return LocalPublisher(folder / "topics.sqlite", ["a", "b"], max_attempts=3, clock=lambda: NOW)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[LocalPublisher]:
    queue = open_queue(tmp_path)
    yield queue
    queue.close()


def test_a_message_is_leased_with_all_that_is_known_of_it(queue: LocalPublisher) -> None:
    name = queue.publish("a", b"data", {"k": "v"})
    (message,) = queue.lease("a", 10, LEASE_SECONDS, later(1))
    assert (message.id, message.data, message.attributes) == (name, b"data", {"k": "v"})
    assert (message.publish_time, message.attempts) == (NOW, 1)
    assert queue.lease("b", 10, LEASE_SECONDS, later(1)) == []


def test_what_was_acknowledged_is_gone(queue: LocalPublisher) -> None:
    names = [queue.publish("a", b"%d" % n) for n in range(3)]
    queue.lease("a", 10, LEASE_SECONDS, NOW)
    queue.acknowledge([names[0], names[2], names[0], "999", "", "not an id", "-1", "9" * 40])
    assert [message.id for message in queue.lease("a", 10, LEASE_SECONDS, later(11))] == [names[1]]


def test_a_leased_message_comes_again_once_its_lease_ran_out(queue: LocalPublisher) -> None:
    name = queue.publish("a", b"x")
    assert queue.lease("a", 10, LEASE_SECONDS, NOW)
    assert queue.lease("a", 10, LEASE_SECONDS, later(9.999)) == []
    (again,) = queue.lease("a", 10, LEASE_SECONDS, later(10))
    assert (again.id, again.attempts) == (name, 2)


def test_a_released_message_comes_again_at_its_time(queue: LocalPublisher) -> None:
    name = queue.publish("a", b"x")
    queue.lease("a", 10, LEASE_SECONDS, NOW)
    queue.release(name, later(3))
    assert queue.lease("a", 10, LEASE_SECONDS, later(2)) == []
    assert [message.attempts for message in queue.lease("a", 10, LEASE_SECONDS, later(3))] == [2]


def test_a_late_release_does_not_take_the_message_from_its_next_holder(queue: LocalPublisher) -> None:
    queue.publish("a", b"x")
    (first,) = queue.lease("a", 1, LEASE_SECONDS, NOW)
    (second,) = queue.lease("a", 1, LEASE_SECONDS, later(10))
    queue.release(first.id, later(11), attempt=first.attempts)
    assert queue.lease("a", 1, LEASE_SECONDS, later(11)) == []
    queue.release(second.id, later(12), attempt=second.attempts)
    assert len(queue.lease("a", 1, LEASE_SECONDS, later(12))) == 1


def test_the_last_release_makes_a_dead_letter(queue: LocalPublisher) -> None:
    name = queue.publish("a", b"poison", {"k": "v"})
    for _ in range(3):
        (message,) = queue.lease("a", 1, LEASE_SECONDS, NOW)
        assert queue.dead_letters("a") == []
        queue.release(message.id, NOW)
    assert queue.lease("a", 1, LEASE_SECONDS, later(1_000)) == []
    (dead,) = queue.dead_letters("a")
    assert (dead.id, dead.data, dead.attributes, dead.attempts) == (name, b"poison", {"k": "v"}, 3)
    assert queue.dead_letters("b") == []


def test_workers_that_die_each_time_make_a_dead_letter_too(queue: LocalPublisher) -> None:
    poison = [queue.publish("a", b"poison") for _ in range(3)]
    for n in range(3):
        assert len(queue.lease("a", 10, LEASE_SECONDS, later(n * 10))) == 3
    sound = queue.publish("a", b"sound")
    # One at a time, so that whole pages are given up before the sound one is found.
    assert [message.id for message in queue.lease("a", 1, LEASE_SECONDS, later(30))] == [sound]
    assert queue.lease("a", 10, LEASE_SECONDS, later(30)) == []
    assert [dead.id for dead in queue.dead_letters("a")] == poison
    assert [dead.id for dead in queue.dead_letters("a", limit=2)] == poison[:2]


def test_no_two_workers_hold_one_message(queue: LocalPublisher, tmp_path: Path) -> None:
    names = [queue.publish("a", b"x") for _ in range(100)]
    other = open_queue(tmp_path)

    def work(source: LocalPublisher) -> list[str]:
        held: list[str] = []
        while messages := source.lease("a", 3, LEASE_SECONDS, NOW):
            held += [message.id for message in messages]
        return held

    with ThreadPoolExecutor(8) as pool:
        held = [name for part in pool.map(work, [queue, other] * 4) for name in part]
    other.close()
    assert sorted(held, key=int) == names


def test_several_processes_share_a_queue(queue: LocalPublisher, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from modeldrop.adapters.local.topic_queue import LocalPublisher
queue = LocalPublisher(Path({str(tmp_path)!r}) / "topics.sqlite", ["a"])
for _ in range(20):
    queue.publish("a", b"x")
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len({message.id for message in queue.lease("a", 100, LEASE_SECONDS, NOW)}) == 40


def test_messages_and_leases_outlive_the_process(queue: LocalPublisher, tmp_path: Path) -> None:
    queue.publish("a", b"leased")
    queue.lease("a", 1, LEASE_SECONDS, NOW)
    queue.publish("a", b"waiting")
    queue.close()
    again = open_queue(tmp_path)
    assert [message.data for message in again.lease("a", 10, LEASE_SECONDS, NOW)] == [b"waiting"]
    assert [message.data for message in again.lease("a", 10, LEASE_SECONDS, later(10))] == [b"leased", b"waiting"]
    again.close()


def test_an_id_is_never_used_again(queue: LocalPublisher, tmp_path: Path) -> None:
    first = queue.publish("a", b"x")
    queue.acknowledge([first])
    queue.close()
    again = open_queue(tmp_path)
    assert again.publish("a", b"x") != first
    again.close()


def test_unknown_topics_and_closed_queues(queue: LocalPublisher) -> None:
    with pytest.raises(NotFound):
        queue.lease("c", 1, LEASE_SECONDS, NOW)
    with pytest.raises(NotFound):
        queue.dead_letters("c")
    queue.close()
    with pytest.raises(Unavailable):
        queue.publish("a", b"x")
