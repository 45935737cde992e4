"""The GitHub trainer, over the wire, against a GitHub of our own."""

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from modeldrop.adapters.http.github_trainer import (
    LISTED_WITHIN,
    LOOKING_SECONDS,
    MOST_PAGES,
    RUNS_A_PAGE,
    GithubTrainer,
)
from modeldrop.adapters.http.guarded_client import MOST_BODY, GuardedClient
from modeldrop.domain.retraining.episode import Run
from modeldrop.domain.targets import GithubTarget
from modeldrop.errors import ModeldropError, NotAsked, Refused, Unavailable
from tests.contract.trainer_system import BARE, BODY, EPISODE, OPENED, REQUEST, request
from tests.servers.github import GithubServer, Workflow
from tests.servers.json_api import Fault

TOKEN = "github-token-secret"
REPOSITORY = "acme/models"
EVENT = "modeldrop-retrain"
SECOND = timedelta(seconds=1)
FIRST = "9000000000"


class MovedClock:
    """A time that moves when it is told to."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> MovedClock:
    """The time at which the episode was opened."""
    return MovedClock(OPENED)


@pytest.fixture
def server() -> Iterator[GithubServer]:
    """A GitHub with a workflow that either event starts; its clock is a little behind ours."""
    with GithubServer(REPOSITORY, token=TOKEN) as server:
        server.workflows["train.yml"] = Workflow(event_types=frozenset({EVENT}))
        server.now = OPENED - 5 * SECOND
        yield server


@pytest.fixture(params=["train.yml", None], ids=["workflow", "repository"])
def trainer(request: pytest.FixtureRequest, server: GithubServer, clock: MovedClock) -> GithubTrainer:
    """The trainer as the product builds it, for either event."""
    return trainer_at(server, clock, workflow=request.param)


@pytest.fixture
def dispatching(server: GithubServer, clock: MovedClock) -> GithubTrainer:
    """The trainer that dispatches a workflow."""
    return trainer_at(server, clock)


def trainer_at(
    server: GithubServer,
    clock: MovedClock,
    *,
    workflow: str | None = "train.yml",
    seconds: float = 10.0,
    token: str = TOKEN,
    looking_seconds: float = LOOKING_SECONDS,
    **fields: Any,
) -> GithubTrainer:
    target = GithubTarget(**({"repository": REPOSITORY, "token": "", "workflow": workflow, "url": server.url} | fields))
    client = GuardedClient(loopback=True, timeout_seconds=seconds)
    return GithubTrainer(client, target, token, clock=clock, looking_seconds=looking_seconds)


def posts(server: GithubServer) -> list[Any]:
    """The bodies of the events that were sent."""
    return [asked.json() for asked in server.asked if asked.method == "POST"]


def listings(server: GithubServer) -> list[dict[str, str]]:
    """What was asked of the lists of runs."""
    return [dict(asked.query) for asked in server.asked if asked.path.endswith("/runs")]


def page(server: GithubServer, number: str = FIRST) -> str:
    return f"{server.url}/{REPOSITORY}/actions/runs/{number}"


def accepted_run(server: GithubServer, **changes: Any) -> Run:
    return msgspec.structs.replace(Run(id=FIRST, url=page(server), state="accepted"), **changes)


# --- starting --------------------------------------------------------------------------------------------------


def test_a_workflow_is_dispatched_and_its_run_is_known_at_once(
    server: GithubServer, dispatching: GithubTrainer
) -> None:
    assert dispatching.start(REQUEST, again=None) == accepted_run(server)
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for name, value in BODY.items()
    }
    assert posts(server) == [{"ref": "main", "inputs": texts, "return_run_details": True}]
    assert [run["display_title"] for run in server.runs] == [f"retrain {EPISODE}"]


def test_a_server_that_knows_no_run_details_is_asked_without(server: GithubServer, dispatching: GithubTrainer) -> None:
    server.knows_run_details = False
    run = dispatching.start(REQUEST, again=None)
    assert run == Run(id=None, url=f"{server.url}/{REPOSITORY}/actions/workflows/train.yml", state="accepted")
    assert len(server.runs) == 1
    assert dispatching.observe(REQUEST, run) == accepted_run(server)


def test_without_a_workflow_the_repository_is_told(server: GithubServer, clock: MovedClock) -> None:
    run = trainer_at(server, clock, workflow=None).start(REQUEST, again=None)
    assert run == Run(url=f"{server.url}/{REPOSITORY}/actions?query=event%3Arepository_dispatch")
    assert posts(server) == [{"event_type": EVENT, "client_payload": BODY}]
    assert len(server.runs) == 1


def test_what_is_not_known_is_an_empty_input(server: GithubServer, dispatching: GithubTrainer) -> None:
    dispatching.start(BARE, again=None)
    assert posts(server)[0]["inputs"] == {
        "episode": EPISODE,
        "model": "fraud",
        "version": "",
        "cause": "manual",
        "report": "",
        "window": "",
        "lineage": "{}",
    }


def test_a_server_of_ones_own_is_called_below_its_path(clock: MovedClock) -> None:
    with GithubServer(REPOSITORY, token=TOKEN, prefix="/api/v3") as server:
        server.workflows["train.yml"] = Workflow()
        trainer = trainer_at(server, clock, url=f"{server.url}/api/v3/")
        assert trainer.start(REQUEST, again=None) == accepted_run(server)


# --- once ------------------------------------------------------------------------------------------------------


def test_an_episode_asked_for_again_is_one_run(server: GithubServer, trainer: GithubTrainer) -> None:
    trainer.start(REQUEST, again=None)
    assert trainer.start(REQUEST, again=OPENED) == accepted_run(server)
    server.run(1)["status"] = "in_progress"
    assert trainer.start(REQUEST, again=OPENED) == accepted_run(server, state="running")
    assert len(server.runs) == len(posts(server)) == 1


def test_a_run_whose_answer_was_lost_is_adopted(server: GithubServer, trainer: GithubTrainer) -> None:
    server.inject(Fault("drop", after_effect=True))
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    assert trainer.start(REQUEST, again=OPENED) == accepted_run(server)
    assert len(posts(server)) == 1


def test_a_run_that_is_listed_late_is_waited_for(
    server: GithubServer, trainer: GithubTrainer, clock: MovedClock
) -> None:
    server.lists = False
    server.inject(Fault("drop", after_effect=True))
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    for passed in (0 * SECOND, 1 * SECOND, LISTED_WITHIN - SECOND):
        clock.now = OPENED + passed
        with pytest.raises(NotAsked, match="is looked for"):
            trainer.start(REQUEST, again=OPENED)
    server.list_all()
    assert trainer.start(REQUEST, again=OPENED) == accepted_run(server)
    assert len(posts(server)) == 1


def test_what_never_arrived_is_sent_again_once_that_is_certain(
    server: GithubServer, trainer: GithubTrainer, clock: MovedClock
) -> None:
    server.inject(Fault("drop"))
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    clock.now = OPENED + LISTED_WITHIN - SECOND
    with pytest.raises(NotAsked, match="is looked for"):
        trainer.start(REQUEST, again=OPENED)
    assert server.runs == []
    clock.now = OPENED + LISTED_WITHIN
    trainer.start(REQUEST, again=OPENED)
    assert len(server.runs) == 1


def test_a_listing_that_fails_starts_nothing(server: GithubServer, trainer: GithubTrainer, clock: MovedClock) -> None:
    clock.now = OPENED + timedelta(days=1)
    answers: list[Any] = [{}, [], {"workflow_runs": 3, "total_count": 0}, {"workflow_runs": []}]
    for fault in (Fault("drop"), Fault("garble"), *(Fault("status", 200, answer) for answer in answers)):
        server.inject(fault)
        with pytest.raises(Unavailable):
            trainer.start(REQUEST, again=OPENED)
    assert server.runs == []


@pytest.mark.parametrize(
    "title",
    [
        f"{EPISODE}1",
        f"card-{EPISODE}",
        f"{EPISODE}-retry",
        f"x{EPISODE}",
        EPISODE[:-1],
        EPISODE.replace("-", "."),
        "",
    ],
)
def test_a_run_of_another_episode_is_not_adopted(
    server: GithubServer, trainer: GithubTrainer, clock: MovedClock, title: str
) -> None:
    trainer.start(REQUEST, again=None)
    server.run(1)["display_title"] = title
    clock.now = OPENED + LISTED_WITHIN
    trainer.start(REQUEST, again=OPENED)
    assert len(server.runs) == 2


@pytest.mark.parametrize(
    "title", [EPISODE, f"train: {EPISODE}", f"({EPISODE})", f"fraud/{EPISODE}, by hand", f"_{EPISODE}_"]
)
def test_a_run_is_found_wherever_its_name_has_the_episode(
    server: GithubServer, trainer: GithubTrainer, title: str
) -> None:
    trainer.start(REQUEST, again=None)
    server.run(1)["display_title"] = title
    assert trainer.start(REQUEST, again=OPENED) == accepted_run(server)


def test_of_two_runs_the_first_is_the_episodes(server: GithubServer, trainer: GithubTrainer) -> None:
    for _ in range(2):
        trainer.start(REQUEST, again=None)  # somebody sent it twice, and did not say so
    assert trainer.start(REQUEST, again=OPENED) == accepted_run(server)


def test_a_run_is_found_behind_many_others(server: GithubServer, trainer: GithubTrainer) -> None:
    trainer.start(REQUEST, again=None)
    others(server, trainer, RUNS_A_PAGE * 3)
    assert trainer.start(REQUEST, again=OPENED) == accepted_run(server)
    assert [int(listing["page"]) for listing in listings(server)] == [1, 2, 3, 4]


def test_where_too_many_runs_are_listed_nothing_is_started(
    server: GithubServer, trainer: GithubTrainer, clock: MovedClock
) -> None:
    trainer.start(REQUEST, again=None)
    others(server, trainer, RUNS_A_PAGE * MOST_PAGES)
    clock.now = OPENED + timedelta(days=1)
    with pytest.raises(Unavailable, match="there may be more"):
        trainer.start(REQUEST, again=OPENED)
    assert len(posts(server)) == 1


def test_a_look_that_took_too_long_starts_nothing(server: GithubServer, clock: MovedClock) -> None:
    """Whoever asked may have lost the order meanwhile: somebody else is asking now."""
    clock.now = OPENED + timedelta(days=1)
    with pytest.raises(Unavailable, match="there may be more"):
        trainer_at(server, clock, looking_seconds=0).start(REQUEST, again=OPENED)
    assert server.runs == []
    trainer_at(server, clock).start(REQUEST, again=None)
    assert trainer_at(server, clock, looking_seconds=0).start(REQUEST, again=OPENED) == accepted_run(server)


def others(server: GithubServer, trainer: GithubTrainer, count: int) -> None:
    """Runs that other episodes' events of the same kind have started."""
    event = server.run(1)["event"]
    for number in range(count):
        server.start("train.yml", event, {"episode": f"other-20260102030405-{number}"})


def test_only_runs_of_the_episodes_time_and_event_are_looked_at(
    server: GithubServer, trainer: GithubTrainer, clock: MovedClock
) -> None:
    trainer.start(REQUEST, again=None)
    shown = server.run(1)
    other = {"workflow_dispatch": "push", "repository_dispatch": "workflow_dispatch"}[shown["event"]]
    server.workflows["train.yml"].run_name = "{episode}"
    server.start("train.yml", other, {"episode": EPISODE})
    trainer.start(REQUEST, again=OPENED)
    [listing] = listings(server)
    assert listing == {
        "event": shown["event"],
        "created": ">=2026-01-02T02:54:05Z",
        "exclude_pull_requests": "true",
        "per_page": str(RUNS_A_PAGE),
        "page": "1",
    }
    assert trainer.start(request(episode="by-hand"), again=OPENED - LISTED_WITHIN).state == "accepted"
    assert "created" not in listings(server)[-1]  # an id that does not tell its time


def test_another_workflows_runs_are_not_looked_at(server: GithubServer, dispatching: GithubTrainer) -> None:
    server.workflows["other.yml"] = Workflow()
    server.start("other.yml", "workflow_dispatch", {"episode": EPISODE})
    with pytest.raises(NotAsked, match="is looked for"):
        dispatching.start(REQUEST, again=OPENED)


def test_a_page_of_runs_fits_into_what_is_read(server: GithubServer, dispatching: GithubTrainer) -> None:
    dispatching.start(REQUEST, again=None)
    for shown in (server.run(1), *[server.start("train.yml", "workflow_dispatch", {}) for _ in range(RUNS_A_PAGE - 1)]):
        shown["head_commit"] = {"message": "m" * 35_000}
    assert len(json.dumps(server.runs)) < MOST_BODY
    assert dispatching.start(REQUEST, again=OPENED) == accepted_run(server)


# --- following -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "conclusion", "expected", "why"),
    [
        ("queued", None, "accepted", ""),
        ("requested", None, "accepted", ""),
        ("pending", None, "accepted", ""),
        ("waiting", None, "accepted", "it waits for an approval, or another rule of its environment"),
        ("in_progress", None, "running", ""),
        ("dreaming", None, "running", "GitHub says status 'dreaming', which is not known here"),
        ("completed", None, "running", "GitHub says status 'completed', which is not known here"),
        ("completed", "success", "succeeded", ""),
        ("completed", "failure", "failed", "GitHub says failure"),
        ("completed", "cancelled", "failed", "GitHub says cancelled"),
        ("completed", "timed_out", "failed", "GitHub says timed_out"),
        ("completed", "skipped", "failed", "GitHub says skipped"),
        ("completed", "startup_failure", "failed", "GitHub says startup_failure"),
        ("completed", "something_new", "failed", "GitHub says something_new"),
    ],
)
def test_how_a_run_stands(
    server: GithubServer, trainer: GithubTrainer, status: str, conclusion: str | None, expected: Any, why: str
) -> None:
    started = trainer.start(REQUEST, again=None)
    server.run(1).update(status=status, conclusion=conclusion)
    for run in (started, Run(id=FIRST), Run()):  # found by its id, or by its name
        assert trainer.observe(REQUEST, run) == accepted_run(server, state=expected, why=why)


def test_a_run_that_is_not_listed_yet_is_followed_on(server: GithubServer, clock: MovedClock) -> None:
    trainer = trainer_at(server, clock, workflow=None)
    server.lists = False
    run = trainer.start(REQUEST, again=None)
    seen = trainer.observe(REQUEST, run)
    assert seen is not None
    assert (seen.id, seen.state, seen.url) == (None, "accepted", run.url)
    assert "run-name" in seen.why
    server.list_all()
    assert trainer.observe(REQUEST, seen) == accepted_run(server)


def test_a_run_that_is_not_shown_is_not_called_failed(server: GithubServer, trainer: GithubTrainer) -> None:
    with pytest.raises(Unavailable, match="run 17"):
        trainer.observe(REQUEST, Run(id="17"))


def test_a_run_without_an_id_is_no_run(server: GithubServer, dispatching: GithubTrainer) -> None:
    run = dispatching.start(REQUEST, again=None)
    for number in (None, "17", True, 1.5):
        server.run(1)["id"] = number
        with pytest.raises(Unavailable):
            dispatching.observe(REQUEST, msgspec.structs.replace(run, id=None))


# --- what goes wrong -------------------------------------------------------------------------------------------

LIMITS = [
    Fault("status", 403, {"message": "No."}, {"retry-after": "60"}),
    Fault("status", 403, {"message": "No."}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767323045"}),
    Fault("status", 403, {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}),
    Fault("status", 429, {"message": "No."}),
    Fault("status", 429, {"message": "No."}, {"retry-after": "60"}),
]
LATER = [*(Fault("status", code) for code in (408, 500, 502, 503, 504)), Fault("drop"), *LIMITS]


@pytest.mark.parametrize("fault", LATER, ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_a_failure_that_may_pass_is_unavailable(
    server: GithubServer, trainer: GithubTrainer, clock: MovedClock, fault: Fault
) -> None:
    server.inject(fault)
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    clock.now = OPENED + LISTED_WITHIN
    run = trainer.start(REQUEST, again=OPENED)
    server.inject(fault)
    with pytest.raises(Unavailable):
        trainer.observe(REQUEST, run)
    assert len(server.runs) == 1


def test_an_answer_that_is_not_githubs_leaves_it_open(server: GithubServer, dispatching: GithubTrainer) -> None:
    server.inject(Fault("garble"))
    with pytest.raises(Unavailable):
        dispatching.start(REQUEST, again=None)
    server.inject(Fault("status", 200, {"workflow_run_id": None}, after_effect=True))
    with pytest.raises(Unavailable):
        dispatching.start(REQUEST, again=None)
    assert dispatching.start(REQUEST, again=OPENED) == accepted_run(server)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 422])
def test_what_github_will_never_do_is_refused_in_its_words(
    server: GithubServer, trainer: GithubTrainer, status: int
) -> None:
    body = {"message": "It may not be.", "documentation_url": "https://docs.github.com/rest"}
    server.inject(Fault("status", status, body, {"x-ratelimit-remaining": "4999", "location": "/elsewhere"}))
    with pytest.raises(Refused, match=rf"{status} It may not be\.$"):
        trainer.start(REQUEST, again=None)
    assert len(server.asked) == 1


def test_wrong_settings_are_refused(server: GithubServer, clock: MovedClock) -> None:
    server.workflows["old.yml"] = Workflow(inputs=None)
    server.workflows["few.yml"] = Workflow(inputs=frozenset({"episode"}))
    for fields, says in (
        ({"workflow": "other.yml"}, "404 Not Found"),
        ({"workflow": "old.yml"}, "422 Workflow does not have 'workflow_dispatch' trigger"),
        ({"workflow": "few.yml"}, "422 Unexpected inputs provided"),
        ({"ref": "other"}, "422 No ref found for: other"),
        ({"repository": "acme/other"}, "404 Not Found"),
        ({"token": "wrong"}, "401 Bad credentials"),
    ):
        with pytest.raises(Refused, match=says):
            trainer_at(server, clock, **fields).start(REQUEST, again=None)
    assert server.runs == []


def test_a_server_that_hangs_is_left_at_the_deadline(server: GithubServer, clock: MovedClock) -> None:
    trainer = trainer_at(server, clock, seconds=0.3)
    server.inject(Fault("hang", after_effect=True))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    assert time.monotonic() - began < 3
    assert server.hanging.is_set()
    assert trainer.start(REQUEST, again=OPENED) == accepted_run(server)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500])
def test_the_token_is_in_no_error(
    server: GithubServer, trainer: GithubTrainer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a server quotes back."""
    caplog.set_level("DEBUG")
    errors: list[str] = []
    quoted = {"message": f"Bad credentials: Bearer {TOKEN}"}
    for fault in (Fault("echo", status), Fault("status", status, quoted)):
        for again in (None, OPENED):
            server.inject(fault)
            try:
                trainer.start(REQUEST, again=again)
            except ModeldropError as error:
                errors.append(f"{error} {error!r}")
    assert len(errors) == 4
    assert TOKEN not in " ".join(errors) + caplog.text


def test_a_token_that_no_header_can_have_is_refused_and_not_said(server: GithubServer, clock: MovedClock) -> None:
    with pytest.raises(Refused) as refused:
        trainer_at(server, clock, token=f"{TOKEN}\r\nx: y").start(REQUEST, again=None)
    assert TOKEN not in str(refused.value)
    assert server.asked == []
