"""One order: the run of an episode is started, or followed.

Intend → act → observe: that the target is asked is recorded before it is. After a crash, or where an answer was lost,
the target's adapter is told when that was, and finds the run by its episode instead of starting another.
"""

import logging
from datetime import datetime, timedelta
from random import random

import msgspec

from modeldrop.domain.backoff import MOST_ATTEMPTS, next_attempt
from modeldrop.domain.news import News
from modeldrop.domain.retraining.episode import FAILED, REQUESTED, RUNNING, SUCCEEDED, Episode, Run
from modeldrop.domain.targets import Target, describe
from modeldrop.errors import Conflict, ModeldropError, TransientError
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
    target = services.registry.policy(slot.value.model).value.policy.retrain.target
    if target is None or describe(target) != episode.value.target:
        return _fail(work, "the target is no longer in the policy")
    return _start(work, target) if episode.value.status == REQUESTED else _follow(work, target)


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
    work = _asking(work)
    try:
        run = trainer.start(work.episode.value.request, again=order.asked_at)
    except ModeldropError as error:
        return _not_started(work, error)
    return _seen(work, run, "started")


def _not_started(work: Work, error: ModeldropError) -> Outcome:
    attempts = work.order.value.attempts
    if not isinstance(error, TransientError):
        return _fail(work, str(error))
    if attempts >= MOST_ATTEMPTS:
        given_up = _fail(work, f"given up after {attempts} attempts: {error}")
        return Outcome(given_up.says, "fails")
    return _later(work, error)


def _follow(work: Work, target: Target) -> Outcome:
    """Look at the run. A run that cannot be seen is not a bad one: the episode's own time limit ends the looking."""
    episode = work.episode.value
    try:
        run = work.services.trainer(target).observe(episode.request, episode.run)
    except ModeldropError as error:
        return _later(work, error)
    if run is None:
        work.retraining.commit([order_done(work.order)])
        return Outcome("over: the target does not tell", "works")
    return _seen(work, run, "running")


def _asking(work: Work) -> Work:
    """Recorded before the target is asked."""
    asking = msgspec.structs.replace(work.order.value, asked_at=work.services.clock())
    order = _replaced(work.retraining, work.order, asking)
    return msgspec.structs.replace(work, order=order)


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


def _later(work: Work, error: Exception) -> Outcome:
    """Another try, after a pause that grows."""
    attempts = work.order.value.attempts
    log.warning("%s: %s", work.episode.value.id, error)
    at = next_attempt(min(attempts, MOST_ATTEMPTS), work.services.clock(), random())  # noqa: S311 - only spreads the load
    work.retraining.commit([_released(work, attempts=attempts, next_at=at, error=str(error)[:LONGEST_WHY])])
    return Outcome(f"waiting: {error}", "fails")


def _released(work: Work, *, attempts: int, next_at: datetime, error: str) -> Write:
    order = work.order.value
    return work.order.write(
        msgspec.structs.replace(order, attempts=attempts, next_at=next_at, claimed_until=None, error=error)
    )


def _fail(work: Work, why: str, run: Run | None = None) -> Outcome:
    """The episode has failed: with it, the model may have another one, and people are told.

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
        without_gain, open_ = slot.value.without_gain + 1, slot.value.open
        state = msgspec.structs.replace(
            slot.value, open=None if open_ == before.id else open_, without_gain=without_gain
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
