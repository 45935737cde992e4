"""A package in the bucket becomes a version in the registry, with a decision: the first half of the main job."""

import hashlib
import logging

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.packages import PackageLocation
from modeldrop.domain.versions import ModelVersion, arrives_late
from modeldrop.errors import Conflict, FieldProblem, InvalidInput, ModeldropError
from modeldrop.handlers.decision_records import publish_decisions, write_rejection
from modeldrop.handlers.read_package import Package, keep_verified, read_package
from modeldrop.handlers.read_policy_file import policy_in_force
from modeldrop.handlers.reconcile import reconcile
from modeldrop.handlers.refold import refold
from modeldrop.records.registry import PolicyRecord, Quarantined
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

_ATTEMPTS = 20  # each lost race means that somebody else's commit went through


def register_package(services: Services, location: PackageLocation) -> str:
    """Look at the package and bring the registry, its records and the endpoint up to date; says what came of it.

    Safe to repeat at any point: facts come from the bucket, the commit is compare-and-set, the rest is derived.
    """
    now = services.clock()
    try:
        package = read_package(services.bucket, location, now, services.settings.artifact_wait_seconds)
    except InvalidInput as error:
        return quarantine_upload(services, location.metadata_name, None, list(error.problems))
    if package is None:
        return "nothing there"
    if location.problems:
        return quarantine_upload(services, location.metadata_name, location, package.version.problems)
    policy = policy_in_force(services, location.model)
    version, refused = _commit(services, package, policy)
    if refused:
        write_rejection(services.bucket, location.prefix, _upload_facts(package.version), [refused])
        return "refused"
    follow_up(services, location.model)
    return str(version.status)


def follow_up(services: Services, model: str) -> None:
    """What a decision leads to. If it cannot be done now, the next tick does it: the registry says what is due."""
    for due in (reconcile, publish_decisions):
        try:
            due(services, model)
        except ModeldropError as error:
            log.warning("%s: %s is left to the next tick: %s", model, due.__name__, error)


def quarantine_upload(
    services: Services, object_name: str, location: PackageLocation | None, problems: list[FieldProblem]
) -> str:
    """Record what has no place in the registry; beside it ``rejection.json``, where a file may lie there."""
    digest = hashlib.sha256(object_name.encode("utf-8", "backslashreplace")).hexdigest()
    old = services.registry.quarantined(digest)
    if old is None or old.value.problems != problems:
        record = Quarantined(object_name.encode("utf-8", "backslashreplace").decode(), problems, services.clock())
        slot = old or Stored(services.registry.quarantine_path(digest), record)
        services.registry.commit([slot.write(record)])
    log.warning("quarantined %r: %s", object_name, "; ".join(map(str, problems)))
    if location is not None:
        write_rejection(services.bucket, location.prefix, {"object": object_name, "status": "rejected"}, problems)
    return "quarantined"


def _commit(services: Services, package: Package, policy: PolicyRecord) -> tuple[ModelVersion, FieldProblem | None]:
    """Register what was seen. A lost race is run again from what the winner left."""
    seen = package.version
    for _ in range(_ATTEMPTS):
        head = services.registry.head(seen.model)
        old = services.registry.version(seen.model, seen.version)
        if old is not None and old.value.digest != seen.digest and old.value.content_is_final:
            return old.value, _other_content(old.value)
        version = _merged(seen, old, head.value, policy)
        if old is not None and version == old.value:
            return old.value, None
        if version.metadata is not None and (old is None or old.value.digest != version.digest):
            keep_verified(services.bucket, package)  # before anybody can want to deploy it
        folded = refold(services.registry, head.value, policy, version, old)
        new_head = _with_waiting(folded.head, version)
        names = services.registry.naming(version, old)
        try:
            services.registry.commit_about(head, new_head, [*folded.writes, *names])
            return folded.version, None
        except Conflict:
            continue
    raise Conflict(f"{seen.model} {seen.version}: lost {_ATTEMPTS} races to register it")


def _merged(
    seen: ModelVersion, old: Stored[ModelVersion] | None, head: ModelHead, policy: PolicyRecord
) -> ModelVersion:
    """What was registered first stays (order, time of arrival, late or not); what the bucket says now is taken."""
    if old is not None and old.value.digest == seen.digest and not old.value.problems:
        return msgspec.structs.replace(
            old.value,
            problems=[] if old.value.content_is_final else seen.problems,
            validation_passed=seen.validation_passed,
            waiting_for=[] if old.value.content_is_final else seen.waiting_for,
            wait_until=None if old.value.content_is_final else seen.wait_until,
        )
    if old is not None and old.value.digest == seen.digest and old.value.problems == seen.problems:
        return old.value
    late = seen.metadata is not None and arrives_late(
        seen.key, seen.received_at, head.went_live, policy.policy.gate.late_seconds
    )
    return msgspec.structs.replace(seen, late=late)


def _with_waiting(head: ModelHead, version: ModelVersion) -> ModelHead:
    others = [name for name in head.waiting if name != version.object_name]
    return msgspec.structs.replace(head, waiting=[*others, version.object_name] if version.waiting_for else others)


def _other_content(version: ModelVersion) -> FieldProblem:
    message = (
        f"{version.version} is registered with other content (digest {version.digest[:12]}…) and stays as it is: "
        "a version never changes; give the new content a new version name"
    )
    return FieldProblem("version", message)


def _upload_facts(seen: ModelVersion) -> dict[str, object]:
    return {"model": seen.model, "version": seen.version, "digest": seen.digest, "status": "rejected"}
