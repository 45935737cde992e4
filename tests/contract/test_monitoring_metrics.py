"""What only Cloud Monitoring can bring: its minutes, its delay, foreign series, pages."""

# ruff: noqa: F401, F811 - a fixture is imported by its name, and asked for by it

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import grpc
import pytest
from google.api.distribution_pb2 import Distribution

from modeldrop.adapters.gcp import monitoring_metrics as adapter
from modeldrop.adapters.gcp.monitoring_metrics import MonitoringMetrics
from modeldrop.errors import Unavailable
from modeldrop.ports import VersionMetrics
from tests.contract.monitoring_system import (
    CODES,
    ENDPOINT,
    REPLICAS,
    TOTAL,
    MonitoringSystem,
    deployed_as,
    endpoint_of,
    exponential,
    measured,
    minute,
    monitoring_metrics,
    monitoring_server,
    monitoring_system,
    resource_of,
    write,
)
from tests.servers.monitoring import MonitoringServer


def test_only_a_code_of_success_is_no_error(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics
) -> None:
    codes = {"200": 1, "204": 2, "2xx": 4, "301": 8, "4xx": 16, "404": 32, "429": 64, "5xx": 128, "503": 256, "": 512}
    for code, count in codes.items():
        write(monitoring_server, CODES, 1, count, response_code=code)
    assert measured(monitoring_metrics) == VersionMetrics(1_023, 1_016)


def test_counts_are_summed_over_series_that_differ_in_other_labels(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics
) -> None:
    for spot, count in {"True": 3, "False": 4}.items():
        write(monitoring_server, CODES, 1, count, spot=spot, endpoint_display_name=spot)
        write(monitoring_server, CODES, 2, 10 * count, spot=spot)
    assert measured(monitoring_metrics).requests == 77


def test_what_is_not_visible_yet_is_not_counted_and_is_later(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics
) -> None:
    write(monitoring_server, CODES, 0, 10)
    write(monitoring_server, TOTAL, 0, exponential(10.0, 10))
    write(monitoring_server, TOTAL, 1, exponential(30.0, 10), "v2")  # before the count of its requests
    assert measured(monitoring_metrics) == VersionMetrics(10, 0, pytest.approx(10, rel=0.1))
    assert measured(monitoring_metrics, version="v2") == VersionMetrics()
    write(monitoring_server, CODES, 1, 10, "v2")
    assert measured(monitoring_metrics, version="v2") == VersionMetrics(10, 0, pytest.approx(30, rel=0.1))


def test_a_minute_counts_in_the_span_it_ends_in(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics
) -> None:
    for number in range(4):
        write(monitoring_server, CODES, number, 10**number)
    assert measured(monitoring_metrics, 0.5, 2.5).requests == 11
    assert measured(monitoring_metrics, 2.5, 4.5).requests == 1_100
    assert measured(monitoring_metrics, 1.9, 2.1).requests == 10  # 12 seconds
    assert measured(monitoring_metrics, 2.1, 2.9).requests == 0
    edges = [0, 0.01, 0.7, 1, 1.001, 2.4, 2.5, 3.999, 4.0]
    spans = list(pairwise(edges))
    assert sum(measured(monitoring_metrics, *span).requests for span in spans) == 1_111


def test_a_span_without_length_is_not_asked_for(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics
) -> None:
    monitoring_server.break_down()
    for since, until in ((3, 3), (4, 3), (3, 3.001)):
        assert measured(monitoring_metrics, since, until) == VersionMetrics()


def test_the_newest_count_of_replicas_tells_unless_it_is_old(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics
) -> None:
    for number, replicas in enumerate([2, 0, 1]):
        write(monitoring_server, REPLICAS, number, replicas, spot="False")
    write(monitoring_server, REPLICAS, 2, 0, spot="True")
    write(monitoring_server, REPLICAS, 3, 0, spot="True")
    until = {1: True, 2: False, 3: True, 4: False, 13.9: False, 14: None}
    assert {end: measured(monitoring_metrics, 0, end).answering for end in until} == until
    assert measured(monitoring_metrics, 0, 4, "v2").answering is None
    assert measured(monitoring_metrics, -30, 1).answering is True


@pytest.mark.parametrize(
    ("metric", "value"),
    [(CODES, -1), (CODES, exponential(1.0, 1)), (TOTAL, 7), (REPLICAS, -2), (REPLICAS, exponential(1.0, 1))],
    ids=["negative", "a histogram of codes", "a number of latencies", "negative replicas", "a histogram of replicas"],
)
def test_values_that_cannot_be_are_not_measured(
    monitoring_server: MonitoringServer,
    monitoring_metrics: MonitoringMetrics,
    metric: tuple[str, dict[str, str]],
    value: int | Distribution,
) -> None:
    write(monitoring_server, metric, 1, value)
    with pytest.raises(Unavailable, match="not Cloud Monitoring's"):
        measured(monitoring_metrics)


# --- foreign series --------------------------------------------------------------------------------------------


def test_series_of_others_do_not_count(monitoring_system: MonitoringSystem) -> None:
    server, source = monitoring_system.server, monitoring_system.source
    monitoring_system.answered(ENDPOINT, "v1", minute(1), count=5)
    monitoring_system.containers(ENDPOINT, "v1", minute(1), True)
    expected = source.measure(ENDPOINT, minute(0), minute(10))
    own, labels = resource_of(ENDPOINT), {"deployed_model_id": deployed_as(ENDPOINT, "v1")}
    at = (int(minute(1).timestamp()), int(minute(2).timestamp()))
    latest = (int(minute(10).timestamp()),) * 2

    def write_both(resource: dict[str, str], of: dict[str, str], project: str | None = None) -> None:
        server.state.write("response_count", resource, of | {"response_code": "500"}, at, 1_000, project=project)
        server.state.write(
            "prediction_latencies",
            resource,
            of | {"latency_type": "total"},
            at,
            exponential(100_000.0, 9),
            project=project,
        )
        server.state.write("replicas", resource, of, latest, 0, project=project)

    write_both(own | {"endpoint_id": "another-endpoint"}, labels)
    write_both(own | {"location": "europe-west4"}, labels)
    write_both(own, labels, project="another-project-of-the-metrics-scope")
    write_both(own, {"deployed_model_id": "7"})
    write_both(own, {})
    assert source.measure(ENDPOINT, minute(0), minute(10)) == expected
    assert expected["v1"].requests == 5
    assert expected["v2"] == VersionMetrics()


def test_three_calls_whatever_is_deployed_and_none_if_nothing_is(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics
) -> None:
    versions = [f"v{number}" for number in range(30)]
    measured_versions = monitoring_metrics.measure(endpoint_of(versions), minute(0), minute(60))
    assert measured_versions == dict.fromkeys(versions, VersionMetrics())
    assert len(monitoring_server.requests) == 3
    assert monitoring_metrics.measure(endpoint_of([]), minute(0), minute(60)) == {}
    assert len(monitoring_server.requests) == 3


# --- pages -----------------------------------------------------------------------------------------------------


def test_all_pages_count(monitoring_system: MonitoringSystem) -> None:
    for number in range(4):
        monitoring_system.answered(ENDPOINT, "v1", minute(number), count=10**number, latency_ms=50)
        monitoring_system.answered(ENDPOINT, "v2", minute(number), number % 2 == 0, count=3, latency_ms=900)
    monitoring_system.containers(ENDPOINT, "v1", minute(0), True)
    expected = monitoring_system.source.measure(ENDPOINT, minute(0), minute(10))
    assert len(monitoring_system.server.requests) == 3
    monitoring_system.server.state.page_points = 1
    assert monitoring_system.source.measure(ENDPOINT, minute(0), minute(10)) == expected
    # v1 answered with one code and v2 with two; a histogram each; ten counts of replicas.
    assert len(monitoring_system.server.requests) == 3 + 3 + 2 + 10
    assert (expected["v1"].requests, expected["v2"].errors) == (1_111, 6)


def test_pages_without_end_are_not_read_to_the_end(
    monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics
) -> None:
    for code in range(100, 100 + adapter.PAGES + 1):
        write(monitoring_server, CODES, 1, 1, response_code=str(code))
    assert measured(monitoring_metrics).requests == adapter.PAGES + 1
    monitoring_server.state.page_points = 1
    before = len(monitoring_server.requests)
    with pytest.raises(Unavailable, match="pages of response_count"):
        measured(monitoring_metrics)
    assert len(monitoring_server.requests) - before == adapter.PAGES


# --- the server of ours is as strict as the service ------------------------------------------------------------

STRICT: dict[str, Callable[[dict[str, Any]], object]] = {
    "no metric": lambda r: r.update(filter='resource.type = "aiplatform.googleapis.com/Endpoint"'),
    "two metrics": lambda r: r.update(filter=f"{r['filter']} AND {r['filter']}"),
    "one of two metrics": lambda r: r.update(filter=f"{r['filter']} OR {r['filter']}"),
    "an unknown metric": lambda r: r.update(filter=r["filter"].replace("replicas", "replica_count")),
    "the wrong resource": lambda r: r.update(filter=f'{r["filter"]} AND resource.type = "gce_instance"'),
    "an unknown label": lambda r: r.update(filter=f'{r["filter"]} AND metric.labels.response_code = "200"'),
    "a value without quotes": lambda r: r.update(filter=f"{r['filter']} AND project = p"),
    "no interval": lambda r: r.pop("interval"),
    "no start": lambda r: r["interval"].pop("start_time"),
    "no end": lambda r: r["interval"].pop("end_time"),
    "an interval of nothing": lambda r: r["interval"].update(start_time={"seconds": 600}),
    "a short period": lambda r: r["aggregation"].update(alignment_period={"seconds": 59}),
    "no aligner": lambda r: r["aggregation"].pop("per_series_aligner"),
    "unknown groups": lambda r: r["aggregation"].update(group_by_fields=["metric.labels.colour"]),
    "a page token of nobody": lambda r: r.update(page_token="next"),
    "another project": lambda r: r.update(name="projects/another"),
}


@pytest.mark.parametrize("spoil", STRICT.values(), ids=STRICT)
def test_the_local_service_takes_no_request_the_service_would_not(
    monitoring_server: MonitoringServer, spoil: Callable[[dict[str, Any]], object]
) -> None:
    def asked(request: dict[str, Any]) -> None:
        with grpc.insecure_channel(monitoring_server.url.removeprefix("http://")) as channel:
            client = adapter.monitoring.MetricServiceClient(
                transport=adapter.monitoring.MetricServiceClient.get_transport_class("grpc")(channel=channel)
            )
            client.list_time_series(request=request, retry=None, timeout=10)

    request: dict[str, Any] = {
        "name": "projects/test-project",
        "filter": 'metric.type = "aiplatform.googleapis.com/prediction/online/replicas"',
        "interval": {"start_time": {"seconds": 0}, "end_time": {"seconds": 600}},
        "aggregation": {
            "alignment_period": {"seconds": 600},
            "per_series_aligner": "ALIGN_SUM",
            "cross_series_reducer": "REDUCE_SUM",
            "group_by_fields": ["metric.labels.deployed_model_id"],
        },
    }
    asked(request)
    spoil(request)
    with pytest.raises(adapter.GoogleAPIError, match=r"40[03]"):
        asked(request)
