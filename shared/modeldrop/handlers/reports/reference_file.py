"""The profile of a package's reference file: made once, and kept in memory as long as the file is the same."""

import hashlib
import threading
from collections import OrderedDict

import msgspec

from modeldrop.domain.drift.reference_profile import ReferenceProfile, profile_reference
from modeldrop.domain.sampling.kept_values import KeepRule
from modeldrop.errors import Conflict, FieldProblem, InvalidInput, TooLarge
from modeldrop.handlers.reports.reference_rows import read_rows
from modeldrop.ports import Bucket, BucketObject

LIMIT_BYTES = 64 << 20
MOST_PROFILES = 4  # a full one has 32 MB


class FileProfile(msgspec.Struct, frozen=True, eq=False):
    """The profile, of how many rows, of a file with this SHA-256; without a profile: what is wrong with the file."""

    profile: ReferenceProfile | None
    digest: str | None = None
    file_rows: int | None = None
    problems: tuple[FieldProblem, ...] = ()


_kept: OrderedDict[bytes, FileProfile] = OrderedDict()
_guard = threading.Lock()


def profile_of_file(bucket: Bucket, found: BucketObject, rule: KeepRule) -> FileProfile:
    """The profile of a reference file, its values as the rule would store them.

    Raises Conflict if the file was replaced since it was found.
    """
    key = hashlib.sha256(msgspec.msgpack.encode([bucket.uri, found.name, found.generation, rule])).digest()
    with _guard:
        kept = _kept.get(key)
        if kept is not None:
            _kept.move_to_end(key)
            return kept
    made = _profile(bucket, found, rule)
    with _guard:
        _kept[key] = made
        while len(_kept) > MOST_PROFILES:
            _kept.popitem(last=False)
    return made


def _profile(bucket: Bucket, found: BucketObject, rule: KeepRule) -> FileProfile:
    try:
        read = bucket.read(found.name, limit_bytes=LIMIT_BYTES, generation=found.generation)
    except TooLarge:
        return FileProfile(None, problems=(FieldProblem("$", f"has more than {LIMIT_BYTES >> 20} MiB"),))
    if read is None:
        raise Conflict(f"{found.name} was replaced while it was looked at")
    digest = hashlib.sha256(read[1]).hexdigest()
    try:
        rows = read_rows(found.name, read[1], rule)
        return FileProfile(profile_reference(rows.observations), digest, rows.file_rows)
    except InvalidInput as error:
        return FileProfile(None, digest, problems=error.problems)
