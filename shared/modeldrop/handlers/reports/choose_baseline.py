"""What a window is compared with: the package's reference rows, the stable version over the same time, or the
version's own first full window. The first of these that there is.

A reference file that is there and cannot be read is an error, and no reason to compare with something else in silence.
"""

import hashlib
from contextlib import suppress
from itertools import islice

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.window_sample import WindowSample
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import Conflict
from modeldrop.handlers.packages.read_package import served_version
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


class Baseline(msgspec.Struct, frozen=True):
    """The choice. ``identity`` changes whenever its rows may have; they are in ``file``, or the ``sample``."""

    reference: Reference
    identity: str = ""
    file: BucketObject | None = None
    sample: WindowSample | None = None


def choose_baseline(
    services: Services, head: ModelHead, version: ModelVersion, window: WindowRecord, policy: DriftPolicy
) -> Baseline:
    """The baseline of a version's window."""
    if (found := find_reference(services.bucket, version)) is not None:
        reference = Reference("package", "the package brought it", version.version, file=found.name)
        return Baseline(reference, f"{found.name} {found.generation}", file=found)
    fewest = max(policy.min_rows, FEWEST_ROWS)
    stable = stable_version(head, version.version)
    if stable is not None:
        sample = Windows(services.documents).sample(version.model, stable, window.start)
        if sample is not None and len(sample.rows) >= fewest:
            reference = Reference("stable_version", "it served over the same time", stable, window.start)
            return Baseline(reference, f"{stable} {fingerprint(sample)}", sample=sample)
    return _first_window(services, version, window, fewest)


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


def fingerprint(sample: WindowSample) -> str:
    """SHA-256 (hex) of all that the sample holds."""
    digest = hashlib.sha256(f"{sample.sample_size} {sample.threshold}".encode())
    digest.update(msgspec.msgpack.encode(sample.rows))
    return digest.hexdigest()


def _verified_folder(bucket: Bucket, version: ModelVersion) -> str:
    return served_version(bucket, version).artifact_uri.removeprefix(f"{bucket.uri}/")


def _first_window(services: Services, version: ModelVersion, window: WindowRecord, fewest: int) -> Baseline:
    reports, windows = Reports(services.documents), Windows(services.documents)
    slot = reports.first_window(version.model, version.version)
    found, searched = None, slot.value.searched
    begin = slot.value.window or searched
    now = services.clock()
    for record in islice(reports.windows_from(version.model, version.version, begin), MOST_LOOKS):
        if record.end > now:
            break
        sample = windows.sample(record.model, version.version, record.start)
        if sample is not None and len(sample.rows) >= fewest:
            found = record, sample
            break
        searched = record.start
    new = FirstWindow(found[0].start if found else None, searched)
    if new != slot.value:
        with suppress(Conflict):  # another report was as quick
            reports.commit(slot.write(new))
    if found is None:
        why = f"neither a reference file, nor a stable version, nor a window that is over with {fewest} rows"
        return Baseline(Reference("none", why))
    return _own(version, window, *found)


def _own(version: ModelVersion, window: WindowRecord, first: WindowRecord, sample: WindowSample) -> Baseline:
    if first.start == window.start:
        why = "this window is what later ones are compared with"
        return Baseline(Reference("none", why, version.version, first.start))
    reference = Reference("first_window", "the version's first full window", version.version, first.start)
    return Baseline(reference, f"{first.start.isoformat()} {fingerprint(sample)}", sample=sample)
