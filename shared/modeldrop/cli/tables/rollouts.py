"""Rollouts, and what happened to a model."""

from rich.table import Table
from rich.text import Text

from modeldrop.cli.tables.drawing import Answer, ago, plain, table_of, to_the_second


def rollout_table(answer: Answer) -> Table:
    """The latest rollout: its steps, and the last measurements."""
    if not answer["rollouts"]:
        return table_of(["no rollout yet"], [])
    return one_rollout_table(answer["rollouts"][0])


def rollouts_table(answer: Answer) -> Table:
    """Rollouts, the newest first, a line each."""
    rows = []
    for one in answer["rollouts"]:
        last = one["entries"][-1]["at"] if one["entries"] else one["opened_at"]
        share = f"{one['entries'][-1]['percent']} %" if one["entries"] else "-"
        said = one["held"]["why"] if one["held"] else one["reason"]
        rows.append([one["id"], one["kind"], one["version"], one["phase"], share, ago(last), said or "-"])
    return table_of(["rollout", "kind", "version", "phase", "traffic", "since", "why"], rows)


def one_rollout_table(rollout: Answer) -> Table:
    """One rollout, step by step, with what was measured."""
    rows = [[entry["at"], entry["phase"], f"{entry['percent']} %", entry["reason"]] for entry in rollout["entries"]]
    rows += [
        [measured["at"], measured["verdict"], f"{measured['percent']} %", measured["why"]]
        for measured in rollout["measurements"]
    ]
    seen = [[to_the_second(at), ago(at), *told] for at, *told in sorted(rows)]
    table = table_of(["at", "ago", "what", "traffic", "why"], seen)
    table.title = Text(plain(f"{rollout['id']}: {rollout['phase']}"))
    held = rollout["held"]
    table.caption = Text(plain(f"held ({held['cause']}): {held['why']}")) if held else None
    return table


def history_table(answer: Answer) -> Table:
    """The history, the newest first."""
    rows = [
        [to_the_second(entry["at"]), ago(entry["at"]), *(entry[name] for name in ("version", "what", "by", "why"))]
        for entry in answer["history"]
    ]
    return table_of(["at", "ago", "version", "what", "by", "why"], rows)


def served_table(answer: Answer) -> Table:
    """What served at a time."""
    served = answer["served"]
    rows = [[served[name] for name in ("version", "since", "by", "why", "digest")]] if served else []
    return table_of(["version", "since", "by", "why", "digest"], rows)
