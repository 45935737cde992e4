"""When windows that drifted add up to an alarm."""

from collections.abc import Iterable
from typing import Final

OK: Final = "ok"
DRIFTED: Final = "drifted"
INSUFFICIENT_DATA: Final = "insufficient_data"


def alarm(verdicts: Iterable[str], windows_to_alarm: int) -> bool:
    """Whether the latest windows that could be judged all drifted, ``windows_to_alarm`` of them; oldest first.

    A window with insufficient data was not measured: it neither counts nor breaks a run.

    >>> alarm(["ok", "drifted", "insufficient_data", "drifted"], 2), alarm(["drifted", "ok", "drifted"], 2)
    (True, False)
    """
    judged = [verdict for verdict in verdicts if verdict != INSUFFICIENT_DATA]
    return len(judged) >= windows_to_alarm and all(verdict == DRIFTED for verdict in judged[-windows_to_alarm:])
