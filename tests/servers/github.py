"""A GitHub of our own on loopback: dispatching workflows and listing their runs, as its REST API does it.

    with GithubServer("acme/models", token="secret") as server:
        server.workflows["train.yml"] = Workflow()          # with the inputs it declares, and how it names its runs
        server.lists = False                                # runs are started, and not listed yet
        server.run(1).update(status="completed", conclusion="success")
        server.inject(Fault("drop", after_effect=True))     # and the rest of JsonApi: asked, hanging, url

Checked as the original does it: the headers everybody must send, the permitted keys, refs, declared inputs and their
number, properties of a payload. ``now`` is the time there. A run is as large as the original's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from tests.servers.json_api import Answered, Asked, JsonApi

Json = dict[str, Any]

INPUTS = frozenset({"episode", "model", "version", "cause", "report", "window", "lineage"})
_MOST_INPUTS = 25
_MOST_PROPERTIES = 10
_LARGEST_PAYLOAD = 65_535
_RUN_BYTES = 12_000


@dataclass
class Workflow:
    """A workflow file on the branch ``main``: what starts it, what it takes, what its runs are called."""

    inputs: frozenset[str] | None = INPUTS
    """Those that ``workflow_dispatch`` declares; None: it has no such trigger."""
    event_types: frozenset[str] = frozenset()
    """Those of ``repository_dispatch`` that start it."""
    run_name: str = "retrain {episode}"
    """Its ``run-name``, with the fields of the event."""


class _No(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answered = Answered(status, {"message": message, "documentation_url": "https://docs.github.com/rest"})


@dataclass
class _Started:
    """A run, and whether it was listed as soon as it was there."""

    shown: Json
    workflow: str
    event: str
    is_listed: bool


class GithubServer(JsonApi):
    """The server; see the module."""

    def __init__(self, repository: str, *, token: str, prefix: str = "") -> None:
        super().__init__(self._handle)
        self.workflows: dict[str, Workflow] = {}
        self.now = datetime.now(UTC)
        self.lists = True
        """Whether runs started from now on are listed."""
        self.knows_run_details = True
        """Whether it can answer a dispatch with the run's id: servers of one's own may be older."""
        self._repository = repository
        self._token = token
        self._prefix = prefix
        self._started: list[_Started] = []

    @property
    def runs(self) -> list[Json]:
        """All runs, listed or not, the first one first."""
        return [started.shown for started in self._started]

    def run(self, number: int) -> Json:
        """The first, the second … run as the API shows it, to be changed."""
        return self._started[number - 1].shown

    def list_all(self) -> None:
        """Every run so far is listed from now on."""
        for started in self._started:
            started.is_listed = True

    def start(self, workflow: str, event: str, fields: Mapping[str, Any]) -> Json:
        """A run, started now as an event with these fields would."""
        number = 9_000_000_000 + len(self._started)
        title = re.sub(r"\{(\w+)\}", lambda name: str(fields.get(name[1], "")), self.workflows[workflow].run_name)
        shown = {
            "id": number,
            "name": workflow,
            "display_title": title,
            "event": event,
            "status": "queued",
            "conclusion": None,
            "created_at": f"{self.now:%Y-%m-%dT%H:%M:%SZ}",
            "html_url": f"https://github.com/{self._repository}/actions/runs/{number}",
            "path": f".github/workflows/{workflow}",
            "repository": {"full_name": self._repository, "description": "x" * _RUN_BYTES},
        }
        self._started.append(_Started(shown, workflow, event, self.lists))
        return shown

    def _handle(self, asked: Asked) -> Answered:
        try:
            self._check_headers(asked)
            return self._route(asked)
        except _No as no:
            return no.answered

    def _check_headers(self, asked: Asked) -> None:
        if not asked.headers.get("user-agent"):
            raise _No(403, "Request forbidden by administrative rules. Please make sure it has a User-Agent header")
        if asked.headers.get("x-github-api-version") != "2022-11-28":
            raise _No(400, "Invalid API version.")
        if asked.headers.get("accept") != "application/vnd.github+json":
            raise _No(415, "Unsupported 'Accept' header")
        if asked.headers.get("authorization") != f"Bearer {self._token}":
            raise _No(401, "Bad credentials")

    def _route(self, asked: Asked) -> Answered:
        here = f"{self._prefix}/repos/{self._repository}/"
        if not asked.path.startswith(here):
            raise _No(404, "Not Found")
        place = asked.path.removeprefix(here)
        if (asked.method, place) == ("POST", "dispatches"):
            return self._dispatch_to_repository(asked.json())
        if asked.method == "POST" and (path := re.fullmatch(r"actions/workflows/([^/]+)/dispatches", place)):
            return self._dispatch(unquote(path[1]), asked.json())
        if asked.method == "GET" and (path := re.fullmatch(r"actions/(?:workflows/([^/]+)/)?runs", place)):
            return self._list(unquote(path[1]) if path[1] else None, asked.query)
        if asked.method == "GET" and (path := re.fullmatch(r"actions/runs/(\d+)", place)):
            return self._show(int(path[1]))
        raise _No(404, "Not Found")

    def _dispatch(self, name: str, body: Json) -> Answered:
        workflow = self._workflow(name)
        permitted = {"ref", "inputs"} | ({"return_run_details"} if self.knows_run_details else set())
        _check_keys(body, permitted)
        inputs = body.get("inputs", {})
        if body.get("ref") not in ("main", "refs/heads/main"):
            raise _No(422, f"No ref found for: {body.get('ref')}")
        if workflow.inputs is None:
            raise _No(422, "Workflow does not have 'workflow_dispatch' trigger")
        if unexpected := sorted(inputs.keys() - workflow.inputs):
            raise _No(422, f"Unexpected inputs provided: {unexpected}")
        if len(inputs) > _MOST_INPUTS or not all(isinstance(value, str) for value in inputs.values()):
            raise _No(422, "Invalid request.\n\nFor 'properties/inputs', too many or no texts.")
        if sum(len(text) for pair in inputs.items() for text in pair) > _LARGEST_PAYLOAD:
            raise _No(422, "inputs are too large.")
        shown = self.start(name, "workflow_dispatch", inputs)
        if not body.get("return_run_details"):
            return Answered(204)
        url = f"{self.url}{self._prefix}/repos/{self._repository}/actions/runs/{shown['id']}"
        return Answered(200, {"workflow_run_id": shown["id"], "run_url": url, "html_url": shown["html_url"]})

    def _dispatch_to_repository(self, body: Json) -> Answered:
        _check_keys(body, {"event_type", "client_payload"})
        kind, payload = body.get("event_type", ""), body.get("client_payload", {})
        if not isinstance(kind, str) or not 0 < len(kind) <= 100:
            raise _No(422, "Invalid request.\n\nevent_type is required, with at most 100 characters.")
        if len(payload) > _MOST_PROPERTIES:
            raise _No(422, f"Invalid request.\n\nNo more than {_MOST_PROPERTIES} properties are allowed.")
        for name, workflow in self.workflows.items():
            if kind in workflow.event_types:
                self.start(name, "repository_dispatch", payload)
        return Answered(204)

    def _list(self, workflow: str | None, query: Mapping[str, str]) -> Answered:
        if workflow is not None:
            self._workflow(workflow)
        since = query.get("created", ">=0")
        if not since.startswith(">="):
            raise _No(422, "this server knows created=>=… only")
        found = [
            started.shown
            for started in reversed(self._started)
            if started.is_listed
            and workflow in (None, started.workflow)
            and query.get("event", started.event) == started.event
            and started.shown["created_at"] >= since.removeprefix(">=")
        ]
        size = min(int(query.get("per_page", "30")), 100)
        first = (int(query.get("page", "1")) - 1) * size
        return Answered(200, {"total_count": len(found), "workflow_runs": found[first : first + size]})

    def _show(self, number: int) -> Answered:
        for started in self._started:
            if started.shown["id"] == number:
                return Answered(200, started.shown)
        raise _No(404, "Not Found")

    def _workflow(self, name: str) -> Workflow:
        if name not in self.workflows:
            raise _No(404, "Not Found")
        return self.workflows[name]


def _check_keys(body: Json, permitted: set[str]) -> None:
    for key in body.keys() - permitted:
        raise _No(422, f'Invalid request.\n\n"{key}" is not a permitted key.')
