"""The lock of deployments against a Cloud Storage server: one at a time, whatever becomes of answers and owners."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest

from infra.deploy.commands import LOCK, Wrong
from infra.deploy.deployment import Deployment
from infra.deploy.functions_table import read_table
from infra.deploy.lock import STALE_SECONDS, Lock, Locked, LockLost, who_deploys
from tests.contract.test_deploy_commands import TO
from tests.servers.storage import StorageServer

BUCKET = "models"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    with StorageServer([BUCKET]) as server:
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", f"{server.url}/storage/v1/")
        yield server


def lock(said: Callable[[str], None] = print, bucket: str = BUCKET) -> Lock:
    """A lock as the deployer makes it."""
    return Lock(bucket, lambda: "token", said, pause_seconds=0)


def leave_a_lock(storage: StorageServer, age_seconds: float) -> None:
    """As a deployment does that was killed."""
    left = storage.put(BUCKET, LOCK, json.dumps({"id": "1", "owner": "build 7"}).encode())
    storage._objects[BUCKET][LOCK] = replace(left, created=left.created - timedelta(seconds=age_seconds))


def test_one_at_a_time(storage: StorageServer) -> None:
    first, second = lock(), lock()
    first.take()
    with pytest.raises(Locked, match=r"is deploying, and was seen 0 minutes ago.*--force-unlock"):
        second.take()
    first.renew()
    first.release()
    second.take()
    second.release()
    assert storage.objects(BUCKET) == {}


def test_of_many_at_once_one_gets_it(storage: StorageServer) -> None:
    locks, taken = [lock() for _ in range(12)], []

    def take(one: Lock) -> None:
        try:
            one.take()
        except Locked:
            return
        taken.append(one)

    threads = [threading.Thread(target=take, args=(one,)) for one in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    taken[0].renew()


def test_one_that_was_left_behind_is_taken_over_in_time(storage: StorageServer) -> None:
    said: list[str] = []
    leave_a_lock(storage, STALE_SECONDS - 60)
    with pytest.raises(Locked, match="build 7 is deploying, and was seen 44 minutes ago"):
        lock().take()
    leave_a_lock(storage, STALE_SECONDS + 1)
    one = lock(said.append)
    one.take()
    assert said == ["takes the lock over from build 7, seen 45 minutes ago"]
    one.release()
    assert storage.objects(BUCKET) == {}


def test_it_is_taken_over_by_force(storage: StorageServer) -> None:
    leave_a_lock(storage, 0)
    one = lock()
    one.take(by_force=True)
    one.renew()


@pytest.mark.parametrize("between", ["download", "upload"])
def test_of_two_that_take_it_over_one_gets_it(storage: StorageServer, between: Literal["download", "upload"]) -> None:
    """The other one is faster: before this one has looked, or before it writes."""
    leave_a_lock(storage, STALE_SECONDS + 1)
    other = json.dumps({"id": "2", "owner": "build 8"}).encode()
    if between == "upload":
        storage.before_next("upload", lambda: None)  # the first of its writes is to where nothing is
    storage.before_next(between, lambda: storage.put(BUCKET, LOCK, other))
    with pytest.raises(Locked, match="build 8 is deploying, and was seen 0 minutes ago"):
        lock().take()
    assert storage.unused_faults() == 0


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_answers_may_be_lost(storage: StorageServer, after_effect: bool, times: int) -> None:
    one = lock()
    storage.drop_next(kind="upload", after_effect=after_effect, times=times)
    one.take()
    storage.fail_next(503, kind="upload", after_effect=after_effect, times=times)
    one.renew()
    storage.drop_next(kind="delete", after_effect=after_effect, times=times)
    one.release()
    assert storage.unused_faults() == 0
    assert storage.objects(BUCKET) == {}


def test_what_was_never_taken_is_not_given_back(storage: StorageServer) -> None:
    leave_a_lock(storage, 0)
    one = lock()
    with pytest.raises(Locked):
        one.take()
    one.release()
    assert LOCK in storage.objects(BUCKET)


def test_one_that_cannot_be_given_back_is_said(storage: StorageServer) -> None:
    said: list[str] = []
    one = lock(said.append)
    one.take()
    storage.fail_next(403, kind="delete")
    one.release()
    assert said[0].startswith("the lock gs://models/deployments/lock.json stays: 403")


def test_without_a_bucket_or_a_right_to_it_there_is_no_lock(storage: StorageServer) -> None:
    with pytest.raises(Wrong, match="no such bucket; Terraform makes it"):
        lock(bucket="nobodys").take()
    storage.fail_next(403, kind="upload")
    with pytest.raises(Wrong, match="who deploys needs what modeldrop-build has"):
        lock().take()


def test_a_token_goes_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", "http://storage.example.com/storage/v1/")
    with pytest.raises(Wrong, match="a token is not sent to"):
        lock().take()


def failing_deployment(when_called: Callable[[], None]) -> tuple[list[str], list[str]]:
    """What was said and run by a deployment that holds the lock and fails its smoke test, where that happens."""
    said: list[str] = []
    ran: list[str] = []
    one = lock()
    one.take()
    serving = [
        {"metadata": {"name": "prediction-logged"}, "status": {"traffic": [{"revisionName": "1", "percent": 9}]}}
    ]

    def run(command: Sequence[str]) -> str:
        ran.append(" ".join(command))
        if "functions call" in ran[-1]:
            when_called()
        return json.dumps(serving) if "services list" in ran[-1] else ""

    table = read_table()
    deployment = Deployment(table, TO, said.append, run, 0, attempts=1, turn=one.renew)
    assert not deployment.deploy([function for function in table.functions if function.name == "prediction_logged"])
    return said, ran


def test_whoever_lost_it_stops_and_takes_nothing_back(storage: StorageServer) -> None:
    said: list[str] = []
    ran: list[str] = []
    one = lock()
    one.take()

    def run(command: object) -> str:
        ran.append(" ".join(map(str, command)))  # type: ignore[call-overload]
        leave_a_lock(storage, 0)  # somebody forces it while a command runs
        return "[]"

    functions = read_table().functions[:2]
    deployment = Deployment(read_table(), replace(TO, ticks_paused=True), said.append, run, 0, turn=one.renew)
    assert not deployment.deploy(functions)
    assert "the lock was taken over by build 7. Nothing is taken back" in said[-1]
    assert not [command for command in ran if "update-traffic" in command or "functions deploy" in command]
    with pytest.raises(LockLost):
        one.renew()
    one.release()
    assert LOCK in storage.objects(BUCKET)  # not ours to give back


def test_whoever_lost_it_takes_nothing_back_when_its_own_fails(storage: StorageServer) -> None:
    """Its smoke test fails after somebody else has begun: those revisions are none of its business any more."""
    said, ran = failing_deployment(lambda: leave_a_lock(storage, 0))
    assert "functions call" in ran[-1]
    assert said[-2].startswith("failed: prediction_logged: ")
    assert "the lock was taken over by build 7. Nothing is taken back" in said[-1]


def test_what_was_begun_is_taken_back_where_the_lock_cannot_be_asked(storage: StorageServer) -> None:
    said, _ = failing_deployment(lambda: storage.fail_next(403, kind="upload"))
    assert said[-1] == "prediction_logged: 1 serves again"


def test_a_lock_that_cannot_be_looked_at_is_told(storage: StorageServer) -> None:
    leave_a_lock(storage, 0)
    storage.fail_next(401, kind="stat")
    with pytest.raises(Wrong, match=r"cannot be read \(401\)"):
        lock().take()


def test_who_deploys_is_a_build_or_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_ID", "7")
    assert who_deploys() == "build 7"
    monkeypatch.delenv("BUILD_ID")
    assert " at " in who_deploys()
