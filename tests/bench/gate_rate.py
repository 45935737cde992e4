"""The gate alone, without any store: decisions a second after a history of 10,000 versions, and after 10.

Every version of the history was really judged, by the fold. A decision looks at production and at the best, never at
the history: so both must take the same time. The record of a decision is measured too: one is stored with each version.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from modeldrop.domain.champion import fold
from modeldrop.domain.gate import decide
from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.presets import CLASSIFIER
from modeldrop.domain.replay import replay
from modeldrop.domain.versions import Decision, Metadata, ModelVersion, Standing, Status, order_key
from tests.bench.measuring import Aim, Note, Reference, Row, rate

SMALL, LARGE = 10, 10_000
MOST_TIMES_SMALL = 1.2
SECONDS, ROUNDS = 0.3, 5
BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
POLICY = GatePolicy(min_improvement=0.0)


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    folded = list(fold((_version(number) for number in range(LARGE)), Standing(), POLICY))
    standings = {size: folded[size - 1].standing for size in (SMALL, LARGE)}
    candidate = _version(LARGE)
    rates: dict[int, list[float]] = {SMALL: [], LARGE: []}
    for _ in range(ROUNDS):  # in turns: a busy moment meets both
        for size, standing in standings.items():
            rates[size].append(rate(lambda s=standing: decide(candidate, s, POLICY, None), SECONDS))  # type: ignore[misc]
    best = {size: max(values) for size, values in rates.items()}
    what = f"decisions, nothing stored, after {LARGE:,} versions"
    yield Row("gate", what, best[LARGE], "/s", None, Reference(best[SMALL], "after 10"))
    small, large = 1 / best[SMALL], 1 / best[LARGE]
    aim = Aim(MOST_TIMES_SMALL, "ratio")
    yield Row("gate", f"one decision after {LARGE:,} versions", large, "s", None, Reference(small, "after 10"), aim)
    first, last = (_bytes(folded[size - 1]) for size in (SMALL, LARGE))
    yield Row("gate", "bytes of a decision's record", last, "B", None, Reference(first, "after 10"), aim)
    decision = _decision(folded[-1])
    again = rate(lambda: replay(decision), SECONDS)
    yield Row("gate", "stored decisions made again", again, "/s", None, Reference(best[LARGE], "decisions"))
    assert all(replay(_decision(version)) == version.decision for version in folded[:: LARGE // 100])


def _version(number: int) -> ModelVersion:
    """The one of that day; a little better than all before, but for every third, which is a little worse."""
    name, moment = f"v{number}", BEGIN + timedelta(days=number)
    level = 0.3 + 0.6 * (number - 4 * (number % 3 == 2)) / LARGE
    metrics = dict.fromkeys(CLASSIFIER.weights, level)
    metadata = Metadata("scorecard", moment, metrics)
    key = order_key(moment, name)
    return ModelVersion(
        "bench",
        name,
        key,
        Status.RECEIVED,
        f"models/bench/{name}/metadata.json",
        1,
        "d" * 64,
        moment,
        moment,
        "created_at",
        metadata,
    )


def _decision(version: ModelVersion) -> Decision:
    assert version.decision is not None
    return version.decision


def _bytes(version: ModelVersion) -> int:
    return len(msgspec.json.encode(version.decision))
