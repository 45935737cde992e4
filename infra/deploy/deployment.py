"""A deployment: function by function deploy, bind, smoke-test; and all of it taken back where one of them fails."""

import http.client
import json
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from infra.deploy import commands
from infra.deploy.commands import Destination, Wrong
from infra.deploy.functions_table import Function, Table
from infra.deploy.lock import LockLost
from infra.deploy.running import CommandFailed, Interrupted, Interruptions, Run, run_command
from infra.deploy.smoke import (
    TOKEN_COMMAND,
    Call,
    Read,
    address_command,
    answer_of,
    call_command,
    smoke_test,
    what_is_wrong,
    why_not_asked,
)

SMOKE_ATTEMPTS = 5
"""A binding counts up to a minute after it was made, and so a caller may be refused at first."""
SETTLE_LOOKS = 40
"""How often, at most, it is looked whether a deployment that gcloud left behind has ended."""
_READ_SECONDS = 60.0


class SmokeFailed(Exception):
    """A function that was deployed does not answer as it should."""


@dataclass
class Deployment:
    """One deployment. ``say`` is told what goes on, line by line; ``pause_seconds`` lie between smoke tests.

    ``turn``: says that it goes on, before each function; raises LockLost where another one has taken its place.
    """

    table: Table
    to: Destination
    say: Callable[[str], None] = print
    run: Run = run_command
    pause_seconds: float = 15.0
    attempts: int = SMOKE_ATTEMPTS
    interruptions: Interruptions = field(default_factory=Interruptions)
    turn: Callable[[], None] = lambda: None
    begun: list[Function] = field(default_factory=list)

    def deploy(self, functions: Sequence[Function]) -> bool:
        """Whether all of them are deployed and answer. If not, those that had a revision before serve it again."""
        before = serving(self.run(commands.serving_revisions(self.to)))
        try:
            for place, function in enumerate(functions, 1):
                self._deploy_one(f"[{place}/{len(functions)}] {function.name}", function)
        except LockLost as error:
            self._stop(error)
            return False
        except (CommandFailed, SmokeFailed, Wrong, OSError) as error:
            self._bring_back(before, f"failed: {error}")
            return False
        except Interrupted as error:
            self._bring_back(before, f"interrupted by {error}")
            return False
        except BaseException as error:
            self._bring_back(before, f"failed, and not as foreseen: {error!r}")
            raise
        self.say(f"deployed, and answering: {', '.join(function.name for function in functions)}")
        return True

    def _deploy_one(self, title: str, function: Function) -> None:
        self.turn()
        began = time.monotonic()
        self.say(f"{title}: deploying (two to four minutes)")
        self.begun.append(function)  # also where the command fails: what became of it is not known then
        with self.interruptions.held():  # gcloud gone, its deployment would go on, and get the traffic in the end
            self.run(commands.deploy(self.table, function, self.to))
        for command in commands.let_call(function, self.to):
            self.run(command)
        took = f"{title}: deployed in {time.monotonic() - began:.0f} s"
        if reason := why_not_asked(function, self.to):
            self.say(f"{took}; not asked anything: {reason}")
            return
        self.say(f"{took}; smoke test")
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
            except (CommandFailed, OSError, http.client.HTTPException) as error:  # OSError: everything of urllib
                problem = f"{type(error).__name__}: {error}"
            if problem is None:
                self.say(f"{title}: answers")
                return
        raise SmokeFailed(f"{function.name}: {problem}")

    def _ask(self, function: Function, test: Call | Read) -> str:
        if isinstance(test, Call):
            return answer_of(self.run(call_command(function, test, self.to)))
        address = self.run(address_command(function, self.to)).strip()
        return read(address + test.path, self.run(TOKEN_COMMAND).strip())

    def _bring_back(self, before: dict[str, str], why: str) -> None:
        left = list(reversed(self.begun))
        try:
            with self.interruptions.held():
                self.say(why)
                if not self._still_our_turn():
                    return
                while left:
                    self._bring_one_back(left[0], before.get(left[0].service))
                    left.pop(0)
        except Interrupted:
            for function in left:
                command = commands.bring_back(function, before.get(function.service, "REVISION"), self.to)
                self.say(f"{function.name}: NOT taken back. By hand: {shlex.join(command)}")

    def _still_our_turn(self) -> bool:
        """Whether nobody else deploys by now. Where that cannot be found out, what was begun is taken back.

        It also finds out which lock is ours, where an interruption came between a renewal and its answer.
        """
        try:
            self.turn()
        except LockLost as error:
            self._stop(error)
            return False
        except (CommandFailed, Wrong, OSError) as error:
            self.say(f"the lock could not be renewed: {error}")
        return True

    def _stop(self, error: LockLost) -> None:
        self.say(f"stopped: {error}. Nothing is taken back: that would undo what the other deployment does")

    def _await_its_end(self, function: Function) -> None:
        """Until its deployment has ended, if gcloud left one behind: traffic moved before that would be moved again."""
        for look in range(SETTLE_LOOKS):
            try:
                state = self.run(commands.state(function, self.to)).strip()
            except CommandFailed:
                return
            if state != "DEPLOYING":
                return
            if not look:
                self.say(f"{function.name}: its deployment is still under way; waits for its end")
            time.sleep(self.pause_seconds)
        self.say(f"{function.name}: is still being deployed; look at its traffic when that has ended")

    def _bring_one_back(self, function: Function, revision: str | None) -> None:
        if revision is None:
            self.say(f"{function.name}: was not there before; it stays as it is")
            return
        if function is self.begun[-1]:  # those before it have ended
            self._await_its_end(function)
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
    try:
        services = json.loads(answer)
    except ValueError as error:
        raise CommandFailed(f"gcloud listed no services: {answer[:200]!r}") from error
    revisions = {}
    for service in services:
        shares = [share for share in service.get("status", {}).get("traffic", ()) if share.get("percent")]
        if shares:
            revisions[service["metadata"]["name"]] = max(shares, key=lambda share: share["percent"])["revisionName"]
    return revisions


def read(address: str, token: str) -> str:
    """GET with a token. Raises OSError, also for an answer that is not 200; HTTPException for one that is cut off."""
    if not address.startswith(("https://", "http://127.0.0.1:")):
        raise OSError(f"a token is not sent to {address}")
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - see above
    with urllib.request.urlopen(request, timeout=_READ_SECONDS) as answer:  # noqa: S310
        return str(answer.read().decode("utf-8", "replace"))


def dry_run(table: Table, functions: Sequence[Function], to: Destination) -> list[str]:
    """Every command in its order, as one can type it; and those that take a deployment back."""
    lines = [f"# while gs://{to.bucket}/{commands.LOCK} says that nobody else deploys"]
    lines += [shlex.join(commands.ACCESS_TOKEN), shlex.join(commands.serving_revisions(to))]
    for function in functions:
        lines += ["", f"# {function.name}", shlex.join(commands.deploy(table, function, to))]
        lines += [shlex.join(command) for command in commands.let_call(function, to)]
        reason = why_not_asked(function, to)
        lines += [f"# not asked anything: {reason}"] if reason else _typed(function, smoke_test(function, to), to)
    lines += ["", "# where one of them fails, for each that had a revision before"]
    for function in functions:
        lines += [shlex.join(commands.state(function, to)), shlex.join(commands.bring_back(function, "REVISION", to))]
    return lines


def _typed(function: Function, test: Call | Read, to: Destination) -> list[str]:
    if isinstance(test, Call):
        return [shlex.join(call_command(function, test, to))]
    token, address = shlex.join(TOKEN_COMMAND), shlex.join(address_command(function, to))
    return [f'curl --fail --header "Authorization: Bearer $({token})" "$({address}){test.path}"']
