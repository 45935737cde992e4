"""What a window is compared with: the package's reference rows, the stable version over the same time, or the
version's own first full window. The first of these that there is.

The stable version is one only where both served at the same time: the rows of the time they share are compared.
A reference file that is there and cannot be read is an error, and no reason to compare with something else in silence.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

import msgspec

from modeldrop.domain.drift.shared_span import Span, shared_span
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.payload import read_prediction
from modeldrop.domain.sampling.window_sample import WindowSample
from modeldrop.domain.sampling.windows import EPOCH
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import Conflict
from modeldrop.handlers.packages.read_package import served_version
from modeldrop.handlers.reports.fingerprints import fingerprint
from modeldrop.ports import Bucket, BucketObject
from modeldrop.records.reports import FirstWindow, Reference, Reports
from modeldrop.records.windows import WindowRecord, Windows
from modeldrop.wiring import Services

REFERENCE_NAMES = ("reference.jsonl", "reference.csv", "reference.parquet")
FEWEST_ROWS = 20
"""``domain.drift`` judges nothing below that, whatever a policy says."""
MOST_OBJECTS = 100  # whose names begin like those
MOST_LOOKS = 24
"""So many windows are searched at a time for the first full one; the next report goes on from there."""


class Look(msgspec.Struct, frozen=True):
    """A version's window as it was when somebody looked."""

    window: WindowRecord
    sample: WindowSample
    at: datetime

    @property
    def is_over(self) -> bool:
        """Whether the window had ended before its sample was read."""
        return self.window.end <= self.at


class Baseline(msgspec.Struct, frozen=True):
    """The choice. ``identity`` changes whenever its rows may have; they are in ``file``, or the ``sample``.

    ``current``: the rows of the window that are to be compared with it.
    """

    reference: Reference
    current: WindowSample
    identity: str = ""
    file: BucketObject | None = None
    sample: WindowSample | None = None


def choose_baseline(
    services: Services, head: ModelHead, version: ModelVersion, look: Look, policy: DriftPolicy
) -> Baseline:
    """The baseline of a version's window."""
    if (found := find_reference(services.bucket, version)) is not None:
        reference = Reference("package", "the package brought it", version.version, file=found.name)
        return Baseline(reference, look.sample, f"{found.name} {found.generation}", file=found)
    fewest = max(policy.min_rows, FEWEST_ROWS)
    stable = stable_version(head, version.version)
    if stable is not None and (beside := _beside(services, stable, look, fewest)) is not None:
        return beside
    return _first_window(services, head, version, look, fewest)


def stable_version(head: ModelHead, version: str) -> str | None:
    """The version that others are measured by: production, and for production the one before, unless it fell."""
    if head.production is not None and head.production.version != version:
        return head.production.version
    previous = head.previous
    return previous.version if previous and not previous.fallen and previous.version != version else None


def find_reference(bucket: Bucket, version: ModelVersion) -> BucketObject | None:
    """The package's reference file: the verified copy, else the file in the package, unless that is signed."""
    folders = [] if version.metadata is None else [_verified_folder(bucket, version)]
    if version.signed_by is None:
        folders.append(version.object_name.rpartition("/")[0])
    for folder in folders:
        there = {one.name: one for one in bucket.list(f"{folder}/reference.", limit=MOST_OBJECTS)}
        for name in REFERENCE_NAMES:
            if (found := there.get(f"{folder}/{name}")) is not None:
                return found
    return None


def _beside(services: Services, stable: str, look: Look, fewest: int) -> Baseline | None:
    """The stable version in the same window, if enough of both is of the same time."""
    window = look.window
    sample = Windows(services.documents).sample(window.model, stable, window.start)
    if sample is None or len(sample.rows) < fewest:
        return None
    times, others = _event_times(look.sample), _event_times(sample)
    span = shared_span(times, others, fewest)
    if span is None:
        return None
    first, last = (EPOCH + timedelta(milliseconds=time) for time in span)
    reference = Reference("stable_version", "it served over the same time", stable, window.start, first, last)
    identity = f"{stable} {fingerprint(sample)}"
    return Baseline(reference, _within(look.sample, times, span), identity, sample=_within(sample, others, span))


def _event_times(sample: WindowSample) -> list[int]:
    return [read_prediction(row).event_time_ms for row in sample.rows]


def _within(sample: WindowSample, times: Sequence[int], span: Span) -> WindowSample:
    """The rows of that time: a uniform sample of its events."""
    pairs = zip(sample.rows, times, strict=True)
    return msgspec.structs.replace(sample, rows=tuple(row for row, time in pairs if span.first <= time <= span.last))


def _verified_folder(bucket: Bucket, version: ModelVersion) -> str:
    return served_version(bucket, version).artifact_uri.removeprefix(f"{bucket.uri}/")


def _first_window(services: Services, head: ModelHead, version: ModelVersion, look: Look, fewest: int) -> Baseline:
    """Once it is chosen it stays, as long as it is there."""
    reports = Reports(services.documents)
    slot = reports.first_window(version.model, version.version)
    chosen, begin = slot.value.window, slot.value.window or slot.value.searched
    since, found, searched = live_since(head, version), None, slot.value.searched
    for record in islice(reports.windows_from(version.model, version.version, begin), MOST_LOOKS):
        if record.end > look.at:
            break
        searched = record.start
        if record.start != chosen and since is not None and record.end <= since:
            continue  # it did not serve then: the timestamps are wrong
        sample = Windows(services.documents).sample(record.model, version.version, record.start)
        if sample is not None and len(sample.rows) >= fewest:
            found = record, sample
            break
    replaced = slot.value.replaced or (chosen is not None and (found is None or found[0].start != chosen))
    new = FirstWindow(found[0].start if found else None, searched, replaced)
    if new != slot.value:
        with suppress(Conflict):  # another report was as quick
            reports.commit(slot.write(new))
    if found is None:
        why = f"neither a reference file, nor a stable version, nor a window that is over with {fewest} rows"
        return Baseline(Reference("none", why), look.sample)
    return _own(version, look, *found, new)


def live_since(head: ModelHead, version: ModelVersion) -> datetime | None:
    """When the version went live first, as far as that is known; None: it has not, or long ago."""
    serving = [each.since for each in (head.production, head.previous) if each and each.version == version.version]
    return min([*serving, *(each.at for each in head.went_live if each.key == version.key)], default=None)


def _own(version: ModelVersion, look: Look, first: WindowRecord, sample: WindowSample, known: FirstWindow) -> Baseline:
    if first.start == look.window.start:
        why = "this window is what later ones are compared with"
        return Baseline(Reference("none", why, version.version, first.start), look.sample)
    why = "the oldest full window of the version that is left" if known.replaced else "the version's first full window"
    reference = Reference("first_window", why, version.version, first.start)
    return Baseline(reference, look.sample, f"{first.start.isoformat()} {fingerprint(sample)}", sample=sample)
