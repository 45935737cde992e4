"""Work of many kinds at once, so that one kind that hangs does not keep the others waiting.

Each kind has a lane. What a lane is worth is not known before one piece of its work has come to an end, so until then
it gets one worker and no more; a lane that has failed is closed for the rest of the round. So of eight workers a lane
that hangs ever holds one.

A failure closes its lane at once: nobody answers there, and the next would take as long. A stumble was quick, and may
be a trouble of that one errand: only several in a row close the lane.
"""

import time
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Condition
from types import TracebackType
from typing import Literal, Protocol

WORKERS = 8
MOST_OF_A_LANE = 4
MOST_STUMBLES = 10

Outcome = Literal["works", "stumbles", "fails", "unknown"]
"""What a piece of work says of its lane."""


class Errand(Protocol):
    """A piece of work. Exactly one of the two is called, once."""

    def run(self) -> Outcome:
        """Do it."""

    def skip(self) -> None:
        """It is not done in this round."""


class _Lane:
    def __init__(self) -> None:
        self.waiting: deque[Errand] = deque()
        self.running = 0
        self.state: Outcome = "unknown"
        self.stumbles = 0  # in a row

    def learn(self, outcome: Outcome) -> None:
        """What a piece of its work has come to."""
        if outcome == "unknown" or self.state == "fails":
            return
        self.stumbles = self.stumbles + 1 if outcome == "stumbles" else 0
        self.state = "fails" if self.stumbles >= MOST_STUMBLES else outcome

    @property
    def is_free(self) -> bool:
        return bool(self.waiting) and self.running < (MOST_OF_A_LANE if self.state == "works" else 1)


class Lanes:
    """A round: ``with Lanes(until) as lanes: lanes.put(…)``; the end of the block waits for what was put.

    ``until``: monotonic time after which nothing is begun any more; ``not_reached``, once the block has ended: how many
    errands that left. What an errand raises ends the round.
    """

    def __init__(self, until: float) -> None:
        self.not_reached = 0
        self._until = until
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()  # the one that was served longest ago comes first
        self._changed = Condition()
        self._is_closed = self._is_broken = False
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="outbox")
        self._workers: list[Future[None]] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing is begun any more."""
        return self._is_broken or time.monotonic() >= self._until

    def put(self, name: str, errand: Errand) -> None:
        """Have it done in that lane."""
        with self._changed:
            lane = self._lanes.setdefault(name, _Lane())
            if lane.state != "fails":
                lane.waiting.append(errand)
                self._changed.notify()
        if lane.state == "fails":
            errand.skip()
        elif len(self._workers) < WORKERS:
            self._workers.append(self._pool.submit(copy_context().run, self._work))

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._pool.shutdown()
        for worker in self._workers:
            worker.result()
        for lane in self._lanes.values():
            self.not_reached += len(lane.waiting)
            _skip(lane.waiting)

    def _work(self) -> None:
        try:
            while (taken := self._take()) is not None:
                lane, errand = taken
                self._give_back(lane, errand.run())
        except BaseException:
            with self._changed:
                self._is_broken = True
                self._changed.notify_all()
            raise

    def _take(self) -> tuple[_Lane, Errand] | None:
        """The next piece of work, once there is some that may begin; None: there will be none."""
        with self._changed:
            while not self.is_over:
                for name, lane in self._lanes.items():
                    if lane.is_free:
                        self._lanes.move_to_end(name)
                        lane.running += 1
                        return lane, lane.waiting.popleft()
                if self._is_closed and not any(lane.waiting for lane in self._lanes.values()):
                    return None
                self._changed.wait(max(self._until - time.monotonic(), 0))
            return None

    def _give_back(self, lane: _Lane, outcome: Outcome) -> None:
        left: deque[Errand] = deque()
        with self._changed:
            lane.running -= 1
            lane.learn(outcome)
            if lane.state == "fails":
                left, lane.waiting = lane.waiting, left
            self._changed.notify_all()
        _skip(left)


def _skip(errands: deque[Errand]) -> None:
    while errands:
        errands.popleft().skip()
