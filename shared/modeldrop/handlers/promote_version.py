"""An operator makes a version the champion: with the gate's consent, or by force."""

import msgspec

from modeldrop.domain.champion import step
from modeldrop.domain.gate import beyond_force
from modeldrop.domain.policy import Policy
from modeldrop.domain.versions import Command, Contender, ModelVersion, Standing, order_key
from modeldrop.errors import Conflict
from modeldrop.handlers.refold import refold
from modeldrop.handlers.register_package import follow_up
from modeldrop.records.registry import HistoryEntry
from modeldrop.wiring import Services

_ATTEMPTS = 20
UPLOADER = "created_by"  # in labels or lineage


class Reply(msgspec.Struct, frozen=True):
    """What came of a command: ``accepted`` or ``refused``, and why."""

    status: str
    reason: str


def promote_version(services: Services, model: str, version: str, *, force: bool, by: str) -> Reply:
    """Make ``version`` the champion from now on. Without ``force`` the gate must let it pass against the present one.

    The command takes its place in the order of versions, by the time it was given: what is declared later must beat
    this version; what was declared before does not undo it. Given twice, it is carried out once.
    """
    for _ in range(_ATTEMPTS):
        try:
            reply = _promote(services, model, version, force=force, by=by)
        except Conflict:
            continue
        follow_up(services, model)
        return reply
    raise Conflict(f"{model}: lost {_ATTEMPTS} races to promote {version}")


def _promote(services: Services, model: str, version: str, *, force: bool, by: str) -> Reply:
    head = services.registry.head(model)
    found = services.registry.version(model, version)
    if found is None:
        return Reply("refused", f"{model} has no version {version}")
    if head.value.desired == version:
        return Reply("accepted", f"{version} is the desired champion already")
    impossible = _impossible(found.value)
    if impossible:
        return Reply("refused", impossible)
    policy = services.registry.policy(model).value
    if force:
        forbidden = _forbidden(found.value, policy.policy, by)
        if forbidden:
            return Reply("refused", forbidden)
    else:
        objection = _objection(found.value, head.value.last_standing, policy.policy, policy.digest)
        if objection:
            return Reply("refused", objection)
    now = services.clock()
    assert found.value.metadata is not None
    command = Command(
        model=model,
        key=order_key(now, f"!{head.value.changes:010d}"),
        version=version,
        by=by,
        at=now,
        forced=force,
        champion=Contender(version, found.value.key, found.value.metadata.metrics, by),
    )
    folded = refold(services.registry, head.value, policy, command, None)
    why = "by force: the gate was not asked" if force else "the gate let it pass"
    note = HistoryEntry(now, "promoted", version, by, why)
    services.registry.commit_about(head, folded.head, folded.writes, note)
    return Reply("accepted", why)


def _impossible(version: ModelVersion) -> str | None:
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
