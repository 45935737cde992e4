"""Cloud Monitoring for the contract suite: the real Google client, over the wire, against a server of our own."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil, log

import pytest
from google.api.distribution_pb2 import Distribution

from modeldrop.adapters.gcp.monitoring_metrics import MonitoringMetrics, connect
from modeldrop.adapters.gcp.vertex_ids import deployed_id, endpoint_id
from modeldrop.ports import DeployedVersion, Endpoint, ServedVersion, VersionMetrics
from modeldrop.settings import Settings
from tests.servers.monitoring import MonitoringServer

REGION = "us-central1"
MINUTE = 60
GROWTH = 1.1
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
CODES = ("response_count", {"response_code": "200"})
TOTAL = ("prediction_latencies", {"latency_type": "total"})
REPLICAS: tuple[str, dict[str, str]] = ("replicas", {})
"""Metrics, and the labels written where a test says no others."""
_SCALE_MS = 0.5
_FINITE_BUCKETS = 128  # up to 0.5 ms * 1.1 ** 128: 27 hours
_SAMPLED_MINUTES = 120


def monitoring_settings(url: str, project: str = "test-project") -> Settings:
    """Settings of the gcp backend with Cloud Monitoring at ``url``."""
    return Settings(backend="gcp", project=project, bucket="models", region=REGION, monitoring_url=url)


def endpoint_of(versions: Sequence[str], model: str = "fraud") -> Endpoint:
    """An endpoint with these versions behind it, with the ids they would have on Vertex AI."""
    served = [ServedVersion(model, version, "0" * 64, "scorecard", "gs://models/x") for version in versions]
    return Endpoint(model, "etag", tuple(DeployedVersion(v.version, deployed_id(v), 0) for v in served))


def deployed_as(endpoint: Endpoint, version: str) -> str:
    """The deployed id of a version."""
    return next(deployed.deployed_id for deployed in endpoint.deployed if deployed.version == version)


def resource_of(endpoint: Endpoint, region: str = REGION) -> dict[str, str]:
    """The labels of the resource an endpoint is to Cloud Monitoring."""
    return {"resource_container": "123456789012", "location": region, "endpoint_id": endpoint_id(endpoint.model)}


def exponential(latency_ms: float, count: int) -> Distribution:
    """``count`` times the same latency, as a histogram whose buckets grow by ``GROWTH``."""
    bucket = 0 if latency_ms < _SCALE_MS else 1 + int(log(latency_ms / _SCALE_MS, GROWTH))
    options = Distribution.BucketOptions(
        exponential_buckets=Distribution.BucketOptions.Exponential(
            num_finite_buckets=_FINITE_BUCKETS, growth_factor=GROWTH, scale=_SCALE_MS
        )
    )
    counts = [0] * bucket + [count]
    return Distribution(count=count, mean=latency_ms, bucket_options=options, bucket_counts=counts)


ENDPOINT = endpoint_of(["v1", "v2"])


def minute(number: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=number)


def write(
    server: MonitoringServer,
    metric: tuple[str, dict[str, str]],
    number: int,
    value: int | Distribution,
    version: str = "v1",
    **labels: str,
) -> None:
    """Write the point of the minute that begins so many minutes after noon (of a gauge: the one at its end)."""
    end = int(minute(number + 1).timestamp())
    span = (end if metric is REPLICAS else end - MINUTE, end)
    every = {"deployed_model_id": deployed_as(ENDPOINT, version)} | metric[1] | labels
    server.state.write(metric[0], resource_of(ENDPOINT), every, span, value)


def measured(source: MonitoringMetrics, since: float = 0, until: float = 10, version: str = "v1") -> VersionMetrics:
    """What is measured of a version behind ``ENDPOINT`` between these minutes after noon."""
    return source.measure(ENDPOINT, minute(since), minute(until))[version]


class MonitoringSystem:
    """See MetricSourceSystem."""

    resolution_seconds = MINUTE
    p95_tolerance = GROWTH - 1 + 1e-9  # a value and the estimate are in the same bucket

    def __init__(self, server: MonitoringServer, source: MonitoringMetrics) -> None:
        self.server = server
        self.source = source

    def endpoint(self, versions: Sequence[str], model: str = "fraud") -> Endpoint:
        return endpoint_of(versions, model)

    def answered(
        self,
        endpoint: Endpoint,
        version: str,
        at: datetime,
        status_ok: bool = True,
        latency_ms: float = 10.0,
        count: int = 1,
    ) -> None:
        minute = (int(at.timestamp()), int(at.timestamp()) + MINUTE)
        labels = {"deployed_model_id": deployed_as(endpoint, version), "spot": "False"}
        code = {"response_code": "200" if status_ok else "500"}
        write, resource = self.server.state.write, resource_of(endpoint)
        write("response_count", resource, labels | code, minute, count)
        write("prediction_count", resource, labels, minute, 3 * count)  # instances: no measure of requests
        for kind, milliseconds in {"total": latency_ms, "model": latency_ms / 2, "overhead": latency_ms / 2}.items():
            write(
                "prediction_latencies",
                resource,
                labels | {"latency_type": kind},
                minute,
                exponential(milliseconds, count),
            )

    def containers(self, endpoint: Endpoint, version: str, at: datetime, running: bool) -> None:
        """Counted every minute from then on, for two hours."""
        labels = {"deployed_model_id": deployed_as(endpoint, version), "spot": "False"}
        first = ceil(at.timestamp() / MINUTE) * MINUTE
        for minute in range(first, first + _SAMPLED_MINUTES * MINUTE, MINUTE):
            self.server.state.write("replicas", resource_of(endpoint), labels, (minute, minute), 2 * running)

    def break_down(self) -> None:
        self.server.break_down()


@pytest.fixture
def monitoring_server() -> Iterator[MonitoringServer]:
    """An empty Cloud Monitoring."""
    with MonitoringServer() as server:
        yield server


@pytest.fixture
def monitoring_metrics(monitoring_server: MonitoringServer) -> Iterator[MonitoringMetrics]:
    """The adapter as the product builds it."""
    source = connect(monitoring_settings(monitoring_server.url, monitoring_server.project))
    yield source
    source.close()


@pytest.fixture
def monitoring_system(monitoring_server: MonitoringServer, monitoring_metrics: MonitoringMetrics) -> MonitoringSystem:
    """Cloud Monitoring, and the traffic it knows of."""
    return MonitoringSystem(monitoring_server, monitoring_metrics)
