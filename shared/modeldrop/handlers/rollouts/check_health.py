"""One look at the version that serves: is it where it belongs, does it answer, are its figures good enough?"""

from datetime import datetime, timedelta

import msgspec

from modeldrop.domain.analysis import Verdict, health_limits
from modeldrop.domain.health import (
    HEALTHY,
    UNHEALTHY,
    UNKNOWN,
    Look,
    look_at,
    missing,
    status_of,
    unmeasured,
    window_start,
)
from modeldrop.domain.model_head import ModelHead, Serving, version_to_retire
from modeldrop.domain.news import News
from modeldrop.domain.policy import Policy
from modeldrop.domain.rollout_plan import is_deployed
from modeldrop.domain.serving_metrics import VersionMetrics
from modeldrop.errors import ModeldropError
from modeldrop.handlers.rollouts.halt_rollout import pause_out_of_band
from modeldrop.handlers.rollouts.open_rollout import open_repair
from modeldrop.handlers.rollouts.roll_back import roll_back
from modeldrop.handlers.rollouts.tidy_endpoint import is_of_our_making
from modeldrop.ports import Endpoint
from modeldrop.records.health import HealthRecord
from modeldrop.records.outbox import dispatch, health_dispatch
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services


def check_health(services: Services, model: str) -> None:
    """Look, record what changed, and act: pause or repair, or roll back a version that fails while it is on watch."""
    head = services.registry.head(model)
    production = head.value.production
    endpoint = services.model_server.observe(model)
    edited = _is_settled(head.value) and not _is_as_it_should_be(production, endpoint)
    if edited:
        _out_of_band(services, head, endpoint)
    elif _has_left_over(services, head.value, endpoint):
        services.registry.commit_about(head, msgspec.structs.replace(head.value, untidy=True))
    if production is None:
        return
    record = services.registry.health(model)
    if _is_relieved(head.value, production, endpoint):
        return _note_relieved(services, record, production)
    policy = services.registry.policy(model).value.policy
    if not _is_due(record.value, production, services.clock(), policy):
        return
    new = _checked(services, head.value, endpoint, record.value, policy)
    _store(services, model, record, new)
    if not edited and new.status == UNHEALTHY and new.failures > policy.rollout.failure_limit:
        _back_from_watch(services, head.value, endpoint, new.why)


def _is_settled(head: ModelHead) -> bool:
    """Whether what is behind the endpoint is known to be for production alone."""
    serves_desired = head.production is not None and head.desired_key == head.production.key
    return serves_desired and head.rollout is None and head.paused is None


def _is_as_it_should_be(production: Serving | None, endpoint: Endpoint | None) -> bool:
    return production is not None and endpoint is not None and endpoint.traffic == {production.version: 100}


def _is_relieved(head: ModelHead, production: Serving, endpoint: Endpoint | None) -> bool:
    """Whether a rollout under way has taken all its traffic: the rollout's own analysis watches who has it."""
    if head.rollout is None or head.desired_key == production.key or endpoint is None:
        return False
    return is_deployed(production.version, endpoint) and production.version not in endpoint.traffic


def _note_relieved(services: Services, record: Stored[HealthRecord], production: Serving) -> None:
    """Said once: the last figures are not to stand as those of a version that serves."""
    if record.value.version == production.version and record.value.available:
        relieved = msgspec.structs.replace(
            record.value,
            status=UNKNOWN,
            available=False,
            why="it has no traffic: the rollout under way has taken it over",
            since=services.clock(),
            metadata={"traffic_percent": 0},
        )
        services.registry.commit([record.write(relieved)])


def _has_left_over(services: Services, head: ModelHead, endpoint: Endpoint | None) -> bool:
    """Whether a version nobody needs has come back: an instance that slept long has deployed what fell meanwhile."""
    if not head.is_settled or head.paused is not None or endpoint is None:
        return False
    version = version_to_retire(head, endpoint, services.clock())
    return version is not None and is_of_our_making(services, head.model, version)


def _out_of_band(services: Services, head: Stored[ModelHead], endpoint: Endpoint | None) -> None:
    """Committed at the revision that was read before the endpoint was: a rollout that began meanwhile wins."""
    assert head.value.production is not None
    version = head.value.production.version
    if endpoint is None:
        why = "the endpoint is gone"
    elif not is_deployed(version, endpoint):
        why = f"{version} is not deployed any more"
    else:
        why = f"traffic was changed by somebody else to {endpoint.traffic}"
    if services.registry.policy(head.value.model).value.policy.rollout.out_of_band == "repair":
        open_repair(services, head, why)
    else:
        pause_out_of_band(services, head, None, why)


def _is_due(record: HealthRecord, production: Serving, now: datetime, policy: Policy) -> bool:
    if record.checked_at is None or record.version != production.version:
        return True
    return now >= record.checked_at + timedelta(seconds=policy.health.interval_seconds)


def _checked(
    services: Services, head: ModelHead, endpoint: Endpoint | None, before: HealthRecord, policy: Policy
) -> HealthRecord:
    now, production = services.clock(), head.production
    assert production is not None
    look = _look(services, production, endpoint, policy)
    same = before.version == production.version
    failures = _failures(before.failures if same else 0, look.verdict)
    status = status_of(look, failures, policy.rollout.failure_limit)
    version = services.registry.version_at(head.model, production.key) if not same else None
    metadata = version.value.metadata if version else None
    return HealthRecord(
        model_type=metadata.runtime if metadata else before.model_type,
        version=production.version,
        status=status,
        available=look.available,
        loadable=look.loadable,
        why=look.why[:1000],
        since=before.since if same and status == before.status else now,
        checked_at=now,
        failures=failures,
        alarmed=status == UNHEALTHY or (before.alarmed and status != HEALTHY),
        metadata=look.metadata,
    )


def _failures(before: int, verdict: Verdict) -> int:
    """How many checks in a row have failed; one that could not be measured, or says too little, ends no row."""
    if verdict is Verdict.PASS:
        return 0
    return before + (verdict is Verdict.FAIL)


def _look(services: Services, production: Serving, endpoint: Endpoint | None, policy: Policy) -> Look:
    if endpoint is None or not is_deployed(production.version, endpoint):
        return missing(f"{production.version} is not behind its endpoint")
    now = services.clock()
    window = policy.health.window_seconds
    percent = endpoint.traffic.get(production.version, 0)
    try:
        measured = services.metrics.measure(endpoint, window_start(now, production.since, window), now)
    except ModeldropError as error:
        return unmeasured(percent, f"it could not be measured: {error}")
    limits = health_limits(policy.health, policy.rollout)
    return look_at(measured.get(production.version, VersionMetrics()), percent, limits, window)


def _store(services: Services, model: str, record: Stored[HealthRecord], new: HealthRecord) -> None:
    """Changes between well and ill are told, not every tick; whoever loses the race told nothing."""
    writes = [record.write(new)]
    told = record.value.alarmed and record.value.version == new.version
    assert new.version is not None and new.checked_at is not None
    if new.status == UNHEALTHY and not told:
        news = News("unhealthy", new.version, "unhealthy", new.why)
        writes.append(health_dispatch(dispatch(model, news, new.checked_at)))
    elif record.value.alarmed and not new.alarmed:
        news = News("unhealthy", new.version, "healthy again", new.why, resolved=True)
        writes.append(health_dispatch(dispatch(model, news, new.checked_at)))
    services.registry.commit(writes)


def _back_from_watch(services: Services, head: ModelHead, endpoint: Endpoint | None, why: str) -> None:
    """While the predecessor is warm, it takes over again by itself; one that is not there is left to people."""
    production, previous = head.production, head.previous
    if production is None or previous is None or previous.fallen or not _is_settled(head):
        return
    on_watch_until = production.since + timedelta(seconds=head.keep_warm_seconds)
    if endpoint is None or services.clock() >= on_watch_until or not is_deployed(previous.version, endpoint):
        return
    measured = services.metrics.measure(endpoint, production.since, services.clock())
    if measured.get(previous.version, VersionMetrics()).answering is not False:
        roll_back(
            services,
            head.model,
            to=previous.version,
            by="modeldrop",
            why=f"it failed on watch: {why}"[:900],
            falling=production.version,
        )
