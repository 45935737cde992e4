"""Crash safety: whatever happens between any two instructions, it ends as if nothing had happened.

Each test plays one scenario once for each of its points. What is said of a case that fails names the point; the state
it should have ended in is the one the undisturbed run ended in.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.crash.cases import (
    Prepared,
    another_tick,
    crash_case,
    doubled_case,
    interrupted_case,
    no_answer,
    others_go_on,
    others_settle,
    recover,
    scratch,
)
from tests.crash.child import KILLED
from tests.crash.conftest import Tally
from tests.crash.interruptions import Point, Side
from tests.crash.play import BrokenRule, begin_again
from tests.crash.scenarios import SCENARIOS, Scenario

Case = tuple[str, Callable[[], None]]
SIDES: tuple[Side, Side] = ("before", "after")
ROOT = Path(__file__).parents[2]
KILLED_SCENARIOS = ("better version", "rollback to a cold version")


def crashes_redelivered(story: Prepared) -> Iterator[Case]:
    """A crash; then whatever began it is delivered once more. Where only ticks began it, there is nothing to."""
    if story.scenario.stimulus is None:
        return
    for point in story.points:
        for side in SIDES:
            yield f"{side} {point}", partial(crash_case, story, point, side, redelivered=True)


def crashes_by_ticks_alone(story: Prepared) -> Iterator[Case]:
    """A crash; then nobody says anything again. Where nothing was committed yet, no tick can know."""
    for point in story.points:
        for side in SIDES:
            if story.is_known(point, side):
                yield f"{side} {point}", partial(crash_case, story, point, side, redelivered=False)


def lost_answers(story: Prepared) -> Iterator[Case]:
    """It happened, and Unavailable is raised."""
    for point in story.points:
        yield f"after {point}", partial(interrupted_case, story, point, "after", no_answer)


def refusals(story: Prepared) -> Iterator[Case]:
    """Unavailable is raised, and it did not happen."""
    for point in story.points:
        yield f"before {point}", partial(interrupted_case, story, point, "before", no_answer)


def zombies(story: Prepared) -> Iterator[Case]:
    """The instance sleeps until others have settled everything, then goes on with what it was about to do."""
    for point in story.points:
        yield f"before {point}", partial(interrupted_case, story, point, "before", others_settle)


def zombies_that_sleep_less(story: Prepared) -> Iterator[Case]:
    """At effects behind the endpoint: the instance sleeps until others have moved on, and not yet tidied up."""
    for point in story.points:
        if point.effect.port == "ModelServer":
            yield f"before {point}", partial(interrupted_case, story, point, "before", others_go_on)


def two_ticks_at_once(story: Prepared) -> Iterator[Case]:
    """Another instance makes a whole tick in between."""
    for point in story.points:
        yield f"before {point}", partial(interrupted_case, story, point, "before", another_tick)


def everything_twice(story: Prepared) -> Iterator[Case]:
    """Delivered twice, and every tick twice, by two instances."""
    yield "all along", partial(doubled_case, story)


WAYS: dict[str, Callable[[Prepared], Iterator[Case]]] = {
    "crashes, redelivered": crashes_redelivered,
    "crashes, ticks alone": crashes_by_ticks_alone,
    "lost answers": lost_answers,
    "refused before": refusals,
    "zombies": zombies,
    "zombies that sleep less (at the model server's effects only)": zombies_that_sleep_less,
    "two ticks at once": two_ticks_at_once,
    "everything twice": everything_twice,
}


@pytest.mark.parametrize("way", WAYS, ids=[way.partition(" (")[0] for way in WAYS])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_it_ends_as_if_nothing_had_happened(
    scenario: Scenario, way: str, story_of: Callable[[Scenario], Prepared], tally: Tally
) -> None:
    story = story_of(scenario)
    assert story.points, "nothing happened at all"
    cases = list(WAYS[way](story))
    failures = [f"{name}: {problem}" for name, play in cases for problem in _problems(play)]
    assert not failures, "\n".join([f"{len(failures)} of {len(cases)}:", *failures])
    tally.add(way, len(cases), story)


@pytest.mark.parametrize("name", KILLED_SCENARIOS)
def test_a_process_is_killed_and_ticks_alone_bring_it_to_its_end(
    name: str, story_of: Callable[[Scenario], Prepared], tally: Tally
) -> None:
    story = story_of(next(scenario for scenario in SCENARIOS if scenario.name == name))
    cases: list[tuple[Point, Side]] = [(point, side) for point in story.points for side in SIDES]
    at_once = os.cpu_count() or 1
    failures = []
    for start in range(0, len(cases), at_once):
        failures += _killed(story, cases[start : start + at_once])
    assert not failures, "\n".join([f"{len(failures)} of {len(cases)}:", *failures])
    tally.add("processes killed", len(cases), story)


def _killed(story: Prepared, cases: list[tuple[Point, Side]]) -> list[str]:
    """What went wrong with these cases, whose processes run at the same time."""
    folders = [scratch() for _ in cases]
    try:
        children = [_child(story, Path(folder.name), *case) for folder, case in zip(folders, cases, strict=True)]
        said = [child.communicate()[1] for child in children]
        failures = []
        for (point, side), folder, child, errors in zip(cases, folders, children, said, strict=True):
            if child.returncode != KILLED:
                failures.append(f"{side} {point}: ended with {child.returncode}: {errors}")
            failures += [f"{side} {point}: {p}" for p in _problems(partial(_recover, story, folder.name, point, side))]
        return failures
    finally:
        for folder in folders:
            folder.cleanup()


def _child(story: Prepared, data: Path, point: Point, side: Side) -> subprocess.Popen[str]:
    begin_again(story.kept, data)
    told = [story.scenario.name, str(data), story.now.isoformat(), msgspec.json.encode(point).decode(), side]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash.child", *told], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def _recover(story: Prepared, data: str, point: Point, side: Side) -> None:
    with story.over(Path(data), point.seconds) as play:
        recover(story, play, story.is_known(point, side), redelivered=False)


def _problems(play: Callable[[], None]) -> list[str]:
    try:
        play()
    except (BrokenRule, Exception) as error:
        return [f"{type(error).__name__}: {error}"]
    return []
