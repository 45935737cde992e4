"""A deployment: function by function deploy, bind, smoke-test; and all of it taken back where one of them fails."""

import json
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from infra.deploy import commands
from infra.deploy.commands import Destination
from infra.deploy.functions_table import REPOSITORY, Function, Table
from infra.deploy.smoke import (
    TOKEN_COMMAND,
    Call,
    Read,
    address_command,
    answer_of,
    call_command,
    smoke_test,
    what_is_wrong,
)

SMOKE_ATTEMPTS = 5
"""A binding counts up to a minute after it was made, and so a caller may be refused at first."""
_READ_SECONDS = 60.0

Run = Callable[[Sequence[str]], str]
"""Runs a command and gives what it wrote to its standard output; raises CommandFailed."""


class CommandFailed(Exception):
    """A command ended with an error; what it said about it stands on the terminal already."""


class SmokeFailed(Exception):
    """A function that was deployed does not answer as it should."""


def run_command(command: Sequence[str]) -> str:
    """Runs it in the repository; its errors and its own progress go to the terminal."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, check=False)
    if done.returncode:
        raise CommandFailed(f"{done.returncode} from: {shlex.join(command)}")
    return done.stdout


@dataclass
class Deployment:
    """One deployment. ``say`` is told what goes on, line by line; ``pause_seconds`` lie between smoke tests."""

    table: Table
    to: Destination
    say: Callable[[str], None] = print
    run: Run = run_command
    pause_seconds: float = 15.0
    attempts: int = SMOKE_ATTEMPTS
    begun: list[Function] = field(default_factory=list)

    def deploy(self, functions: Sequence[Function]) -> bool:
        """Whether all of them are deployed and answer. If not, those that had a revision before serve it again."""
        before = serving(self.run(commands.serving_revisions(self.to)))
        try:
            for place, function in enumerate(functions, 1):
                self._deploy_one(f"[{place}/{len(functions)}] {function.name}", function)
        except (CommandFailed, SmokeFailed) as error:
            self.say(f"failed: {error}")
            self._bring_back(before)
            return False
        except KeyboardInterrupt:
            self.say("interrupted")
            self._bring_back(before)
            return False
        self.say(f"deployed, and answering: {', '.join(function.name for function in functions)}")
        return True

    def _deploy_one(self, title: str, function: Function) -> None:
        began = time.monotonic()
        self.say(f"{title}: deploying (two to four minutes)")
        self.begun.append(function)  # also where the command fails: what became of it is not known then
        self.run(commands.deploy(self.table, function, self.to))
        for command in commands.let_call(function, self.to):
            self.run(command)
        self.say(f"{title}: deployed in {time.monotonic() - began:.0f} s; smoke test")
        self._smoke(title, function)

    def _smoke(self, title: str, function: Function) -> None:
        test = smoke_test(function, self.to)
        problem: str | None = None
        for attempt in range(self.attempts):
            if attempt:
                self.say(f"{title}: {problem}; once more in {self.pause_seconds:.0f} s")
                time.sleep(self.pause_seconds)
            try:
                problem = what_is_wrong(test, self._ask(function, test))
            except (CommandFailed, OSError) as error:  # OSError: everything of urllib
                problem = str(error)
            if problem is None:
                self.say(f"{title}: answers")
                return
        raise SmokeFailed(f"{function.name}: {problem}")

    def _ask(self, function: Function, test: Call | Read) -> str:
        if isinstance(test, Call):
            return answer_of(self.run(call_command(function, test, self.to)))
        address = self.run(address_command(function, self.to)).strip()
        return read(address + test.path, self.run(TOKEN_COMMAND).strip())

    def _bring_back(self, before: dict[str, str]) -> None:
        for function in reversed(self.begun):
            revision = before.get(function.service)
            if revision is None:
                self.say(f"{function.name}: was not there before; it stays as it is")
                continue
            command = commands.bring_back(function, revision, self.to)
            try:
                self.run(command)
                self.say(f"{function.name}: {revision} serves again")
            except CommandFailed:
                self.say(f"{function.name}: NOT taken back. By hand: {shlex.join(command)}")


def serving(answer: str) -> dict[str, str]:
    """The revision of each service that has most of the traffic.

    >>> serving('[{"metadata": {"name": "api"}, "status": {"traffic": [{"revisionName": "api-1", "percent": 100}]}}]')
    {'api': 'api-1'}
    """
    revisions = {}
    for service in json.loads(answer):
        shares = [share for share in service.get("status", {}).get("traffic", ()) if share.get("percent")]
        if shares:
            revisions[service["metadata"]["name"]] = max(shares, key=lambda share: share["percent"])["revisionName"]
    return revisions


def read(address: str, token: str) -> str:
    """GET with a token. Raises OSError, also for an answer that is not 200."""
    if not address.startswith(("https://", "http://127.0.0.1:")):
        raise OSError(f"a token is not sent to {address}")
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - see above
    with urllib.request.urlopen(request, timeout=_READ_SECONDS) as answer:  # noqa: S310
        return str(answer.read().decode())


def dry_run(table: Table, functions: Sequence[Function], to: Destination) -> list[str]:
    """Every command in its order, as one can type it; and those that take a deployment back."""
    lines = [shlex.join(commands.serving_revisions(to))]
    for function in functions:
        lines += ["", f"# {function.name}", shlex.join(commands.deploy(table, function, to))]
        lines += [shlex.join(command) for command in commands.let_call(function, to)]
        lines += _typed(function, smoke_test(function, to), to)
    lines += ["", "# where one of them fails, for each that had a revision before"]
    lines += [shlex.join(commands.bring_back(function, "REVISION", to)) for function in functions]
    return lines


def _typed(function: Function, test: Call | Read, to: Destination) -> list[str]:
    if isinstance(test, Call):
        return [shlex.join(call_command(function, test, to))]
    token, address = shlex.join(TOKEN_COMMAND), shlex.join(address_command(function, to))
    return [f'curl --fail --header "Authorization: Bearer $({token})" "$({address}){test.path}"']
