"""A process that plays a scenario and is gone, without a word, at the point named: ``os._exit`` in the middle.

Arguments: scenario, data folder, time it begins at (ISO), point (JSON), side (before | after).
"""

import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import NoReturn, cast

import msgspec

from tests.crash.cases import over, stimulate
from tests.crash.interruptions import Interrupting, Point, Side
from tests.crash.scenarios import SCENARIOS

KILLED = 137


def main(name: str, data: str, now: str, point: str, side: str) -> None:
    """Plays until the point; returns only if it was not reached."""
    logging.disable()
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    with over(scenario, Path(data), datetime.fromisoformat(now)) as play:
        where = msgspec.json.decode(point, type=Point)
        services = play.instance(Interrupting(play, where, cast("Side", side), _end))
        stimulate(scenario, play, services)
        play.settle(services)


def _end() -> NoReturn:
    os._exit(KILLED)


if __name__ == "__main__":
    main(*sys.argv[1:])
