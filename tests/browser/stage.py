"""What the tests of the dashboard look at: models in every state, filled by the real handlers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from modeldrop.domain.scorecard import parse_scorecard
from modeldrop.handlers.reports.report_drift import report_drift
from modeldrop.handlers.reports.report_quality import report_quality
from modeldrop.handlers.retrain_tick import retrain_tick
from tests.e2e.function_process import FunctionInstance
from tests.handlers.control import MODEL, Control, StillClock, metadata
from tests.handlers.prediction_log import WINDOW, in_arrays, instance
from tests.handlers.reporting import HOUR, bring_reference, events, hour, reference_csv, take
from tests.handlers.test_flights_drift import PACKAGE, event, flights
from tests.handlers.test_report_quality import labels

POLICY = """
gate: {floors: {f1: 0.3}}
rollout: {steps: [5, 20, 50, 100], bake_seconds: 600, keep_warm_seconds: 36000, min_requests: 100, max_p95_ms: 250}
drift: {min_rows: 100, windows_to_alarm: 2}
quality: {metric: accuracy, min: 0.9, min_labels: 50}
"""
WINDOWS = 5
FLIGHTS_A_MONTH = 500
LINEAGE = {"commit": "3f9c2ab71d", "run_id": "train-2026-03", "training_data": "gs://data/fraud/2026-02"}


def window_of(moment: datetime) -> int:
    """The number of the window a time is in, as ``reporting.hour`` counts."""
    return (moment - WINDOW) // HOUR


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The real function on the folder; its address."""
    environment = {"MODELDROP_BACKEND": "local", "MODELDROP_DATA": str(folder), "MODELDROP_AUTH": "none"}
    home = folder.parent / f"{folder.name}-home"
    home.mkdir(exist_ok=True)
    function = FunctionInstance("api", with_path(environment), home)
    function.start()
    try:
        function.await_ready()
        yield function.url
    finally:
        function.stop()


def with_path(environment: dict[str, str]) -> dict[str, str]:
    """What a process needs besides: our packages, wherever these ones come from."""
    import modeldrop

    assert modeldrop.__file__ is not None
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(modeldrop.__file__).parents[1]), **environment}


def filled(folder: Path) -> Control:
    """``fraud`` in the middle of a canary, with a rejected version and drift; ``churn`` waits for an approver."""
    control = Control(folder, StillClock(datetime.now(UTC) - (WINDOWS + 1) * HOUR))
    control.policy(POLICY)
    control.tell(f"policies/{MODEL}.yaml")
    bring_reference(control, reference_csv(events(-1, 400)))
    declared = metadata("v1", 0.7, 1)["features"] | {"country": {"type": "categorical"}}
    control.drop("v1", 0.7, 1, features=declared, lineage=LINEAGE)
    control.tell_version("v1")
    _drop_flights(control)
    control.settle()
    _log_predictions(control)
    _log_flights(control)
    control.drop("v2", 0.43, 2, features=declared, lineage=LINEAGE)
    control.tell_version("v2")
    _drop_held(control)
    control.drop("v3", 0.83, 3, features=declared, lineage=LINEAGE | {"parent": "v1"})
    control.tell_version("v3")
    control.serve()
    control.tick()
    control.minutes(12, v1=(900, 1), v3=(60, 0))
    control.minutes(6, v1=(800, 1), v3=(220, 1))
    retrain_tick(control.services)
    return control


def _log_predictions(control: Control) -> None:
    """An hour after the other; amounts move away from the reference, and labels follow the answers."""
    first = window_of(control.clock.now)
    for number in range(first, first + WINDOWS):
        moved = 0.0 if number < first + 2 else 3.0
        said = events(number, 260, moved=moved)
        for each, one in enumerate(said):
            one["prediction"] = {"score": one["prediction"], "decision": each % 2 == 1}
        take(control.services, said + labels(said, wrong=int(moved > 0))[:200])
        control.clock.now = hour(number + 1) + timedelta(minutes=5)
        report_drift(control.services, MODEL, version="v1", window=hour(number))
        report_quality(control.services, MODEL, version="v1", window=hour(number))
        retrain_tick(control.services)


def _drop_held(control: Control) -> None:
    control.put("policies/churn.yaml", b"gate: {approval: manual}\n")
    control.tell("policies/churn.yaml")
    package = metadata("v1", 0.6, 1) | {"model": "churn"}
    control.put("models/churn/v1/metadata.json", json.dumps(package).encode())
    control.tell("models/churn/v1/metadata.json")


def _drop_flights(control: Control) -> None:
    for name in ("metadata.json", "reference.csv"):
        control.put(f"models/flights/v2/{name}", (PACKAGE / name).read_bytes())
    control.tell("models/flights/v2/metadata.json")


def _log_flights(control: Control) -> None:
    """The flights example: January, and the months in which flights go elsewhere, an hour each."""
    package: dict[str, Any] = json.loads((PACKAGE / "metadata.json").read_bytes())
    types = {name: feature["type"] for name, feature in package["features"].items()}
    card = parse_scorecard(package["parameters"], types)
    last = window_of(control.clock.now) - 1
    with instance(control.services) as intake:
        for number, (month, rows) in enumerate(sorted(flights().items(), reverse=True)):
            start = hour(last - number)
            said = [
                event(month, each, row, types, card) | {"timestamp": (start + timedelta(seconds=each)).isoformat()}
                for each, row in enumerate(rows[:: len(rows) // FLIGHTS_A_MONTH][:FLIGHTS_A_MONTH])
            ]
            for message in in_arrays(said, 1_000):
                intake.take_now(message)
            report_drift(control.services, "flights", version="v2", window=start)
