"""A rollout begins: the version that is to serve, on whose word, and who serves meanwhile."""

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.rollout import Kind, Rollout, open_at_once, open_rollout
from modeldrop.domain.rollout_plan import is_deployed
from modeldrop.domain.versions import ModelVersion, Status
from modeldrop.errors import Conflict
from modeldrop.ports import Endpoint
from modeldrop.records.registry import HistoryEntry
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services


def open_desired(services: Services, head: Stored[ModelHead]) -> bool:
    """Open the rollout of the desired champion; at once where a rollback brings it back."""
    assert head.value.desired_key is not None
    kind = Kind.ROLLBACK if head.value.back_to == head.value.desired_key else Kind.ROLLOUT
    return _open(services, head, head.value.desired_key, kind)


def open_repair(services: Services, head: Stored[ModelHead], why: str) -> bool:
    """Bring what is in production back to where it was, behind the endpoint with all traffic."""
    assert head.value.production is not None
    note = HistoryEntry(services.clock(), "repair", head.value.production.version, "modeldrop", why[:1000])
    return _open(services, head, head.value.production.key, Kind.REPAIR, note)


def _open(services: Services, head: Stored[ModelHead], key: str, kind: Kind, note: HistoryEntry | None = None) -> bool:
    model = head.value.model
    version = services.registry.version_at(model, key)
    if version is None:
        raise Conflict(f"{model} {key} is just being registered anew")
    rollout = _new_rollout(services, head.value, version.value, kind)
    new_head = msgspec.structs.replace(
        head.value,
        rollout=rollout.id,
        rollouts=head.value.rollouts + 1,
        paused=None,
        recalled=None,
        back_to=None,
        went_back_to=None if kind is Kind.ROLLOUT else head.value.went_back_to,
        unpublished=list(dict.fromkeys([*head.value.unpublished, key])),
    )
    if kind is Kind.ROLLOUT:
        policy = services.registry.policy(model).value.policy.rollout
        new_head = msgspec.structs.replace(new_head, keep_warm_seconds=policy.keep_warm_seconds)
    status = version.value.status if kind is Kind.REPAIR else Status.DEPLOYING
    writes = [
        Stored(services.registry.rollout_path(model, rollout.id), rollout).write(rollout),
        version.write(msgspec.structs.replace(version.value, status=status, rolled_out=True)),
    ]
    services.registry.commit_about(head, new_head, writes, note)
    return True


def _new_rollout(services: Services, head: ModelHead, version: ModelVersion, kind: Kind) -> Rollout:
    endpoint = services.model_server.observe(head.model)
    by, why = _by_whose_word(head, version)
    rollout = open_rollout(
        f"{head.rollouts + 1:06d}-{version.version}",
        (version.model, version.version, version.key, version.digest),
        _stable(head, endpoint),
        services.registry.policy(head.model).value.policy.rollout,
        services.clock(),
    )
    if kind is not Kind.ROLLOUT:
        rollout = open_at_once(rollout, kind, is_deployed(version.version, endpoint))
    return msgspec.structs.replace(rollout, wanted_by=by, wanted_why=why)


def _by_whose_word(head: ModelHead, version: ModelVersion) -> tuple[str, str]:
    """Who made the version champion, and why. What the gate says of it tells why, unless it was not asked."""
    champion, decision = head.last_standing.champion, version.decision
    by = champion.by if champion else "gate"
    if decision is None or decision.verdict != "approved":
        return by, f"promoted by {by}; the gate had it {decision.verdict if decision else 'unjudged'}"
    return by, "; ".join(decision.reasons)[:1000]


def _stable(head: ModelHead, endpoint: Endpoint | None) -> str | None:
    """Who serves meanwhile: production; where it does not, or nothing ever went live, whoever has all the traffic."""
    traffic = endpoint.traffic if endpoint else {}
    alone = next((version for version, percent in traffic.items() if percent == 100), None)
    if head.production is not None and head.production.fallen:
        return None
    if head.production is not None and is_deployed(head.production.version, endpoint) and alone != head.desired:
        return head.production.version if alone is None else alone
    return None if alone == head.desired else alone
