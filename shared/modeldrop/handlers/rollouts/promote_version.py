"""An operator makes a version the champion: with the gate's consent, or by force."""

from datetime import datetime, timedelta
from functools import partial

import msgspec

from modeldrop.domain.champion import step
from modeldrop.domain.gate import beyond_force
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.policy import Policy
from modeldrop.domain.versions import Command, Contender, ModelVersion, Standing, order_key
from modeldrop.handlers.rollouts.operators_word import Reply, accepted, carry_out, refused
from modeldrop.handlers.rollouts.refold import refold
from modeldrop.records.registry import HistoryEntry
from modeldrop.wiring import Services

UPLOADER = "created_by"  # in labels or lineage


def promote_version(services: Services, model: str, version: str, *, force: bool, by: str) -> Reply:
    """Make ``version`` the champion from now on. Without ``force`` the gate must let it pass against the present one.

    The command takes its place in the order of versions, by the time it was given, and beyond all that are known: what
    is declared later must beat this version; what was declared before does not undo it. Given twice, it is carried
    out once.
    """
    return carry_out(services, model, partial(_promote, services, model, version, force=force, by=by))


def _promote(services: Services, model: str, version: str, *, force: bool, by: str) -> Reply:
    head = services.registry.head(model)
    found = services.registry.version(model, version)
    if found is None:
        return refused(f"{model} has no version {version}")
    if head.value.desired == version:
        return accepted(f"{version} is the desired champion already")
    wrong = impossible(found.value)
    if wrong:
        return refused(wrong)
    policy = services.registry.policy(model).value
    if force:
        forbidden = _forbidden(found.value, policy.policy, by)
        if forbidden:
            return refused(forbidden)
    else:
        objection = _objection(found.value, head.value.last_standing, policy.policy, policy.digest)
        if objection:
            return refused(objection)
    now = services.clock()
    command = command_for(found.value, head.value, now, by=by, forced=force)
    folded = refold(services.registry, head.value, policy, command, None)
    why = "by force: the gate was not asked" if force else "the gate let it pass"
    note = HistoryEntry(now, "promoted", version, by, why)
    services.registry.commit_about(head, folded.head, folded.writes, note)
    paused = "; the model is paused: it begins when somebody resumes it" if head.value.paused else ""
    return accepted(why + paused)


def command_for(version: ModelVersion, head: ModelHead, now: datetime, *, by: str, forced: bool) -> Command:
    """The command that makes ``version`` champion, at its place in the order; ``changes`` of the head tell it apart.

    It comes after every entry, also a version that was declared in the future: else it would say yes and do nothing.
    """
    assert version.metadata is not None
    at = now
    if head.last_key:
        at = max(now, datetime.fromisoformat(head.last_key.split("~")[0]) + timedelta(microseconds=1))
    changes = head.changes
    champion = Contender(version.version, version.key, version.metadata.metrics, by)
    key = order_key(at, f"!{changes:010d}")
    return Command(version.model, key, version.version, by=by, at=at, forced=forced, champion=champion)


def impossible(version: ModelVersion) -> str | None:
    """What not even force can do."""
    if version.metadata is None or version.problems:
        return f"{version.version} is no valid package: {'; '.join(map(str, version.problems))}"
    if version.waiting_for:
        return f"{version.version} waits for {', '.join(version.waiting_for)}"
    return None


def _forbidden(version: ModelVersion, policy: Policy, by: str) -> str | None:
    """What force cannot override: signatures, LLMs that are gone, and a second pair of eyes."""
    reasons = beyond_force(version, policy.gate)
    if policy.gate.approval == "manual" and by == uploader(version):
        reasons.append(f"{by} made the package: somebody else must promote it")
    return "; ".join(reasons) or None


def uploader(version: ModelVersion) -> str | None:
    """Who made the package, where its labels or lineage say so (``created_by``)."""
    if version.metadata is None:
        return None
    return version.metadata.labels.get(UPLOADER) or version.metadata.lineage.get(UPLOADER)


def _objection(version: ModelVersion, standing: Standing, policy: Policy, digest: str | None) -> str | None:
    if version.fallen:
        return f"{version.version} has fallen ({version.fallen}); only force brings it back"
    judged = step(msgspec.structs.replace(version, late=None), standing, policy.gate, digest)[1].decision
    assert judged is not None
    return None if judged.verdict == "approved" else "; ".join(judged.reasons)
