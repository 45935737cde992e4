"""The page of one model."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modeldrop.web.dashboard.figures import figure, percent, seconds, whole
from modeldrop.web.dashboard.marks import Mark, health_mark, verdict_mark
from modeldrop.web.dashboard.moments import Moment, moment
from modeldrop.web.dashboard.reader import Answer, Reader
from modeldrop.web.dashboard.views.actions import Actions, Sections, actions
from modeldrop.web.dashboard.views.drift import Asked, Drift, drift
from modeldrop.web.dashboard.views.history import Deliveries, History, ServedAt, deliveries, history, served_at
from modeldrop.web.dashboard.views.overview import Traffic, traffic
from modeldrop.web.dashboard.views.quality import QualityRow, quality
from modeldrop.web.dashboard.views.retraining import Retraining, retraining
from modeldrop.web.dashboard.views.rollouts import Rollouts, rollouts
from modeldrop.web.dashboard.views.versions import Versions, versions

PAGED = ("rollouts", "versions", "episodes", "deliveries", "history")
"""Sections with older rows: ``?versions=KEY`` begins that one after KEY."""


@dataclass(frozen=True)
class Health:
    """How the live version is doing."""

    mark: Mark
    why: str
    checked: Moment | None
    since: Moment | None
    measured_over: str
    requests: str
    error_rate: str
    p95: str


@dataclass(frozen=True)
class ModelPage:
    """The page."""

    name: str
    live: str | None
    aliases: list[tuple[str, str]]
    paused: str | None
    traffic: Traffic | None
    health: Health
    drift_mark: Mark
    actions: Actions
    rollouts: Rollouts
    versions: Versions
    drift: Drift | None
    quality: list[QualityRow]
    retraining: Retraining
    deliveries: Deliveries
    history: History
    served: ServedAt | None
    paged: list[str]  # sections that begin with older rows


def model_page(reader: Reader, name: str, query: Mapping[str, str], roles: Collection[str], now: datetime) -> ModelPage:
    """Everything about a model that fits on a page; ``query`` says where the older rows of a section begin."""
    found = reader.get(f"/v1/models/{name}")
    begins: dict[str, Any] = {section: query.get(section) or None for section in PAGED}
    sections = Sections(
        found,
        versions(reader, found, begins["versions"], now),
        rollouts(reader, name, begins["rollouts"], now),
        retraining(reader, name, begins["episodes"], now),
    )
    return ModelPage(
        name,
        found["production"],
        [(alias, version) for alias, version in found["aliases"].items() if version],
        found["paused"],
        traffic(found),
        _health(reader.get(f"/v1/models/{name}/health"), now),
        verdict_mark(found["drift"]),
        actions(sections, roles),
        sections.rollouts,
        sections.versions,
        drift(reader, name, Asked(), now, glance=True),
        quality(reader, name, now),
        sections.retraining,
        deliveries(reader, name, begins["deliveries"], now),
        history(reader, name, begins["history"], now),
        served_at(reader, name, query.get("at"), now),
        [section for section, begin in begins.items() if begin],
    )


def _health(found: Answer, now: datetime) -> Health:
    figures = found["metadata"]
    p95 = figures.get("p95_latency_ms")
    return Health(
        health_mark(found["status"] if found["version"] else None),
        found["why"],
        moment(found["checked_at"], now),
        moment(found["since"], now),
        seconds(figures["window_seconds"]) if "window_seconds" in figures else "",
        whole(figures.get("requests")),
        percent(figures.get("error_rate")),
        "–" if p95 is None else f"{figure(p95, 3)} ms",
    )
