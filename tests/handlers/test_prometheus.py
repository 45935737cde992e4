"""``/metrics``: what a scrape says, read back by Prometheus' own parsers, and how much is read for it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from modeldrop.domain.model_head import ModelHead, Serving
from modeldrop.errors import Refused, Unavailable
from modeldrop.ports import Create, Delete, Document, Endpoint, Replace
from modeldrop.records.quarantined_events import Room
from modeldrop.records.reports import DriftRecord, QualityRecord, Reference, drift_path, quality_path
from modeldrop.web.prometheus import CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE, negotiated
from modeldrop.web.scrape.families import FAMILIES, MOST_FEATURES, MOST_MODELS
from modeldrop.wiring import Services
from tests.handlers.control import MODEL, Control
from tests.handlers.counted import counted
from tests.handlers.prediction_log import NOW
from tests.handlers.test_canary_analysis import begin_canary
from tests.handlers.watching import drift_away, episodes, serve_v1

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(services: Services) -> Samples:
    """Every sample by name and labels. No two may be of the same series."""
    found: Samples = {}
    for family in plain_families(negotiated(services, "")[0].decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def of(samples: Samples, name: str) -> list[tuple[dict[str, str], float]]:
    """The samples of a metric: labels and value."""
    return [(dict(labels), value) for (found, labels), value in samples.items() if found == f"modeldrop_{name}"]


def value(samples: Samples, name: str, /, **labels: str) -> float:
    """The one sample with just these labels."""
    return samples[f"modeldrop_{name}", tuple(sorted(labels.items()))]


def drift_record(model: str, features: list[dict[str, Any]], **changes: Any) -> DriftRecord:
    """A report on v1, half an hour old."""
    told: dict[str, Any] = {"complete": True, "window": NOW, "version": "v1", "verdict": "drifted"} | changes
    return DriftRecord(
        model=model,
        window_seconds=3600,
        reference=Reference("package"),
        rows=500,
        reference_rows=500,
        estimated_events=500,
        relative_error=None,
        conflicts=0,
        features=features,
        prediction=None,
        inputs="",
        looked_at=NOW,
        expire_at=NOW + timedelta(days=90),
        **told,
    )


def quality_record(model: str, **changes: Any) -> QualityRecord:
    """A report on v1 that could be judged."""
    told: dict[str, Any] = {"window": NOW, "verdict": "ok", "value": 0.8, "coverage": 0.25} | changes
    return QualityRecord(
        model=model,
        version="v1",
        window_seconds=3600,
        rows=400,
        estimated_events=400,
        labelled=100,
        reasons=[],
        metrics={},
        n=100,
        unusable=0,
        zero_labels=0,
        metric="f1",
        compared_with="declared",
        compared_version=None,
        expected=0.9,
        inputs="",
        looked_at=NOW,
        expire_at=NOW,
        **told,
    )


def feature(name: str, verdict: str = "ok", figure: float | None = 0.1) -> dict[str, Any]:
    return {"name": name, "test": "psi", "value": figure, "threshold": 0.2, "verdict": verdict}


def keep(control: Control, *records: DriftRecord | QualityRecord) -> None:
    """Put reports where they belong."""
    for record in records:
        path = drift_path if isinstance(record, DriftRecord) else quality_path
        place = path(record.model, record.version, record.window)
        control.services.documents.commit([Create(place, msgspec.to_builtins(record))])


def models(control: Control, count: int, prefix: str = "m") -> None:
    """Many models, of which nothing but the head is known."""
    heads = [ModelHead(f"{prefix}{number:04}", production=Serving("v1", "k", NOW)) for number in range(count)]
    for begin in range(0, count, 100):
        some = heads[begin : begin + 100]
        control.services.documents.commit([Create(f"models/{h.model}", msgspec.to_builtins(h)) for h in some])


def test_an_empty_control_plane_tells_of_ticks_that_never_came(control: Control) -> None:
    samples = scraped(control.services)
    assert value(samples, "models") == value(samples, "models_left_out") == value(samples, "outbox_news") == 0
    assert {labels["tick"]: seen for labels, seen in of(samples, "tick_seen")} == {
        "health_tick": 0,
        "outbox_tick": 0,
        "retrain_tick": 0,
    }
    assert of(samples, "unread") == of(samples, "outbox_oldest_news_timestamp_seconds") == []
    assert value(samples, "quarantine_room") == 10_000


def test_a_model_that_serves_and_its_canary(control: Control) -> None:
    begin_canary(control)
    before = control.clock()
    control.answered("v1", 900, 9, p95_ms=20)
    control.minutes(3)
    samples = scraped(control.services)
    assert of(samples, "model_live_info") == [({"model": MODEL, "version": "v1", "runtime": "scorecard"}, 1)]
    traffic = {labels["version"]: share for labels, share in of(samples, "model_traffic_ratio")}
    assert traffic.keys() == {"v1", "v2"}
    assert sum(traffic.values()) == pytest.approx(1)
    assert {labels["status"]: n for labels, n in of(samples, "model_versions")} == {"live": 1, "canary": 1}
    ((labels, phase),) = of(samples, "rollout_phase")
    assert (labels, phase) == ({"model": MODEL, "version": "v2", "kind": "rollout", "phase": "baking"}, 1)
    assert value(samples, "rollout_step", model=MODEL) == 1
    assert value(samples, "rollout_steps", model=MODEL) == len(control.rollout.steps)
    assert value(samples, "model_settled", model=MODEL) == 0
    states = {labels["status"]: is_it for labels, is_it in of(samples, "model_health")}
    assert states.keys() == {"healthy", "degraded", "unhealthy", "unknown"}
    assert sum(states.values()) == 1
    assert value(samples, "model_errors_ratio", model=MODEL) == pytest.approx(0.01)
    assert value(samples, "model_requests", model=MODEL) == 900
    assert 0.015 < value(samples, "model_latency_p95_seconds", model=MODEL) < 0.03
    assert value(samples, "tick_seen", tick="health_tick") == value(samples, "tick_complete", tick="health_tick") == 1
    assert value(samples, "tick_last_run_timestamp_seconds", tick="health_tick") > before.timestamp()


def test_a_rollout_that_is_held_and_a_model_that_is_paused(control: Control) -> None:
    begin_canary(control)
    for _ in range(60):
        control.minutes(1, v1=(100, 40), v2=(100, 40))
        if control.rollout.held is not None:
            break
    samples = scraped(control.services)
    assert of(samples, "rollout_held") == [({"model": MODEL, "version": "v2", "cause": "inconclusive"}, 1)]
    assert value(samples, "model_paused", model=MODEL) == 0
    assert value(samples, "outbox_news") > 0
    moments = {slot.value.at.timestamp() for slot in control.services.registry.outbox()}
    assert len(moments) > 1
    assert value(samples, "outbox_oldest_news_timestamp_seconds") == pytest.approx(min(moments), abs=1e-3)


def test_drift_alarms_and_the_retraining_they_open(control: Control) -> None:
    drift_away(serve_v1(control))
    samples = scraped(control.services)
    assert of(samples, "drift_verdict") == [({"model": MODEL, "version": "v1", "verdict": "drifted"}, 1)]
    drifted = {(labels["of"], labels["name"]): is_it for labels, is_it in of(samples, "drift_drifted")}
    assert drifted["feature", "amount"] == 1
    assert drifted["feature", "country"] == 0
    assert ("prediction", "prediction") in drifted
    for labels, threshold in of(samples, "drift_threshold"):
        is_above = value(samples, "drift_value", **labels) > threshold
        assert is_above or not drifted[labels["of"], labels["name"]]
    assert {labels["kind"] for labels, _ in of(samples, "alarm")} == {"data_drift", "prediction_drift"}
    assert len(of(samples, "alarm_since_timestamp_seconds")) == 2
    assert value(samples, "episodes_total", model=MODEL) == value(samples, "episode_open", model=MODEL) == 1
    cause = episodes(control)[0].request.cause
    assert of(samples, "episode_status") == [({"model": MODEL, "cause": cause, "status": "requested"}, 1)]


def test_the_newest_report_that_is_settled_is_told(control: Control) -> None:
    control.make_live("v1", 0.8, 1)
    for number, complete in enumerate((True, True, False)):
        window = NOW + timedelta(hours=number)
        keep(control, drift_record(MODEL, [feature("a", figure=float(number))], window=window, complete=complete))
        verdict = "ok" if complete else "insufficient_data"
        keep(control, quality_record(MODEL, window=window, value=float(number), verdict=verdict))
    keep(control, drift_record(MODEL, [feature("a", figure=9.0)], window=NOW + timedelta(hours=2), version="v2"))
    samples = scraped(control.services)
    assert [figure for _, figure in of(samples, "drift_value")] == [1]
    assert value(samples, "quality_value", model=MODEL, version="v1", metric="f1") == 1
    assert value(samples, "quality_expected", model=MODEL, version="v1", metric="f1") == 0.9
    assert value(samples, "quality_coverage_ratio", model=MODEL, version="v1") == 0.25


def test_names_from_outside_stay_values_of_labels(control: Control) -> None:
    control.make_live("v1", 0.8, 1)
    names = ['x"} 1\nmodeldrop_models 7', "back\\slash", "\\n", "ä→🜁", "", " ", "\r\t\x00", "a,b={}"]
    keep(control, drift_record(MODEL, [feature(name, "drifted") for name in names]))
    samples = scraped(control.services)
    assert [labels["name"] for labels, _ in of(samples, "drift_drifted")] == names
    assert value(samples, "models") == 1
    body, _ = negotiated(control.services, "application/openmetrics-text")
    told = {
        s.labels["name"] for f in open_families(body.decode()) for s in f.samples if f.name == "modeldrop_drift_value"
    }
    assert told == set(names)


def test_features_are_bounded_and_the_drifted_come_first(control: Control) -> None:
    control.make_live("v1", 0.8, 1)
    features = [feature(f"f{number}") for number in range(MOST_FEATURES + 10)]
    features[-1] = feature("last", "drifted")
    features[0] = feature("unknown", "insufficient_data", None)
    keep(control, drift_record(MODEL, features, features_left_out=3))
    samples = scraped(control.services)
    assert len(of(samples, "drift_drifted")) == MOST_FEATURES - 1
    assert value(samples, "drift_drifted", model=MODEL, version="v1", of="feature", name="last") == 1
    assert value(samples, "drift_features_left_out", model=MODEL) == 13


def test_models_are_bounded_and_it_is_said_how_many_are_left_out(control: Control) -> None:
    models(control, MOST_MODELS + 7)
    samples = scraped(control.services)
    assert (value(samples, "models"), value(samples, "models_left_out")) == (MOST_MODELS, 7)
    assert len(of(samples, "model_paused")) == MOST_MODELS


def test_what_is_read_is_bounded_for_each_model(control: Control) -> None:
    calls: Mapping[str, int] = {}
    for count, prefix in ((100, "m"), (200, "n")):
        models(control, 100, prefix)
        services, documents = counted(control, "documents")
        server_services, server = counted(control, "model_server")
        services.__dict__["model_server"] = server_services.model_server
        assert value(scraped(services), "models") == count
        assert server.calls == {"observe_many": 1}
        if calls:
            assert documents.calls["list"] - calls["list"] == 100 * 3 + 2, "three pages a model, and two of heads"
            assert documents.calls["get_many"] - calls["get_many"] <= 100 // 25
        calls = documents.calls.copy()
    assert calls.keys() == {"list", "get_many"}


def test_one_document_that_cannot_be_read_hides_nothing_else(control: Control) -> None:
    control.make_live("v1", 0.8, 1)
    documents = control.services.documents
    for path in (f"models/{MODEL}/health/live", "heartbeats/health_tick"):
        found = documents.get(path)
        assert found is not None
        documents.commit([Replace(path, {"status": 7}, found.revision)])
    samples = scraped(control.services)
    assert {labels["what"]: times for labels, times in of(samples, "unread")} == {"health": 1, "heartbeats": 1}
    assert value(samples, "model_traffic_ratio", model=MODEL, version="v1") == 1
    assert of(samples, "model_health") == []


class OutOfReach:
    """A model server, or a store, that does not answer."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def call(*args: object, **options: object) -> None:
            raise self._error

        return call


@pytest.mark.parametrize("error", [Unavailable("nobody listens"), Refused("not you")])
def test_endpoints_that_cannot_be_seen_are_said_to_be_unread(control: Control, error: Exception) -> None:
    control.make_live("v1", 0.8, 1)
    services = control.another_instance()
    services.__dict__["model_server"] = OutOfReach(error)
    samples = scraped(services)
    assert value(samples, "unread", what="endpoints") == 1
    assert of(samples, "model_traffic_ratio") == []
    assert value(samples, "model_settled", model=MODEL) == 1


def test_without_the_store_there_is_no_answer(control: Control) -> None:
    services = control.another_instance()
    services.__dict__["documents"] = OutOfReach(Unavailable("nobody listens"))
    with pytest.raises(Unavailable):
        negotiated(services, "")


def test_the_quarantine_is_counted_on_one_short_page(control: Control) -> None:
    documents = control.services.documents
    for number in range(25):
        documents.commit([Create(f"quarantine/{number:064}", {"what": "prediction event", "raw": b"x" * 1000})])
    documents.commit([Create("unknown/quarantine", msgspec.to_builtins(Room(17, control.clock())))])
    samples = scraped(control.services)
    told = [value(samples, f"quarantine_{name}") for name in ("entries", "more", "room")]
    assert told == [20, 1, 17]
    documents.commit([Delete(d.path, d.revision) for d in _first(control, 5)])
    samples = scraped(control.services)
    assert [value(samples, f"quarantine_{name}") for name in ("entries", "more")] == [20, 0]


def _first(control: Control, count: int) -> list[Document]:
    return control.services.documents.list("quarantine", limit=count)


ACCEPTED = {
    "": CONTENT_TYPE,
    "*/*": CONTENT_TYPE,
    "text/plain;version=0.0.4;q=0.3": CONTENT_TYPE,
    "text/plain; version=!, application/json;;;,,": CONTENT_TYPE,
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5": OPENMETRICS_CONTENT_TYPE,
    "text/plain, Application/OpenMetrics-Text; version=banana": OPENMETRICS_CONTENT_TYPE,
}


def test_the_format_is_negotiated_and_all_say_the_same(control: Control) -> None:
    drift_away(serve_v1(control))
    expected = scraped(control.services)
    for accept, content_type in ACCEPTED.items():
        body, told = negotiated(control.services, accept)
        assert told == content_type
        parse = open_families if told == OPENMETRICS_CONTENT_TYPE else plain_families
        families = list(parse(body.decode()))
        assert {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples} == expected


def test_every_metric_of_the_table_is_there_with_its_kind_and_help(control: Control) -> None:
    told = {
        family.name: (family.type, family.documentation)
        for family in plain_families(negotiated(control.services, "")[0].decode())
    }
    for family in FAMILIES:
        kind = {"info": "gauge"}.get(family.kind, family.kind)  # the text format has no infos
        name = family.name.removesuffix("_total")
        assert told.pop(name) == (kind, family.about)
    assert told == {}


def test_names_follow_the_conventions() -> None:
    for family in FAMILIES:
        assert family.name.startswith("modeldrop_")
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.name.endswith("_info") == (family.kind == "info")
        assert not any(word in family.name for word in ("percent", "_ms", "minutes", "_gauge"))
        assert family.about.endswith(".")
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_an_endpoint_without_traffic_has_no_share(control: Control) -> None:
    class Idle:
        def observe_many(self, models: list[str]) -> dict[str, Endpoint]:
            return {model: Endpoint(model, "e", ()) for model in models}

    control.make_live("v1", 0.8, 1)
    services = control.another_instance()
    services.__dict__["model_server"] = Idle()
    assert of(scraped(services), "model_traffic_ratio") == []
