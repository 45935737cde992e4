"""Samples as they are added, and in Prometheus' own forms."""

from collections import defaultdict
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from modeldrop.web.scrape.families import BY_NAME, FAMILIES, Family


class Sheet:
    """The samples of one scrape."""

    def __init__(self) -> None:
        self._samples: defaultdict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)

    def add(self, name: str, value: float, *labels: str) -> None:
        """A sample of ``modeldrop_{name}``, with the values of its labels in the table's order."""
        full = f"modeldrop_{name}"
        assert len(labels) == len(BY_NAME[full].labels), f"{full} has the labels {BY_NAME[full].labels}"
        self._samples[full].append((labels, value))

    def add_known(self, name: str, value: float | None, *labels: str) -> None:
        """The same where there is a value."""
        if value is not None:
            self.add(name, value, *labels)

    def collect(self) -> Iterator[Metric]:
        """Every metric of the table, in its order; those without samples, too."""
        return (_family(family, self._samples[family.name]) for family in FAMILIES)


def _family(family: Family, samples: list[tuple[tuple[str, ...], float]]) -> Metric:
    if family.kind == "info":
        info = InfoMetricFamily(family.name.removesuffix("_info"), family.about)
        for labels, _ in samples:
            info.add_metric([], dict(zip(family.labels, labels, strict=True)))
        return info
    made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    numbers = made(family.name, family.about, labels=family.labels)
    for labels, value in samples:
        numbers.add_metric(labels, value)
    return numbers
