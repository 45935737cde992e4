"""GitHub Actions as a Trainer, over its REST API: ``workflow_dispatch`` of one workflow, or ``repository_dispatch``.

GitHub has no key under which an event sent twice starts one run. So an episode that may have been asked for is *looked
for* first, among the runs since it was opened, by its id in their names (the workflow's ``run-name``). There it must
stand apart from letters, digits and hyphens: ``train fraud-20260102030405-3`` names it, ``my-fraud-20260102030405-3``
is another model's. A run is listed some seconds after it was asked for; until that has certainly passed, nothing is
asked a second time.

A workflow gets the training request as inputs of these names, all of them texts (``window`` and ``lineage`` are JSON,
unknown is empty): it must declare ``episode``, ``model``, ``version``, ``cause``, ``report``, ``window``, ``lineage``.
With ``repository_dispatch`` the request is the ``client_payload``, as the body of a webhook is.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from modeldrop.adapters.http.guarded_client import Answer, GuardedClient, accepted
from modeldrop.domain.retraining.episode import Run, TrainingRequest
from modeldrop.domain.targets import GithubTarget, describe
from modeldrop.errors import NotAsked, Unavailable
from modeldrop.ports import Clock

LISTED_WITHIN: Final = timedelta(minutes=2)
"""After which a run that is not listed was never started. GitHub takes seconds; it promises nothing."""

RUNS_A_PAGE: Final = 5
"""A run has some 12 KB of JSON, and its commit's message besides; of an answer 256 KiB are read."""

MOST_PAGES: Final = 20
LOOKING_SECONDS: Final = 30.0
"""Longest look for a run: what is sent after it must be sent while whoever asked still has the order to himself."""

_CLOCKS_APART = timedelta(minutes=10)
_API_VERSION = "2022-11-28"
_RUN_DETAILS = "return_run_details"  # since February 2026; a server of one's own may be older
_WAITING: Final[Mapping[str, str]] = {
    "queued": "",
    "requested": "",
    "pending": "",
    "waiting": "it waits for an approval, or another rule of its environment",
}
_NOT_NAMED: Final = "no run is listed whose name has the episode in it: the workflow's run-name must have it"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class GithubTrainer:
    """The Trainer port on one repository. Safe for use by several threads."""

    def __init__(
        self,
        client: GuardedClient,
        target: GithubTarget,
        token: str,
        *,
        clock: Clock = _utc_now,
        looking_seconds: float = LOOKING_SECONDS,
    ) -> None:
        self._client = client
        self._target = target
        self._token = token
        self._clock = clock
        self._looking_seconds = looking_seconds
        self._repository = f"{target.url.rstrip('/')}/repos/{target.repository}"
        self._pages = f"{_web_address(target.url)}/{target.repository}/actions"

    def start(self, request: TrainingRequest, *, again: datetime | None) -> Run:
        """Send the event, or adopt the run that came of an earlier one.

        Raises NotAsked as long as such a run may yet be listed.
        """
        if again is not None:
            found = self._find(request)
            if found is not None:
                return found
            if self._clock() < again + LISTED_WITHIN:
                moment = again.isoformat(timespec="seconds")
                raise NotAsked(f"{self._what} was asked at {moment}: whether a run came of it is looked for")
        if self._target.workflow is None:
            return self._sent_to_repository(request)
        return self._sent_to_workflow(request, self._target.workflow)

    def observe(self, request: TrainingRequest, run: Run) -> Run | None:
        """How the run stands. It is found by its name where its id is not known."""
        if run.id is None:
            return self._find(request) or msgspec.structs.replace(run, why=_NOT_NAMED)
        answer = self._send("GET", f"{self._repository}/actions/runs/{quote(run.id, safe='')}")
        if answer.status == 404:  # GitHub says so too of what a token may not see: no reason to call the run failed
            raise Unavailable(f"{self._what}: GitHub does not show run {run.id} to this token (any more)")
        return self._run(_fields(self._accepted(answer)))

    def _sent_to_workflow(self, request: TrainingRequest, workflow: str) -> Run:
        url = f"{self._repository}/actions/workflows/{quote(workflow, safe='')}/dispatches"
        body: dict[str, Any] = {"ref": self._target.ref, "inputs": _inputs(request)}
        answer = self._send("POST", url, body | {_RUN_DETAILS: True})
        if answer.status == 422 and _RUN_DETAILS in _message(answer):
            answer = self._send("POST", url, body)
        if self._accepted(answer).status == 200:
            number = _number(_fields(answer), "workflow_run_id")
            return Run(id=number, url=self._page(number))
        return Run(url=f"{self._pages}/workflows/{quote(workflow, safe='')}")

    def _sent_to_repository(self, request: TrainingRequest) -> Run:
        body = {"event_type": self._target.event_type, "client_payload": msgspec.to_builtins(request)}
        self._accepted(self._send("POST", f"{self._repository}/dispatches", body))
        return Run(url=f"{self._pages}?{urlencode({'query': 'event:repository_dispatch'})}")

    # --- looking for the episode's run

    def _find(self, request: TrainingRequest) -> Run | None:
        """The episode's run; None: none is listed. Raises Unavailable if that cannot be told in time."""
        seen, until = 0, monotonic() + self._looking_seconds
        for page in range(1, MOST_PAGES + 1):
            answer = _fields(self._accepted(self._send("GET", self._listing(request, page))))
            runs, total = answer.get("workflow_runs"), answer.get("total_count")
            if not isinstance(runs, list) or not isinstance(total, int):
                raise Unavailable(f"{self._what} answered with no list of runs")
            named = [run for run in runs if isinstance(run, dict) and _names(run.get("display_title"), request.episode)]
            if named:
                return self._run(min(named, key=lambda run: int(_number(run, "id"))))  # the first, if it was sent twice
            seen += len(runs)
            if monotonic() >= until:
                break
            if not runs or seen >= total:
                return None
        raise Unavailable(f"{self._what}: the episode's run is not among the latest {seen}, and there may be more")

    def _listing(self, request: TrainingRequest, page: int) -> str:
        """Where the runs are listed that such events have started since the episode was opened, newest first."""
        workflow = self._target.workflow
        runs = "actions/runs" if workflow is None else f"actions/workflows/{quote(workflow, safe='')}/runs"
        query = {"event": "repository_dispatch" if workflow is None else "workflow_dispatch"}
        opened = _opened_at(request.episode)
        if opened is not None:
            query["created"] = f">={opened - _CLOCKS_APART:%Y-%m-%dT%H:%M:%SZ}"
        paging = {"exclude_pull_requests": "true", "per_page": RUNS_A_PAGE, "page": page}
        return f"{self._repository}/{runs}?{urlencode(query | paging)}"

    def _run(self, found: Mapping[str, Any]) -> Run:
        number, status, conclusion = _number(found, "id"), str(found.get("status")), found.get("conclusion")
        run = Run(id=number, url=self._page(number), state="running")
        if status == "completed" and isinstance(conclusion, str):
            if conclusion == "success":
                return msgspec.structs.replace(run, state="succeeded")
            return msgspec.structs.replace(run, state="failed", why=f"GitHub says {conclusion[:40]}")
        if status in _WAITING:
            return msgspec.structs.replace(run, state="accepted", why=_WAITING[status])
        if status == "in_progress":
            return run
        # What is not known is no end: it is followed on, until the episode expires.
        return msgspec.structs.replace(run, why=f"GitHub says status {status[:40]!r}, which is not known here")

    def _page(self, number: str) -> str:
        return f"{self._pages}/runs/{number}"

    # --- requests

    @property
    def _what(self) -> str:
        return describe(self._target)

    def _send(self, method: str, url: str, body: Any = None) -> Answer:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self._token}",
            "X-GitHub-Api-Version": _API_VERSION,
        }
        if body is None:
            return self._client.send(method, url, headers=headers)
        headers["Content-Type"] = "application/json"
        return self._client.send(method, url, body=msgspec.json.encode(body), headers=headers)

    def _accepted(self, answer: Answer) -> Answer:
        """As ``accepted``, in GitHub's words; a limit on requests is 403 as well as 429."""
        if answer.status in (403, 429) and _is_rate_limit(answer):
            after = answer.headers.get("retry-after") or answer.headers.get("x-ratelimit-reset") or "some time"
            raise Unavailable(f"{self._what}: GitHub's limit on requests is reached (retry after {after[:40]})")
        if not 200 <= answer.status < 300 and (message := _message(answer)):
            answer = replace(answer, body=message.encode())
        return accepted(answer, self._what)


def _inputs(request: TrainingRequest) -> dict[str, str]:
    fields: dict[str, Any] = msgspec.to_builtins(request)
    return {name: _text(value) for name, value in fields.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _names(title: Any, episode: str) -> bool:
    """Whether a run's name has the episode in it, and not as a part of a longer one.

    >>> [_names(title, "fraud-1-3") for title in ("retrain fraud-1-3 (drift)", "fraud-1-31", "card-fraud-1-3", None)]
    [True, False, False, False]
    """
    return isinstance(title, str) and bool(re.search(rf"(?<![A-Za-z0-9-]){re.escape(episode)}(?![A-Za-z0-9-])", title))


def _opened_at(episode: str) -> datetime | None:
    """When the episode was opened: its id says so.

    >>> _opened_at("fraud-20260102030405-3")
    datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    """
    parts = episode.rsplit("-", 2)
    try:
        return datetime.strptime(parts[-2], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except (IndexError, ValueError):
        return None


def _number(found: Mapping[str, Any], name: str) -> str:
    number = found.get(name)
    if isinstance(number, bool) or not isinstance(number, int):
        raise Unavailable(f"GitHub answered with a run that has no {name}")
    return str(number)


def _fields(answer: Answer) -> Mapping[str, Any]:
    found = answer.json()
    if not isinstance(found, dict):
        raise Unavailable(f"an answer ({answer.status}) that is no JSON object")
    return found


def _message(answer: Answer) -> str:
    """What GitHub says went wrong; empty where it is not GitHub's."""
    try:
        return str(_fields(answer).get("message", ""))
    except Unavailable:
        return ""


def _is_rate_limit(answer: Answer) -> bool:
    """Source: "Best practices for using the REST API", of the primary limit and the secondary ones."""
    if "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0":
        return True
    return "rate limit" in _message(answer).lower()


def _web_address(api: str) -> str:
    """Where people look at what an API has: of github.com, of a subdomain of ghe.com, of a server of one's own.

    >>> [_web_address(api) for api in ("https://api.github.com", "https://api.acme.ghe.com", "https://git.acme.com/api/v3/")]
    ['https://github.com', 'https://acme.ghe.com', 'https://git.acme.com']
    """
    parts = urlsplit(api)
    place = parts.netloc.removeprefix("api.")
    return f"{parts.scheme}://{place}{parts.path.rstrip('/').removesuffix('/api/v3')}"
