"""What the tests of the hour's tick share: a model that serves, its windows, and what came of a look at them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from modeldrop.domain.retraining.episode import RUNNING, Episode
from modeldrop.domain.retraining.state import RetrainingState
from modeldrop.handlers.retrain_tick import RetrainReport, retrain_tick
from modeldrop.records.retraining import Retraining
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.prediction_log import NOW
from tests.handlers.reporting import bring_reference, events, hour, reference_csv, take
from tests.handlers.test_report_quality import answers, labels

POLICY = FAST + "retrain: {cooldown_seconds: 3600, target: {type: webhook, url: 'https://train.example.com/'}}\n"
SCORED = {"features": {"amount": {"type": "numeric"}, "country": {"type": "categorical"}}}
BEGAN = [("data drift", False), ("prediction drift", False), ("a new threshold is proposed", False)]


def serve_v1(control: Control) -> Control:
    """v1 serves, and brought a reference."""
    control.clock.now = NOW
    set_policy(control, POLICY)
    bring_reference(control, reference_csv(events(-1, 1_000)))
    drop(control, "v1", 0.5, 1)
    return control


def set_policy(control: Control, text: str) -> None:
    control.policy(text)
    control.tell(f"policies/{MODEL}.yaml")


def drop(control: Control, version: str, f1: float, day: int, **changes: Any) -> None:
    control.drop(version, f1, day, **(SCORED | changes))
    control.tell_version(version)
    control.settle()


def tick(control: Control, number: int) -> RetrainReport:
    """A tick when the ``number``-th window has just ended."""
    control.clock.now = max(control.clock.now, hour(number + 1)) + timedelta(minutes=5)
    report = retrain_tick(control.services)
    assert (report.status, report.errors) == ("ok", {})
    return report


def state(control: Control) -> RetrainingState:
    return Retraining(control.services.documents).state(MODEL).value


def episodes(control: Control) -> list[Episode]:
    return [episode for _, episode in Retraining(control.services.documents).episodes(MODEL)]


def told(control: Control, *kinds: str) -> list[tuple[str, bool]]:
    return [(news.what, news.resolved) for news in control.news if news.kind in (kinds or ("drift", "retraining"))]


def label(control: Control, number: int, version: str, labelled: int | None = None) -> list[dict[str, Any]]:
    """A window whose answers prove wrong three times of ten; what was said."""
    said = answers(number, 400, version, wrong=3)
    take(control.services, said + labels(said, wrong=3)[:labelled])
    return said


def drift_away(control: Control) -> str:
    """Two windows that drifted; the episode that was opened."""
    for number in (0, 1):
        take(control.services, events(number, 600, moved=4.0))
        report = tick(control, number)
    return report.opened[MODEL]


def is_accepted(control: Control) -> None:
    """The target has taken the newest episode's order just now, and is at it; files in the bucket have real times."""
    records = Retraining(control.services.documents)
    slot = records.episode(MODEL, state(control).episodes)
    assert slot is not None
    running = msgspec.structs.replace(slot.value, status=RUNNING, accepted_at=datetime.now(UTC))
    records.commit([slot.write(running)])
