"""Decision records beside the metadata: written from the registry, again and again the same."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from modeldrop.domain.packages import COMPARISON_NAME, DEPLOYMENT_INFO_NAME, OUR_FILES, REJECTION_NAME
from modeldrop.domain.versions import ModelVersion, Status
from modeldrop.errors import Conflict, FieldProblem, PermanentError, TooLarge, TransientError
from modeldrop.ports import Bucket, BucketObject
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

_RECORD_LIMIT_BYTES = 4 << 20
_ATTEMPTS = 3


def publish_decisions(services: Services, model: str) -> None:
    """Write the records of every version whose decision or status changed since, then take them off the list.

    What cannot be written now stays on it; what never can be is logged. Where somebody else is at the same work, the
    list stays for whoever comes next.
    """
    head = services.registry.head(model)
    left: list[str] = []
    for key in head.value.unpublished:
        try:
            _publish(services, model, key)
        except TransientError as error:
            log.warning("the records of %s %s are left to the next tick: %s", model, key, error)
            left.append(key)
        except PermanentError:
            log.exception("the records of %s %s cannot be written", model, key)
    if left != head.value.unpublished:
        with suppress(Conflict):
            services.registry.commit_about(head, msgspec.structs.replace(head.value, unpublished=left))


def write_rejection(bucket: Bucket, prefix: str, facts: dict[str, Any], problems: Sequence[FieldProblem]) -> None:
    """``rejection.json`` for an upload that did not become (the content of) a version."""
    put_record(bucket, prefix + REJECTION_NAME, rejection(facts, problems))


def rejection(facts: dict[str, Any], problems: Sequence[FieldProblem]) -> dict[str, Any]:
    """The record of something that could not be read or taken."""
    reasons = [str(problem) for problem in problems]
    return facts | {"verdict": "rejected", "rule": "invalid_package", "reasons": reasons, "problems": list(problems)}


def _publish(services: Services, model: str, key: str) -> None:
    """Bring the files beside one version's metadata up to date.

    The files are looked at *before* the version is read: then a record can only replace one that is older than what
    it was made from, and whoever holds an outdated version finds the file changed.
    """
    found = services.registry.version_at(model, key)
    if found is None:
        return
    prefix = found.value.object_name.rsplit("/", 1)[0] + "/"
    for attempt in range(_ATTEMPTS):
        there = {
            name: services.bucket.read(prefix + name, limit_bytes=_RECORD_LIMIT_BYTES) for name in sorted(OUR_FILES)
        }
        found = services.registry.version_at(model, key)
        if found is None:
            return
        try:
            for name, record in _records(found.value).items():
                _write(services.bucket, prefix + name, there[name], record)
            return
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise


def _records(version: ModelVersion) -> dict[str, dict[str, Any] | None]:
    """What each of our files says of the version; None: it is not there."""
    facts = _facts(version)
    decision: dict[str, Any] | None = msgspec.to_builtins(version.decision)
    if decision is None:
        waiting = facts | {"waiting_for": version.waiting_for}
        return {DEPLOYMENT_INFO_NAME: waiting, COMPARISON_NAME: None, REJECTION_NAME: None}
    summary = facts | {name: decision[name] for name in ("verdict", "rule", "reasons", "score")}
    if version.is_approved or version.status is Status.AWAITING_APPROVAL:
        return {DEPLOYMENT_INFO_NAME: summary, COMPARISON_NAME: facts | decision, REJECTION_NAME: None}
    served = version.status is not Status.REJECTED  # rejected afterwards, when an earlier version turned up
    return {
        DEPLOYMENT_INFO_NAME: summary if served else None,
        COMPARISON_NAME: None,
        REJECTION_NAME: facts | decision | {"problems": version.problems},
    }


def _facts(version: ModelVersion) -> dict[str, Any]:
    return {
        "model": version.model,
        "version": version.version,
        "digest": version.digest,
        "status": version.status,
        "declared_at": version.declared_at,
        "received_at": version.received_at,
        "fallen": version.fallen,
    }


def put_record(bucket: Bucket, name: str, record: dict[str, Any] | None) -> None:
    """Make the file say ``record``; None: remove it."""
    for attempt in range(_ATTEMPTS):
        try:
            return _write(bucket, name, _look(bucket, name), record)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise


def _look(bucket: Bucket, name: str) -> tuple[BucketObject, bytes] | None:
    """The record that is there; somebody else's large file under our name is not read, only replaced."""
    try:
        return bucket.read(name, limit_bytes=_RECORD_LIMIT_BYTES)
    except TooLarge:
        found = bucket.stat(name)
        return (found, b"") if found else None


def _write(bucket: Bucket, name: str, there: tuple[BucketObject, bytes] | None, record: dict[str, Any] | None) -> None:
    """Write or remove, if the file is still what was ``there``, and only if that makes a difference."""
    if record is None:
        if there is not None:
            bucket.delete(name, if_generation=there[0].generation)
        return
    data = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    if there is None or there[1] != data:
        generation = there[0].generation if there else 0
        bucket.write(name, data, if_generation=generation, content_type="application/json")
