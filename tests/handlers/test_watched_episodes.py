"""Episodes and proposals that hostile days happen to: each comes to an end, and counts for what it was."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from modeldrop.domain.backoff import MOST_REFUSALS
from modeldrop.domain.retraining.episode import FAILED
from modeldrop.domain.versions import Status
from modeldrop.handlers.retrain_tick import retrain_tick
from modeldrop.handlers.retraining.ask_retraining import ask_retraining
from modeldrop.handlers.retraining.carry_out_orders import carry_out_orders
from modeldrop.handlers.retraining.sightings import health_reason
from modeldrop.handlers.rollouts.approve_version import approve_version
from modeldrop.handlers.rollouts.pause_model import pause_model
from modeldrop.handlers.rollouts.resume_model import resume_model
from modeldrop.ports import Write
from modeldrop.records.proposals import Proposals
from modeldrop.records.retraining import Retraining, order_done
from modeldrop.settings import Settings
from modeldrop.wiring import Services
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.prediction_log import NOW, between
from tests.handlers.reporting import events, hour, take
from tests.handlers.watching import (
    POLICY,
    drift_away,
    drop,
    episodes,
    is_accepted,
    serve_v1,
    set_policy,
    state,
    tick,
    told,
)

DAY = 86_400.0
RESTLESS = POLICY.replace("cooldown_seconds: 3600", "cooldown_seconds: 0, max_per_week: 100")


@pytest.fixture
def live(control: Control) -> Control:
    return serve_v1(control)


def watch_for_days(control: Control, days: int) -> None:
    for _ in range(3 * days):
        control.clock.forward(DAY / 3)
        assert retrain_tick(control.services).errors == {}


def fail(control: Control) -> None:
    """The target took the open episode's order, and says then that the run has failed."""
    is_accepted(control)
    records = Retraining(control.services.documents)
    slot, (order,) = records.episode(MODEL, state(control).episodes), records.orders()
    assert slot is not None
    failed = msgspec.structs.replace(slot.value, status=FAILED, gain=False, outcome="the run failed")
    before = records.state(MODEL)
    after = msgspec.structs.replace(before.value, open=None, without_gain=1, without_version=slot.value.id)
    records.commit_about(before, after, [slot.write(failed), order_done(order)])


# --- versions that come, and are judged ------------------------------------------------------------------------


def test_an_episode_of_a_model_that_never_served_ends_too(control: Control) -> None:
    control.clock.now = NOW
    set_policy(control, POLICY + "gate: {floors: {f1: 0.6}}\n")
    drop(control, "v1", 0.5, 1)
    assert (control.version("v1").status, control.head.rollouts) == (Status.REJECTED, 0)
    assert ask_retraining(control.services, MODEL, by="ann").status == "accepted"
    drop(control, "v2", 0.5, 2, lineage={"run_id": episodes(control)[0].id})
    for _ in range(2):
        retrain_tick(control.services)
    (episode,) = episodes(control)
    assert (episode.status, episode.closed_by, episode.gain) == ("closed", "v2", False)
    assert ask_retraining(control.services, MODEL, by="ann").status == "accepted"
    watch_for_days(control, 8)
    assert (episodes(control)[0].status, state(control).open) == ("expired", None)


def test_a_run_that_is_done_again_closes_the_episode_after_all(live: Control) -> None:
    opened = drift_away(live)
    fail(live)
    assert (state(live).open, state(live).without_gain) == (None, 1)
    drop(live, "v2", 0.9, 2, lineage={"run_id": opened})
    for _ in range(2):
        tick(live, 1)
    episode = episodes(live)[-1]
    assert (episode.id, episode.status, episode.closed_by, episode.gain) == (opened, "closed", "v2", True)
    assert episode.outcome == "the run failed; later v2 came of it, and is live"
    assert (state(live).without_gain, state(live).without_version) == (0, None)
    assert told(live, "retraining").count(("retraining closed", True)) == 1


def test_a_failure_is_counted_once_whatever_comes_of_it_later(live: Control) -> None:
    opened = drift_away(live)
    fail(live)
    drop(live, "v2", 0.1, 2, lineage={"run_id": opened})
    for _ in range(2):
        tick(live, 1)
    assert (episodes(live)[-1].gain, state(live).without_gain) == (False, 1)


def test_an_episode_that_expired_may_still_have_its_version_for_as_long_again(live: Control) -> None:
    opened = drift_away(live)
    is_accepted(live)
    set_policy(live, FAST)  # no other is opened
    watch_for_days(live, 13)
    assert (episodes(live)[0].status, state(live).without_version) == ("expired", opened)
    drop(live, "v2", 0.9, 2, lineage={"run_id": opened})
    for _ in range(2):
        retrain_tick(live.services)
    assert (episodes(live)[0].status, episodes(live)[0].gain, state(live).without_gain) == ("closed", True, 0)


def test_one_that_nobody_waits_for_any_more_is_forgotten(live: Control) -> None:
    drift_away(live)
    set_policy(live, FAST)
    watch_for_days(live, 15)
    assert (state(live).without_version, state(live).without_gain) == (None, 0)  # no target ever took it


def test_what_somebody_made_before_the_target_took_the_order_does_not_close_it(live: Control) -> None:
    opened = drift_away(live)
    drop(live, "v4", 0.1, 4, lineage={"parent": "v1"})
    tick(live, 1)
    assert (episodes(live)[0].id, episodes(live)[0].status) == (opened, "requested")
    is_accepted(live)
    tick(live, 1)
    assert episodes(live)[0].status == "running"
    drop(live, "v5", 0.9, 5, lineage={"parent": "v1"})
    tick(live, 1)
    assert episodes(live)[0].closed_by == "v5"


def test_a_version_is_judged_though_somebody_asks_for_another(live: Control) -> None:
    opened = drift_away(live)
    drop(live, "v2", 0.9, 2, lineage={"run_id": opened})
    tick(live, 1)
    assert ask_retraining(live.services, MODEL, by="ann").status == "accepted"
    drop(live, "v3", 0.1, 3, lineage={"run_id": episodes(live)[0].id})
    for _ in range(3):
        tick(live, 1)
    assert [(episode.closed_by, episode.gain) for episode in episodes(live)] == [("v3", False), ("v2", True)]
    assert (state(live).judging, state(live).judging_besides) == (None, [])


def test_two_are_judged_at_once(live: Control) -> None:
    set_policy(live, POLICY + "gate: {approval: manual}\n")
    for name, day in (("v2", 2), ("v3", 3)):
        assert ask_retraining(live.services, MODEL, by="ann").status == "accepted"
        drop(live, name, 0.5 + day / 10, day, lineage={"run_id": episodes(live)[0].id})
        retrain_tick(live.services)
    for name, gains in (("v2", [None, True]), ("v3", [True, True])):
        assert [each.version for each in state(live).judging_besides] == (["v2"] if name == "v2" else [])
        assert approve_version(live.services, MODEL, name, by="eve").status == "accepted"
        live.settle()
        retrain_tick(live.services)
        assert [episode.gain for episode in episodes(live)] == gains
    assert (state(live).judging, state(live).judging_besides) == (None, [])


def test_while_a_version_waits_for_a_word_no_other_is_asked_for(live: Control) -> None:
    opened = drift_away(live)
    set_policy(live, POLICY + "gate: {approval: manual}\n")
    drop(live, "v2", 0.9, 2, lineage={"run_id": opened})
    watch_for_days(live, 21)
    assert (live.version("v2").status, len(episodes(live))) == (Status.AWAITING_APPROVAL, 1)
    assert state(live).declined["data_drift"].startswith("v2, which came of")
    assert approve_version(live.services, MODEL, "v2", by="eve").status == "accepted"
    live.settle()
    retrain_tick(live.services)
    assert episodes(live)[0].gain is True


# --- the governor among people ---------------------------------------------------------------------------------


def test_a_paused_model_is_not_retrained_but_by_a_persons_word(live: Control) -> None:
    assert pause_model(live.services, MODEL, by="ann").status == "accepted"
    for number in (0, 1):
        take(live.services, events(number, 600, moved=4.0))
        assert tick(live, number).opened == {}
    assert set(state(live).declined.values()) == {"the model is paused by ann"}
    assert ("data drift", False) in told(live, "drift")  # people are told nevertheless
    assert resume_model(live.services, MODEL, by="ann").status == "accepted"
    assert tick(live, 1).opened != {}


def test_a_person_may_ask_while_it_is_paused(live: Control) -> None:
    pause_model(live.services, MODEL, by="ann")
    assert ask_retraining(live.services, MODEL, by="ann").status == "accepted"


def test_a_second_stop_is_told_as_well(live: Control) -> None:
    set_policy(live, RESTLESS.replace("max_per_week: 100", "max_per_week: 100, stop_after_no_gain: 1"))
    opened = drift_away(live)
    for number in range(2, 8):
        if number == 3:
            assert told(live, "retraining").count(("retraining has stopped", False)) == 1
            set_policy(live, RESTLESS.replace("max_per_week: 100", "max_per_week: 100, stop_after_no_gain: 3"))
            opened = tick(live, 1).opened[MODEL]
        drop(live, f"v{number}", 0.1, number, lineage={"run_id": opened})
        tick(live, 1)
        opened = tick(live, 1).opened.get(MODEL, "")
        tick(live, 1)
    assert state(live).without_gain == 3
    assert told(live, "retraining").count(("retraining has stopped", False)) == 2


def test_a_target_that_takes_nothing_does_not_stop_the_governor(live: Control) -> None:
    set_policy(live, RESTLESS.replace("type: webhook, url", "type: webhook, secret: 'env:MODELDROP_SECRET_NO', url"))
    drift_away(live)
    for _ in range(4):
        for _ in range(MOST_REFUSALS):
            carry_out_orders(live.services, 10.0)
            live.clock.forward(3600)
        assert episodes(live)[0].status == FAILED
        retrain_tick(live.services)
    assert (len(episodes(live)), state(live).without_gain) == (5, 0)


# --- what changes while somebody looks -------------------------------------------------------------------------


def test_another_version_goes_live_after_the_models_were_listed(live: Control) -> None:
    """What was listed was v1; what is looked at is v2."""
    for number in (0, 1):
        take(live.services, events(number, 600, moved=4.0))
    live.clock.now = hour(2)
    services = live.another_instance()
    services.__dict__["documents"] = AfterListing(services.documents, lambda: drop(live, "v2", 0.9, 2))
    assert retrain_tick(services).opened == {}
    assert (live.head.production and live.head.production.version, told(live), episodes(live)) == ("v2", [], [])


class AfterListing:
    """The documents; something happens once the models have been listed."""

    def __init__(self, real: Any, happens: Callable[[], None]) -> None:
        self._real = real
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def list(self, collection: str, **options: Any) -> Any:
        found = self._real.list(collection, **options)
        if collection == "models":
            self._happens()
        return found


def test_another_version_goes_live_while_the_model_is_looked_at(live: Control) -> None:
    for number in (0, 1):
        take(live.services, events(number, 600, moved=4.0))
    live.clock.now = hour(2)
    services = live.another_instance()

    def meanwhile(writes: Sequence[Write]) -> None:
        if any("/proposals/" in write.path for write in writes):
            drop(live, "v2", 0.9, 2)

    between(services).before = meanwhile
    report = retrain_tick(services)
    assert (report.opened, report.errors) == ({}, {})
    assert (live.head.production and live.head.production.version, told(live), episodes(live)) == ("v2", [], [])
    tick(live, 1)
    assert (told(live), Proposals(live.services.documents).open(MODEL).value.name) == ([], None)


# --- proposals -------------------------------------------------------------------------------------------------


def test_a_proposal_ends_with_the_drift_it_follows_from(live: Control) -> None:
    set_policy(live, FAST)
    for number in (0, 1):
        take(live.services, events(number, 600, moved=4.0))
        tick(live, number)
    proposals = Proposals(live.services.documents)
    name = proposals.open(MODEL).value.name
    assert name is not None
    take(live.services, events(2, 600))
    tick(live, 2)
    assert proposals.open(MODEL).value.name == name  # the alarm stands
    take(live.services, events(3, 600))
    tick(live, 3)
    slot = proposals.find(MODEL, name)
    assert slot is not None
    why = "the prediction drift it follows from is over"
    assert (slot.value.status, slot.value.why, proposals.open(MODEL).value.name) == ("outdated", why, None)
    reply = approve_version(live.services, MODEL, name, by="ada")
    assert (reply.status, reply.reason) == ("refused", f"{name} is outdated: {why}")


def test_an_address_that_ends_with_a_slash(live: Control) -> None:
    live.minutes(8, v1=(100, 90))
    settings = Settings(backend="local", data=live.data, auth="none", api_url="https://x.example/api/")
    reason = health_reason(Services(settings, live.clock), MODEL, "v1")
    assert reason is not None
    assert reason.report == f"https://x.example/api/v1/models/{MODEL}/health"
