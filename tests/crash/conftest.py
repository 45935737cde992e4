"""Scenarios are prepared once a run; the number of points and cases is said at its end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from tests.crash.cases import Prepared, prepared
from tests.crash.interruptions import Point
from tests.crash.scenarios import Scenario

_TALLY = pytest.StashKey["Tally"]()
_FROM_WORKER = "crash_tally"


class Tally(msgspec.Struct):
    """What was played: how many cases in which way, the points, and the effects up to which no tick can recover."""

    cases: dict[str, int] = {}
    points: dict[str, int] = {}
    untold: dict[str, str] = {}

    def add(self, way: str, cases: int, story: Prepared) -> None:
        """Cases of one way were played at the points of the story."""
        self.cases[way] = self.cases.get(way, 0) + cases
        self.points[story.scenario.name] = len(story.points)
        if story.scenario.stimulus is not None:
            self.untold[story.scenario.name] = _effects(story.points[: story.first_commit + 1])

    def merge(self, other: "Tally") -> None:
        """Take in what another process played."""
        for way, cases in other.cases.items():
            self.cases[way] = self.cases.get(way, 0) + cases
        self.points |= other.points
        self.untold |= other.untold


def _effects(points: Sequence[Point]) -> str:
    if "models" not in points[-1].effect.touches:
        return "all: nothing is ever committed about the model"
    return ", ".join(dict.fromkeys(f"{point.effect.port}.{point.effect.method}" for point in points))


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts what is played in this run."""
    return request.config.stash.setdefault(_TALLY, Tally())


@pytest.fixture(scope="session")
def story_of() -> Iterator[Callable[[Scenario], Prepared]]:
    """A scenario's prepared state and crash-free run, made when first asked for."""
    known: dict[str, Prepared] = {}
    with ExitStack() as stack:

        def story_of(scenario: Scenario) -> Prepared:
            if scenario.name not in known:
                known[scenario.name] = stack.enter_context(prepared(scenario))
            return known[scenario.name]

        yield story_of


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Where several processes run the tests, each has played a part."""
    played = getattr(node, "workeroutput", {}).get(_FROM_WORKER)
    if played is not None:
        node.config.stash.setdefault(_TALLY, Tally()).merge(msgspec.convert(played, Tally))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hands what was played to the process that reports it."""
    tally = session.config.stash.get(_TALLY, None)
    if tally is not None and hasattr(session.config, "workeroutput"):
        session.config.workeroutput[_FROM_WORKER] = msgspec.to_builtins(tally)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says how much was proved."""
    tally = config.stash.get(_TALLY, None)
    if tally is None:
        return
    terminalreporter.section("crash safety")
    terminalreporter.write_line(
        f"crash safety: {sum(tally.points.values()):,} points in {len(tally.points)} scenarios,"
        f" {sum(tally.cases.values()):,} cases"
    )
    for way, cases in tally.cases.items():
        terminalreporter.write_line(f"  {cases:6,} {way}")
    _summarise_untold(terminalreporter, tally)


def _summarise_untold(terminalreporter: pytest.TerminalReporter, tally: Tally) -> None:
    terminalreporter.write_line(
        "up to (not after) these effects nothing about the model has changed: no tick can know, it is delivered again"
    )
    for name, effects in sorted(tally.untold.items()):
        terminalreporter.write_line(f"  {name}: {effects}")
