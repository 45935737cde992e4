"""Following a version until it is settled: what is asked, when it is over, and what is said of it meanwhile."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modeldrop.cli.calling import FOREIGN, address_of, answer
from modeldrop.cli.control_plane import ControlPlane
from modeldrop.errors import Unavailable

if TYPE_CHECKING:
    import httpx

Answer = dict[str, Any]

SETTLED = frozenset({"live", "rejected", "failed", "superseded", "rolled_back"})
POLL_HERE_SECONDS, POLL_SECONDS = 0.1, 2.0
PATIENCE_SECONDS = 60.0
"""How long a control plane that has answered before may be silent."""


@dataclass(frozen=True)
class Seen:
    """A version and its rollout as they were at one look; None where there is none (yet)."""

    model: str
    version: str
    facts: Answer | None = None
    rollout: Answer | None = None
    seconds: float = 0.0
    trouble: str = ""
    """Why the last look saw nothing new."""

    @property
    def status(self) -> str:
        """Where the version is in its life."""
        return str(self.facts["status"]) if self.facts else "not seen yet"

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.status in SETTLED

    @property
    def reasons(self) -> list[str]:
        """What explains a status that is not the one hoped for."""
        facts = self.facts or {}
        if self.status == "rejected":
            return [str(reason) for reason in (facts.get("decision") or {}).get("reasons", [])]
        if self.status in {"failed", "rolled_back"} and facts.get("fallen"):
            return [str(facts["fallen"])]
        return ["another version serves in its place"] if self.status == "superseded" else []

    @property
    def waits_for(self) -> str:
        """What somebody must do, or what has to come, before it goes on; empty where it goes on by itself."""
        held = (self.rollout or {}).get("held")
        approve = f"modeldrop approve {self.model} {self.version}"
        if self.status == "awaiting_approval" or (held and held["cause"] == "approval"):
            return f"waits for approval: {approve}"
        if held:
            return f"held: {held['why']}: modeldrop resume {self.model}, or modeldrop rollback {self.model}"
        if self.status == "paused":
            return f"paused: modeldrop resume {self.model}, or modeldrop rollouts {self.model}"
        waiting = ", ".join((self.facts or {}).get("waiting_for") or [])
        return f"waits for {waiting}" if waiting and self.status == "received" else ""


def look_until_settled(url: ControlPlane, model: str, version: str, timeout_seconds: float) -> Iterator[Seen]:
    """Looks again and again, until the version is settled or the time is over.

    Raises Unavailable where nobody answers at all, or nobody has for a minute.
    """
    started = last_answer = time.monotonic()
    seen = Seen(model, version)
    pause = POLL_HERE_SECONDS if url.is_here else POLL_SECONDS
    with url.client() as client:
        while True:
            try:
                facts, rollout = _look(url, client, model, version)
                last_answer = time.monotonic()
                seen = Seen(model, version, facts, rollout, last_answer - started)
            except Unavailable as error:
                if seen.facts is None or time.monotonic() - last_answer > PATIENCE_SECONDS:
                    raise
                seen = replace(seen, seconds=time.monotonic() - started, trouble=str(error))
            yield seen
            left = timeout_seconds - (time.monotonic() - started)
            if seen.is_settled or left <= 0:
                return
            time.sleep(min(pause, left))


def last_of(looks: Iterable[Seen]) -> Seen:
    """What was seen last; there is one look at least."""
    *_, seen = looks
    return seen


def _look(url: ControlPlane, client: "httpx.Client", model: str, version: str) -> tuple[Answer | None, Answer | None]:
    """The version, and its latest rollout; None for what is not there yet."""
    with url.told_plainly():
        found = client.get(address_of(url, "v1", "models", model, "versions", version))
        listed = client.get(address_of(url, "v1", "models", model, "rollouts"), params={"limit": 10})
    if found.status_code == 404:
        return None, None
    facts, rollouts = _usable(url, found), _usable(url, listed)
    try:
        rollout = next((one for one in rollouts["rollouts"] if one["version"] == version), None)
        seen = Seen(model, version, facts, rollout)
        _ = seen.status, seen.reasons, seen.waits_for, happened(rollout), baking(rollout, 0.0)  # all of it is there
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise Unavailable(f"{url} {FOREIGN}") from None
    return facts, rollout


def _usable(url: ControlPlane, response: "httpx.Response") -> Answer:
    """The answer; raises Unavailable where the server cannot do it now: the next look may."""
    if response.status_code == 429 or response.status_code >= 500:
        raise Unavailable(f"{url} answers {response.status_code}")
    return answer(url, response)


@dataclass
class Story:
    """A rollout as lines of text: each thing that happened is told once, in its order."""

    _told: set[str] = field(default_factory=set)
    _status: str = ""
    _waits: str = ""

    def news(self, seen: Seen) -> list[str]:
        """What has happened since the last look."""
        lines = []
        for at, line in sorted(happened(seen.rollout)):
            if f"{at} {line}" not in self._told:
                self._told.add(f"{at} {line}")
                lines.append(f"  {line}")
        if seen.status != self._status:
            self._status = seen.status
            why = f" ({'; '.join(seen.reasons)})" if seen.reasons else ""
            lines.append(f"{seen.model} {seen.version}: {seen.status}{why}")
        if seen.waits_for != self._waits:
            self._waits = seen.waits_for
            lines += [f"  {seen.waits_for}"] if seen.waits_for else []
        return lines


def happened(rollout: Answer | None) -> list[tuple[str, str]]:
    """When, and what: the steps of a rollout and what was measured at them."""
    if rollout is None:
        return []
    steps = [
        (
            str(entry["at"]),
            f"{entry['phase']} at {entry['percent']} %: {entry['reason']}"
            + (_at_least(rollout) if entry["phase"] == "baking" else ""),
        )
        for entry in rollout["entries"]
    ]
    return steps + [
        (str(one["at"]), f"measured at {one['percent']} %: {one['verdict']}, {one['why']}")
        for one in rollout["measurements"]
    ]


def _at_least(rollout: Answer) -> str:
    """What a step takes at least, where that is anything."""
    seconds, requests = rollout["bake_seconds"], (rollout.get("limits") or {}).get("min_requests")
    wanted = [f"{seconds:g} s"] if seconds else []
    wanted += [f"{requests} requests"] if requests else []
    return f", for at least {' and '.join(wanted)}" if wanted else ""


def baking(rollout: Answer | None, now: float) -> str:
    """How long the step still bakes, if it does; ``now`` in seconds since 1970."""
    if rollout is None or rollout["phase"] != "baking" or not isinstance(rollout["phase_since"], str):
        return ""
    left = datetime.fromisoformat(rollout["phase_since"]).timestamp() + float(rollout["bake_seconds"]) - now
    return f"bakes for {left:.0f} s more" if left > 0 else "baked long enough: waits for its measurement"
