"""A rollout goes no further by itself: it is held, or its model paused, and somebody is told."""

import msgspec

from modeldrop.domain.model_head import ModelHead, Paused
from modeldrop.domain.news import News
from modeldrop.domain.rollout import Cause, Entry, Held, Rollout
from modeldrop.domain.rollout_plan import Hold
from modeldrop.domain.versions import Status
from modeldrop.handlers.rollouts.advance_rollout import with_status
from modeldrop.ports import Write
from modeldrop.records.outbox import dispatch
from modeldrop.records.registry import HistoryEntry
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services


def hold(services: Services, head: Stored[ModelHead], slot: Stored[Rollout], step: Hold) -> None:
    """The step does not end before somebody approves it, resumes, rolls back, or a newer version takes over."""
    now = services.clock()
    held = msgspec.structs.replace(slot.value, held=Held(step.cause, step.why, now))
    what = "halted" if step.cause is Cause.NOTHING_HEALTHY else "held"
    _halt(services, head, (slot, _noted(held, step.why, services)), what, step.why)


def pause_out_of_band(services: Services, head: Stored[ModelHead], slot: Stored[Rollout] | None, why: str) -> None:
    """Somebody else changed traffic or deployments: that is never fought in silence."""
    paused = Paused("modeldrop", why, services.clock(), out_of_band=True)
    new = Stored(head.path, msgspec.structs.replace(head.value, paused=paused), head.revision)
    noted = (slot, _noted(slot.value, why, services)) if slot else None
    _halt(services, head, noted, "paused", why, new.value)


def _noted(rollout: Rollout, why: str, services: Services) -> Rollout:
    percent = rollout.entries[-1].percent if rollout.entries else 0
    entry = Entry(services.clock(), rollout.phase, percent, why)
    return msgspec.structs.replace(rollout, entries=[*rollout.entries, entry])


def _halt(
    services: Services,
    head: Stored[ModelHead],
    changed: tuple[Stored[Rollout], Rollout] | None,
    what: str,
    why: str,
    new_head: ModelHead | None = None,
) -> None:
    new_head = new_head or head.value
    writes: list[Write] = []
    version = head.value.production.version if head.value.production else ""
    if changed is not None:
        slot, rollout = changed
        version = rollout.version
        new_head, writes = with_status(services, new_head, rollout.key, Status.PAUSED)
        writes.append(slot.write(rollout))
    now = services.clock()
    note = HistoryEntry(now, what, version, "modeldrop", why[:1000])
    news = dispatch(head.value.model, News("unhealthy", version, what, why), now)
    services.registry.commit_about(head, new_head, writes, note, [news])
