"""What is past its time goes, and nothing else: a few of each kind a call, whoever else is at it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from modeldrop.domain.news import News
from modeldrop.domain.policy import DriftPolicy
from modeldrop.errors import Conflict, FieldProblem, Unavailable
from modeldrop.events.prediction_events import Poison
from modeldrop.handlers.quarantine import quarantine_event, quarantine_poison, quarantine_upload
from modeldrop.handlers.reports.forget_expired import EVENTS_AT_ONCE, NEWS_AT_ONCE, WINDOWS_AT_ONCE, forget_expired
from modeldrop.handlers.reports.report_quality import report_quality
from modeldrop.ports import Create, Replace, Write
from modeldrop.records.outbox import KEPT, Outbox, dispatch, into_log, outgoing
from modeldrop.records.windows import RETENTION, Windows, new_window
from modeldrop.wiring import Services
from tests.handlers.control import MODEL, Control
from tests.handlers.counted import counted
from tests.handlers.prediction_log import WINDOW, between, instance, message, register, stored_paths
from tests.handlers.reporting import HOUR, events, hour, report

UPLOAD = "models/somewhere/file.json"
LAST = 3  # windows of predictions
SMALL = DriftPolicy(sample_size=64)
MOMENT = timedelta(microseconds=1)
FIRST_GOES = hour(1) + RETENTION
"""With its window: all that belongs to it."""


@pytest.fixture
def control(control: Control) -> Control:
    """Four windows of v1 with labels, reports on each, two quarantined events of ten o'clock, and an upload."""
    control.clock.now = WINDOW
    control.policy("drift: {sample_size: 64}\n")
    control.tell(f"policies/{MODEL}.yaml")
    register(control, "v1")
    quarantine_upload(control.services, UPLOAD, None, [FieldProblem("$", "has no place")])
    control.clock.now = FIRST_GOES - RETENTION
    with instance(control.services) as intake:
        assert intake.take_now(message({"type": "?"}, {"type": "!"})).quarantined == 2
        control.clock.now = hour(LAST + 1)
        for number in range(LAST + 1):
            said = events(number, 90)
            known = [
                {"type": "label", "model": MODEL, "prediction_id": each["prediction_id"], "label": True}
                | {"predicted_at": each["timestamp"]}
                for each in said
            ]
            intake.take_now(message(*said, *known))
    for number in range(LAST + 1):
        report(control, number)
        report_quality(control.services, MODEL, version="v1", window=hour(number))
    return control


def at(control: Control, moment: datetime) -> int:
    control.clock.now = moment
    return forget_expired(control.services, MODEL)


def at_least(control: Control, model: str = MODEL) -> int:
    """As little as a call does."""
    return forget_expired(control.services, model, budget_seconds=0)


def expiring(control: Control) -> list[str]:
    """The documents that are to go some day, other than news, by path."""
    kinds = ("/windows/", "/labels/", "/drift/", "/quality/", "quarantine/")
    return [path for path in stored_paths(control.data) if any(kind in path for kind in kinds)]


def test_all_of_a_window_goes_when_its_time_has_come_and_nothing_else(control: Control) -> None:
    before = stored_paths(control.data)
    assert at(control, FIRST_GOES - MOMENT) == 0
    assert stored_paths(control.data) == before
    assert at(control, FIRST_GOES) == 4 + 2  # predictions, labels, two reports; and the events
    gone = set(before) - set(stored_paths(control.data))
    assert {path.split("/")[2] for path in gone if "2026-03-01T10:00:00Z" in path} == {
        "windows",
        "labels",
        "drift",
        "quality",
    }
    assert sum("/shards/" in path for path in gone) == 2
    assert sum(path.startswith("quarantine/") for path in gone) == 2
    assert len(gone) == 4 + 2 + 2
    assert at(control, FIRST_GOES) == 0


def test_in_the_end_only_the_upload_is_left(control: Control) -> None:
    others = set(stored_paths(control.data)) - set(expiring(control))
    assert at(control, FIRST_GOES + 365 * timedelta(days=1)) == 4 * (LAST + 1) + 2
    ((name, left),) = control.services.registry.quarantine()
    assert left.what == UPLOAD
    assert set(stored_paths(control.data)) == {*others, f"quarantine/{name}"}


def test_other_models_keep_theirs(control: Control) -> None:
    windows = Windows(control.services.documents)
    others = windows.open([new_window(model, "v1", WINDOW, SMALL, WINDOW) for model in ("fraud-2", "frau")])
    at(control, FIRST_GOES + RETENTION)
    assert [windows.record(record.model, "v1", WINDOW) for record in others] == others


def open_windows(control: Control, count: int) -> None:
    """As many of v2 and of labels, one before the other, the last of them before all others."""
    versions = ("v2", None)
    wanted = [new_window(MODEL, v, WINDOW - (n + 1) * HOUR, SMALL, WINDOW) for n in range(count) for v in versions]
    Windows(control.services.documents).open(wanted)


def test_a_backlog_is_worked_off_in_one_call_the_oldest_first(control: Control) -> None:
    open_windows(control, 24)
    control.clock.now = WINDOW + RETENTION  # these and no others
    assert at_least(control) == 2 * WINDOWS_AT_ONCE
    left = [record.start for record in Windows(control.services.documents).records(MODEL, "v2")]
    assert left == [WINDOW - (n + 1) * HOUR for n in range(24 - WINDOWS_AT_ONCE)]
    assert forget_expired(control.services, MODEL) == 2 * (24 - WINDOWS_AT_ONCE)
    assert forget_expired(control.services, MODEL) == 0


def test_news_that_were_told_go_after_a_month_and_those_that_wait_stay(control: Control) -> None:
    outbox = Outbox(control.services.documents)
    told_at = [WINDOW + number * HOUR for number in range(2 * NEWS_AT_ONCE)]
    for number, moment in enumerate([*told_at, WINDOW]):
        outbox.commit([outgoing(MODEL, number, dispatch(MODEL, News("drift", "v1", "drift", "moved"), moment))])
    for slot in outbox.waiting()[:-1]:
        outbox.commit(into_log(slot, slot.value))
    assert at(control, WINDOW + KEPT - MOMENT) == 0
    assert at(control, told_at[1] + KEPT) == 2
    assert at(control, told_at[-2] + KEPT) == 2 * NEWS_AT_ONCE - 3
    assert [item.at for _, item in outbox.log(MODEL)] == [told_at[-1]]
    assert len(outbox.waiting()) == 1


# --- the quarantine --------------------------------------------------------------------------------------------


def fill_quarantine(control: Control, moment: datetime, first: int = 0) -> None:
    """A hundred come at that time."""
    control.clock.now = moment
    numbers = range(first, first + 100)
    poison = [Poison(None, f"{number}".encode(), (FieldProblem("$", "is no event"),)) for number in numbers]
    quarantine_poison(control.services, poison)


def quarantined(control: Control) -> int:
    return len(control.services.registry.quarantine(limit=1_000))


@pytest.fixture
def full(control: Control) -> Control:
    """Of two hundred more quarantined events one half has expired; windows have not."""
    fill_quarantine(control, WINDOW)
    fill_quarantine(control, WINDOW + HOUR, first=100)
    control.clock.now = FIRST_GOES - timedelta(minutes=1)
    return control


def test_a_quarantine_is_gone_through_once_around(full: Control) -> None:
    begin = quarantined(full)
    assert forget_expired(full.services, MODEL) == 100
    assert quarantined(full) == begin - 100
    services, store = counted(full, "documents")
    for _ in range(5):
        full.clock.forward(1e-3)
        assert forget_expired(services, MODEL) == 0
    pages_each = 5 + (begin - 100) // EVENTS_AT_ONCE + 2  # windows, reports and news; two that are not full
    assert store.calls == {"list": store.calls["list"], "get": 5}  # of what is noted of reports, once a call
    assert store.calls["list"] <= 5 * pages_each


def test_a_large_one_bit_by_bit(full: Control) -> None:
    begin, gone = quarantined(full), []
    for _ in range(200):
        full.clock.forward(1e-3)
        gone.append(at_least(full))
    assert 0 < max(gone) < 2 * EVENTS_AT_ONCE
    assert sum(gone) == 100
    assert quarantined(full) == begin - 100


def test_events_on_the_topic_of_uploads_go_as_well(control: Control) -> None:
    """They are no uploads, and so nobody will ever look for them."""
    control.clock.now = FIRST_GOES + HOUR
    quarantine_event(control.services, b"nonsense", [FieldProblem("$", "is no event")])
    control.clock.now += RETENTION - MOMENT
    forget_expired(control.services, MODEL)
    assert {entry.what for _, entry in control.services.registry.quarantine()} == {"event", UPLOAD}
    control.clock.now += MOMENT
    assert forget_expired(control.services, MODEL) == 1
    assert [entry.what for _, entry in control.services.registry.quarantine()] == [UPLOAD]


def test_models_begin_in_different_places(full: Control) -> None:
    documents = full.services.documents
    begin = {document.path: document.data for document in documents.list("quarantine", limit=1_000)}
    gone = []
    for model in ("a-model", "another-model"):
        at_least(full, model)
        gone.append(begin.keys() - set(stored_paths(full.data)))
        documents.commit([Create(path, begin[path]) for path in gone[-1]])
    assert gone[0] - gone[1]
    assert gone[1] - gone[0]


# --- not alone -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["/windows/", "/labels/", "/drift/", "quarantine/"])
def test_somebody_is_faster_with_some_of_it(control: Control, kind: str) -> None:
    open_windows(control, 12)
    control.clock.now = FIRST_GOES + RETENTION
    faster, counts = control.another_instance(), []

    def overtake(writes: Sequence[Write]) -> None:
        if not counts and any(kind in write.path for write in writes):
            counts.append(forget_expired(faster, MODEL, budget_seconds=0))

    services = control.another_instance()
    between(services).before = overtake
    own = forget_expired(services, MODEL)
    assert len(expiring(control)) == 1
    assert counts[0] > 0
    assert own + counts[0] == 4 * (LAST + 1) + 2 * 12 + 2


def test_four_at_once(control: Control) -> None:
    open_windows(control, 20)
    control.clock.now = FIRST_GOES + RETENTION
    instances = [control.another_instance() for _ in range(4)]
    for _ in range(20):
        with ThreadPoolExecutor(4) as threads:
            counts = list(threads.map(lambda one: forget_expired(one, MODEL), instances))
        if not any(counts):
            break
    assert len(expiring(control)) == 1


def test_a_window_that_is_written_to_is_left_to_the_next_call(control: Control) -> None:
    """An instance whose clock is late still has rows for a shard."""
    control.clock.now = FIRST_GOES + RETENTION
    late = control.another_instance()

    def write(writes: Sequence[Write]) -> None:
        if any("/windows/" in write.path for write in writes):
            path = next(write.path for write in writes if "/shards/" in write.path)
            found = late.documents.get(path)
            assert found is not None
            late.documents.commit([Replace(path, found.data, found.revision)])

    services = control.another_instance()
    store = between(services)
    store.before = write
    forget_expired(services, MODEL)
    assert Windows(control.services.documents).sample(MODEL, "v1", WINDOW) is not None
    store.before = lambda _: None
    assert forget_expired(services, MODEL) > 0
    assert len(expiring(control)) == 1


def refusing(services: Services, error: Exception) -> Callable[[], int]:
    """From now on no commit goes through; how many were tried."""
    tried: list[int] = []

    def refuse(writes: Sequence[Write]) -> None:
        tried.append(len(writes))
        raise error

    between(services).before = refuse
    return lambda: len(tried)


def test_who_is_never_fast_enough_gives_up(control: Control) -> None:
    control.clock.now = FIRST_GOES + RETENTION
    services = control.another_instance()
    tried = refusing(services, Conflict("somebody was faster"))
    assert forget_expired(services, MODEL) == 0
    assert tried() <= 3 + 2 * WINDOWS_AT_ONCE + 2  # reports, windows of both kinds, and the two events


def test_a_store_that_does_not_answer_is_said(control: Control) -> None:
    control.clock.now = FIRST_GOES + RETENTION
    services = control.another_instance()
    tried = refusing(services, Unavailable("no answer"))
    with pytest.raises(Unavailable):
        forget_expired(services, MODEL)
    assert tried() == 1
