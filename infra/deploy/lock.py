"""One deployment at a time: an object in the models' bucket, which only one can create.

Its name and what it holds are said by whoever has it. It is renewed before each function; one that was not renewed for
``STALE_SECONDS`` was left behind by a deployment that was killed, and is taken over. All of it is compare-and-set by
the object's generation, and ages are by the bucket's own clock.
"""

import getpass
import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from infra.deploy.commands import LOCK, Wrong
from infra.deploy.running import CommandFailed

STALE_SECONDS = 45 * 60
"""Far more than a function and its smoke test take."""
_ATTEMPTS = 4
_TIMEOUT_SECONDS = 30.0
_TOKEN_SECONDS = 240.0  # gcloud's are good for five minutes at least
_NEW = "0"  # the generation of an object that is not there


class Locked(Exception):
    """Another deployment is under way; the text says whose."""


class LockLost(Exception):
    """Somebody has taken the lock over; the text says who."""


def who_deploys() -> str:
    """Whose deployment this is, in words: a build, or somebody at a machine."""
    if build := os.environ.get("BUILD_ID"):
        return f"build {build}"
    try:
        return f"{getpass.getuser()} at {socket.gethostname()}"
    except (OSError, KeyError):  # no such user: a container
        return f"somebody at {socket.gethostname()}"


@dataclass(frozen=True)
class _Held:
    """A lock as it was found."""

    id: str
    owner: str
    generation: str
    age_seconds: float


@dataclass
class Lock:
    """The lock of a bucket. ``token``: makes an access token. ``say`` is told what is out of the ordinary."""

    bucket: str
    token: Callable[[], str]
    say: Callable[[str], None]
    owner: str = field(default_factory=who_deploys)
    pause_seconds: float = 1.0
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _generation: str = _NEW
    _token: tuple[str, float] = ("", 0.0)
    """A token, and until when (monotonic) it is used."""

    def take(self, *, by_force: bool = False) -> None:
        """Raises Locked where somebody else has it; Wrong where there is no bucket, or no right to it."""
        for _ in range(_ATTEMPTS):
            if self._write(_NEW):
                return
            held = self._look()
            if held is None:
                continue  # given back since
            if held.id != self.id and not by_force and held.age_seconds < STALE_SECONDS:
                raise Locked(
                    f"{held.owner} is deploying, and was seen {held.age_seconds / 60:.0f} minutes ago. Wait; or, if "
                    f"you know better, --force-unlock. After {STALE_SECONDS // 60} minutes the lock is taken over"
                )
            if held.id != self.id:
                self.say(f"takes the lock over from {held.owner}, seen {held.age_seconds / 60:.0f} minutes ago")
            if self._write(held.generation):
                return
        raise Locked("others took the lock each time; try again")

    def renew(self) -> None:
        """Says that this deployment goes on. Raises LockLost if it is not its turn any more."""
        if not self._write(self._generation):
            held = self._look()
            if held is not None and held.id == self.id:  # an answer that was lost
                self._generation = held.generation
                return
            raise LockLost(f"the lock was taken over by {held.owner if held else 'somebody who is done already'}")

    def release(self) -> None:
        """Give it back, if it was taken. Raises nothing: one that stays is taken over in time."""
        if self._generation == _NEW:
            return
        path = f"{_reading(self.bucket)}?ifGenerationMatch={self._generation}"
        try:
            status, _, answer = self._ask("DELETE", path)
        except (OSError, CommandFailed) as error:
            self.say(f"the lock {self._where} stays: {error}")
            return
        if status not in (204, 404, 412):
            self.say(f"the lock {self._where} stays: {status} {answer[:200]!r}")

    @property
    def _where(self) -> str:
        return f"gs://{self.bucket}/{LOCK}"

    def _write(self, generation: str) -> bool:
        """Whether the object of that generation was replaced by ours."""
        body = json.dumps({"id": self.id, "owner": self.owner}).encode()
        status, _, answer = self._ask("POST", f"{_writing(self.bucket)}&ifGenerationMatch={generation}", body)
        if status == 412:
            return False
        if status != 200:
            raise Wrong(f"{self._where} cannot be written ({status}): {_why(status)}")
        self._generation = str(json.loads(answer)["generation"])
        return True

    def _look(self) -> _Held | None:
        """Who has it; None: nobody. Without the right to list, what is not there is forbidden."""
        status, asked_at, answer = self._ask("GET", _reading(self.bucket))
        if status in (403, 404):
            return None
        if status != 200:
            raise Wrong(f"{self._where} cannot be read ({status}): {_why(status)}")
        found = json.loads(answer)
        status, _, content = self._ask("GET", f"{_reading(self.bucket)}?alt=media&generation={found['generation']}")
        if status in (403, 404):
            return None
        try:
            said = json.loads(content)
            by, owner = str(said["id"]), str(said["owner"])
        except (ValueError, KeyError, TypeError):
            by, owner = "", "somebody who left no name"
        age = parsedate_to_datetime(asked_at) - datetime.fromisoformat(found["updated"])
        return _Held(by, owner, str(found["generation"]), max(0.0, age.total_seconds()))  # dates are whole seconds

    def _fresh_token(self) -> str:
        token, until = self._token
        if time.monotonic() >= until:
            token = self.token()
            self._token = (token, time.monotonic() + _TOKEN_SECONDS)
        return token

    def _ask(self, method: str, address: str, body: bytes | None = None) -> tuple[int, str, bytes]:
        """Status, date and content of the answer. Raises OSError where there is none, however often it is asked."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                status, date, answer = _answer(method, address, body, self._fresh_token())
            except (OSError, http.client.HTTPException) as error:
                if not left:
                    raise OSError(f"{address} does not answer: {error}") from error
            else:
                if status not in (408, 429) and status < 500:
                    return status, date, answer
                if not left:
                    raise OSError(f"{address} answers {status}")
            time.sleep(self.pause_seconds)
        raise AssertionError("unreachable: the last attempt returns or raises")


def _answer(method: str, address: str, body: bytes | None, token: str) -> tuple[int, str, bytes]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(address, body, headers, method=method)  # noqa: S310 - _base says where to
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
            return answer.status, str(answer.headers["Date"]), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, str(error.headers["Date"]), error.read()


def _why(status: int) -> str:
    if status == 404:
        return "there is no such bucket; Terraform makes it"
    return "who deploys needs what modeldrop-build has (docs/security.md)"


def _base() -> str:
    """Cloud Storage, or where gcloud was told that it is."""
    base = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", "https://storage.googleapis.com/storage/v1/")
    if not base.startswith(("https://", "http://127.0.0.1:")):
        raise Wrong(f"a token is not sent to {base}")
    return base


def _reading(bucket: str) -> str:
    return f"{_base()}b/{quote(bucket, safe='')}/o/{quote(LOCK, safe='')}"


def _writing(bucket: str) -> str:
    base = _base().replace("/storage/v1/", "/upload/storage/v1/")
    return f"{base}b/{quote(bucket, safe='')}/o?uploadType=media&name={quote(LOCK, safe='')}"
