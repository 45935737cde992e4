"""States as marks: a symbol, a word and a tone, so that colour is never the only sign."""

from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "warn", "busy", "quiet"]


@dataclass(frozen=True)
class Mark:
    """A state as people see it."""

    tone: Tone
    symbol: str
    word: str


_LONGEST_WORD = 24
GOOD, BAD, WARN, BUSY, QUIET = "✓", "✕", "!", "◐", "○"

_VERSIONS: dict[str, Mark] = {
    "received": Mark("busy", BUSY, "waits for files"),
    "rejected": Mark("bad", BAD, "rejected"),
    "awaiting_approval": Mark("warn", WARN, "awaits approval"),
    "approved": Mark("good", GOOD, "approved"),
    "deploying": Mark("busy", BUSY, "deploying"),
    "canary": Mark("busy", BUSY, "canary"),
    "live": Mark("good", "●", "live"),
    "superseded": Mark("quiet", QUIET, "superseded"),
    "paused": Mark("warn", "‖", "paused"),
    "rolled_back": Mark("bad", "↩", "rolled back"),
    "failed": Mark("bad", BAD, "failed"),
}
_HEALTH: dict[str, Mark] = {
    "healthy": Mark("good", GOOD, "healthy"),
    "degraded": Mark("warn", WARN, "degraded"),
    "unhealthy": Mark("bad", BAD, "unhealthy"),
    "unknown": Mark("quiet", "?", "unknown"),
}
_VERDICTS: dict[str, Mark] = {
    "ok": Mark("good", GOOD, "no drift"),
    "drifted": Mark("bad", "◆", "drifted"),
    "degraded": Mark("bad", "◆", "degraded"),
    "insufficient_data": Mark("quiet", QUIET, "too little data"),
    "pass": Mark("good", GOOD, "pass"),
    "fail": Mark("bad", BAD, "fail"),
    "inconclusive": Mark("quiet", QUIET, "too little to tell"),
    "error": Mark("warn", WARN, "not measured"),
    "approved": Mark("good", GOOD, "approved"),
    "rejected": Mark("bad", BAD, "rejected"),
    "held": Mark("warn", WARN, "waits for a word"),
}
_PHASES: dict[str, Mark] = {
    "uploading": Mark("busy", BUSY, "uploading"),
    "deploying": Mark("busy", BUSY, "deploying"),
    "shifting": Mark("busy", BUSY, "moving traffic"),
    "baking": Mark("busy", BUSY, "being watched"),
    "returning": Mark("warn", "↩", "going back"),
    "live": Mark("good", "●", "live"),
    "failed": Mark("bad", BAD, "failed"),
    "rolled_back": Mark("bad", "↩", "rolled back"),
    "superseded": Mark("quiet", QUIET, "superseded"),
}
_EPISODES: dict[str, Mark] = {
    "requested": Mark("busy", BUSY, "asked for"),
    "running": Mark("busy", BUSY, "running"),
    "succeeded": Mark("busy", BUSY, "trained, version to come"),
    "closed": Mark("good", GOOD, "a version came"),
    "failed": Mark("bad", BAD, "failed"),
    "expired": Mark("bad", BAD, "no version came"),
}
_WORDS: dict[str, Mark] = {
    "waiting": Mark("busy", BUSY, "waiting"),
    "delivered": Mark("good", GOOD, "delivered"),
    "dead": Mark("bad", BAD, "given up"),
    "proposed": Mark("warn", WARN, "waits for approval"),
    "applied": Mark("good", GOOD, "applied"),
    "outdated": Mark("quiet", QUIET, "outdated"),
    "superseded": Mark("quiet", QUIET, "superseded"),
    "accepted": Mark("good", GOOD, "accepted"),
    "refused": Mark("bad", BAD, "refused"),
    "failed": Mark("bad", BAD, "failed"),
    "asked": Mark("busy", BUSY, "asked"),
    "approved": Mark("good", GOOD, "approved"),
}


def version_mark(status: str) -> Mark:
    """Of a version's status. One that is not known here is shown as it is."""
    return _VERSIONS.get(status) or _plain(status)


def health_mark(status: str | None) -> Mark:
    """Of a model's health; None: nothing serves."""
    return _HEALTH.get(status or "") or _plain(status or "no version serves")


def verdict_mark(verdict: str | None) -> Mark:
    """Of a report, a measurement or the gate; None: there is none yet."""
    return _VERDICTS.get(verdict or "") or _plain(verdict or "no report yet")


def quality_mark(verdict: str) -> Mark:
    """Of a quality report."""
    return Mark("good", GOOD, "well") if verdict == "ok" else verdict_mark(verdict)


def phase_mark(phase: str) -> Mark:
    """Of a rollout."""
    return _PHASES.get(phase) or _plain(phase)


def episode_mark(status: str) -> Mark:
    """Of a retraining."""
    return _EPISODES.get(status) or _plain(status)


def word_mark(word: str) -> Mark:
    """Of a delivery, a proposal or the outcome of a call."""
    return _WORDS.get(word) or _plain(word)


def _plain(word: str) -> Mark:
    return Mark("quiet", QUIET, word.replace("_", " ")[:_LONGEST_WORD])
