"""One transition of a rollout, committed together with everything it means for the version and the model."""

from datetime import datetime, timedelta

import msgspec

from modeldrop.domain.model_head import ModelHead, Retired, Serving
from modeldrop.domain.news import News
from modeldrop.domain.rollout import FINAL, Kind, Phase, Rollout, Signal, move
from modeldrop.domain.rollout_plan import Move
from modeldrop.domain.versions import Command, Entry, ModelVersion, Status, WentLive, settled_status, with_live
from modeldrop.handlers.rollouts.refold import Refolded, refold
from modeldrop.ports import Write
from modeldrop.records.outbox import dispatch
from modeldrop.records.registry import HistoryEntry, LedgerEntry, Served
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

LONGEST_DEPLOYMENT_SECONDS = 7_800  # Vertex AI gives up after two hours


def advance(services: Services, head: Stored[ModelHead], slot: Stored[Rollout], step: Move) -> None:
    """Commit the transition; raises Conflict if the model or the rollout changed since they were read."""
    now = services.clock()
    rollout = move(slot.value, step.signal, step.reason, now)
    writes: list[Write] = [slot.write(rollout)]
    new_head = head.value
    if rollout.phase in FINAL:
        new_head = _closed(new_head, slot.value, step.signal, now)
    if rollout.phase is Phase.LIVE:
        new_head, more = _went_live(services, new_head, rollout)
    elif rollout.phase in {Phase.FAILED, Phase.ROLLED_BACK}:
        new_head, more = _failed(services, new_head, rollout)
    elif rollout.phase is Phase.SUPERSEDED:
        serves = rollout.kind is Kind.REPAIR  # it is in production all the same
        new_head, more = with_status(services, new_head, rollout.key, Status.LIVE if serves else None)
    elif rollout.phase is Phase.BAKING and rollout.stable is not None:
        new_head, more = with_status(services, new_head, rollout.key, Status.CANARY)
    else:
        more = []
    note = HistoryEntry(now, rollout.phase.value, rollout.version, f"rollout {rollout.id}", step.reason[:1000])
    recalled = head.value.recalled is not None and head.value.recalled.key == rollout.key
    news = [] if recalled else [dispatch(rollout.model, item, now) for item in _news(rollout)]  # that is told of
    services.registry.commit_about(head, new_head, [*writes, *more], note, news)


def _news(rollout: Rollout) -> list[News]:
    """What somebody may want to hear of the transition."""
    if rollout.phase is Phase.LIVE:
        why = rollout.wanted_why or rollout.reason
        told = {
            Kind.ROLLOUT: News("promoted", rollout.version, "live", why),
            Kind.ROLLBACK: News("rolled_back", rollout.version, "live again", why),
            Kind.REPAIR: News("unhealthy", rollout.version, "put back", rollout.reason, resolved=True),
        }
        return [told[rollout.kind]]
    if rollout.phase in {Phase.FAILED, Phase.ROLLED_BACK}:
        return [News("rolled_back", rollout.version, rollout.phase.value.replace("_", " "), rollout.reason)]
    return []


def _closed(head: ModelHead, rollout: Rollout, signal: Signal, now: datetime) -> ModelHead:
    """No rollout is under way any more. One that ends while its version is being deployed leaves that to be cleared."""
    head = msgspec.structs.replace(head, rollout=None, untidy=True, recalled=None)
    if rollout.phase is not Phase.DEPLOYING or signal is Signal.REFUSED:
        return head
    if rollout.operation is not None:
        return msgspec.structs.replace(head, retiring=Retired(rollout.version, rollout.operation))
    # It may have been asked for by an instance that died, or whose answer was lost.
    return msgspec.structs.replace(head, untidy_until=now + timedelta(seconds=LONGEST_DEPLOYMENT_SECONDS))


def _went_live(services: Services, head: ModelHead, rollout: Rollout) -> tuple[ModelHead, list[Write]]:
    assert rollout.phase_since is not None
    if rollout.kind is Kind.REPAIR:
        return head, []
    since = rollout.phase_since
    former = head.production
    predecessor = head.previous if former is None or former.fallen or former.key == rollout.key else former
    head = msgspec.structs.replace(
        head,
        production=Serving(rollout.version, rollout.key, since),
        previous=predecessor if predecessor and predecessor.key != rollout.key else None,
        went_live=with_live(head.went_live, WentLive(rollout.key, since)),
    )
    head, writes = with_status(services, head, rollout.key, Status.LIVE)
    path = services.registry.served_path(rollout.model, since, rollout.id)
    served = Served(rollout.version, rollout.digest, since, rollout.wanted_by, rollout.wanted_why, rollout.id)
    writes.append(Stored(path, served).write(served))
    if former is not None and former.key != rollout.key:
        head, more = with_status(services, head, former.key, None)
        writes += more
    return head, writes


def _failed(services: Services, head: ModelHead, rollout: Rollout) -> tuple[ModelHead, list[Write]]:
    """The version falls: the fold runs again without it, so that it is neither desired nor a yardstick."""
    found = services.registry.version_at(rollout.model, rollout.key)
    if found is None:
        return head, []
    fallen = fallen_version(found.value, rollout.reason, rolled_back=rollout.phase is Phase.ROLLED_BACK)
    folded = without_fallen(services, head, found, fallen)
    return folded.head, [*folded.writes, *ledger_writes(services, found.value, rollout.reason)]


def fallen_version(version: ModelVersion, reason: str, *, rolled_back: bool) -> ModelVersion:
    """The version as one that may not serve any more; who had it fall first has said why."""
    fallen = msgspec.structs.replace(version, fallen=version.fallen or reason, rolled_back=rolled_back)
    return msgspec.structs.replace(fallen, status=settled_status(fallen))


def without_fallen(
    services: Services,
    head: ModelHead,
    found: Stored[ModelVersion],
    fallen: ModelVersion,
    command: Command | None = None,
) -> Refolded:
    """The fold without the version, and without the commands that made it champion; ``command`` comes last."""
    policy = services.registry.policy(head.model).value
    # Whoever made it champion by his word did so before it fell.
    entries = services.registry.entries_after(head.model, fallen.key)
    commands = [entry.value for entry in entries if isinstance(entry.value, Command)]
    mine = [c for c in commands if c.version == fallen.version]
    later: dict[str, Entry] = {c.key: msgspec.structs.replace(c, void=fallen.fallen) for c in mine}
    if command is not None:
        later[command.key] = command
    return refold(services.registry, head, policy, fallen, found, later)


def ledger_writes(services: Services, version: ModelVersion, reason: str) -> list[Write]:
    """The write that keeps the content out from now on; none if it is kept out already."""
    if services.registry.ledger_entry(version.model, version.digest) is not None:
        return []
    entry = LedgerEntry(version.version, reason)
    return [Stored(services.registry.ledger_path(version.model, version.digest), entry).write(entry)]


def with_status(services: Services, head: ModelHead, key: str, status: Status | None) -> tuple[ModelHead, list[Write]]:
    """The write that gives a version its status (None: the one of a version that has no part in serving)."""
    found = services.registry.version_at(head.model, key)
    if found is None:
        return head, []
    new: ModelVersion = msgspec.structs.replace(found.value, status=status or settled_status(found.value))
    if new == found.value:
        return head, []
    unpublished = list(dict.fromkeys([*head.unpublished, key]))
    return msgspec.structs.replace(head, unpublished=unpublished), [found.write(new)]
