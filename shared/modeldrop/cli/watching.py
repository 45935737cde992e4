"""A table that is looked at again and again."""

import sys
import time
from collections.abc import Callable

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from modeldrop.cli.ending import fail
from modeldrop.cli.tables.drawing import Screen, plain
from modeldrop.errors import Unavailable

PAUSE_SECONDS = 2.0


def watched(look: Callable[[], Table], pause_seconds: float = PAUSE_SECONDS) -> None:
    """Show it until Ctrl-C. A control plane that is silent for a while only shows so, once it has answered."""
    if not sys.stdout.isatty():
        fail("--watch needs a terminal: there is nothing to draw on")
    last = look()
    with Live(last, console=Screen(), auto_refresh=False) as live:
        live.refresh()
        while True:
            time.sleep(pause_seconds)
            try:
                last = look()
                live.update(last, refresh=True)
            except Unavailable as error:
                live.update(Group(last, Text(plain(f"no answer: {error}"), style="yellow")), refresh=True)
