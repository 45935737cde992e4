"""Counts what passes through the ports: around a store or a bucket, never inside."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from modeldrop.ports import (
    Bucket,
    BucketObject,
    Clock,
    Document,
    DocumentStore,
    MetricSource,
    ModelServer,
    Write,
)
from modeldrop.records.registry import Registry
from modeldrop.settings import Settings

QUERY_SECONDS = "seconds in queries"
Counts = defaultdict[str, float]
"""How much of what; 0 of what never happened."""


@dataclass(frozen=True)
class CountingDocuments:
    """A ports.DocumentStore that counts documents read and written as Firestore bills them."""

    inner: DocumentStore
    counts: Counts

    def get(self, path: str) -> Document | None:
        """See DocumentStore."""
        self.counts["documents read"] += 1
        return self.inner.get(path)

    def get_many(self, paths: Sequence[str]) -> list[Document | None]:
        """See DocumentStore."""
        self.counts["documents read"] += len(paths)
        return self.inner.get_many(paths)

    def commit(self, writes: Sequence[Write]) -> None:
        """See DocumentStore."""
        self.counts["documents written"] += len(writes)
        self.inner.commit(writes)

    def list(
        self, collection: str, *, after: str | None = None, descending: bool = False, limit: int = 100
    ) -> list[Document]:
        """See DocumentStore. A page without documents is billed as one."""
        begin = time.perf_counter()
        page = self.inner.list(collection, after=after, descending=descending, limit=limit)
        self.counts[QUERY_SECONDS] += time.perf_counter() - begin
        self.counts["documents read"] += max(1, len(page))
        return page


@dataclass(frozen=True)
class CountingBucket:
    """A ports.Bucket that counts its calls; those that list, apart."""

    inner: Bucket
    counts: Counts

    @property
    def uri(self) -> str:
        """See Bucket."""
        return self.inner.uri

    def stat(self, name: str) -> BucketObject | None:
        """See Bucket."""
        self.counts["bucket calls"] += 1
        return self.inner.stat(name)

    def read(self, name: str, *, limit_bytes: int, generation: int | None = None) -> tuple[BucketObject, bytes] | None:
        """See Bucket."""
        self.counts["bucket calls"] += 1
        return self.inner.read(name, limit_bytes=limit_bytes, generation=generation)

    def write(self, name: str, data: bytes, *, if_generation: int, content_type: str) -> BucketObject:
        """See Bucket."""
        self.counts["bucket calls"] += 1
        return self.inner.write(name, data, if_generation=if_generation, content_type=content_type)

    def delete(self, name: str, *, if_generation: int) -> None:
        """See Bucket."""
        self.counts["bucket calls"] += 1
        self.inner.delete(name, if_generation=if_generation)

    def list(self, prefix: str, *, limit: int) -> list[BucketObject]:
        """See Bucket."""
        self.counts["bucket lists"] += 1
        return self.inner.list(prefix, limit=limit)


@dataclass(frozen=True)
class CountedServices:
    """What handlers work with, as wiring.Services gives it, with documents and bucket counted in ``counts``."""

    settings: Settings
    clock: Clock
    documents: CountingDocuments
    bucket: CountingBucket
    model_server: ModelServer
    metrics: MetricSource
    registry: Registry
    counts: Counts


def counted(
    settings: Settings,
    documents: DocumentStore,
    bucket: Bucket,
    serving: tuple[ModelServer, MetricSource],
    clock: Clock,
) -> CountedServices:
    """Services over these adapters."""
    counts: Counts = defaultdict(float)
    store = CountingDocuments(documents, counts)
    return CountedServices(settings, clock, store, CountingBucket(bucket, counts), *serving, Registry(store), counts)
