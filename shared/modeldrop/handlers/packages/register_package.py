"""A package in the bucket becomes a version in the registry, with a decision: the first half of the main job."""

import logging

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.news import News
from modeldrop.domain.packages import PackageLocation
from modeldrop.domain.versions import Entry, ModelVersion, arrives_late
from modeldrop.errors import Conflict, FieldProblem, ModeldropError, PermanentError
from modeldrop.handlers.packages.decision_records import publish_decisions, write_rejection
from modeldrop.handlers.packages.read_package import Package, keep_verified, read_package
from modeldrop.handlers.packages.read_policy_file import policy_in_force
from modeldrop.handlers.quarantine import quarantine_upload
from modeldrop.handlers.rollouts.reconcile import reconcile
from modeldrop.handlers.rollouts.refold import RefoldTooLarge, refold
from modeldrop.records.outbox import Dispatch, dispatch
from modeldrop.records.proposals import APPROVED, Proposals
from modeldrop.records.registry import HistoryEntry, PolicyRecord
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

_REMOVED = FieldProblem("$", "the metadata was removed while the package waited for its artifacts")
_ATTEMPTS = 20  # each lost race means that somebody else's commit went through


def register_package(services: Services, location: PackageLocation) -> str:
    """Look at the package and bring the registry, its records and the endpoint up to date; says what came of it.

    Safe to repeat at any point: facts come from the bucket, the commit is compare-and-set, the rest is derived.
    """
    if location.problems:
        return _quarantine_package(services, location)
    version, refused = _commit(services, location)
    if version is None:
        return "nothing there"
    if refused:
        facts = {"model": version.model, "version": version.version, "digest": version.digest, "status": "rejected"}
        write_rejection(services.bucket, location.prefix, facts, [refused])
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


def _quarantine_package(services: Services, location: PackageLocation) -> str:
    """Its names have no place in the registry; what else is wrong with it is said all the same."""
    problems = list(location.problems)
    try:
        package = _read(services, location)
    except PermanentError as error:
        problems.append(FieldProblem("name", str(error)))
    else:
        if package is None:
            return "nothing there"
        problems = package.version.problems
    return quarantine_upload(services, location.metadata_name, location.prefix, problems)


def _read(services: Services, location: PackageLocation) -> Package | None:
    settings = services.settings
    wait = settings.artifact_wait_seconds
    return read_package(services.bucket, location, services.clock(), wait, keys=settings.signing_keys)


def _commit(services: Services, location: PackageLocation) -> tuple[ModelVersion | None, FieldProblem | None]:
    """Register what is there. The version as registered, or what was refused and why; None: nothing is there.

    Head first, package second: whatever changes the registry after the head was read lets the commit fail, so a slow
    instance never overwrites what a faster one saw later. A lost race is run again from what the winner left.
    """
    policy = policy_in_force(services, location.model)
    for _ in range(_ATTEMPTS):
        head = services.registry.head(location.model)
        old = services.registry.version(location.model, location.version)
        package = _read(services, location)
        if package is None:
            if old is None or not old.value.waiting_for:
                return None, None
            version = msgspec.structs.replace(old.value, waiting_for=[], problems=[_REMOVED])
        else:
            if old is not None and old.value.content_is_final and _is_other_content(old.value, package.version):
                return package.version, _other_content(old.value)
            version = _not_again(services, _merged(package.version, old, head.value, policy))
            if _is_whole(version) and (
                old is None or not _is_whole(old.value) or _identity(old.value) != _identity(version)
            ):
                keep_verified(services.bucket, package)  # before anybody can want to deploy it
        if old is not None and version == old.value:
            return old.value, None
        try:
            return _register(services, head, policy, version, old), None
        except Conflict:
            continue
    raise Conflict(f"{location.model} {location.version}: lost {_ATTEMPTS} races to register it")


def _register(
    services: Services,
    head: Stored[ModelHead],
    policy: PolicyRecord,
    version: ModelVersion,
    old: Stored[ModelVersion] | None,
) -> ModelVersion:
    try:
        folded = refold(services.registry, head.value, policy, version, old)
    except RefoldTooLarge as error:
        folded = refold(services.registry, head.value, policy, msgspec.structs.replace(version, late=str(error)), old)
    names = services.registry.naming(version, old)
    assert isinstance(folded.entry, ModelVersion)
    note = _note(services, folded.entry)
    news = _news(services, folded.entry, old, note)
    services.registry.commit_about(head, _with_waiting(folded.head, version), [*folded.writes, *names], note, news)
    return folded.entry


def _note(services: Services, version: Entry) -> HistoryEntry:
    assert isinstance(version, ModelVersion)
    decision = version.decision
    why = "; ".join(decision.reasons)[:1000] if decision else f"waits for {', '.join(version.waiting_for)}"[:1000]
    return HistoryEntry(services.clock(), decision.verdict if decision else "received", version.version, "upload", why)


def _news(
    services: Services, version: ModelVersion, old: Stored[ModelVersion] | None, note: HistoryEntry
) -> list[Dispatch]:
    """A rejection is told once. One of a proposal that somebody has approved is none: their word comes next."""
    before = old.value.decision if old else None
    if note.what != "rejected" or (before is not None and before.verdict == "rejected"):
        return []
    proposal = Proposals(services.documents).find(version.model, version.version)
    if proposal is not None and proposal.value.status == APPROVED:
        return []
    return [dispatch(version.model, News("rejected", version.version, "rejected", note.why), note.at)]


def _merged(
    seen: ModelVersion, old: Stored[ModelVersion] | None, head: ModelHead, policy: PolicyRecord
) -> ModelVersion:
    """What was registered first stays (order, time of arrival, late or not); what the bucket says now is taken."""
    if old is not None and old.value.digest == seen.digest and not old.value.problems:
        final = old.value.content_is_final
        return msgspec.structs.replace(
            old.value,
            generation=seen.generation,
            problems=[] if final else seen.problems,
            # A package that is no longer right cannot say that it passed: what was seen before stands.
            validation_passed=old.value.validation_passed if final and seen.problems else seen.validation_passed,
            content_digest=old.value.content_digest if final else seen.content_digest,
            signed_by=old.value.signed_by if final else seen.signed_by,
            waiting_for=[] if final else seen.waiting_for,
            wait_until=None if final else seen.wait_until,
        )
    if old is not None and old.value.digest == seen.digest and old.value.problems == seen.problems:
        return old.value
    late_seconds = policy.policy.gate.late_seconds
    if seen.metadata is None or not arrives_late(seen.key, seen.received_at, head.went_live, late_seconds):
        return seen
    return msgspec.structs.replace(
        seen, late=f"it arrived more than {late_seconds:g} s after a newer version went live"
    )


def _not_again(services: Services, version: ModelVersion) -> ModelVersion:
    """Content that fell under another name does not come back by itself."""
    if version.rolled_out or version.fallen or version.problems:
        return version
    entry = services.registry.ledger_entry(version.model, version.digest)
    if entry is None or entry.version == version.version:
        return version
    reason = f"the same content has fallen as {entry.version} ({entry.reason}); only force brings it back"
    return msgspec.structs.replace(version, fallen=reason)


def _with_waiting(head: ModelHead, version: ModelVersion) -> ModelHead:
    others = [name for name in head.waiting if name != version.object_name]
    return msgspec.structs.replace(head, waiting=[*others, version.object_name] if version.waiting_for else others)


def _is_other_content(old: ModelVersion, new: ModelVersion) -> bool:
    """Other metadata, or the same with other artifacts. Packages that are not whole and right do not say which."""
    both_known = bool(old.content_digest and new.content_digest)
    return old.digest != new.digest or (both_known and old.content_digest != new.content_digest)


def _identity(version: ModelVersion) -> tuple[str, str]:
    return version.digest, version.content_digest


def _is_whole(version: ModelVersion) -> bool:
    return version.metadata is not None and not version.waiting_for and not version.problems


def _other_content(version: ModelVersion) -> FieldProblem:
    message = (
        f"{version.version} is registered with other content (digest {version.digest[:12]}…) and stays as it is: "
        "a version never changes; give the new content a new version name"
    )
    return FieldProblem("version", message)
