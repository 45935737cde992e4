"""Every point of every scenario, interrupted in every way: what is played, and what must have come of it.

The points are not listed anywhere: they are what the hook saw in a run that nothing interrupts.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from modeldrop.errors import TransientError, Unavailable
from modeldrop.wiring import Services
from tests.crash.interruptions import Crash, Interrupting, Listening, Point, Side, crash
from tests.crash.play import BrokenRule, Play, begin_again, played
from tests.crash.scenarios import Scenario
from tests.handlers.control import MODEL

MEMORY = Path("/dev/shm")
"""Files are synced to disk all the time; here the disk is memory."""
_COPIES = ("verified",)  # named by content, they may be there before anything is known of them
_NOT_ABOUT_THE_MODEL = ("records", "quarantine")  # what an upload that becomes no version leaves behind


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for one scenario, in memory where that is possible."""
    return tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)


@dataclass(frozen=True)
class Prepared:
    """A scenario up to its stimulus, kept in a folder, and what becomes of it if nothing goes wrong."""

    scenario: Scenario
    kept: Path
    now: datetime
    before: dict[str, Any]
    points: list[Point]
    expected: dict[str, Any]
    expected_late: dict[str, Any]  # where the stimulus comes only after everything else has settled

    @property
    def first_commit(self) -> int:
        """Number of the point at which the registry first knows of the stimulus; beyond all where it never does."""
        if self.scenario.stimulus is None:
            return -1
        about = (p.number for p in self.points if "models" in p.effect.touches and p.effect.method == "commit")
        return next(about, len(self.points))

    def is_known(self, point: Point, side: Side) -> bool:
        """Whether ticks alone can know of the stimulus once a crash came here."""
        return point.number > self.first_commit or (point.number == self.first_commit and side == "after")

    @contextmanager
    def again(self) -> Iterator[Play]:
        """The prepared state once more, in a folder of its own."""
        with scratch() as folder:
            begin_again(self.kept, Path(folder))
            with self.over(Path(folder)) as play:
                yield play

    @contextmanager
    def over(self, data: Path, seconds: float = 0.0) -> Iterator[Play]:
        """A play of this scenario over what is in ``data``."""
        with over(self.scenario, data, self.now + timedelta(seconds=seconds)) as play:
            yield play


@contextmanager
def over(scenario: Scenario, data: Path, now: datetime) -> Iterator[Play]:
    """A play of the scenario over what is in ``data``, from its stimulus on."""
    with played(data, now) as play:
        play.sick, play.broken = scenario.sick, scenario.broken
        play.rules.serves = bool(play.traffic)
        yield play


@contextmanager
def prepared(scenario: Scenario) -> Iterator[Prepared]:
    """Prepare the scenario, and play it without anything in its way: at once, and after all else has settled."""
    with scratch() as folder:
        kept = Path(folder)
        with played(kept, datetime.now(UTC).replace(microsecond=0)) as play:
            play.policy(scenario.policy)
            scenario.prepare(play)
            now, before = play.clock.now, play.facts()
        untouched = Prepared(scenario, kept, now, before, [], {}, {})
        with untouched.again() as play:
            listening = Listening(play)
            watched = play.instance(listening)
            stimulate(scenario, play, watched)
            play.settle(watched)
            expected = play.facts()
        with untouched.again() as play:
            play.settle(play.instance())
            stimulate(scenario, play, play.instance())
            play.settle(play.instance())
            late = play.facts()
        yield Prepared(scenario, kept, now, before, listening.points, expected, late)


def stimulate(scenario: Scenario, play: Play, services: Services) -> None:
    """What starts it, once more where the answer is an error: it is delivered again, or given again."""
    if scenario.stimulus is None:
        return
    try:
        scenario.stimulus(play, services)
    except TransientError:
        scenario.stimulus(play, services)


def crash_case(story: Prepared, point: Point, side: Side, *, redelivered: bool) -> None:
    """Crash there; another instance recovers, with or without a second delivery."""
    with story.again() as play:
        _crash(story, play, point, side)
        recover(story, play, story.is_known(point, side), redelivered=redelivered)


def _crash(story: Prepared, play: Play, point: Point, side: Side) -> None:
    interrupting = Interrupting(play, point, side, crash)
    services = play.instance(interrupting)
    with suppress(Crash):
        stimulate(story.scenario, play, services)
        play.settle(services)
        raise BrokenRule("the crash was swallowed, or its point not reached")


def recover(story: Prepared, play: Play, known: bool, *, redelivered: bool) -> None:
    """Bring it to its end with a new instance. What nobody has committed anything about is delivered again."""
    if not known:
        _nothing_changed(story, play)
    services = play.instance()
    if redelivered or not known:
        stimulate(story.scenario, play, services)
    play.settle(services)
    _compare(story.expected, play)


def interrupted_case(story: Prepared, point: Point, side: Side, act: Callable[[Play], object]) -> None:
    """Something happens there, and the same instance goes on.

    Where others settle everything before the registry knows of the stimulus, it has come that much later.
    """
    late = act is others_settle and not story.is_known(point, side)
    with story.again() as play:
        interrupting = Interrupting(play, point, side, lambda: act(play))
        services = play.instance(interrupting)
        stimulate(story.scenario, play, services)
        play.settle(services)
        if not interrupting.happened:
            raise BrokenRule("the point was not reached")
        _compare(story.expected_late if late else story.expected, play)


def no_answer(_: Play) -> NoReturn:
    """What a client raises where no answer came; whether it happened is unknown to it."""
    raise Unavailable("no answer")


def others_settle(play: Play) -> None:
    """The instance sleeps before the effect, until others have done everything there was to do."""
    play.settle(play.instance())


def others_go_on(play: Play) -> None:
    """The instance sleeps for some ticks of others: what it was about to do is over, and not all is settled yet."""
    services = play.instance()
    for _ in range(5):
        play.step(services)


def another_tick(play: Play) -> None:
    """A second tick runs at the same time."""
    play.work()
    play.tick_of(play.instance())


def doubled_case(story: Prepared) -> None:
    """The stimulus and every tick come twice, the second time to another instance."""
    with story.again() as play:
        first, second = play.instance(), play.instance()
        stimulate(story.scenario, play, first)
        stimulate(story.scenario, play, second)
        play.settle(first, second)
        _compare(story.expected, play)


def _compare(expected: dict[str, Any], play: Play) -> None:
    differences = difference(expected, play.facts())
    if differences:
        raise BrokenRule("; ".join(differences))


def _nothing_changed(story: Prepared, play: Play) -> None:
    """Before its first commit an upload or command has changed nothing; only copies named by content may be there."""
    without = _COPIES if story.first_commit < len(story.points) else _COPIES + _NOT_ABOUT_THE_MODEL
    facts = {name: fact for name, fact in play.facts().items() if name not in without}
    before = {name: fact for name, fact in story.before.items() if name not in without}
    differences = difference(before, facts)
    if differences:
        raise BrokenRule(f"changed before the first commit about {MODEL}: {'; '.join(differences)}")


def difference(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What is not as expected, by name."""
    return [f"{name}: {found[name]} instead of {expected[name]}" for name in expected if found[name] != expected[name]]
