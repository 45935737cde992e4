"""Prediction logs end to end: delivered often, in any order, to many instances, they become the same samples.

And from these the same reports. On SQLite, and on the official Firestore emulator.
"""

import csv
import io
import os
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import psutil
import pytest

from modeldrop.errors import TransientError
from modeldrop.handlers.predictions.log_predictions import PredictionIntake
from modeldrop.handlers.reports.report_drift import report_drift
from modeldrop.handlers.reports.report_quality import report_quality
from modeldrop.localcloud.emulators import firestore_emulator
from modeldrop.records.reports import drift_path, quality_path
from modeldrop.records.windows import Windows
from modeldrop.wiring import Services
from tests.handlers.control import MODEL, Control
from tests.handlers.prediction_log import (
    DECLARED,
    NOW,
    WINDOW,
    Failing,
    as_bytes,
    between,
    in_arrays,
    instance,
    label,
    message,
    prediction,
)

EVENTS, DELIVERIES, INSTANCES = 10_000, 10, 4
FEATURES = DECLARED | {"note": {"type": "text"}}
VERSIONS = ("v1", "v2")
POLICY = """\
drift: {sample_size: 1024, redact: {iban: drop}}
quality: {metric: auc, max_drop: 0.01, min_labels: 50}
rollout: {bake_seconds: 0, keep_warm_seconds: 0, min_requests: 0}
"""

Open = Callable[[], Services]


def events() -> list[dict[str, Any]]:
    """Predictions of two versions with their labels; every hundredth is told in two ways."""
    told = []
    for number in range(EVENTS * 4 // 5):
        version = "v2" if number % 5 == 0 else "v1"
        event = prediction(number, version)
        event["features"] |= {"note": f"order of {number} by {number % 91}", "iban": f"DE{number}"}
        told.append(event)
        if number % 100 == 0:
            told.append(event | {"prediction": 2})
    return [*told, *map(label, range(EVENTS - len(told)))]


def reference() -> bytes:
    """Rows that v1 was trained on: amounts were smaller."""
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(["amount", "country", "note", "prediction"])
    for number in range(600):
        event = prediction(number)
        rows.writerow([*event["features"].values(), f"order of {number} by {number % 91}", event["prediction"]])
    return written.getvalue().encode()


@pytest.fixture(params=["sqlite", pytest.param("firestore", marks=pytest.mark.emulator("firestore"))])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens instances over one store, in which v1 serves and v2 is on its way."""
    if request.param == "firestore":
        request.getfixturevalue("firestore_host")
    return _registered(tmp_path / "shared", "" if request.param == "sqlite" else _project())


def _project() -> str:
    return f"p-{uuid.uuid4().hex[:20]}"


def _registered(folder: Path, project: str) -> Open:
    """With a project the documents are in Firestore."""
    control = Control(folder)
    if project:
        control.settings = replace(control.settings, documents="firestore", project=project)
        control.services = control.another_instance()
    control.clock.now = NOW - timedelta(days=1)
    control.policy(POLICY)
    control.tell(f"policies/{MODEL}.yaml")
    control.put(f"models/{MODEL}/v1/reference.csv", reference())
    for day, version in enumerate(VERSIONS, 1):
        control.drop(version, 0.5 + day / 100, day, features=FEATURES)
        control.tell_version(version)
        if version == "v1":
            control.settle()
    assert control.traffic == {"v1": 100}
    control.clock.now = NOW
    return control.another_instance


class Result(NamedTuple):
    """What must not depend on who was told what, when, and how often: all samples, and what the reports say."""

    samples: bytes
    drift: list[bytes]
    quality: list[bytes]


def result(services: Services) -> Result:
    """The samples as they are, and reports made on them now."""
    windows = Windows(services.documents)
    samples = [windows.sample(MODEL, version, WINDOW) for version in VERSIONS]
    assert all(samples)
    for version in VERSIONS:
        report_drift(services, MODEL, version=version, window=WINDOW)
        report_quality(services, MODEL, version=version, window=WINDOW)
    return Result(
        as_bytes(*samples, windows.labels(MODEL, WINDOW)),
        [_stored_report(services, drift_path(MODEL, version, WINDOW)) for version in VERSIONS],
        [_stored_report(services, quality_path(MODEL, version, WINDOW)) for version in VERSIONS],
    )


def _stored_report(services: Services, path: str) -> bytes:
    """As canonical JSON, without the time of looking, and without what stands for the upload of a reference file."""
    document = services.documents.get(path)
    assert document is not None
    said = {name: value for name, value in document.data.items() if name != "looked_at"}
    if said.get("reference", {}).get("kind") == "package":
        del said["inputs"]
    return msgspec.json.encode(said, order="deterministic")


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What one instance makes of one delivery, event after event in their order."""
    open_instance = _registered(tmp_path_factory.mktemp("in order"), "")
    with instance(open_instance()) as intake:
        for data in in_arrays(events(), 500):
            intake.take_now(data)
    return result(open_instance())


def deliver(intakes: Sequence[PredictionIntake], messages: Sequence[bytes], chance: Random) -> "list[Future[int]]":
    """Each message to an instance, again and again until it is acknowledged; how often it was not."""

    def until_acknowledged(data: bytes, order: list[PredictionIntake]) -> int:
        for failures, intake in enumerate(order):
            try:
                intake.take_now(data)
            except TransientError:
                continue
            return failures
        raise AssertionError("never acknowledged")

    pool = ThreadPoolExecutor(2 * len(intakes))
    done = [pool.submit(until_acknowledged, data, chance.choices(intakes, k=20)) for data in messages]
    pool.shutdown(wait=False)
    return done


@pytest.fixture
def chance() -> Random:
    return Random(20260301)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_the_reports_have_something_to_say(in_order: Result) -> None:
    """Else it would be no wonder that they are equal."""
    drift = [msgspec.json.decode(each) for each in in_order.drift]
    assert [(each["reference"]["kind"], each["verdict"]) for each in drift] == [
        ("package", "drifted"),
        ("stable_version", "ok"),
    ]
    assert [each["rows"] for each in drift] == [1024, 997]  # v2: of the time it shares with v1
    assert [each["conflicts"] for each in drift] == [0, 50]  # every hundredth is one of v2
    assert all(each["prediction"] and len(each["features"]) == 3 for each in drift)
    quality = [msgspec.json.decode(each) for each in in_order.quality]
    assert [(each["metric"], each["compared_version"]) for each in quality] == [("auc", None), ("auc", "v1")]
    assert all(each["labelled"] >= 50 and {"accuracy", "auc"} <= each["metrics"].keys() for each in quality)


def test_ten_shuffled_deliveries_to_four_instances(
    opened: Open, in_order: Result, chance: Random, stack: ExitStack
) -> None:
    intakes = [stack.enter_context(instance(opened(), 0.1)) for _ in range(INSTANCES)]
    deliveries: list[bytes] = []
    for size in chance.choices([1000, 700, 130], k=DELIVERIES):
        told = events()
        chance.shuffle(told)
        deliveries += in_arrays(told, size)
    chance.shuffle(deliveries)
    assert {future.result() for future in deliver(intakes, deliveries, chance)} == {0}
    assert result(opened()) == in_order


@pytest.mark.parametrize("side", ["before", "after"])
def test_instances_that_crash_around_their_commits(
    opened: Open, in_order: Result, chance: Random, stack: ExitStack, side: str
) -> None:
    told = events()
    chance.shuffle(told)
    messages = in_arrays(told, 500)
    for part in range(0, len(messages), 5):  # each instance dies in its turn, and the next one gets its messages again
        crashing = opened()
        killed = Killing(1 + part % 3)
        setattr(between(crashing), side, killed)
        with instance(crashing) as intake:
            done = [_attempt(intake, data) for data in messages[part : part + 5]]
        assert killed.happened
        assert not all(done)
        with instance(opened()) as intake:
            for acknowledged, data in zip(done, messages[part : part + 5], strict=True):
                if not acknowledged:
                    intake.take_now(data)
    assert result(opened()) == in_order


class Killed(BaseException):
    """The process is gone."""


class Killing:
    """From the ``number``-th commit of a shard on, nothing is committed and nobody is answered any more."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.happened = False

    def __call__(self, writes: Any) -> None:
        self._left -= any("/shards/" in write.path for write in writes)
        if self._left <= 0:
            self.happened = True
            raise Killed


def _attempt(intake: PredictionIntake, data: bytes) -> bool:
    try:
        intake.take_now(data)
    except Killed:
        return False
    return True


def test_answers_that_are_lost_now_and_then(opened: Open, in_order: Result, chance: Random, stack: ExitStack) -> None:
    intakes = []
    for side in ("before", "after"):
        services = opened()
        setattr(between(services), side, Failing(15))
        intakes.append(stack.enter_context(instance(services)))
    for future in deliver(intakes, in_arrays(events(), 500), chance):
        future.result()
    assert result(opened()) == in_order


@pytest.mark.emulator("firestore")
def test_the_store_stops_and_goes_on(
    tmp_path: Path, in_order: Result, chance: Random, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = stack.enter_context(firestore_emulator())
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
    opened = _registered(tmp_path, _project())
    emulator = _process_at(host)
    intakes = [stack.enter_context(instance(opened())) for _ in range(INSTANCES)]
    messages = in_arrays(events(), 500)
    for future in deliver(intakes, messages[:5], chance):
        future.result()
    os.kill(emulator, signal.SIGSTOP)
    try:
        waiting = deliver(intakes, messages, chance)
        with pytest.raises(TimeoutError):
            waiting[-1].result(1)
        known = {data for data, future in zip(messages, waiting, strict=True) if future.done()}
        assert known <= set(messages[:5])  # nothing is acknowledged that is not stored
    finally:
        os.kill(emulator, signal.SIGCONT)
    for future in waiting:
        future.result()
    assert result(opened()) == in_order


def _process_at(host: str) -> int:
    (found,) = [
        child.pid
        for child in psutil.Process().children(recursive=True)
        if f"--port={host.partition(':')[2]}" in child.cmdline()
    ]
    return found


def test_models_nobody_registered_leave_one_document(opened: Open, stack: ExitStack) -> None:
    services = opened()
    store = between(services)
    intake = stack.enter_context(instance(services, 0.05))
    for number in range(5):
        strangers = [prediction(n, f"v{number}-{n}", model=f"stranger-{n % 10}") for n in range(300)]
        assert intake.take_now(message(*strangers)).passed_over == 300
    assert [len(services.documents.list(name)) for name in ("unknown", "models", "quarantine")] == [1, 1, 0]
    assert store.writes <= 5
