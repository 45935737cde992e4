"""What Cloud Monitoring knows of versions behind Vertex AI endpoints, as a MetricSource.

Relied on, from Google's list of metrics (its part ``aiplatform``), its list of monitored resources, the reference of
``timeSeries.list``, and the guides to filters, to aggregation and to the latency of metric data:

- The metrics are written against the resource ``aiplatform.googleapis.com/Endpoint`` (labels ``resource_container``,
  ``location``, ``endpoint_id``) and have the label ``deployed_model_id``. All are still BETA.
- ``prediction/online/response_count`` (DELTA, INT64) has a series for each HTTP ``response_code``. The list leaves open
  whether that is ``200`` or ``2xx``, so only the first digit is read. It counts *requests*, while ``prediction_count``
  counts instances, several a request; ``error_count`` tells nothing that the codes do not. Neither of these is read.
- ``prediction/online/prediction_latencies`` (DELTA, DISTRIBUTION in ms): ``latency_type`` ``total`` is always there.
- ``prediction/online/replicas`` (GAUGE, INT64): active replicas, sampled every 60 s and visible up to 120 s later.
- For the first two the list names neither period nor delay; its neighbours are sampled every 60 s and visible up to
  360 s later. So what is measured up to *now* lacks the last minutes; asked again later, it is more.
- A call takes one metric type, and a span means ``start < end of a point <= end``. A point is a minute: each counts in
  the span it ends in, so that spans of whole minutes are exact and adjacent spans share nothing, whatever their times.
- A project whose metrics scope has other projects in it sees these as well, with endpoints of the same id, as ids are
  derived from names: hence ``project`` in the filter.

An instance that failed inside a request answered with 200 is no error here: Vertex AI counts answers.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from math import floor
from time import monotonic
from typing import Any

import grpc  # type: ignore[import-untyped]
import msgspec
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud import monitoring_v3 as monitoring

from modeldrop.adapters.gcp.connecting import credentials_for, read_address
from modeldrop.adapters.gcp.distributions import buckets_of, quantile
from modeldrop.adapters.gcp.vertex_ids import endpoint_id
from modeldrop.errors import ConfigurationError, Unavailable
from modeldrop.ports import Endpoint, VersionMetrics
from modeldrop.settings import Settings

CALL_SECONDS = 10.0
"""Longest wait for one metric, all its pages together. A measurement reads three, within an invocation's 60 s."""

REPLICAS_SECONDS = 600
"""How old the newest count of replicas may be, at the end of a span, to tell whether a version answers."""

PAGES = 20
"""More pages than that are no answer: summed by the service, a metric has a few points for each version."""

_METRIC = "aiplatform.googleapis.com/prediction/online/"
_DEPLOYED = "deployed_model_id"
_CODE = "response_code"
_SHORTEST_PERIOD_SECONDS = 60


class _Query(msgspec.Struct, frozen=True):
    """One metric of an endpoint over (start, end], in seconds since 1970; ``sum_by``: labels to sum by, if at all."""

    metric: str
    model: str
    start: int
    end: int
    where: Mapping[str, str] = {}
    sum_by: tuple[str, ...] = ()


class MonitoringMetrics:
    """The MetricSource port on Cloud Monitoring. Safe for use by several threads."""

    def __init__(
        self, client: monitoring.MetricServiceClient, settings: Settings, *, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._client = client
        self._project = settings.project
        self._region = settings.region
        self._call_seconds = call_seconds

    def measure(self, endpoint: Endpoint, since: datetime, until: datetime) -> Mapping[str, VersionMetrics]:
        """See MetricSource. ``answering``: there was a replica at the last count, at most ``REPLICAS_SECONDS`` ago."""
        start, end = floor(since.timestamp()), floor(until.timestamp())
        if not endpoint.deployed or start >= end:
            return {deployed.version: VersionMetrics() for deployed in endpoint.deployed}
        model = endpoint.model
        queries = (
            _Query("response_count", model, start, end, sum_by=(_DEPLOYED, _CODE)),
            _Query("prediction_latencies", model, start, end, {"latency_type": "total"}, (_DEPLOYED,)),
            _Query("replicas", model, max(start, end - REPLICAS_SECONDS), end),
        )
        responses, latencies, replicas = (self._time_series(query) for query in queries)
        try:
            return {
                deployed.version: _version_metrics(
                    *(_of(series, deployed.deployed_id) for series in (responses, latencies, replicas))
                )
                for deployed in endpoint.deployed
            }
        except ValueError as error:
            raise Unavailable(f"an answer that is not Cloud Monitoring's: {error}") from error

    def close(self) -> None:
        """Closes the connection; later calls fail."""
        self._client.transport.close()  # type: ignore[no-untyped-call]

    def _time_series(self, query: _Query) -> list[Any]:
        """All series that match, as messages of protobuf."""
        request = monitoring.ListTimeSeriesRequest(
            name=f"projects/{self._project}",
            filter=self._filter(query),
            interval={"start_time": {"seconds": query.start}, "end_time": {"seconds": query.end}},
            aggregation=_aggregation(query),
        )
        give_up_at = monotonic() + self._call_seconds
        found: list[Any] = []
        for _ in range(PAGES):
            with _unavailable():
                page = self._client.list_time_series(
                    request=request, retry=None, timeout=max(give_up_at - monotonic(), 0.001)
                )
            if page.execution_errors:
                raise Unavailable(
                    f"Cloud Monitoring has only a part of {query.metric}: {page.execution_errors[0].message}"
                )
            found += [monitoring.TimeSeries.pb(series) for series in page.time_series]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token
        raise Unavailable(f"Cloud Monitoring has more than {PAGES} pages of {query.metric}")

    def _filter(self, query: _Query) -> str:
        conditions = {
            "project": self._project,
            "metric.type": _METRIC + query.metric,
            "resource.type": "aiplatform.googleapis.com/Endpoint",
            "resource.labels.location": self._region,
            "resource.labels.endpoint_id": endpoint_id(query.model),
        } | {f"metric.labels.{label}": value for label, value in query.where.items()}
        return " AND ".join(f'{selector} = "{value}"' for selector, value in conditions.items())


# --- from series to figures ------------------------------------------------------------------------------------


def _aggregation(query: _Query) -> Any:
    """One point for each group over the whole span; the points as they are where it is shorter than a period can be."""
    seconds = query.end - query.start
    if not query.sum_by or seconds < _SHORTEST_PERIOD_SECONDS:
        return None
    return monitoring.Aggregation(
        alignment_period={"seconds": seconds},
        per_series_aligner=monitoring.Aggregation.Aligner.ALIGN_SUM,  # ALIGN_DELTA would make up what is missing
        cross_series_reducer=monitoring.Aggregation.Reducer.REDUCE_SUM,
        group_by_fields=[f"metric.labels.{label}" for label in query.sum_by],
    )


def _of(found: Iterable[Any], deployed_id: str) -> list[Any]:
    return [series for series in found if series.metric.labels.get(_DEPLOYED) == deployed_id]


def _version_metrics(responses: Iterable[Any], latencies: Iterable[Any], replicas: Iterable[Any]) -> VersionMetrics:
    counts = [(series.metric.labels.get(_CODE, ""), sum(map(_count, series.points))) for series in responses]
    requests = sum(count for _, count in counts)
    p95_ms = quantile(buckets_of(_value(point, "distribution_value") for point in _points(latencies)), 0.95)
    return VersionMetrics(
        requests,
        errors=sum(count for code, count in counts if not code.startswith("2")),
        p95_ms=p95_ms if requests else None,  # the one metric may be visible before the other
        answering=_is_answering(replicas),
    )


def _is_answering(found: Iterable[Any]) -> bool | None:
    """Whether there were replicas at the newest time; the label ``spot`` may split a version into several series."""
    replicas: dict[int, int] = {}
    for point in _points(found):
        ended_at = point.interval.end_time.ToNanoseconds()
        replicas[ended_at] = replicas.get(ended_at, 0) + _count(point)
    return replicas[max(replicas)] > 0 if replicas else None


def _points(found: Iterable[Any]) -> Iterator[Any]:
    return (point for series in found for point in series.points)


def _count(point: Any) -> int:
    count = int(_value(point, "int64_value"))
    if count < 0:
        raise ValueError(f"a count of {count}")
    return count


def _value(point: Any, kind: str) -> Any:
    if point.value.WhichOneof("value") != kind:
        raise ValueError(f"{point.value.WhichOneof('value')} where there should be {kind}")
    return getattr(point.value, kind)


@contextmanager
def _unavailable() -> Iterator[None]:
    """Whatever the client raises, nothing was measured; even a missing role can be mended before the next try."""
    try:
        yield
    except (GoogleAPIError, GoogleAuthError) as error:
        raise Unavailable(f"Cloud Monitoring was not read: {str(error)[:1000]}") from error


# --- connecting ------------------------------------------------------------------------------------------------


def connect(settings: Settings, *, call_seconds: float = CALL_SECONDS) -> MonitoringMetrics:
    """A source from the settings. Raises ConfigurationError if they, or the machine's credentials, do not allow it."""
    if not settings.project:
        raise ConfigurationError("MODELDROP_PROJECT is required to read Cloud Monitoring")
    address = read_address(settings.monitoring_url or "https://monitoring.googleapis.com", "MODELDROP_MONITORING_URL")
    if address.is_plain:
        # A proxy is not for this machine, even where the environment names one.
        channel = grpc.insecure_channel(address.place, options=[("grpc.enable_http_proxy", 0)])
        transport = monitoring.MetricServiceClient.get_transport_class("grpc")(channel=channel)
        client = monitoring.MetricServiceClient(transport=transport)
    else:
        options = {"api_endpoint": address.place}
        client = monitoring.MetricServiceClient(credentials=credentials_for(address), client_options=options)
    return MonitoringMetrics(client, settings, call_seconds=call_seconds)
