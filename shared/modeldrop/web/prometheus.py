"""``GET /metrics``: what Prometheus is told.

Nothing is counted in this process: each answer is read from the records, so that any instance, and one that has just
started, tells the same. What there is, is in ``scrape/families.py`` and docs/metrics.md.
"""

from typing import TYPE_CHECKING, Final

from modeldrop.wiring import Services

if TYPE_CHECKING:
    from modeldrop.web.scrape.sheet import Sheet

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text"
OPENMETRICS_CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def negotiated(services: Services, accept: str) -> tuple[bytes, str]:
    """All metrics in the format that ``accept`` (the header) asks for, and its content type.

    OpenMetrics where it is named at all, as Prometheus prefers it whenever it names it. Raises Unavailable
    where the records cannot be read.
    """
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - loads a web server; most requests are others
    from prometheus_client.exposition import generate_latest  # noqa: PLC0415
    from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_read(services))
    if any(part.split(";")[0].strip().lower() == OPENMETRICS for part in accept.split(",")):
        return generate_openmetrics(registry), OPENMETRICS_CONTENT_TYPE  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE


def _read(services: Services) -> "Sheet":
    from modeldrop.web.scrape.of_models import add_model  # noqa: PLC0415 - see above
    from modeldrop.web.scrape.of_the_control_plane import add_control_plane  # noqa: PLC0415
    from modeldrop.web.scrape.reading import Reading  # noqa: PLC0415
    from modeldrop.web.scrape.sheet import Sheet  # noqa: PLC0415

    sheet, reading = Sheet(), Reading(services)
    models = 0
    for models, seen in enumerate(reading.models(), 1):  # noqa: B007 - how many there were
        add_model(sheet, seen)
    sheet.add("models", models)
    sheet.add("models_left_out", reading.left_out)
    add_control_plane(sheet, reading)
    for what, times in sorted(reading.unread.items()):
        sheet.add("unread", times, what)
    return sheet
