"""What can come between two instructions of an instance: hooks that listen, and hooks that interrupt."""

from collections.abc import Callable
from typing import Literal, NoReturn

import msgspec

from modeldrop.ports import Endpoint
from tests.crash.play import BrokenRule, Play
from tests.crash.watched import Effect

Side = Literal["before", "after"]


class Crash(BaseException):
    """The process is gone: nothing of ours may catch this, nor do anything after it."""


class Point(msgspec.Struct, frozen=True):
    """An effect of a run: the how many-th, which, and how many seconds into the run."""

    number: int
    effect: Effect
    seconds: float

    def __str__(self) -> str:
        return f"{self.number} {self.effect}"


class Listening:
    """Writes down every effect of one run."""

    def __init__(self, play: Play) -> None:
        self.points: list[Point] = []
        self._play = play
        self._began = play.clock.now

    def before(self, effect: Effect) -> None:
        """See Hook."""
        seconds = (self._play.clock.now - self._began).total_seconds()
        self.points.append(Point(len(self.points), effect, seconds))

    def after(self, effect: Effect) -> None:
        """See Hook."""

    def seen(self, endpoint: Endpoint) -> None:
        """See Hook."""
        self._play.rules.seen(endpoint)


class Interrupting(Listening):
    """Once, at the point and on the side named, ``act`` happens: it raises, or others are at work meanwhile."""

    def __init__(self, play: Play, point: Point, side: Side, act: Callable[[], object]) -> None:
        super().__init__(play)
        self._point = point
        self._side = side
        self._act = act
        self._crashed = False
        self._begun: list[Point] = []
        """Effects that have not ended, the innermost last; one that raised stays until an outer one ends."""
        self.happened = False

    def before(self, effect: Effect) -> None:
        """See Hook."""
        if self._crashed:
            raise BrokenRule(f"{effect} after the crash")
        super().before(effect)
        self._begun.append(self.points[-1])
        self._interrupt("before", self.points[-1])

    def after(self, effect: Effect) -> None:
        """See Hook."""
        ended = self._begun.pop()
        while ended.effect != effect:
            ended = self._begun.pop()
        self._interrupt("after", ended)

    def _interrupt(self, side: Side, point: Point) -> None:
        if self.happened or side != self._side or point.number != self._point.number:
            return
        if point.effect != self._point.effect:
            raise BrokenRule(f"{self._point} was to be interrupted, not {point.effect}")
        self.happened = True
        try:
            self._act()
        except Crash:
            self._crashed = True
            raise


def crash() -> NoReturn:
    """The process ends here."""
    raise Crash
