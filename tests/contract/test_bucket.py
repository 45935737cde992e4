"""What every Bucket adapter promises, on a folder and on Cloud Storage (the real client against a local server).

First what holds for both, then what only a folder can meet, then what only a server can do to its client.
"""

import fcntl
import hashlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

import pytest
from google.cloud.storage import Client

from modeldrop.adapters.gcp.storage_bucket import StorageBucket, connect
from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.errors import (
    ConfigurationError,
    Conflict,
    InvalidName,
    ModeldropError,
    NotFound,
    Refused,
    TooLarge,
    TransientError,
    Unavailable,
)
from modeldrop.ports import Bucket, BucketObject
from modeldrop.settings import Settings
from tests.servers.storage import Kind, StorageServer

LIMIT = 16 * 1024 * 1024
BINARY = "application/octet-stream"
ODD_NAMES = [
    "a%2fb",
    "with spaces/and  more ",
    "a..b/..c/d..",
    "\x01\x1f\x7f",
    "\"quotes'`$(echo)*?[x]",
    "a#b?c=d&e+f;g",
    "back\\slash",
    "-rf",
    ".hidden/.file",
    "~",
    "umlaut ä, 日本語, \U0001f680",
    "e\u0301 is not \u00e9",
    "x" * 250 + "/" + "y" * 250,
]
BAD_NAMES = [
    "",
    "/a",
    "a/",
    "a//b",
    "..",
    "a/../b",
    "./a",
    "a\0",
    "a\rb",
    "a\nb",
    "a" * 1025,
    "é" * 513,
    "a\ud800",
    "\udcff",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture
def folder(root: Path) -> FolderBucket:
    return FolderBucket(root)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    with StorageServer(buckets=["models"]) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture
def storage(server: StorageServer) -> Iterator[StorageBucket]:
    with closing(connect(Settings(backend="gcp", project="test", bucket="models"))) as bucket:
        yield bucket


@pytest.fixture(params=["folder", "storage"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    adapter: Bucket = request.getfixturevalue(request.param)
    return adapter


def write(bucket: Bucket, name: str, data: bytes, if_generation: int = 0) -> BucketObject:
    return bucket.write(name, data, if_generation=if_generation, content_type=BINARY)


def test_what_is_not_there_is_none(bucket: Bucket) -> None:
    assert bucket.stat("a/b") is None
    assert bucket.read("a/b", limit_bytes=LIMIT) is None
    assert bucket.read("a/b", limit_bytes=LIMIT, generation=7) is None
    assert bucket.list("", limit=10) == []
    assert bucket.list("a/", limit=10) == []


def test_a_written_object_is_found_again_with_the_same_facts(bucket: Bucket) -> None:
    written = write(bucket, "models/m/v1/metadata.json", b"{}")
    assert written.name == "models/m/v1/metadata.json"
    assert 0 < written.generation < 2**63
    assert written.size == 2
    assert written.created_at.tzinfo is not None
    assert abs(datetime.now(UTC) - written.created_at) < timedelta(minutes=1)
    assert bucket.stat(written.name) == written
    assert bucket.read(written.name, limit_bytes=2) == (written, b"{}")
    assert bucket.list("", limit=10) == [written]


def test_creating_what_exists_is_a_conflict_and_changes_nothing(bucket: Bucket) -> None:
    first = write(bucket, "a", b"first")
    with pytest.raises(Conflict):
        write(bucket, "a", b"second")
    assert bucket.read("a", limit_bytes=LIMIT) == (first, b"first")


def test_replacing_needs_the_live_generation(bucket: Bucket) -> None:
    first = write(bucket, "a", b"first")
    second = write(bucket, "a", b"second", first.generation)
    for stale in (first.generation, second.generation ^ 1, -1):
        with pytest.raises(Conflict):
            write(bucket, "a", b"third", stale)
    assert bucket.read("a", limit_bytes=LIMIT) == (second, b"second")


def test_replacing_what_is_not_there_is_a_conflict_and_makes_nothing(bucket: Bucket) -> None:
    with pytest.raises(Conflict):
        write(bucket, "folder/a", b"x", 5)
    assert bucket.list("", limit=10) == []


def test_every_write_is_a_new_generation_even_of_the_same_bytes(bucket: Bucket) -> None:
    generations = [0]
    for data in (b"same", b"same", b"other", b"same"):
        generations.append(write(bucket, "a", data, generations[-1]).generation)
    assert len(set(generations)) == len(generations)


def test_deleting_needs_the_live_generation(bucket: Bucket) -> None:
    first = write(bucket, "a/b", b"same")
    other = write(bucket, "a/c", b"")
    for stale in (0, -1, first.generation ^ 1):
        with pytest.raises(Conflict):
            bucket.delete("a/b", if_generation=stale)
    assert bucket.stat("a/b") == first
    bucket.delete("a/b", if_generation=first.generation)
    assert bucket.stat("a/b") is None
    assert bucket.list("", limit=10) == [other]
    for generation in (0, first.generation):
        with pytest.raises(Conflict):
            bucket.delete("a/b", if_generation=generation)
    assert write(bucket, "a/b", b"same").generation != first.generation


def test_one_of_many_deletions_wins(bucket: Bucket) -> None:
    start = threading.Barrier(6)
    written = write(bucket, "a", b"")

    def delete(_: int) -> bool:
        start.wait()
        try:
            bucket.delete("a", if_generation=written.generation)
            return True
        except Conflict:
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(delete, range(6))) == 1


def test_reading_a_generation_gives_that_one_or_none(bucket: Bucket) -> None:
    first = write(bucket, "a", b"first")
    assert bucket.read("a", limit_bytes=LIMIT, generation=first.generation) == (first, b"first")
    second = write(bucket, "a", b"second", first.generation)
    assert bucket.read("a", limit_bytes=LIMIT, generation=first.generation) is None
    assert bucket.read("a", limit_bytes=LIMIT, generation=0) is None
    assert bucket.read("a", limit_bytes=LIMIT, generation=second.generation) == (second, b"second")


def test_more_than_the_limit_is_too_large(bucket: Bucket) -> None:
    written = write(bucket, "a", b"12345")
    assert bucket.read("a", limit_bytes=5) == (written, b"12345")
    with pytest.raises(TooLarge):
        bucket.read("a", limit_bytes=4)
    assert bucket.read("a", limit_bytes=4, generation=written.generation ^ 1) is None


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: ascii(name[:10]))
def test_bad_names_are_refused_by_every_method(bucket: Bucket, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: bucket.stat(name),
        lambda: bucket.read(name, limit_bytes=LIMIT),
        lambda: write(bucket, name, b""),
        lambda: bucket.delete(name, if_generation=1),
        lambda: bucket.digest(name, generation=1),
        lambda: bucket.copy(name, generation=1, target="a"),
        lambda: bucket.copy("a", generation=1, target=name),
    ]
    if name not in ("", "..", "a/"):  # those are the start of good ones
        calls.append(lambda: bucket.list(name, limit=10))
    for call in calls:
        with pytest.raises(InvalidName):
            call()
    assert bucket.list("", limit=10) == []


def test_odd_names_are_taken_as_they_stand(bucket: Bucket) -> None:
    written = [write(bucket, name, name.encode()) for name in ODD_NAMES]
    for one in written:
        assert bucket.read(one.name, limit_bytes=LIMIT) == (one, one.name.encode())
        assert bucket.list(one.name, limit=10) == [one]
    assert bucket.list("", limit=100) == sorted(written, key=lambda one: one.name.encode())
    assert bucket.stat("a/b") is None  # %2f is no slash


@pytest.mark.parametrize(
    "data", [b"", bytes(range(256)), b"\r\n--boundary--\r\n" * 3, b"\x1f\x8b\x08 not gzip"], ids=len
)
def test_any_bytes_come_back(bucket: Bucket, data: bytes) -> None:
    written = write(bucket, "a", data)
    assert written.size == len(data)
    assert bucket.read("a", limit_bytes=len(data)) == (written, data)


def test_megabytes_come_back(bucket: Bucket) -> None:
    data = bytes(range(256)) * 20_000
    written = write(bucket, "big", data)
    assert bucket.read("big", limit_bytes=LIMIT) == (written, data)


def test_list_is_by_name_as_bytes_and_across_folders(bucket: Bucket) -> None:
    names = [
        "a/b/c",
        "a/b-c",
        "a/b.c",
        "a/b0",
        "a-b",
        "a.b",
        "a0",
        "b/a",
        "B/a",
        "é/a",
        "z/\uffff",
        "z/\U00010000",
        ".a",
    ]
    for name in names:
        write(bucket, name, b"")
    ordered = sorted(names, key=str.encode)

    def listed(prefix: str, limit: int = 100) -> list[str]:
        return [one.name for one in bucket.list(prefix, limit=limit)]

    assert listed("") == ordered
    for prefix in ("a", "a/", "a/b", "a/b/", "a/b/c", "z/", "é", ".", "nothing", "a/b/c/"):
        assert listed(prefix) == [name for name in ordered if name.startswith(prefix)]
    for limit in (-1, 0, 1, 2, 5, len(names)):
        assert listed("", limit) == ordered[: max(limit, 0)]


def test_one_of_many_creators_wins(bucket: Bucket) -> None:
    start = threading.Barrier(8)

    def create(number: int) -> BucketObject | None:
        start.wait()
        try:
            return write(bucket, "folder/one", b"%d" % number)
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(create, range(8)))
    [winner] = [number for number, outcome in enumerate(outcomes) if outcome]
    assert bucket.read("folder/one", limit_bytes=LIMIT) == (outcomes[winner], b"%d" % winner)


def test_no_update_is_lost(bucket: Bucket) -> None:
    write(bucket, "count", b"0")

    def increment(times: int) -> None:
        while times:
            try:
                found = bucket.read("count", limit_bytes=LIMIT)
                assert found is not None
                write(bucket, "count", b"%d" % (int(found[1]) + 1), found[0].generation)
                times -= 1
            except TransientError:
                pass  # somebody was faster

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(increment, [6] * 5))
    found = bucket.read("count", limit_bytes=LIMIT)
    assert found is not None
    assert found[1] == b"30"


def test_bytes_and_generation_belong_together_while_somebody_writes(bucket: Bucket) -> None:
    written = {(one := write(bucket, "a", b"0")).generation: b"0"}
    seen: list[tuple[BucketObject, bytes]] = []
    done = threading.Event()

    def keep_reading() -> None:
        while not done.is_set():
            try:
                found = bucket.read("a", limit_bytes=LIMIT)
            except TransientError:
                continue  # replaced too often
            assert found is not None
            seen.append(found)

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(keep_reading) for _ in range(2)]
        try:
            for number in range(1, 40):
                data = b"%d" % number * (number * 100)
                one = write(bucket, "a", data, one.generation)
                written[one.generation] = data
        finally:
            done.set()
        for reader in readers:
            reader.result()
    assert seen
    for found, data in seen:
        assert written[found.generation] == data
        assert found.size == len(data)


def test_the_digest_is_of_one_generation(bucket: Bucket) -> None:
    data = bytes(range(256)) * 80_000  # more than one piece
    first = write(bucket, "a", data)
    assert bucket.digest("a", generation=first.generation) == hashlib.sha256(data).hexdigest()
    second = write(bucket, "a", b"", first.generation)
    assert bucket.digest("a", generation=first.generation) is None
    assert bucket.digest("a", generation=second.generation) == hashlib.sha256().hexdigest()
    assert bucket.digest("b/c", generation=first.generation) is None


@pytest.mark.parametrize("size", [0, 10, 9 * 1024 * 1024])
def test_a_copy_has_the_same_bytes_and_a_life_of_its_own(bucket: Bucket, size: int) -> None:
    data = b"x" * size
    original = write(bucket, "a/b", data)
    copied = bucket.copy("a/b", generation=original.generation, target="c/d/e")
    assert copied is not None
    assert copied.generation != original.generation
    write(bucket, "a/b", b"other", original.generation)
    assert bucket.read("c/d/e", limit_bytes=LIMIT) == (copied, data)


def test_only_the_generation_asked_for_is_copied(bucket: Bucket) -> None:
    first = write(bucket, "a", b"first")
    write(bucket, "a", b"second", first.generation)
    for name, generation in (("a", first.generation), ("a", 0), ("a", -1), ("nothing", first.generation)):
        assert bucket.copy(name, generation=generation, target="b") is None
    assert bucket.stat("b") is None


def test_a_copy_overwrites_nothing(bucket: Bucket) -> None:
    original, there = write(bucket, "a", b"new"), write(bucket, "b", b"old")
    for target in ("a", "b"):
        with pytest.raises(Conflict):
            bucket.copy("a", generation=original.generation, target=target)
    assert bucket.read("b", limit_bytes=LIMIT) == (there, b"old")


def test_one_of_many_copies_wins(bucket: Bucket) -> None:
    originals = [write(bucket, f"from/{number}", b"%d" % number) for number in range(6)]
    start = threading.Barrier(6)

    def copy(original: BucketObject) -> BucketObject | None:
        start.wait()
        try:
            return bucket.copy(original.name, generation=original.generation, target="to")
        except Conflict:
            return None

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(copy, originals))
    [winner] = [number for number, outcome in enumerate(outcomes) if outcome]
    assert bucket.read("to", limit_bytes=LIMIT) == (outcomes[winner], b"%d" % winner)


# --- a folder --------------------------------------------------------------------------------------------------

# A process that works on the bucket in argv[1]. It says "ready" first, so that nobody waits for its start.
PROCESS = """
import sys
from pathlib import Path
from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.errors import Conflict
bucket = FolderBucket(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
"""
COUNTING = """
for _ in range(25):
    while True:
        found, data = bucket.read("count", limit_bytes=100)
        try:
            bucket.write("count", b"%d" % (int(data) + 1), if_generation=found.generation, content_type="")
            break
        except Conflict:
            pass
"""
REWRITING = """
import itertools
for letter in itertools.cycle((b"a", b"b")):
    found = bucket.stat("big")
    bucket.write("big", letter * 8_000_000, if_generation=found.generation if found else 0, content_type="")
"""
LISTING = """
opened = []
sys.addaudithook(lambda event, arguments: opened.append(1) if event == "os.scandir" else None)
assert [one.name for one in bucket.list("a/b/", limit=9)] == ["a/b/c/d", "a/b/e"]
assert len(opened) == 2, opened
opened.clear()
assert [one.name for one in bucket.list("", limit=1)] == ["a/b/c/d"]
assert len(opened) == 4, opened
"""


def start_process(root: Path, work: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS + work, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_folder_uri_names_the_folder_without_a_slash_at_the_end(tmp_path: Path) -> None:
    assert FolderBucket(tmp_path / "a b%").uri == f"{tmp_path.resolve().as_uri()}/a%20b%25"


def test_reading_creates_nothing(folder: FolderBucket, tmp_path: Path) -> None:
    folder.stat("a")
    folder.read("a", limit_bytes=1)
    folder.list("", limit=1)
    with pytest.raises(Conflict):
        write(folder, "a", b"", 5)
    assert [path.name for path in tmp_path.iterdir()] == [".bucket-writes"]  # and that only by the write


def test_a_file_copied_by_hand_is_an_object(folder: FolderBucket, root: Path, tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"by hand")
    (root / "models").mkdir(parents=True)
    copy = root / "models/m"
    shutil.copy(tmp_path / "original", copy)
    found = folder.stat("models/m")
    assert found is not None
    assert folder.read("models/m", limit_bytes=LIMIT) == (found, b"by hand")
    assert folder.list("models/", limit=10) == [found]
    assert found.created_at.timestamp() == pytest.approx(copy.stat().st_mtime, abs=1e-5)
    replaced = write(folder, "models/m", b"by us", found.generation)
    copy.write_bytes(b"by 2!")  # in place: the same inode and size
    again = folder.stat("models/m")
    assert again is not None
    assert again.generation != replaced.generation
    with pytest.raises(Conflict):
        write(folder, "models/m", b"by us", replaced.generation)
    copy.unlink()
    assert folder.stat("models/m") is None


def test_a_copy_that_keeps_the_time_of_its_source_came_now(folder: FolderBucket, root: Path, tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(b"of last year")
    os.utime(original, (time.time() - 31_536_000,) * 2)
    root.mkdir()
    shutil.copy2(original, root / "copy")
    found = folder.stat("copy")
    assert found is not None
    assert abs(datetime.now(UTC) - found.created_at) < timedelta(minutes=1)


def test_generations_outlast_the_process_and_never_come_back(folder: FolderBucket, root: Path) -> None:
    seen = set()
    for _ in range(50):
        written = write(folder, "a", b"same")
        assert FolderBucket(root).stat("a") == written
        seen.add(written.generation)
        (root / "a").unlink()  # its inode is free for the next one
    assert len(seen) == 50


def test_times_of_files_may_be_anything(folder: FolderBucket, root: Path) -> None:
    root.mkdir()
    for name, seconds in (("past", -(10**9)), ("future", 10**10)):
        (root / name).touch()
        os.utime(root / name, (seconds, seconds))
    assert [one.name for one in folder.list("", limit=10)] == ["future", "past"]


def test_stamps_rise_although_the_clock_steps_back(folder: FolderBucket, root: Path) -> None:
    tomorrow = time.time_ns() // 1000 + 86_400_000_000
    write(folder, "a", b"")
    (root.parent / ".bucket-writes/lock").write_text(f"{tomorrow:020}")
    times = [write(folder, name, b"").created_at for name in ("b", "c")]
    assert [(one - times[0]) // timedelta(microseconds=1) for one in times] == [0, 1]
    assert times[0] > datetime.now(UTC)


def test_links_are_not_followed(folder: FolderBucket, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    kept = write(folder, "kept", b"")
    (root / "file").symlink_to(tmp_path / "outside/secret")
    (root / "dangling").symlink_to(tmp_path / "nothing")
    (root / "inside").symlink_to(root / "kept")
    (root / "folder").symlink_to(tmp_path / "outside")
    for name in ("file", "dangling", "inside", "folder", "folder/secret", "folder/new", "folder/new/er"):
        with pytest.raises(Refused):
            folder.stat(name)
        with pytest.raises(Refused):
            folder.read(name, limit_bytes=LIMIT)
        with pytest.raises(Refused):
            write(folder, name, b"")
        with pytest.raises(Refused):
            folder.delete(name, if_generation=1)
    assert folder.list("", limit=10) == [kept]
    assert folder.list("folder/", limit=10) == []
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["secret"]
    assert not (tmp_path / "nothing").exists()


def test_the_root_itself_may_be_reached_over_a_link(folder: FolderBucket, root: Path, tmp_path: Path) -> None:
    written = write(folder, "a", b"")
    (tmp_path / "link").symlink_to(root)
    assert FolderBucket(tmp_path / "link").stat("a") == written
    assert FolderBucket(tmp_path / "link").uri == folder.uri


def test_special_files_are_no_objects(folder: FolderBucket, root: Path) -> None:
    root.mkdir()
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket"))
    (root / "empty").mkdir()
    for name in ("pipe", "socket", "empty"):
        assert folder.stat(name) is None
        assert folder.read(name, limit_bytes=LIMIT) is None
        with pytest.raises(Refused):
            write(folder, name, b"")
    assert folder.list("", limit=10) == []


def test_a_file_where_a_folder_is_needed_is_refused_with_the_reason(folder: FolderBucket) -> None:
    write(folder, "a", b"")
    assert folder.stat("a/b") is None
    assert folder.list("a/", limit=10) == []
    with pytest.raises(Refused, match="a/b: a file is where a folder is needed"):
        write(folder, "a/b", b"")


def test_a_segment_the_file_system_cannot_hold_is_absent_and_refused(folder: FolderBucket) -> None:
    name = "n" * 300
    assert folder.stat(name) is None
    assert folder.list(f"{name}/", limit=10) == []
    with pytest.raises(Refused, match="longer than the file system allows"):
        write(folder, name, b"")


def test_files_with_names_no_object_has_are_left_out(folder: FolderBucket, root: Path) -> None:
    kept = write(folder, "kept", b"")
    for name in (b"\xff\xfe", b"line\nbreak", b"folder\xff/a", b"folder\r/a"):
        path = Path(os.fsdecode(os.fsencode(root) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert folder.list("", limit=10) == [kept]


def test_list_opens_only_folders_it_needs(folder: FolderBucket, root: Path) -> None:
    for name in ("a/b/c/d", "a/b/e", "a/f/g", "h/i/j"):
        write(folder, name, b"")
    process = start_process(root, LISTING)
    process.communicate("go\n")
    assert process.returncode == 0


def test_a_growing_file_is_never_read_torn(folder: FolderBucket, root: Path) -> None:
    root.mkdir()
    (root / "log").write_bytes(b"x" * 4_000_000)  # reading takes long enough for it to grow meanwhile
    done = threading.Event()

    def grow() -> None:
        with (root / "log").open("ab", buffering=0) as file:
            while not done.is_set():
                file.write(b"x")

    with ThreadPoolExecutor(1) as pool:
        growing = pool.submit(grow)
        try:
            for _ in range(30):
                try:
                    found = folder.read("log", limit_bytes=10**9)
                except Unavailable:
                    continue
                assert found is None or len(found[1]) == found[0].size
        finally:
            done.set()
        growing.result()


def test_either_the_bucket_or_an_outsider_creates_a_file(folder: FolderBucket, root: Path) -> None:
    root.mkdir()
    start = threading.Barrier(2)

    def create_by_hand(name: str) -> bool:
        start.wait()
        try:
            with (root / name).open("xb") as file:
                file.write(b"by hand")
            return True
        except FileExistsError:
            return False

    with ThreadPoolExecutor(1) as pool:
        for number in range(50):
            outsider = pool.submit(create_by_hand, f"{number}")
            start.wait()
            try:
                write(folder, f"{number}", b"by us")
                won = True
            except Conflict:
                won = False
            assert outsider.result() is not won
            assert (root / f"{number}").read_bytes() == (b"by us" if won else b"by hand")


def test_processes_lose_no_update(folder: FolderBucket, root: Path) -> None:
    write(folder, "count", b"0")
    processes = [start_process(root, COUNTING) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    found = folder.read("count", limit_bytes=LIMIT)
    assert found is not None
    assert found[1] == b"75"


def test_a_writer_killed_half_way_leaves_a_whole_object_and_no_lock(folder: FolderBucket, root: Path) -> None:
    first = write(folder, "big", b"0" * 8_000_000)
    incoming = root.parent / ".bucket-writes/incoming"
    for _ in range(20):
        kill_while_writing(root, incoming)
        if incoming.exists():  # hit between the first byte and the end
            break
    else:
        pytest.fail("never killed a writer half-way")
    found = folder.read("big", limit_bytes=LIMIT)
    assert found is not None
    assert found[1] in (letter * 8_000_000 for letter in (b"0", b"a", b"b"))
    assert [one.name for one in folder.list("", limit=10)] == ["big"]
    last = write(folder, "big", b"alive", found[0].generation)
    assert last.generation not in (first.generation, found[0].generation)
    assert not incoming.exists()


def kill_while_writing(root: Path, incoming: Path) -> None:
    process = start_process(root, REWRITING)
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    deadline = time.monotonic() + 20
    while not (incoming.exists() and process.poll() is None):
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_crash_after_publishing_does_not_harm_the_object_later(folder: FolderBucket, root: Path) -> None:
    published = write(folder, "a", b"published")
    # As a writer leaves it that dies between the link and the end: both names are the same file.
    (root.parent / ".bucket-writes/incoming").hardlink_to(root / "a")
    write(folder, "b", b"another")
    assert folder.read("a", limit_bytes=LIMIT) == (published, b"published")
    assert [path.name for path in (root.parent / ".bucket-writes").iterdir()] == ["lock"]


def test_a_lock_somebody_sits_on_is_unavailable(root: Path) -> None:
    bucket = FolderBucket(root, lock_wait_seconds=0.05)
    write(bucket, "a", b"")
    with (root.parent / ".bucket-writes/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="locked"):
            write(bucket, "b", b"")
        assert bucket.stat("a") is not None
    assert write(bucket, "b", b"").name == "b"


def test_a_copy_is_not_changed_by_writing_into_its_source(folder: FolderBucket, root: Path) -> None:
    original = write(folder, "a", b"first")
    folder.copy("a", generation=original.generation, target="b")
    with (root / "a").open("r+b") as file:
        file.write(b"other")
    assert (root / "b").read_bytes() == b"first"
    assert [path.name for path in (root.parent / ".bucket-writes").iterdir()] == ["lock"]


def test_copying_and_hashing_follow_no_links(folder: FolderBucket, root: Path, tmp_path: Path) -> None:
    original = write(folder, "a", b"")
    (tmp_path / "outside").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "outside")
    for call in (
        lambda: folder.digest("link", generation=1),
        lambda: folder.copy("link", generation=1, target="b"),
        lambda: folder.copy("a", generation=original.generation, target="link"),
    ):
        with pytest.raises(Refused):
            call()
    assert (tmp_path / "outside").read_bytes() == b"secret"
    assert folder.stat("b") is None


def test_what_a_killed_copy_left_is_cleared_away_and_one_under_way_is_not(folder: FolderBucket, root: Path) -> None:
    original = write(folder, "a", b"data")
    writes = root.parent / ".bucket-writes"
    (writes / "copy-dead").write_bytes(b"half")
    with (writes / "copy-alive").open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        assert folder.copy("a", generation=original.generation, target="b")
        assert sorted(path.name for path in writes.iterdir()) == ["copy-alive", "lock"]


# --- Cloud Storage ---------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(server: StorageServer) -> Iterator[StorageBucket]:
    """A bucket that does not repeat reads."""
    with closing(StorageBucket(Client(project="test"), "models", read_retry_seconds=0)) as bucket:
        yield bucket


CALLS: dict[Kind, Callable[[Bucket], object]] = {
    "stat": lambda bucket: bucket.stat("a"),
    "download": lambda bucket: bucket.read("a", limit_bytes=LIMIT),
    "list": lambda bucket: bucket.list("", limit=10),
    "upload": lambda bucket: write(bucket, "new", b"x"),
}


def test_a_storage_uri_names_the_bucket(storage: StorageBucket) -> None:
    assert storage.uri == "gs://models"


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (408, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (None, Unavailable),
        (400, Refused),
        (403, Unavailable),
        (409, Conflict),
    ],
)
def test_what_the_server_says_becomes_our_error(
    server: StorageServer, impatient: StorageBucket, kind: Kind, status: int | None, expected: type[ModeldropError]
) -> None:
    server.put("models", "a", b"data")
    if status is None:
        server.drop_next(kind=kind)
    else:
        server.fail_next(status, kind=kind)
    with pytest.raises(expected):
        CALLS[kind](impatient)
    assert sorted(server.objects("models")) == ["a"]
    CALLS[kind](impatient)


@pytest.mark.parametrize("kind", ["stat", "download", "list"])
def test_reads_outlast_a_moment_of_trouble(server: StorageServer, storage: StorageBucket, kind: Kind) -> None:
    server.put("models", "a", b"data")
    server.fail_next(503, kind=kind)
    server.drop_next(kind=kind)
    assert CALLS[kind](storage)
    assert server.unused_faults() == 0


def test_a_deletion_whose_answer_is_lost_is_found_by_reading(server: StorageServer, storage: StorageBucket) -> None:
    written = write(storage, "a", b"")
    server.drop_next(kind="delete")
    server.drop_next(kind="delete", after_effect=True)
    for is_gone in (False, True):
        with pytest.raises(Unavailable):
            storage.delete("a", if_generation=written.generation)
        assert (storage.stat("a") is None) is is_gone
    with pytest.raises(Conflict):
        storage.delete("a", if_generation=written.generation)


def test_writes_are_never_repeated_on_their_own(server: StorageServer, storage: StorageBucket) -> None:
    server.fail_next(503, kind="upload", times=2)
    with pytest.raises(Unavailable):
        write(storage, "a", b"")
    assert server.unused_faults() == 1


@pytest.mark.parametrize("size", [10, 9 * 1024 * 1024], ids=["multipart", "resumable"])
def test_a_write_whose_answer_is_lost_is_found_by_reading(
    server: StorageServer, storage: StorageBucket, size: int
) -> None:
    data = b"x" * size
    server.drop_next(kind="upload" if size == 10 else "chunk", after_effect=True)
    with pytest.raises(Unavailable):
        write(storage, "a", data)
    found = storage.read("a", limit_bytes=LIMIT)
    assert found is not None
    assert found[1] == data
    with pytest.raises(Conflict):
        write(storage, "a", data)
    assert storage.stat("a") == found[0]


def test_large_objects_go_up_in_a_session_with_the_same_precondition(storage: StorageBucket) -> None:
    data = bytes(range(256)) * 40_000
    first = write(storage, "big", data)
    assert storage.read("big", limit_bytes=LIMIT) == (first, data)
    with pytest.raises(Conflict):
        write(storage, "big", data)
    second = write(storage, "big", data + b"more", first.generation)
    assert storage.read("big", limit_bytes=LIMIT) == (second, data + b"more")


def test_a_cut_download_is_repeated(server: StorageServer, storage: StorageBucket) -> None:
    data = bytes(range(256)) * 1000
    server.put("models", "a", data)
    server.damage_next_download("cut", times=2)
    found = storage.read("a", limit_bytes=LIMIT)
    assert found is not None
    assert found[1] == data
    assert server.unused_faults() == 0


@pytest.mark.parametrize("damages", [["corrupt"], ["cut", "corrupt"]], ids=str)
def test_damaged_bytes_are_noticed(
    server: StorageServer, storage: StorageBucket, damages: list[Literal["cut", "corrupt"]]
) -> None:
    server.put("models", "a", bytes(range(256)) * 1000)
    for damage in damages:
        server.damage_next_download(damage)
    with pytest.raises(Unavailable, match="whole"):
        storage.read("a", limit_bytes=LIMIT)
    assert storage.read("a", limit_bytes=LIMIT)


def test_an_object_replaced_before_its_download_is_read_as_it_is_now(
    server: StorageServer, storage: StorageBucket
) -> None:
    server.put("models", "a", b"first")
    server.before_next("download", lambda: server.put("models", "a", b"the second"))
    found = storage.read("a", limit_bytes=LIMIT)
    assert found == (storage.stat("a"), b"the second")
    server.before_next("download", lambda: server.delete("models", "a"))
    assert storage.read("a", limit_bytes=LIMIT) is None


def test_an_object_replaced_before_its_download_is_not_the_generation_asked_for(
    server: StorageServer, storage: StorageBucket
) -> None:
    generation = server.put("models", "a", b"first").generation
    server.before_next("download", lambda: server.put("models", "a", b"the second"))
    assert storage.read("a", limit_bytes=LIMIT, generation=generation) is None


def test_an_object_replaced_again_and_again_is_unavailable(server: StorageServer, storage: StorageBucket) -> None:
    server.put("models", "a", b"")
    server.before_next("download", lambda: server.put("models", "a", b""), times=5)
    with pytest.raises(Unavailable, match="keeps changing"):
        storage.read("a", limit_bytes=LIMIT)
    assert storage.read("a", limit_bytes=LIMIT)


@pytest.mark.parametrize("damage", ["cut", "corrupt"])
def test_a_digest_is_never_of_damaged_bytes(
    server: StorageServer, storage: StorageBucket, damage: Literal["cut", "corrupt"]
) -> None:
    stored = server.put("models", "a", bytes(range(256)) * 1000)
    server.damage_next_download(damage)
    right = hashlib.sha256(stored.data).hexdigest()
    if damage == "corrupt":
        with pytest.raises(Unavailable, match="whole"):
            storage.digest("a", generation=stored.generation)
    assert storage.digest("a", generation=stored.generation) == right
    assert server.unused_faults() == 0


def test_an_object_replaced_while_it_is_hashed_has_no_digest(server: StorageServer, storage: StorageBucket) -> None:
    stored = server.put("models", "a", b"x" * 9 * 1024 * 1024)
    server.before_next("download", lambda: None)
    server.before_next("download", lambda: server.put("models", "a", b"y" * 9 * 1024 * 1024))
    assert storage.digest("a", generation=stored.generation) is None
    assert server.unused_faults() == 0


def test_an_object_replaced_while_it_is_copied_is_not_copied(server: StorageServer, storage: StorageBucket) -> None:
    stored = server.put("models", "a", b"x" * 3 * 1024 * 1024)
    server.before_next("copy", lambda: None)
    server.before_next("copy", lambda: server.put("models", "a", b"y"))
    assert storage.copy("a", generation=stored.generation, target="b") is None
    assert sorted(server.objects("models")) == ["a"]


def test_a_copy_whose_answer_is_lost_is_found_by_reading(server: StorageServer, storage: StorageBucket) -> None:
    stored = server.put("models", "a", b"data")
    server.drop_next(kind="copy", after_effect=True)
    with pytest.raises(Unavailable):
        storage.copy("a", generation=stored.generation, target="b")
    with pytest.raises(Conflict):
        storage.copy("a", generation=stored.generation, target="b")
    assert server.objects("models")["b"].data == b"data"


@pytest.mark.parametrize("status", [404, 410, 503])
def test_a_lost_upload_session_is_unavailable(server: StorageServer, storage: StorageBucket, status: int) -> None:
    data = b"x" * (9 * 1024 * 1024)
    server.fail_next(status, kind="chunk")
    with pytest.raises(Unavailable):
        write(storage, "big", data)
    assert storage.stat("big") is None
    assert write(storage, "big", data).size == len(data)


def test_too_large_is_not_downloaded(server: StorageServer, storage: StorageBucket) -> None:
    server.put("models", "a", b"12345")
    server.fail_next(400, kind="download")
    with pytest.raises(TooLarge):
        storage.read("a", limit_bytes=4)
    assert server.unused_faults() == 1


def test_a_bucket_that_is_not_there_is_not_an_empty_one(server: StorageServer) -> None:
    with closing(connect(Settings(backend="gcp", project="test", bucket="nothing"))) as bucket:
        for call in CALLS.values():
            with pytest.raises(NotFound, match="bucket does not exist"):
                call(bucket)
        with pytest.raises(NotFound, match="bucket does not exist"):
            bucket.delete("a", if_generation=1)
        with pytest.raises(NotFound, match="bucket does not exist"):
            bucket.copy("a", generation=1, target="b")


def test_a_server_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{closed.getsockname()[1]}")
    with closing(StorageBucket(Client(project="test"), "models", read_retry_seconds=0)) as bucket:
        for call in CALLS.values():
            with pytest.raises(Unavailable):
                call(bucket)


def test_connecting_needs_a_bucket_and_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    for name in (None, "models"):
        with pytest.raises(ConfigurationError):
            connect(Settings(backend="gcp", project="test", bucket=name))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError):
        connect(Settings(backend="gcp", project="test", bucket="-not-a-name-"))


def test_names_the_port_does_not_allow_are_left_out_and_do_not_use_up_the_limit(
    server: StorageServer, storage: StorageBucket
) -> None:
    for name in ("a/", "a//b", "a/c", "d/../e", "f", "g/", "h"):
        server.put("models", name, b"")
    assert [one.name for one in storage.list("", limit=3)] == ["a/c", "f", "h"]
    assert [one.name for one in storage.list("", limit=2)] == ["a/c", "f"]


def test_the_server_tells_of_each_write_and_its_generations_are_not_ordered(
    server: StorageServer, storage: StorageBucket
) -> None:
    told: SimpleQueue[tuple[str, int]] = SimpleQueue()
    server.on_finalize(lambda name, generation: told.put((name, generation)))
    generations = [0]
    for _ in range(20):
        generations.append(write(storage, "a", b"", generations[-1]).generation)
    with pytest.raises(Conflict):
        write(storage, "a", b"")
    assert [told.get(timeout=10) for _ in range(20)] == [("a", generation) for generation in generations[1:]]
    assert told.empty()
    assert any(later < earlier for earlier, later in itertools.pairwise(generations[1:]))
