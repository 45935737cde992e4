"""What the trainers' tests share: an episode, and starting it several times at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec

from modeldrop.domain.retraining.episode import Run, TimeRange, TrainingRequest
from modeldrop.ports import Trainer

OPENED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EPISODE = "fraud-20260102030405-3"
REQUEST = TrainingRequest(
    episode=EPISODE,
    model="fraud",
    version="v3",
    cause="concept_drift",
    report="https://modeldrop.example/v1/models/fraud/quality",
    window=TimeRange(datetime(2026, 1, 2, 2, tzinfo=UTC), datetime(2026, 1, 2, 3, tzinfo=UTC)),
    lineage={"commit": "0a1b2c", "training_data": "gs://data/2025"},
)
BODY = {
    "episode": EPISODE,
    "model": "fraud",
    "version": "v3",
    "cause": "concept_drift",
    "report": "https://modeldrop.example/v1/models/fraud/quality",
    "window": {"start": "2026-01-02T02:00:00Z", "end": "2026-01-02T03:00:00Z"},
    "lineage": {"commit": "0a1b2c", "training_data": "gs://data/2025"},
}
BARE = TrainingRequest(episode=EPISODE, model="fraud", version=None, cause="manual", report=None, window=None)


def request(**changes: Any) -> TrainingRequest:
    """The episode's request, with changes."""
    return msgspec.structs.replace(REQUEST, **changes)


def started_at_once(*trainers: Trainer) -> list[Run]:
    """What each trainer, all asked at the same time for the first time, answers."""
    with ThreadPoolExecutor(len(trainers)) as pool:
        return list(pool.map(lambda trainer: trainer.start(REQUEST, again=None), trainers))
