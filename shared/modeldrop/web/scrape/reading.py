"""What is read for a scrape. Bounded: some pages, and for each model three short pages and at most five documents.

Documents of a known path are read many at a time, pages of several models beside each other: a scrape of hundreds of
models is done before Prometheus gives up (10 s). One document that cannot be read, of a later release say, is counted
and hides nothing else; a store that does not answer ends the scrape, as samples of nothing would look like peace.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.retraining.episode import Episode
from modeldrop.domain.retraining.state import RetrainingState
from modeldrop.domain.rollout import Rollout
from modeldrop.errors import ModeldropError
from modeldrop.ports import Document, DocumentStore, Endpoint
from modeldrop.records.health import HealthRecord, health_path
from modeldrop.records.registry import Registry
from modeldrop.records.reports import DriftRecord, QualityRecord
from modeldrop.records.retraining import episode_path
from modeldrop.web.scrape.families import MOST_MODELS, MOST_VERSIONS
from modeldrop.wiring import Services

MOST_COUNTED = 5_000
"""Models beyond those told of are counted, up to here."""
MODELS_AT_ONCE = 50
DOCUMENTS_AT_ONCE = 200
PAGES_AT_ONCE = 8
REPORTS_A_PAGE = 4
"""Among so many of a model's latest reports that on production is looked for: there may be a canary's beside it."""

T = TypeVar("T", bound=msgspec.Struct)


class ModelSeen(msgspec.Struct, frozen=True):
    """What was read of one model. None: there is none, or it could not be read."""

    head: ModelHead
    endpoint: Endpoint | None
    health: HealthRecord | None
    retraining: RetrainingState | None
    rollout: Rollout | None
    episode: Episode | None  # the latest
    versions: Mapping[str, int]  # by status, among the latest
    drift: DriftRecord | None
    quality: QualityRecord | None


class Latest(msgspec.Struct, frozen=True):
    """What pages of a model's latest documents say."""

    versions: Mapping[str, int]  # by status
    drift: Document | None = None
    quality: Document | None = None


class Reading:
    """The reads of one scrape. ``unread`` counts what could not be read, by what it is."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.unread: Counter[str] = Counter()
        self.left_out = 0

    def models(self) -> Iterator[ModelSeen]:
        """The first by name, read some at a time as they are taken; ``left_out`` then says how many more there are."""
        found = self.services.registry.heads()
        heads = list(islice(found, MOST_MODELS))
        self.left_out = sum(1 for _ in islice(found, MOST_COUNTED - MOST_MODELS)) if len(heads) == MOST_MODELS else 0
        endpoints = self._endpoints([head.model for head in heads])
        with ThreadPoolExecutor(PAGES_AT_ONCE) as pool:
            for begin in range(0, len(heads), MODELS_AT_ONCE):
                some = heads[begin : begin + MODELS_AT_ONCE]  # reports are large: not those of all models at once
                documents = self._documents(some)
                for head, latest in zip(some, pool.map(self._latest, some), strict=True):
                    yield self._model(head, endpoints.get(head.model), documents, latest)

    def one(self, document: Document | None, kind: type[T], what: str) -> T | None:
        """The document as ``kind``; None, and counted under ``what``, where it is none that we know."""
        if document is None:
            return None
        try:
            return msgspec.convert(document.data, kind)
        except msgspec.ValidationError:
            self.unread[what] += 1
            return None

    def _model(
        self, head: ModelHead, endpoint: Endpoint | None, documents: Mapping[str, Document], latest: Latest
    ) -> ModelSeen:
        model = head.model
        retraining = self.one(documents.get(_state_path(model)), RetrainingState, "retraining")
        episode = documents.get(episode_path(model, retraining.episodes)) if retraining else None
        return ModelSeen(
            head,
            endpoint,
            self.one(documents.get(health_path(model)), HealthRecord, "health"),
            retraining,
            self.one(documents.get(_rollout_path(head)), Rollout, "rollouts"),
            self.one(episode, Episode, "episodes"),
            latest.versions,
            self.one(latest.drift, DriftRecord, "drift"),
            self.one(latest.quality, QualityRecord, "quality"),
        )

    def _endpoints(self, models: Sequence[str]) -> dict[str, Endpoint]:
        try:
            return self.services.model_server.observe_many(models)
        except ModeldropError:  # the records say enough to be worth a scrape
            self.unread["endpoints"] += 1
            return {}

    def _documents(self, heads: Sequence[ModelHead]) -> dict[str, Document]:
        """Health, state and rollout of each model, by path; then the episodes that the states speak of."""
        paths = [path for head in heads for path in (health_path(head.model), _state_path(head.model))]
        paths += [_rollout_path(head) for head in heads if head.rollout is not None]
        found = _read(self.services.documents, paths)
        states = {head.model: found.get(_state_path(head.model)) for head in heads}
        numbers = {model: state.data.get("episodes") for model, state in states.items() if state is not None}
        latest = [
            episode_path(model, number) for model, number in numbers.items() if isinstance(number, int) and number
        ]
        return found | _read(self.services.documents, latest)

    def _latest(self, head: ModelHead) -> Latest:
        def page(collection: str, limit: int) -> list[Document]:
            return self.services.documents.list(f"models/{head.model}/{collection}", descending=True, limit=limit)

        # Of the entries there, commands have no status.
        statuses = [found.data.get("status") for found in page("versions", MOST_VERSIONS)]
        versions = Counter(str(status) for status in statuses if status is not None)
        if head.production is None:  # then there is nothing to report on
            return Latest(versions)
        drift = _newest(page("drift", REPORTS_A_PAGE), head.production.version, _is_over)
        quality = _newest(page("quality", REPORTS_A_PAGE), head.production.version, _is_judged)
        return Latest(versions, drift, quality)


def _read(documents: DocumentStore, paths: Sequence[str]) -> dict[str, Document]:
    """The documents there are, by path."""
    found: Iterable[Document | None] = (
        document
        for begin in range(0, len(paths), DOCUMENTS_AT_ONCE)
        for document in documents.get_many(paths[begin : begin + DOCUMENTS_AT_ONCE])
    )
    return {document.path: document for document in found if document is not None}


def _newest(newest_first: Sequence[Document], version: str, is_settled: Callable[[Document], bool]) -> Document | None:
    """The newest settled report on the version; while there is none, the newest."""
    reports = [found for found in newest_first if found.data.get("version") == version]
    return next(filter(is_settled, reports), next(iter(reports), None))


def _is_over(report: Document) -> bool:
    """Half a day may look unlike a whole one: that is no drift."""
    return report.data.get("complete") is True


def _is_judged(report: Document) -> bool:
    """Labels come late: of the newest windows nothing may be known yet."""
    return report.data.get("verdict") != "insufficient_data"


def _state_path(model: str) -> str:
    return f"models/{model}/retraining/state"


def _rollout_path(head: ModelHead) -> str:
    return Registry.rollout_path(head.model, head.rollout or "")
