"""One decision with a few versions in the registry, and with thousands: time, documents read and written, bucket calls.

A decision is ``register_package`` from its first read to its last write: the package read, the version registered, the
fold, the decision record beside the metadata, and for a better version the rollout opened and its deployment asked for.
Small and large take turns. The counts must be the same: then nothing lists the bucket or reads all versions.

The Firestore emulator has no indexes: any query, even for one document by an equality, takes it the longer the more
documents there are. So the time outside of queries is given as well, and beside it the time of a bare query by Google's
own client, small and large.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median

from google.cloud import firestore

from modeldrop.adapters.gcp import firestore_documents
from modeldrop.adapters.local.sqlite_documents import SqliteDocuments
from modeldrop.handlers.packages.register_package import register_package
from modeldrop.localcloud.emulators import Missing, find_emulator, firestore_emulator
from modeldrop.ports import DocumentStore
from modeldrop.settings import Settings
from tests.bench.counting import QUERY_SECONDS, Counts
from tests.bench.filled_registry import MODEL, FilledRegistry
from tests.bench.measuring import Aim, Note, Reference, Row, rate

SMALL, LARGE = 10, 10_000
DECISIONS = 30
MOST_TIMES_SMALL = 1.5
COUNTED = ("documents read", "documents written", "bucket calls", "bucket lists")
KINDS = {False: ("worse", "rejected"), True: ("better", "deploying")}
SIDE_BY_SIDE = 4
RATE_SECONDS = 3.0
BARE_QUERIES = 7

MakeStore = Callable[[int], DocumentStore]


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:

        def sqlite(size: int) -> DocumentStore:
            path = Path(folder) / f"{size}.sqlite"
            return stack.enter_context(closing(SqliteDocuments(path)))

        yield from _compare("SQLite", Path(folder) / "sqlite", sqlite)
        yield from _decision_rate(Path(folder) / "rate")
    missing = find_emulator("firestore")
    if isinstance(missing, Missing):
        yield Note("registry", f"Firestore was left out: {missing}")
        return
    with tempfile.TemporaryDirectory() as folder, _firestore() as store:
        yield from _compare("Firestore emulator", Path(folder), store, scans=True)
        small, large = (_bare_query_seconds(size) for size in (SMALL, LARGE))
        what = f"Firestore emulator: one bare query with {LARGE:,}"
        yield Row("registry", what, large, "s", None, Reference(small, f"with {SMALL}"))


@contextmanager
def _firestore() -> Iterator[MakeStore]:
    """Stores in the emulator, each size in a project of its own."""
    with firestore_emulator() as host:
        before = os.environ.get("FIRESTORE_EMULATOR_HOST")
        os.environ["FIRESTORE_EMULATOR_HOST"] = host
        try:
            yield lambda size: firestore_documents.connect(Settings("gcp", project=_project(size)))
        finally:
            if before is None:
                del os.environ["FIRESTORE_EMULATOR_HOST"]
            else:
                os.environ["FIRESTORE_EMULATOR_HOST"] = before


def _project(size: int) -> str:
    return f"bench-{size}"


def _bare_query_seconds(size: int) -> float:
    """A query for at most one document by an equality, which Firestore answers from an index whatever the size."""
    versions = firestore.Client(project=_project(size)).collection(f"models/{MODEL}/versions")
    query = versions.where(filter=firestore.FieldFilter("key", "==", "none")).limit(1)
    seconds = []
    for _ in range(BARE_QUERIES):
        begin = time.perf_counter()
        assert list(query.stream()) == []
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


def _compare(store: str, folder: Path, make: MakeStore, *, scans: bool = False) -> Iterator[Row]:
    with ExitStack() as stack:
        registries = {
            size: stack.enter_context(closing(FilledRegistry(folder / str(size), make(size), size)))
            for size in (SMALL, LARGE)
        }
        for better, (title, status) in KINDS.items():
            for registry in registries.values():
                _decide(registry, better, status)  # connections, caches, the policy file
            seconds: dict[int, list[float]] = {SMALL: [], LARGE: []}
            counts: dict[int, list[Counts]] = {SMALL: [], LARGE: []}
            for _ in range(DECISIONS):
                for size, registry in registries.items():
                    took, counted = _decide(registry, better, status)
                    seconds[size].append(took)
                    counts[size].append(counted)
            yield _time_row(f"{store}, {title} version: decision", seconds)
            if scans:
                outside = {
                    size: [
                        took - counted[QUERY_SECONDS] for took, counted in zip(seconds[size], counts[size], strict=True)
                    ]
                    for size in seconds
                }
                yield _time_row(f"{store}, {title} version: outside of queries", outside)
            yield from _count_rows(f"{store}, {title} version", counts)


def _decide(registry: FilledRegistry, better: bool, status: str) -> tuple[float, Counts]:
    """Seconds of one decision, and what it asked of store and bucket; what follows it is neither timed nor counted."""
    location = registry.drop(better=better)
    registry.services.counts.clear()
    begin = time.perf_counter()
    register_package(registry.services, location)  # type: ignore[arg-type]
    took = time.perf_counter() - begin
    counted = registry.services.counts.copy()
    found = registry.services.registry.version(location.model, location.version)
    assert found is not None and found.value.status == status, found
    registry.settle()
    return took, counted


def _time_row(what: str, seconds: dict[int, list[float]]) -> Row:
    reference = Reference(median(seconds[SMALL]), f"with {SMALL}")
    aim = Aim(MOST_TIMES_SMALL, "ratio")
    return Row("registry", f"{what}, {LARGE:,}", median(seconds[LARGE]), "s", None, reference, aim)


def _count_rows(title: str, counts: dict[int, list[Counts]]) -> Iterator[Row]:
    """The most any decision needed with many versions, against the least with few."""
    for name in COUNTED:
        most = max(counted[name] for counted in counts[LARGE])
        least = min(counted[name] for counted in counts[SMALL])
        aim = Aim(least, "measured")
        yield Row("registry", f"{title}: {name}", most, "", None, Reference(least, f"with {SMALL}"), aim)


def _decision_rate(folder: Path) -> Iterator[Row]:
    """Decisions a second, of one model and of several at once on one store; informs only."""
    with closing(SqliteDocuments(folder.with_suffix(".sqlite"))) as documents, ExitStack() as stack:
        registries = [
            stack.enter_context(closing(FilledRegistry(folder / str(n), documents, SMALL, f"bench-{n}")))
            for n in range(SIDE_BY_SIDE)
        ]
        alone = rate(lambda: _decide_only(registries[0]), RATE_SECONDS)
        rates: list[float] = []
        threads = [
            threading.Thread(target=lambda r=r: rates.append(rate(lambda: _decide_only(r), RATE_SECONDS)))  # type: ignore[misc]
            for r in registries
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(rates) == SIDE_BY_SIDE, "a thread failed"
    what = f"SQLite, {SMALL} versions: decisions, {SIDE_BY_SIDE} models at once"
    yield Row("registry", what, sum(rates), "/s", None, Reference(alone, "one model"))


def _decide_only(registry: FilledRegistry) -> None:
    register_package(registry.services, registry.drop(better=False))  # type: ignore[arg-type]
