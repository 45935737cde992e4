"""What a list of models says of drift: the newest report on each version, read in one round trip."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from modeldrop.errors import Conflict
from modeldrop.handlers.reports.report_drift import report_drift
from modeldrop.ports import Delete
from modeldrop.records.latest_drift import MOST_VERSIONS, LatestDrift, LatestDrifts, latest_drift_path
from modeldrop.records.reports import Reports
from modeldrop.records.stored import stored
from tests.handlers.control import MODEL, Control
from tests.handlers.counted import counted
from tests.handlers.reporting import bring_reference, events, hour, reference_csv, report, take


class Interrupted:
    """Passes every call on to the store; before the first commit something else happens."""

    def __init__(self, real: Any, happens: Callable[[], object]) -> None:
        self._real = real
        self._happens = [happens]

    def __getattr__(self, name: str) -> Any:
        if name == "commit" and self._happens:
            self._happens.pop()()
        return getattr(self._real, name)


def latest(control: Control, version: str) -> str | None:
    """The newest verdict, as the list of models has it."""
    return Reports(control.services.documents).latest_drifts({MODEL: version}).get(MODEL)


def test_the_newest_report_is_that_of_the_version(serving: Control) -> None:
    for version in ("v1", "v2"):
        bring_reference(serving, reference_csv(events(-1, 500)), version=version)
    take(serving.services, events(0, 300, version="v2", moved=3.0) + events(1, 300, version="v1"))
    assert latest(serving, "v2") is None
    assert (report(serving, 0, "v2").verdict, report(serving, 1, "v1").verdict) == ("drifted", "ok")
    assert [latest(serving, version) for version in ("v2", "v1", "v3")] == ["drifted", "ok", None]


def test_a_report_on_an_earlier_window_is_not_the_newest(serving: Control) -> None:
    bring_reference(serving, reference_csv(events(-1, 500)), version="v2")
    take(serving.services, events(0, 300, version="v2", moved=3.0) + events(2, 300, version="v2"))
    assert (report(serving, 2, "v2").verdict, latest(serving, "v2")) == ("ok", "ok")
    assert (report(serving, 0, "v2").verdict, latest(serving, "v2")) == ("drifted", "ok")


def test_a_window_looked_at_again_says_what_it_says_now(serving: Control) -> None:
    bring_reference(serving, reference_csv(events(-1, 500)), version="v2")
    take(serving.services, events(0, 30, version="v2", moved=3.0))
    assert (report(serving, 0, "v2").verdict, latest(serving, "v2")) == ("insufficient_data", "insufficient_data")
    take(serving.services, events(0, 300, version="v2", moved=3.0, salt="later"))
    assert (report(serving, 0, "v2").verdict, latest(serving, "v2")) == ("drifted", "drifted")


def test_what_a_report_said_goes_with_it(serving: Control) -> None:
    take(serving.services, events(0, 30, version="v2"))
    made = report(serving, 0, "v2")
    reports = Reports(serving.services.documents)
    assert reports.forget_expired(MODEL, made.expire_at - timedelta(seconds=1)) == 0
    assert latest(serving, "v2") == "insufficient_data"
    assert reports.forget_expired(MODEL, made.expire_at) == 1
    assert latest(serving, "v2") is None


def test_where_the_store_deletes_by_itself_what_a_report_said_goes_too(serving: Control) -> None:
    take(serving.services, events(0, 30, version="v2"))
    made = report(serving, 0, "v2")
    documents = serving.services.documents
    (document,) = documents.list(f"models/{MODEL}/drift")
    documents.commit([Delete(document.path, document.revision)])
    assert Reports(documents).forget_expired(MODEL, made.expire_at) == 0
    assert latest(serving, "v2") is None


def test_fifty_models_take_one_round_trip(serving: Control) -> None:
    take(serving.services, events(0, 30, version="v2"))
    report(serving, 0, "v2")
    services, documents = counted(serving, "documents")
    asked = {MODEL: "v2"} | {f"model-{number}": "v1" for number in range(49)}
    assert Reports(services.documents).latest_drifts(asked) == {MODEL: "insufficient_data"}
    assert documents.calls == {"get_many": 1}
    assert Reports(services.documents).latest_drifts({}) == {}
    assert documents.calls == {"get_many": 1}


def test_reports_kept_at_the_same_time_are_all_noted(serving: Control) -> None:
    versions = ["v1", "v2"]
    take(
        serving.services, [event for n in range(6) for version in versions for event in events(n, 30, version=version)]
    )
    serving.clock.forward(61)
    instances = [serving.another_instance() for _ in range(12)]
    work = [(version, hour(number)) for version in versions for number in range(6)]

    def look(number: int) -> str:
        version, window = work[number]
        return report_drift(instances[number], MODEL, version=version, window=window).verdict

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(look, range(12))) == {"insufficient_data"}
    document = serving.services.documents.get(latest_drift_path(MODEL))
    assert document is not None
    noted = stored(document, LatestDrifts).value.versions
    kept = Reports(serving.services.documents)
    for version in versions:
        there = [number for number in range(6) if kept.drift(MODEL, version, hour(number)) is not None]
        assert noted[version].window == hour(max(there))


def test_somebody_who_notes_another_version_does_not_cost_a_report(serving: Control) -> None:
    """Between reading what is noted and writing it."""
    for version in ("v1", "v2"):  # so that nothing but reports is written
        bring_reference(serving, reference_csv(events(-1, 500)), version=version)
    take(serving.services, events(0, 30, version="v2") + events(0, 30, version="v1"))
    serving.clock.forward(61)
    services, slow = counted(serving, "documents")
    services.__dict__["documents"] = Interrupted(slow, lambda: report(serving, 0, "v1"))
    made = report_drift(services, MODEL, version="v2", window=hour(0))
    kept = Reports(serving.services.documents).drift(MODEL, "v2", hour(0))
    assert kept is not None and kept.value == made
    assert (latest(serving, "v1"), latest(serving, "v2")) == ("insufficient_data", "insufficient_data")
    assert slow.calls["commit"] == 2


def test_only_those_reported_on_last_are_remembered() -> None:
    noted = LatestDrifts()
    for number in range(MOST_VERSIONS + 5):
        noted = noted.noting(f"v{number:02d}", LatestDrift(hour(number), "ok", hour(9_999)))
    assert list(noted.versions) == [f"v{number:02d}" for number in range(5, MOST_VERSIONS + 5)]
    assert noted.noting("v00", LatestDrift(hour(0), "ok", hour(9_999))) == noted


def test_a_conflict_is_told_to_whoever_keeps_a_report(serving: Control) -> None:
    take(serving.services, events(0, 30, version="v2"))
    made = report(serving, 0, "v2")
    with pytest.raises(Conflict):
        Reports(serving.services.documents).keep_drift(made, None)
