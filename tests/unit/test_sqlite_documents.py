"""What only the SQLite store can get wrong: several processes, sudden death, locks, cost of a page."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modeldrop.adapters.local.sqlite_documents import SqliteDocuments
from modeldrop.errors import Unavailable
from modeldrop.ports import Create, Replace

OPEN = """
import sys
from pathlib import Path
from modeldrop.adapters.local.sqlite_documents import SqliteDocuments
from modeldrop.errors import Conflict
from modeldrop.ports import Create, Replace
store = SqliteDocuments(Path(sys.argv[1]), busy_seconds=60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "documents.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteDocuments]:
    store = SqliteDocuments(path, busy_seconds=60)
    yield store
    store.close()


def start(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", OPEN + code, str(path)], stdout=subprocess.PIPE, text=True)


def test_two_processes_lose_no_increment(store: SqliteDocuments, path: Path) -> None:
    store.commit([Create("counters/one", {"n": 0})])
    code = """
done = 0
while done < 50:
    before = store.get("counters/one")
    try:
        store.commit([Replace(before.path, {"n": before.data["n"] + 1}, before.revision)])
        done += 1
    except Conflict:
        pass
"""
    processes = [start(code, path) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    found = store.get("counters/one")
    assert found is not None
    assert found.data == {"n": 100}


def test_get_many_sees_one_moment(store: SqliteDocuments) -> None:
    paths = [f"accounts/{name}" for name in "abcdefgh"]
    store.commit([Create(path, {"n": 0}) for path in paths])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            found = [d for d in store.get_many(paths) if d]
            store.commit([Replace(d.path, {"n": d.data["n"] + 1}, d.revision) for d in found])

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        seen = [{d.data["n"] for d in store.get_many(paths) if d} for _ in range(300)]
        stop.set()
        writer.result()
    assert all(len(numbers) == 1 for numbers in seen)


def test_what_was_committed_survives_sudden_death(path: Path) -> None:
    code = """
n = 0
while True:
    store.commit([Create(f"log/{n:06}", {"n": n, "padding": "x" * 1000}), Create(f"twin/{n:06}", {})])
    print(n, flush=True)
    n += 1
"""
    process = start(code, path)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 50:
            os.kill(process.pid, signal.SIGKILL)
            break
    confirmed = int((line + process.stdout.read()).split()[-1])
    process.stdout.close()
    process.wait()
    store = SqliteDocuments(path)
    numbers = [document.data["n"] for document in store.list("log", limit=10_000)]
    twins = store.list("twin", limit=10_000)
    store.close()
    # The commit under way when it died may have made it, whole; everything confirmed did.
    assert numbers in (list(range(confirmed + 1)), list(range(confirmed + 2)))
    assert len(twins) == len(numbers)


def test_data_are_there_after_closing(store: SqliteDocuments, path: Path) -> None:
    store.commit([Create("models/fraud", {"n": 1})])
    before = store.get("models/fraud")
    store.close()
    again = SqliteDocuments(path)
    assert again.get("models/fraud") == before
    again.close()
    with pytest.raises(Unavailable):
        store.get("models/fraud")
    store.close()


def test_many_open_a_new_file_at_once(path: Path) -> None:
    together = threading.Barrier(8)

    def work(number: int) -> SqliteDocuments:
        together.wait()
        store = SqliteDocuments(path)
        store.commit([Create(f"models/{number}", {})])
        return store

    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(work, range(8)))
    assert len(stores[0].list("models")) == 8
    for store in stores:
        store.close()


def test_a_locked_file_is_unavailable_and_readers_do_not_wait(path: Path) -> None:
    store = SqliteDocuments(path, busy_seconds=0.05)
    store.commit([Create("models/fraud", {"n": 1})])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    before = store.get("models/fraud")
    assert before is not None
    with pytest.raises(Unavailable):
        store.commit([Replace("models/fraud", {"n": 2}, before.revision)])
    assert store.get("models/fraud") == before
    other.execute("ROLLBACK")
    other.close()
    store.commit([Replace("models/fraud", {"n": 2}, before.revision)])
    store.close()


def test_what_is_no_database_is_unavailable(path: Path) -> None:
    path.write_bytes(b"not a database, whatever its name says " * 100)
    with pytest.raises(Unavailable):
        SqliteDocuments(path)
    with pytest.raises(Unavailable):
        SqliteDocuments(path.parent)


def test_every_commit_reaches_the_disk(store: SqliteDocuments, path: Path) -> None:
    with store._file.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_page_costs_the_same_among_ten_thousand(store: SqliteDocuments) -> None:
    def steps_of_a_page(collection: str) -> int:
        """Instructions of SQLite's machine, in tens: unlike time, the same on every run."""
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        with store._file.reading() as connection:
            connection.set_progress_handler(count, 10)
        page = store.list(collection, after="005", descending=False, limit=10)
        with store._file.reading() as connection:
            connection.set_progress_handler(None, 0)
        assert len(page) == 10
        assert steps > 0
        return steps

    store.commit([Create(f"few/{n:05}", {"n": n}) for n in range(1_000) if n < 20 or n >= 500])
    store.commit([Create(f"many/{n:05}", {"n": n}) for n in range(10_000)])
    assert steps_of_a_page("many") <= steps_of_a_page("few") + 2


def test_connections_are_reused_by_threads_that_come_and_go(store: SqliteDocuments) -> None:
    store.commit([Create("models/fraud", {})])
    for _ in range(20):
        thread = threading.Thread(target=store.get, args=("models/fraud",))
        thread.start()
        thread.join()
    assert len(store._file._idle) == 1


def test_a_forked_child_uses_connections_of_its_own(store: SqliteDocuments, path: Path) -> None:
    code = """
import os
store.commit([Create("models/parent", {})])
child = os.fork()
store.commit([Create(f"models/{child == 0}", {})])
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.commit([Create("models/end", {})])
"""
    process = start(code, path)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert [document.path for document in store.list("models")] == [
        "models/False",
        "models/True",
        "models/end",
        "models/parent",
    ]
