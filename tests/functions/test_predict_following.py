"""Hot swaps: the service follows a pointer, and no request ever fails because of that."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.domain.serving_pointer import ServingPointer
from modeldrop.errors import ConfigurationError, Unavailable
from modeldrop.ports import Bucket, BucketObject
from modeldrop.serving.followed_version import FollowedVersion
from modeldrop.serving.served_version import NotServing, Serving
from modeldrop.serving.shared_look import LookRules, SharedLook
from modeldrop.wiring import connect_llm, open_artifacts
from tests.functions.predict_system import GOOD, package, point, process, versioned

GONE = "verified/flights/gone"
PAUSE_SECONDS = 600.0  # by a clock that we move; nothing waits for it


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A bucket, and a service that follows the pointer in it; its thread looks only when a request wakes it."""

    def __init__(self, bucket: Path) -> None:
        self.bucket = bucket
        self.clock = Clock()
        self.out_of_reach = False
        self.opened = 0
        uri = f"{bucket.as_uri()}/serving/flights.json"
        self.followed = FollowedVersion(
            uri, self.open, connect_llm, pause_seconds=PAUSE_SECONDS, clock=self.clock, reloads=LookRules(0.0)
        )

    def open(self, uri: str) -> tuple[Bucket, str]:
        self.opened += 1
        if self.out_of_reach:
            raise Unavailable("storage is out of reach")
        return FolderBucket(self.bucket), ""

    def version(self) -> str:
        serving = self.followed.now()
        assert isinstance(serving, Serving), serving
        (answer,) = serving.runtime.predict([GOOD])
        assert answer["score"] == int(serving.version.removeprefix("v"))
        return serving.version

    def later(self) -> None:
        """The next look is due."""
        self.clock.now += PAUSE_SECONDS

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.005)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "bucket")


@pytest.mark.parametrize(
    "uri", ["gs://b/m.json", "gs://b/serving/m", "serving/m.json", "/serving/m.json", "gs://b/serving/a/m.json"]
)
def test_an_address_that_is_no_pointers(uri: str) -> None:
    with pytest.raises(ConfigurationError):
        FollowedVersion(uri, open_artifacts, connect_llm, pause_seconds=1.0)


def test_the_first_caller_loads_what_the_pointer_names(desk: Desk) -> None:
    point(desk.bucket, versioned(desk.bucket, "v1"))
    assert desk.version() == "v1"
    assert desk.followed.facts() == {"model": "flights"}


def test_without_a_pointer_it_says_so_and_looks_again_after_a_pause(desk: Desk) -> None:
    missing = desk.followed.now()
    assert isinstance(missing, NotServing)
    assert "serving/flights.json does not exist" in missing.reason
    point(desk.bucket, versioned(desk.bucket, "v1"))
    assert desk.followed.now() == missing  # requests that come by the thousand do not ask storage by the thousand
    desk.later()
    assert desk.version() == "v1"


def test_a_request_wakes_the_look_that_is_due_and_does_not_wait_for_it(desk: Desk) -> None:
    point(desk.bucket, versioned(desk.bucket, "v1"))
    assert desk.version() == "v1"
    point(desk.bucket, versioned(desk.bucket, "v2"))
    for _ in range(100):
        assert desk.version() == "v1"  # not due yet
    desk.later()
    desk.until(lambda: desk.version() == "v2")


def test_the_thread_looks_without_any_request(tmp_path: Path) -> None:
    uri = point(tmp_path, versioned(tmp_path, "v1"))
    followed = FollowedVersion(uri, open_artifacts, connect_llm, pause_seconds=0.01)
    assert isinstance(followed.now(), Serving)  # starts nothing: it has just looked
    assert isinstance(followed.now(), Serving)
    point(tmp_path, versioned(tmp_path, "v2"))
    deadline = time.monotonic() + 10
    while followed._current.version != "v2":  # type: ignore[union-attr] - not asked: asking would wake it
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_answer_is_finished_by_the_version_it_began_with(desk: Desk) -> None:
    point(desk.bucket, versioned(desk.bucket, "v1"))
    began = desk.followed.now()
    point(desk.bucket, versioned(desk.bucket, "v2"))
    assert isinstance(desk.followed.reload(), Serving)
    assert isinstance(began, Serving)
    assert (began.version, began.runtime.predict([GOOD])[0]["score"]) == ("v1", 1.0)
    assert desk.version() == "v2"


BROKEN = {
    "no pointer at all": (lambda bucket, good: b"{}", None, "missing required field"),
    "another model's": (
        lambda bucket, good: pointed_to(good, model="other"),
        None,
        "must be 'flights'",
    ),
    "nothing there": (
        lambda bucket, good: ServingPointer("flights", "v2", good.digest, "verified/flights/gone"),
        "v2",
        "gone/metadata.json does not exist",
    ),
    "a folder that anybody may write to": (
        lambda bucket, good: pointed_to(good, folder="models/flights/v1"),
        None,
        "must be a folder below verified/flights/",
    ),
    "another model's folder": (
        lambda bucket, good: pointed_to(good, folder="verified/other/v1"),
        None,
        "must be a folder below verified/flights/",
    ),
    "another model's metadata": (
        lambda bucket, good: of_another_model(bucket),
        "v2",
        "the metadata are of 'other', not 'flights'",
    ),
    "other bytes": (
        lambda bucket, good: ServingPointer("flights", "v2", "0" * 64, good.folder),
        "v2",
        "the metadata changed",
    ),
    "no scorecard": (
        lambda bucket, good: versioned(bucket, "v2", link="log"),
        "v2",
        "link",
    ),
}


def pointed_to(good: ServingPointer, **changes: str) -> bytes:
    """What ``write_pointer`` would not write."""
    return msgspec.json.encode(msgspec.structs.replace(good, version="v2", **changes))


def of_another_model(bucket: Path) -> ServingPointer:
    """In order but for whose it is."""
    content = json.loads((bucket / versioned(bucket, "v2").folder / "metadata.json").read_bytes()) | {"model": "other"}
    folder = "verified/flights/other"
    return ServingPointer("flights", "v2", package(bucket / folder, content)["MODELDROP_SERVED_DIGEST"], folder)


@pytest.mark.parametrize(("broken", "version", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_served_leaves_the_old_one_and_is_told_once(
    broken: Callable[[Path, ServingPointer], ServingPointer | bytes],
    version: str | None,
    reason: str,
    desk: Desk,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = versioned(desk.bucket, "v1")
    point(desk.bucket, good)
    assert desk.version() == "v1"
    point(desk.bucket, broken(desk.bucket, good))
    with listening_to(caplog):
        for _ in range(3):
            outcome = desk.followed.reload()
            assert isinstance(outcome, NotServing)
            assert reason in outcome.reason
            assert desk.version() == "v1"
    assert sum("is not served" in record.message for record in caplog.records) == 1
    failed = desk.followed.facts()["failed_swap"]
    assert (failed["version"], failed["final"]) == (version, True)
    assert reason in failed["reason"]
    point(desk.bucket, versioned(desk.bucket, "v3"))
    assert isinstance(desk.followed.reload(), Serving)
    assert desk.version() == "v3"
    assert "failed_swap" not in desk.followed.facts()


def test_what_will_never_work_is_not_loaded_again_until_the_pointer_changes(desk: Desk) -> None:
    point(desk.bucket, versioned(desk.bucket, "v1"))
    assert desk.version() == "v1"
    wanted = versioned(desk.bucket, "v2")
    (desk.bucket / wanted.folder / "metadata.json").rename(desk.bucket / "kept")
    point(desk.bucket, wanted)
    desk.later()
    desk.until(lambda: desk.version() == "v1" and "failed_swap" in desk.followed.facts())
    (desk.bucket / "kept").rename(desk.bucket / wanted.folder / "metadata.json")
    looked_at = desk.followed._looked_at
    desk.later()
    desk.until(lambda: desk.version() == "v1" and desk.followed._looked_at > looked_at)
    assert "failed_swap" in desk.followed.facts()
    assert isinstance(desk.followed.reload(), Serving)  # an operator's word
    assert desk.version() == "v2"


def test_a_reload_that_hangs_holds_nobody_up(desk: Desk) -> None:
    """Storage, or a self-check, that does not answer: neither requests nor reloads wait for it without end."""
    point(desk.bucket, versioned(desk.bucket, "v1"))
    assert desk.version() == "v1"
    go_on = threading.Event()

    class Hanging(FolderBucket):
        def stat(self, name: str) -> BucketObject | None:
            assert go_on.wait(20)
            return super().stat(name)

    desk.followed._bucket = (Hanging(desk.bucket), "")
    desk.followed._reloads = SharedLook(desk.followed._look_anew, LookRules(0.0, 0.1, 2))
    point(desk.bucket, versioned(desk.bucket, "v2"))
    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(lambda _: desk.followed.reload(), range(16)))
    assert all(isinstance(outcome, NotServing) and not outcome.final for outcome in outcomes)
    reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, NotServing)}
    assert reasons == {
        "reload: 2 other callers wait for this already",
        "reload: there was no outcome within 0.1 s; it goes on by itself",
    }
    assert desk.version() == "v1"
    go_on.set()
    desk.until(lambda: desk.version() == "v2")


def test_back_to_the_version_that_still_answers(desk: Desk) -> None:
    good = versioned(desk.bucket, "v1")
    point(desk.bucket, good)
    before = desk.followed.now()
    point(desk.bucket, b"{")
    assert isinstance(desk.followed.reload(), NotServing)
    point(desk.bucket, good)
    assert desk.followed.reload() is before
    assert "failed_swap" not in desk.followed.facts()


def test_what_may_pass_is_tried_again(desk: Desk) -> None:
    point(desk.bucket, versioned(desk.bucket, "v1"))
    desk.out_of_reach = True
    assert desk.followed.now() == NotServing("storage is out of reach", final=False)
    assert desk.followed.facts()["failed_swap"]["final"] is False
    desk.out_of_reach = False
    desk.later()
    assert desk.version() == "v1"
    assert "failed_swap" not in desk.followed.facts()


def test_a_version_that_fails_its_self_check_is_not_swapped_in(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real LLM runtime: its metadata are in order, but nobody answers at the address of the service."""
    monkeypatch.setenv("GOOGLE_API_KEY", "no-key")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    point(desk.bucket, versioned(desk.bucket, "v1"))
    assert desk.version() == "v1"
    content = {"model": "flights", "version": "v2", "runtime": "gemini", "selected_model": "gemini-2.5-flash"}
    folder = "verified/flights/llm"
    digest = package(desk.bucket / folder, content)["MODELDROP_SERVED_DIGEST"]
    point(desk.bucket, ServingPointer("flights", "v2", digest, folder))
    outcome = desk.followed.reload()
    assert isinstance(outcome, NotServing)
    assert not outcome.final
    assert "LLM service" in outcome.reason
    assert desk.version() == "v1"


def test_many_first_callers_load_once(desk: Desk) -> None:
    point(desk.bucket, versioned(desk.bucket, "v1"))
    all_here = threading.Barrier(8)
    seen: list[Serving | NotServing] = []

    def first_call() -> None:
        all_here.wait()
        seen.append(desk.followed.now())

    threads = [threading.Thread(target=first_call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seen) == 8
    assert all(one is seen[0] for one in seen)
    assert desk.opened == 1


def test_swaps_under_load_fail_no_request(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    uri = point(bucket, versioned(bucket, "v1"))
    environment = {"MODELDROP_SERVED_POINTER": uri, "MODELDROP_POINTER_SECONDS": "0.02"}
    with process(environment, tmp_path / "log") as address:
        load = Load(address)
        load.start()
        load.wait_for("v1")
        for number in range(2, 8):
            version = f"v{number}"
            point(bucket, versioned(bucket, version))
            load.wait_for(version)
            point(bucket, b"not a pointer" if number % 2 else ServingPointer("flights", "v99", "0" * 64, GONE))
            load.wait_for_swap_to_fail()
        load.stop()
    assert load.problems == []
    assert set(load.versions) == {f"v{number}" for number in range(1, 8)}
    assert sum(load.versions.values()) > 100


class Load:
    """Clients that ask without a pause, and check every answer against the version it names."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.versions = Counter[str]()
        self.problems: list[str] = []
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(6)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for(self, version: str) -> None:
        self._until(lambda: version in self.versions, version)

    def wait_for_swap_to_fail(self) -> None:
        with httpx.Client(base_url=self.address, timeout=30, trust_env=False) as http:
            self._until(lambda: "failed_swap" in http.get("/health").json(), "a failed swap")

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 30
        while not holds():
            if self.problems or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"{what} did not come; {self.problems[:3]}")
            time.sleep(0.01)

    def _ask(self) -> None:
        with httpx.Client(base_url=self.address, timeout=30, trust_env=False) as http:
            while not self._ending.is_set() and not self.problems:
                try:
                    self._check(http.post("/predict", json={"instances": [GOOD]}))
                except Exception as error:
                    self.problems.append(repr(error))

    def _check(self, answer: httpx.Response) -> None:
        version = answer.headers.get("x-modeldrop-version", "")
        number = float(version.removeprefix("v") or 0)
        if answer.status_code != 200 or answer.json()["predictions"][0]["score"] != number:
            self.problems.append(f"{answer.status_code} {version}: {answer.text}")
        with self._lock:
            self.versions[version] += 1


def test_over_http_reload_and_health(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    uri = point(bucket, versioned(bucket, "v1"))
    environment = {"MODELDROP_SERVED_POINTER": uri, "MODELDROP_POINTER_SECONDS": "3600"}
    with process(environment, tmp_path / "log") as address, httpx.Client(base_url=address, timeout=30) as http:
        assert http.get("/health").json() == {"status": "ok", "model": "flights", "version": "v1"}
        assert http.post("/reload").json()["changed"] is False
        point(bucket, versioned(bucket, "v2"))
        assert http.get("/health").json()["version"] == "v1"
        assert http.post("/reload").json() == {"status": "ok", "model": "flights", "version": "v2", "changed": True}
        point(bucket, b"{}")
        refused = http.post("/reload")
        assert refused.status_code == 503
        assert "version v2 goes on" in refused.json()["detail"]
        health = http.get("/health")
        assert (health.status_code, health.json()["version"]) == (200, "v2")
        assert "missing required field" in health.json()["failed_swap"]["reason"]


@contextmanager
def listening_to(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Also where a function's module has sent our logs to standard error alone."""
    ours = logging.getLogger("modeldrop")
    ours.addHandler(caplog.handler)
    was = ours.propagate
    ours.propagate = False
    try:
        yield
    finally:
        ours.removeHandler(caplog.handler)
        ours.propagate = was
