"""Airflow as a Trainer, over its REST API: ``v1`` of Airflow 2, ``v2`` of Airflow 3.

The DAG run's id is the episode's, so that a trigger repeated after a crash or a lost answer meets its own run (409) and
adopts it, once its ``conf`` has shown that it is that episode's. ``conf`` is the training request, as the body of a
webhook is.

Airflow 2 takes username and password with each request. Airflow 3 gives a token for them, which is kept until it is
not good any more. A bearer token of one's own goes with both.
"""

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from modeldrop.adapters.http.guarded_client import Answer, GuardedClient, accepted
from modeldrop.domain.retraining.episode import Run, TrainingRequest
from modeldrop.domain.targets import AirflowTarget, describe
from modeldrop.errors import ModeldropError, Refused, Unavailable

State = Literal["accepted", "running", "succeeded", "failed"]
_STATES: Final[Mapping[str, State]] = {
    "queued": "accepted",
    "running": "running",
    "success": "succeeded",
    "failed": "failed",
}
_GONE: Final = "the DAG run is not there any more"
_FAILED: Final = "the DAG run failed"
_PAUSED: Final = "the DAG is paused: its runs wait until somebody unpauses it"


class AirflowTrainer:
    """The Trainer port on one DAG. Safe for use by several threads."""

    def __init__(self, client: GuardedClient, target: AirflowTarget, password: str | None, token: str | None) -> None:
        self._client = client
        self._target = target
        self._password = password
        self._token = token
        self._kept: str | None = None  # the token that Airflow 3 gave for username and password
        self._url = target.url.rstrip("/")
        self._dag = f"{self._url}/api/{target.api}/dags/{quote(target.dag, safe='')}"

    def start(self, request: TrainingRequest, *, again: datetime | None) -> Run:
        """Trigger the DAG with the episode as the run's id, or adopt that run."""
        # Looked for first where it may be there: a DAG that got broken since answers 400 before it answers 409.
        found = self._find(request) if again else None
        return self._run(request, self._triggered(request) if found is None else found)

    def observe(self, request: TrainingRequest, run: Run) -> Run | None:
        """How the DAG run stands; one that is not there any more has failed."""
        found = self._find(request)
        if found is None:
            return msgspec.structs.replace(run, state="failed", why=_GONE)
        return self._run(request, found)

    def _triggered(self, request: TrainingRequest) -> Mapping[str, Any]:
        body: dict[str, Any] = {"dag_run_id": request.episode, "conf": msgspec.to_builtins(request)}
        if self._target.api == "v2":
            body["logical_date"] = None  # there a run needs none, but the field must be there
        answer = self._send("POST", f"{self._dag}/dagRuns", body)
        if answer.status != 409:
            return _fields(accepted(answer, self._what))
        found = self._find(request)
        if found is None:  # Airflow 2 says 409 as well for another run of that very moment
            raise Unavailable(f"{self._what} answered 409, and has no run {request.episode}")
        return found

    def _find(self, request: TrainingRequest) -> Mapping[str, Any] | None:
        """The episode's run, or None. Raises Refused if the run of that id is not the episode's."""
        answer = self._send("GET", f"{self._dag}/dagRuns/{quote(request.episode, safe='')}")
        if answer.status == 404:
            if not _is_airflows(answer):  # a proxy says 404 too, while there is no Airflow behind it
                raise Unavailable(f"{self._what} answered 404, not in Airflow's words")
            return None
        found = _fields(accepted(answer, self._what))
        conf = found.get("conf")
        if not isinstance(conf, dict) or conf.get("episode") != request.episode:
            raise Refused(f"{self._what}: the run {request.episode} is in the way, it is not the episode's")
        return found

    def _run(self, request: TrainingRequest, found: Mapping[str, Any]) -> Run:
        said = str(found.get("state"))
        state = _STATES.get(said)
        if state is None:  # what is not known is no end: it is followed on, until the episode expires
            state, why = "running", f"Airflow says state {said[:40]!r}, which is not known here"
        elif state == "accepted":
            why = self._why_queued()
        else:
            why = _FAILED if state == "failed" else ""
        return Run(id=request.episode, url=self._page(request), state=state, why=why)

    def _why_queued(self) -> str:
        try:
            dag = _fields(accepted(self._send("GET", self._dag), self._what))
        except ModeldropError:
            return ""  # only a remark: whoever may start runs need not be allowed to read DAGs
        return _PAUSED if dag.get("is_paused") is True else ""

    def _page(self, request: TrainingRequest) -> str:
        """The run in Airflow's web pages."""
        dag, run = quote(self._target.dag, safe=""), quote(request.episode, safe="")
        place = f"runs/{run}" if self._target.api == "v2" else f"grid?dag_run_id={run}"
        return f"{self._url}/dags/{dag}/{place}"

    # --- requests

    @property
    def _what(self) -> str:
        return describe(self._target)

    def _send(self, method: str, url: str, body: Any = None) -> Answer:
        kept = self._kept
        answer = self._send_as(self._authorization(), method, url, body)
        if answer.status == 401 and kept is not None:  # it has expired; a new one that is not good either is final
            self._kept = None
            answer = self._send_as(self._authorization(), method, url, body)
        return answer

    def _send_as(self, authorization: str | None, method: str, url: str, body: Any) -> Answer:
        headers = {"Accept": "application/json"}
        if authorization is not None:
            headers["Authorization"] = authorization
        if body is None:
            return self._client.send(method, url, headers=headers)
        headers["Content-Type"] = "application/json"
        return self._client.send(method, url, body=msgspec.json.encode(body), headers=headers)

    def _authorization(self) -> str | None:
        if self._token is not None:
            return f"Bearer {self._token}"
        if self._target.username is None or self._password is None:
            return None
        if self._target.api == "v1":
            pair = f"{self._target.username}:{self._password}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        token = self._kept or self._new_token()
        self._kept = token
        return f"Bearer {token}"

    def _new_token(self) -> str:
        login = {"username": self._target.username, "password": self._password}
        answer = self._send_as(None, "POST", f"{self._url}/auth/token", login)
        # Without its body: Airflow's complaints quote what was sent, and that is the password.
        accepted(replace(answer, body=b""), f"{self._what}: the request for a token")
        token = _fields(answer).get("access_token")
        if not isinstance(token, str) or not token:
            raise Unavailable(f"{self._what} answered a request for a token with none")
        return token


def _fields(answer: Answer) -> Mapping[str, Any]:
    found = answer.json()
    if not isinstance(found, dict):
        raise Unavailable(f"an answer ({answer.status}) that is no JSON object")
    return found


def _is_airflows(answer: Answer) -> bool:
    """Whether an error is Airflow's own."""
    try:
        return "detail" in _fields(answer)
    except Unavailable:
        return False
