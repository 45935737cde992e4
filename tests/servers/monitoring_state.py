"""What the local Cloud Monitoring knows, and how it answers ``timeSeries.list``: filter, span, aggregation, pages."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from threading import Lock
from typing import Any

import grpc
from google.api.distribution_pb2 import Distribution
from google.api.metric_pb2 import MetricDescriptor
from google.cloud.monitoring_v3 import Aggregation, ListTimeSeriesRequest, ListTimeSeriesResponse, TimeSeries

RESOURCE = "aiplatform.googleapis.com/Endpoint"
_PREFIX = "aiplatform.googleapis.com/prediction/online/"
_RESOURCE_LABELS = frozenset({"resource_container", "location", "endpoint_id"})
_LABELS = frozenset({"deployed_model_id", "spot", "model_display_name", "endpoint_display_name"})
_CONDITION = re.compile(r'([a-z_.]+) = "([^"]*)"')
_LARGEST_PAGE = 100_000

Value = int | Distribution
Labels = frozenset[tuple[str, str]]
Found = dict[tuple[Labels, Labels], list["Written"]]
"""Points by the series they are in: labels of the resource, labels of the metric."""


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


@dataclass(frozen=True)
class Descriptor:
    """A metric: DELTA or GAUGE, of whole numbers or distributions, with the labels it can have."""

    kind: Any
    value_type: Any
    unit: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Written:
    """A point over (start, end], in seconds since 1970; of a gauge both are the same."""

    start: int
    end: int
    value: Value


_DELTA, _GAUGE = MetricDescriptor.MetricKind.DELTA, MetricDescriptor.MetricKind.GAUGE
_INT64, _DISTRIBUTION = MetricDescriptor.ValueType.INT64, MetricDescriptor.ValueType.DISTRIBUTION
DESCRIPTORS = {
    "prediction_count": Descriptor(_DELTA, _INT64, "1", _LABELS),
    "error_count": Descriptor(_DELTA, _INT64, "1", _LABELS),
    "response_count": Descriptor(_DELTA, _INT64, "1", _LABELS | {"response_code"}),
    "prediction_latencies": Descriptor(_DELTA, _DISTRIBUTION, "ms", _LABELS | {"latency_type"}),
    "replicas": Descriptor(_GAUGE, _INT64, "1", _LABELS),
}


class MonitoringState:
    """The written points. Safe for use by several threads."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.page_points = _LARGEST_PAGE
        """How many points a page holds at most, whatever is asked for."""
        self._points: dict[str, dict[tuple[str, Labels, Labels], dict[int, Written]]] = defaultdict(dict)
        self._lock = Lock()

    def write(
        self,
        metric: str,
        resource: Mapping[str, str],
        labels: Mapping[str, str],
        span: tuple[int, int],
        value: Value,
        *,
        project: str | None = None,
    ) -> None:
        """Write a point (its value added to that of a DELTA written before for the same minute)."""
        descriptor = DESCRIPTORS[metric]
        assert labels.keys() <= descriptor.labels, labels
        assert resource.keys() <= _RESOURCE_LABELS, resource
        key = (project or self.project, frozenset(resource.items()), frozenset(labels.items()))
        with self._lock:
            points = self._points[metric].setdefault(key, {})
            before = points.get(span[1])
            if before and descriptor.kind == _DELTA:
                (value,) = _sums([before.value, value])
            points[span[1]] = Written(*span, value)

    def list_time_series(self, request: ListTimeSeriesRequest) -> ListTimeSeriesResponse:
        """The method of the API. Raises ApiError."""
        conditions = _conditions(request.filter)
        metric, descriptor = _metric(conditions)
        if request.name != f"projects/{self.project}":
            raise ApiError(grpc.StatusCode.PERMISSION_DENIED, f"Permission denied on {request.name}.")
        message = ListTimeSeriesRequest.pb(request)
        start, end = _span(message)
        with self._lock:
            found = self._matching(metric, conditions)
        if message.HasField("aggregation"):
            found = _aggregated(found, message.aggregation, (start, end), descriptor)
        else:
            found = {key: [point for point in points if start < point.end <= end] for key, points in found.items()}
        return self._page(_PREFIX + metric, descriptor, found, request)

    def _matching(self, metric: str, conditions: Mapping[str, str]) -> Found:
        """A metrics scope: series of all projects are seen, unless the filter says which."""
        found: Found = {}
        for (project, resource, labels), points in self._points[metric].items():
            facts = {f"resource.labels.{key}": value for key, value in resource} | {"project": project}
            facts |= {f"metric.labels.{key}": value for key, value in labels}
            if all(facts.get(selector) == value for selector, value in conditions.items()):
                found.setdefault((resource, labels), []).extend(points.values())
        return found

    def _page(
        self, metric: str, descriptor: Descriptor, found: Found, request: ListTimeSeriesRequest
    ) -> ListTimeSeriesResponse:
        """The next points, most recent first within their series; a series may go on on the next page."""
        if request.page_token and not request.page_token.isdecimal():
            raise ApiError(grpc.StatusCode.INVALID_ARGUMENT, "The page token is not valid.")
        first = int(request.page_token or 0)
        size = min(request.page_size or _LARGEST_PAGE, self.page_points)
        every = [(key, point) for key in sorted(found, key=str) for point in sorted(found[key], key=lambda p: -p.end)]
        page: dict[tuple[Labels, Labels], list[Written]] = defaultdict(list)
        for key, point in every[first : first + size]:
            page[key].append(point)
        return ListTimeSeriesResponse(
            time_series=[_series(metric, descriptor, key, points) for key, points in page.items()],
            next_page_token=str(first + size) if first + size < len(every) else "",
            unit=descriptor.unit,
        )


# --- what the service checks -----------------------------------------------------------------------------------


def _invalid(message: str) -> ApiError:
    return ApiError(grpc.StatusCode.INVALID_ARGUMENT, message)


def _conditions(text: str) -> dict[str, str]:
    """The conditions of a filter by selector; of the language of filters, ``selector = "value"`` joined by AND."""
    conditions: dict[str, str] = {}
    for part in text.split(" AND "):
        matched = _CONDITION.fullmatch(part)
        if not matched or matched[1] in conditions:
            raise _invalid(f"Field filter had an invalid value of {text!r}: {part!r}")
        conditions[matched[1]] = matched[2]
    return conditions


def _metric(conditions: dict[str, str]) -> tuple[str, Descriptor]:
    """The metric asked for; what is left in ``conditions`` selects among its series."""
    metric = conditions.pop("metric.type", "")
    if not metric:
        raise _invalid("The filter must specify a single metric type.")
    name = metric.removeprefix(_PREFIX)
    if not metric.startswith(_PREFIX) or name not in DESCRIPTORS:
        raise _invalid("The provided filter doesn't refer to any known metric.")
    if conditions.pop("resource.type", RESOURCE) != RESOURCE:
        raise _invalid("The filter does not specify a valid combination of metric and monitored resource descriptors.")
    known = {f"metric.labels.{label}" for label in DESCRIPTORS[name].labels}
    known |= {f"resource.labels.{label}" for label in _RESOURCE_LABELS} | {"project"}
    if unknown := conditions.keys() - known:
        raise _invalid(f"The filter has selectors that are not known: {sorted(unknown)}")
    return name, DESCRIPTORS[name]


def _span(message: Any) -> tuple[int, int]:
    """(start, end] in seconds. Fractions of seconds are not used by our points."""
    if not message.HasField("interval") or not message.interval.HasField("end_time"):
        raise _invalid("Field interval.end_time is required.")
    start, end = message.interval.start_time.seconds, message.interval.end_time.seconds
    if not message.interval.HasField("start_time") or start >= end:
        raise _invalid("Field interval.start_time must be earlier than the end time.")
    return start, end


# --- aggregation -----------------------------------------------------------------------------------------------


def _aggregated(found: Found, asked: Any, span: tuple[int, int], descriptor: Descriptor) -> Found:
    """Sums over periods that end at the end of the span, and then over the series of a group.

    Other ways are not known here. A first period longer than what is left of the span reaches before it: nothing in
    the reference says that it would not. Nor does it say what becomes of histograms with unlike buckets: they are kept
    apart.
    """
    start, end = span
    period = asked.alignment_period.seconds
    if asked.per_series_aligner != Aggregation.Aligner.ALIGN_SUM:
        raise _invalid(f"The aligner {asked.per_series_aligner} is not valid, or not known here.")
    if period < 60 or asked.alignment_period.nanos:
        raise _invalid("The alignment period must be at least 60 seconds, and whole seconds here.")
    groups: dict[tuple[Labels, Labels], dict[int, list[Value]]] = defaultdict(lambda: defaultdict(list))
    kept = _kept_labels(asked, descriptor)
    for (resource, labels), points in found.items():
        group = _only(resource, "resource.labels.", kept), _only(labels, "metric.labels.", kept)
        for point in points:
            ends = end - (end - point.end) // period * period
            if start < ends <= end:
                groups[group][ends].append(point.value)
    return {
        group: [Written(ends - period, ends, value) for ends, values in periods.items() for value in _sums(values)]
        for group, periods in groups.items()
    }


def _kept_labels(asked: Any, descriptor: Descriptor) -> frozenset[str]:
    """Selectors of the labels the series keep: all without a reducer, else those they are grouped by."""
    known = {f"metric.labels.{label}" for label in descriptor.labels}
    known |= {f"resource.labels.{label}" for label in _RESOURCE_LABELS}
    if asked.cross_series_reducer == Aggregation.Reducer.REDUCE_NONE:
        return frozenset(known)
    if asked.cross_series_reducer != Aggregation.Reducer.REDUCE_SUM:
        raise _invalid(f"The reducer {asked.cross_series_reducer} is not valid, or not known here.")
    if unknown := set(asked.group_by_fields) - known:
        raise _invalid(f"Fields to group by that are not known: {sorted(unknown)}")
    return frozenset(asked.group_by_fields)


def _only(labels: Labels, prefix: str, kept: frozenset[str]) -> Labels:
    return frozenset((key, value) for key, value in labels if prefix + key in kept)


def _sums(values: Sequence[Value]) -> list[Value]:
    """One sum; of histograms one for each kind of buckets."""
    whole = [value for value in values if isinstance(value, int)]
    sums: dict[bytes, Distribution] = {}
    for value in values:
        if isinstance(value, Distribution):
            options = value.bucket_options.SerializeToString(deterministic=True)
            sums[options] = _added(sums[options], value) if options in sums else value
    return [*([sum(whole)] if whole else []), *sums.values()]


def _added(one: Distribution, other: Distribution) -> Distribution:
    count = one.count + other.count
    return Distribution(
        count=count,
        mean=(one.mean * one.count + other.mean * other.count) / count if count else 0.0,
        bucket_options=one.bucket_options,
        bucket_counts=[a + b for a, b in zip_longest(one.bucket_counts, other.bucket_counts, fillvalue=0)],
    )


# --- messages --------------------------------------------------------------------------------------------------


def _series(metric: str, descriptor: Descriptor, key: tuple[Labels, Labels], points: Iterable[Written]) -> TimeSeries:
    return TimeSeries(
        metric={"type": metric, "labels": dict(key[1])},
        resource={"type": RESOURCE, "labels": dict(key[0])},
        metric_kind=descriptor.kind,
        value_type=descriptor.value_type,
        points=[
            {
                "interval": {"start_time": {"seconds": point.start}, "end_time": {"seconds": point.end}},
                "value": {"int64_value" if isinstance(point.value, int) else "distribution_value": point.value},
            }
            for point in points
        ],
        unit=descriptor.unit,
    )
