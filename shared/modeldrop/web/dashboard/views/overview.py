"""The first page: all models at a glance."""

import re
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from modeldrop.web.answers.names import MODEL_PATTERN
from modeldrop.web.dashboard.charts.bars import split_bar
from modeldrop.web.dashboard.marks import WARN, Mark, health_mark, phase_mark, verdict_mark, version_mark
from modeldrop.web.dashboard.reader import Answer, Reader
from modeldrop.web.dashboard.views.system import System, system

MODELS_A_PAGE = 50
MOST_PAGES_FILTERED = 4
"""A filter looks through this many pages of models, then says so: a page's reads stay bounded."""


@dataclass(frozen=True)
class Share:
    """A version's share of the traffic, as a picture shows it: ``kind`` is stable, candidate or other."""

    version: str
    percent: str
    kind: str


@dataclass(frozen=True)
class Traffic:
    """How traffic is split, the live version first."""

    shares: list[Share]
    bar: Markup


@dataclass(frozen=True)
class ModelRow:
    """A model at a glance."""

    name: str
    live: str | None
    traffic: Traffic | None
    rollout: str
    rollout_mark: Mark | None
    health: Mark
    drift: Mark


@dataclass(frozen=True)
class Overview:
    """The page."""

    rows: list[ModelRow]
    wanted: str  # the filter
    next: str | None  # the page goes on after it
    first: bool  # nothing stands before it
    system: System


def overview(reader: Reader, wanted: str, before: str | None, now: datetime) -> Overview:
    """A page of models, those whose name contains ``wanted``; ``before`` as the API calls where the page begins."""
    rows: list[ModelRow] = []
    following, late = before, None
    exact = _called(reader, wanted) if wanted and before is None else None
    for _ in range(MOST_PAGES_FILTERED if wanted else 1):
        page = reader.get("/v1/models", limit=MODELS_A_PAGE, before=following)
        late = late or page["ticks"]
        rows += [_row(reader, model) for model in page["models"] if wanted in model["model"]]
        following = page["next"]
        if following is None or len(rows) >= MODELS_A_PAGE:
            break
    assert late is not None
    if exact is not None and wanted not in [row.name for row in rows]:
        rows.insert(0, _row(reader, exact))  # on none of the pages looked through
    return Overview(rows, wanted, following, before is None, system(reader, late, now))


def _called(reader: Reader, wanted: str) -> Answer | None:
    """The model of that very name, wherever it is in the list."""
    return reader.find(f"/v1/models/{wanted}") if re.fullmatch(MODEL_PATTERN, wanted) else None


def traffic(model: Answer) -> Traffic | None:
    """The split behind the endpoint; None where there is no endpoint."""
    if model["endpoint"] is None:
        return None
    split = model["endpoint"]["traffic"]
    named = sorted(split, key=lambda version: (version != model["production"], version != model["desired"], version))
    kinds = ["stable", "candidate", *["other"] * len(named)]
    shares = [Share(version, f"{split[version]:g} %", kind) for version, kind in zip(named, kinds, strict=False)]
    return Traffic(shares, split_bar([(version, split[version]) for version in named]))


def _row(reader: Reader, model: Answer) -> ModelRow:
    text, mark = _rollout(reader, model)
    return ModelRow(
        model["model"],
        model["production"],
        traffic(model),
        text,
        mark,
        health_mark(model["health"]),
        verdict_mark(model["drift"]),
    )


def _waiting(newest: Answer | None) -> tuple[str, Mark | None]:
    """The newest version, where it waits for somebody."""
    if newest is None or newest["status"] != "awaiting_approval":
        return "", None
    return newest["version"], version_mark(newest["status"])


def _rollout(reader: Reader, model: Answer) -> tuple[str, Mark | None]:
    """What is under way: few models have a rollout at a time, so each is looked at."""
    paused = Mark("warn", "‖", "paused") if model["paused"] is not None else None
    if model["rollout"] is None:
        return (model["paused"], paused) if paused else _waiting(model["newest"])
    found = reader.find(f"/v1/models/{model['model']}/rollouts/{model['rollout']}")
    if found is None:
        return model["rollout"], paused
    step = min(found["step"], len(found["steps"]) - 1)
    text = f"{found['version']}: step {step + 1} of {len(found['steps'])}, {found['steps'][step]}\u00a0%"
    held = Mark("warn", WARN, "waits for somebody") if found["held"] else None
    return text, paused or held or phase_mark(found["phase"])
