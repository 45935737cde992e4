"""A rollout on a terminal while it goes on: its steps, the traffic, what was measured, what it waits for."""

import time
from collections.abc import Iterable, Iterator

from rich.console import Group
from rich.live import Live
from rich.text import Text

from modeldrop.cli.following import Seen, Story, baking, happened, last_of
from modeldrop.cli.tables.drawing import Screen, plain, to_the_second

MOST_LINES = 8
BAR_CELLS = 20


def follow_on_terminal(looks: Iterable[Seen]) -> Seen:
    """Redraw at each look; the last one stays on the screen."""
    with Live(console=Screen(), auto_refresh=False, transient=False) as live:

        def drawn() -> Iterator[Seen]:
            for seen in looks:
                live.update(picture(seen), refresh=True)
                yield seen

        return last_of(drawn())


def follow_in_lines(looks: Iterable[Seen]) -> Seen:
    """A line for each thing that happens, for logs and pipes."""
    story = Story()

    def told() -> Iterator[Seen]:
        for seen in looks:
            for line in story.news(seen):
                print(plain(line), flush=True)
            yield seen

    return last_of(told())


def picture(seen: Seen) -> Group:
    """One look, drawn."""
    minutes, seconds = divmod(int(seen.seconds), 60)
    rows = [Text(plain(f"{seen.model} {seen.version}: {seen.status}   {minutes}:{seconds:02d}"), style="bold")]
    rollout = seen.rollout
    if rollout is not None:
        rows.append(Text(plain(f"traffic  {_bar(_share(rollout))}")))
        rows.append(Text(plain(f"steps    {_steps(rollout)}")))
        told = [f"  {to_the_second(at)[11:19]}  {line}" for at, line in sorted(happened(rollout))]
        rows += [Text(plain(line)) for line in told[-MOST_LINES:]]
    rows += [Text(plain(f"  {reason}")) for reason in seen.reasons]
    for said in (seen.waits_for, baking(rollout, time.time()), seen.trouble and f"no answer: {seen.trouble}"):
        if said:
            rows.append(Text(plain(said), style="yellow"))
            break
    return Group(*rows)


def _share(rollout: dict[str, object]) -> int:
    entries = rollout["entries"]
    return int(entries[-1]["percent"]) if isinstance(entries, list) and entries else 0


def _bar(percent: int) -> str:
    filled = round(percent * BAR_CELLS / 100)
    return f"{'█' * filled}{'░' * (BAR_CELLS - filled)} {percent} %"


def _steps(rollout: dict[str, object]) -> str:
    """``✓ 5 %  ▶ 20 %  · 100 %``: done, under way, to come."""
    steps, now = rollout["steps"], rollout["step"]
    assert isinstance(steps, list) and isinstance(now, int)
    done = len(steps) if rollout["phase"] == "live" else now
    marks = ["✓" if number < done else "▶" if number == done else "·" for number in range(len(steps))]
    return "  ".join(f"{mark} {percent} %" for mark, percent in zip(marks, steps, strict=True))
