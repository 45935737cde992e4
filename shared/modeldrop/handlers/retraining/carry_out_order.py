"""One order: the run of an episode is started, or followed.

Intend → act → observe: that the target is asked is recorded before it is. After a crash, or where an answer was lost,
the target's adapter is told when that was, and finds the run by its episode instead of starting another.
"""

import logging
from datetime import datetime, timedelta
from random import random
from typing import Any

import msgspec

from modeldrop.domain.backoff import MOST_ATTEMPTS, MOST_REFUSALS, next_attempt
from modeldrop.domain.news import News
from modeldrop.domain.retraining.episode import FAILED, REQUESTED, RUNNING, SUCCEEDED, Episode, Run
from modeldrop.domain.targets import Target, describe
from modeldrop.errors import Conflict, ModeldropError, NotAsked, TransientError
from modeldrop.handlers.outbox import lanes
from modeldrop.ports import Write
from modeldrop.records.outbox import dispatch
from modeldrop.records.retraining import Order, Retraining, order_done
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

CLAIM = timedelta(seconds=120)
LOOK_SECONDS = 60.0
"""Between two looks at a run, at most; where ticks come sooner, as often as they do."""
LONGEST_WHY = 1000
_RACES = 10


class Work(msgspec.Struct, frozen=True):
    """An order that is ours until its claim ends, and its episode as it was read before."""

    services: Services
    retraining: Retraining
    order: Stored[Order]
    episode: Stored[Episode]


class Outcome(msgspec.Struct, frozen=True):
    """What came of an order, in a few words, and what that says of its target."""

    says: str
    target: lanes.Outcome = "unknown"


def carry_out_order(services: Services, slot: Stored[Order]) -> Outcome:
    """Do what is due. Raises Conflict where somebody else was faster: then it is theirs."""
    retraining = Retraining(services.documents)
    episode = retraining.episode(slot.value.model, slot.value.number)
    if episode is None or episode.value.status not in {REQUESTED, RUNNING}:
        retraining.commit([order_done(slot)])
        return Outcome("over")
    # Attempts are counted before they are made: one that ends the process is one, too.
    claimed_until, attempts = services.clock() + CLAIM, slot.value.attempts + 1
    claim = msgspec.structs.replace(slot.value, claimed_until=claimed_until, attempts=attempts)
    work = Work(services, retraining, _replaced(retraining, slot, claim), episode)
    target = _target(work)
    if target is None:
        return _fail(work, "the target is no longer in the policy")
    return _start(work, target) if episode.value.status == REQUESTED else _follow(work, target)


def _target(work: Work) -> Target | None:
    """As the policy says now (a secret may have another name by now); else the one that was asked. None: none was."""
    policy = work.services.registry.policy(work.order.value.model).value.policy
    target = policy.retrain.target
    is_same = target is not None and describe(target) == work.episode.value.target
    return target if is_same else work.order.value.asked


def _start(work: Work, target: Target) -> Outcome:
    """Ask for the run. What may work later is tried again, with longer and longer pauses, and then given up."""
    order = work.order.value
    if work.services.clock() >= work.episode.value.until:
        return _fail(work, f"the target did not take it in time: {order.error or 'it was not asked'}")
    if order.attempts > MOST_ATTEMPTS:
        return _fail(work, f"none of {MOST_ATTEMPTS} attempts came to an end: {order.error or 'they crashed'}")
    try:
        trainer = work.services.trainer(target)
    except ModeldropError as error:
        return _not_started(work, error)
    work = _asking(work, target)
    try:
        run = trainer.start(work.episode.value.request, again=order.asked_at)
    except ModeldropError as error:
        if isinstance(error, NotAsked) or not isinstance(error, TransientError):
            # Nothing came of it: what is looked for is the run of the time before, and how long ago that was counts.
            work = _changed(work, asked_at=order.asked_at, asked=order.asked)
        return _not_started(work, error)
    since = order.asked_at or work.order.value.asked_at  # it may have been the time before that it was taken
    accepted = msgspec.structs.replace(work.episode.value, accepted_at=since)
    episode = msgspec.structs.replace(work.episode, value=accepted)
    return _seen(msgspec.structs.replace(work, episode=episode), run, "started")


def _not_started(work: Work, error: ModeldropError) -> Outcome:
    attempts, refusals = work.order.value.attempts, work.order.value.refusals + 1
    if isinstance(error, NotAsked):  # no attempt, and nothing against the target: what else it is asked need not wait
        return _later(_changed(work, attempts=attempts - 1), error, "unknown")
    if not isinstance(error, TransientError):
        if refusals >= MOST_REFUSALS:
            return _fail(work, f"refused {refusals} times: {error}")
        return _later(_changed(work, refusals=refusals), error, "unknown")
    if attempts >= MOST_ATTEMPTS:
        given_up = _fail(work, f"given up after {attempts} attempts: {error}")
        return Outcome(given_up.says, "fails")
    return _later(work, error, "fails")


def _follow(work: Work, target: Target) -> Outcome:
    """Look at the run. A run that cannot be seen is not a bad one: the episode's own time limit ends the looking."""
    episode = work.episode.value
    try:
        run = work.services.trainer(target).observe(episode.request, episode.run)
    except ModeldropError as error:
        return _later(work, error, "fails")
    if run is None:
        work.retraining.commit([order_done(work.order)])
        return Outcome("over: the target does not tell", "works")
    return _seen(work, run, "running")


def _asking(work: Work, target: Target) -> Work:
    """Recorded before the target is asked."""
    asking = msgspec.structs.replace(work.order.value, asked_at=work.services.clock(), asked=target)
    order = _replaced(work.retraining, work.order, asking)
    return msgspec.structs.replace(work, order=order)


def _changed(work: Work, **changes: Any) -> Work:
    """The same with another order; it is stored with the outcome."""
    order = msgspec.structs.replace(work.order.value, **changes)
    return msgspec.structs.replace(work, order=msgspec.structs.replace(work.order, value=order))


def _seen(work: Work, seen: Run, otherwise: str) -> Outcome:
    """The episode stands as its run does; a run that goes on is looked at again."""
    before = work.episode.value
    run = msgspec.structs.replace(seen, id=seen.id or before.run.id, url=seen.url or before.run.url)
    if run.state == "failed":
        return _fail(work, run.why or "the run failed", run)
    if run.state == "succeeded":
        succeeded = msgspec.structs.replace(before, status=SUCCEEDED, run=run)
        work.retraining.commit([work.episode.write(succeeded), order_done(work.order)])
        return Outcome("succeeded", "works")
    pause = timedelta(seconds=min(LOOK_SECONDS, work.services.settings.outbox_tick_seconds))
    order = _released(work, attempts=0, next_at=work.services.clock() + pause, error="")
    running = msgspec.structs.replace(before, status=RUNNING, run=run)
    moved = [work.episode.write(running)] if running != before else []
    work.retraining.commit([order, *moved])
    return Outcome(otherwise, "works")


def _later(work: Work, error: Exception, target: lanes.Outcome) -> Outcome:
    """Another try, after a pause that grows."""
    attempts = work.order.value.attempts
    log.warning("%s: %s", work.episode.value.id, error)
    at = next_attempt(min(attempts, MOST_ATTEMPTS), work.services.clock(), random())  # noqa: S311 - only spreads the load
    work.retraining.commit([_released(work, attempts=attempts, next_at=at, error=str(error)[:LONGEST_WHY])])
    return Outcome(f"waiting: {error}", target)


def _released(work: Work, *, attempts: int, next_at: datetime, error: str) -> Write:
    order = work.order.value
    return work.order.write(
        msgspec.structs.replace(order, attempts=attempts, next_at=next_at, claimed_until=None, error=error)
    )


def _fail(work: Work, why: str, run: Run | None = None) -> Outcome:
    """The episode has failed: with it, the model may have another one, and people are told.

    One that no target took says nothing of what a retraining would have brought: it does not count as without gain.
    The model's state changes for other reasons, too; that alone is no reason to ask the target once more.
    """
    now, before = work.services.clock(), work.episode.value
    failed = msgspec.structs.replace(
        before, status=FAILED, run=run or before.run, ended_at=now, gain=False, outcome=why[:LONGEST_WHY]
    )
    news = News("retraining", before.request.version or "", "retraining failed", f"{failed.outcome} ({before.id})")
    writes = [work.episode.write(failed), order_done(work.order)]
    for races_left in reversed(range(_RACES)):
        slot = work.retraining.state(before.request.model)
        without_gain, open_ = slot.value.without_gain + (before.accepted_at is not None), slot.value.open
        state = msgspec.structs.replace(
            slot.value,
            open=None if open_ == before.id else open_,
            without_gain=without_gain,
            without_version=before.id,
        )
        try:
            work.retraining.commit_about(slot, state, writes, [dispatch(before.request.model, news, now)])
            break
        except Conflict:
            if not races_left:
                raise
    return Outcome(f"failed: {failed.outcome}")


def _replaced(retraining: Retraining, slot: Stored[Order], order: Order) -> Stored[Order]:
    """The order as it is stored now; raises Conflict if somebody else's is."""
    retraining.commit([slot.write(order)])
    stored = retraining.order(slot.path)
    if stored is None or stored.value != order:
        raise Conflict(f"{slot.path} was taken over")
    return stored
