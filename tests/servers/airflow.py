"""An Airflow of our own on loopback: DAG runs over REST, of Airflow 2 (``/api/v1``) and of Airflow 3 (``/api/v2``).

    with AirflowServer("v2", username="robot", password="secret") as server:
        server.dags["train"] = Dag()                     # Dag(is_paused=True), Dag(has_import_errors=True)
        server.dags["train"].runs["fraud-…"]["state"] = "running"
        server.end_tokens()                              # every token given out so far has expired (Airflow 3)
        server.inject(Fault("drop", after_effect=True))  # and the rest of JsonApi: asked, hanging, url

Airflow 2 takes Basic credentials or the bearer token ``token``; Airflow 3 the latter, or one it gave out for username
and password at ``/auth/token``. Bodies are checked as strictly as the originals do it, with their answers: in Airflow 3
a field too many is 422 and quotes what was sent, in Airflow 2 it is 400.
"""

import base64
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Literal
from urllib.parse import unquote

from tests.servers.json_api import Answered, Asked, JsonApi

Json = dict[str, Any]
_RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]+")
_FIELDS = {
    "v1": {"dag_run_id", "logical_date", "execution_date", "data_interval_start", "data_interval_end", "conf", "note"},
    "v2": {"dag_run_id", "logical_date", "run_after", "data_interval_start", "data_interval_end", "conf", "note"},
}


@dataclass
class Dag:
    """A DAG and its runs by id, as the API shows them."""

    is_paused: bool = False
    has_import_errors: bool = False
    runs: dict[str, Json] = field(default_factory=dict)


class AirflowServer(JsonApi):
    """The server; see the module."""

    def __init__(
        self,
        api: Literal["v1", "v2"],
        *,
        username: str = "robot",
        password: str = "secret",
        token: str = "bearer-token",
    ) -> None:
        super().__init__(self._handle)
        self.dags: dict[str, Dag] = {}
        self.logins = 0
        """How many tokens were given out."""
        self.may_read_dags = True
        """Whether whoever asks has the permission to read DAGs, besides their runs."""
        self.api = api
        self._username, self._password, self._token = username, password, token
        self._given_out: set[str] = set()

    def end_tokens(self) -> None:
        """Every token given out so far has expired."""
        self._given_out.clear()

    def _handle(self, asked: Asked) -> Answered:
        if self.api == "v2" and (asked.method, asked.path) == ("POST", "/auth/token"):
            return self._log_in(asked.json())
        path = re.fullmatch(rf"/api/{self.api}/dags/(?P<dag>[^/]+)(?P<runs>/dagRuns(/(?P<run>[^/]+))?)?", asked.path)
        if path is None:
            return self._error(404, "Not Found")
        if not self._is_known(asked.headers.get("authorization", "")):
            return self._error(401, "Unauthorized")
        name, run = unquote(path["dag"]), unquote(path["run"] or "")
        match asked.method, bool(path["runs"]), bool(run):
            case "POST", True, False:
                answered = self._trigger(name, asked)
            case "GET", True, True:
                answered = self._show(name, run)
            case "GET", False, False:
                answered = self._show_dag(name)
            case _:
                answered = self._error(405, "Method Not Allowed")
        return answered

    def _log_in(self, body: Json) -> Answered:
        if body.keys() != {"username", "password"}:
            problem = {"type": "missing", "loc": ["body"], "msg": "Field required", "input": body}
            return Answered(422, {"detail": [problem]})
        if (body["username"], body["password"]) != (self._username, self._password):
            return Answered(401, {"detail": f"Invalid credentials for {body}"})  # worse than the original
        self.logins += 1
        token = token_hex(16)
        self._given_out.add(token)
        return Answered(201, {"access_token": token})

    def _is_known(self, authorization: str) -> bool:
        kind, _, word = authorization.partition(" ")
        if kind == "Bearer":
            return word == self._token or word in self._given_out
        expected = base64.b64encode(f"{self._username}:{self._password}".encode()).decode()
        return self.api == "v1" and (kind, word) == ("Basic", expected)

    def _trigger(self, name: str, asked: Asked) -> Answered:
        body, dag = asked.json(), self.dags.get(name)
        run = body.get("dag_run_id", "")
        if answered := self._misshapen(asked, body):
            return answered
        if dag is None:
            return self._error(404, f"DAG with dag_id: '{name}' not found")
        if dag.has_import_errors:
            return self._error(400, f"DAG with dag_id: '{name}' has import errors and cannot be triggered")
        if run in dag.runs:
            return self._taken(name, run)
        dag.runs[run] = {
            "dag_id": name,
            "dag_run_id": run,
            "conf": body.get("conf", {}),
            "state": "queued",
            "run_type": "manual",
            "logical_date": body.get("logical_date", datetime.now(UTC).isoformat()),
        }
        return Answered(200, dag.runs[run])

    def _misshapen(self, asked: Asked, body: Json) -> Answered | None:
        if asked.headers.get("content-type") != "application/json":
            return self._error(415, "Unsupported Media Type")
        wrong = body.keys() - _FIELDS[self.api] or (self.api == "v2" and "logical_date" not in body)
        if wrong or not isinstance(body.get("conf", {}), dict):
            problem = {"type": "extra_forbidden", "loc": ["body"], "input": body}
            return Answered(422, {"detail": [problem]}) if self.api == "v2" else self._error(400, f"{wrong}")
        if not _RUN_ID.fullmatch(body.get("dag_run_id", "")):
            return self._error(400, "The run_id provided does not match the configured pattern")
        return None

    def _show(self, name: str, run: str) -> Answered:
        dag = self.dags.get(name)
        if dag is None or run not in dag.runs:
            return self._error(404, f"The DagRun with dag_id: `{name}` and run_id: `{run}` was not found")
        return Answered(200, dag.runs[run])

    def _show_dag(self, name: str) -> Answered:
        if not self.may_read_dags:
            return self._error(403, "Forbidden")
        dag = self.dags.get(name)
        if dag is None:
            return self._error(404, f"DAG with dag_id: '{name}' not found")
        return Answered(200, {"dag_id": name, "is_paused": dag.is_paused})

    def _taken(self, name: str, run: str) -> Answered:
        if self.api == "v1":
            return self._error(409, f"DAGRun with DAG ID: '{name}' and DAGRun ID: '{run}' already exists")
        reason = {"reason": "Unique constraint violation", "statement": "hidden", "orig_error": "hidden"}
        return Answered(409, {"detail": reason})

    def _error(self, status: int, detail: str) -> Answered:
        if self.api == "v2":
            return Answered(status, {"detail": detail})
        problem = {"detail": detail, "status": status, "title": "Problem", "type": "about:blank"}
        return Answered(status, problem, {"content-type": "application/problem+json"})
