"""Somebody asks for a retraining: only an episode that is open, or a missing target, is a reason not to."""

from modeldrop.domain.retraining.governor import Circumstances, Reason, rule
from modeldrop.errors import Conflict
from modeldrop.handlers.retraining.known_labels import known_labels
from modeldrop.handlers.retraining.open_episode import open_episode
from modeldrop.handlers.rollouts.operators_word import Reply, accepted, refused
from modeldrop.records.outbox import dispatch
from modeldrop.records.retraining import Retraining
from modeldrop.wiring import Services

_ATTEMPTS = 20


def ask_retraining(services: Services, model: str, *, by: str, why: str = "") -> Reply:
    """Open an episode for ``manual``. Asked twice, the second is refused: the first is open."""
    for _ in range(_ATTEMPTS):
        try:
            return _asked(services, model, by, why)
        except Conflict:
            continue
    raise Conflict(f"{model}: lost {_ATTEMPTS} races")


def _asked(services: Services, model: str, by: str, why: str) -> Reply:
    head = services.registry.head(model)
    if head.revision is None:
        return refused(f"there is no model {model}")
    records = Retraining(services.documents)
    slot = records.state(model)
    policy = services.registry.policy(model).value.policy.retrain
    reason = Reason("manual", why or f"asked for by {by}")
    ruling = rule(slot.value, [reason], policy, Circumstances(), services.clock())
    if ruling.opens is None:
        return refused(ruling.declined["manual"])
    opened = open_episode(services, head.value, slot.value, reason, known_labels(services, model), by)
    records.commit_about(slot, opened.state, opened.writes, [dispatch(model, opened.news, services.clock())])
    return accepted(f"{opened.episode.id} is asked for at {opened.episode.target}")
