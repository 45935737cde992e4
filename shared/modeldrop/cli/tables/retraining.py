"""Retrainings, proposals, and news with whom they reached."""

from rich.table import Table
from rich.text import Text

from modeldrop.cli.tables.drawing import FOREIGN, Answer, ago, plain, table_of
from modeldrop.errors import Unavailable


def retraining_table(answer: Answer) -> Table:
    """Episodes, the newest first; below them what stands, and why it opened none."""
    rows = []
    for episode in answer["episodes"]:
        run = episode["run"]
        came = episode["closed_by"] or "-"
        gain = {None: "-", True: "yes", False: "no"}[episode["gain"]]
        said = episode["outcome"] or run["why"] or episode["why"]
        rows.append([episode["id"], episode["cause"], episode["status"], run["url"] or "-", came, gain, said])
    table = table_of(["episode", "cause", "status", "run", "version", "gain", "why"], rows)
    state = answer["state"]
    told = [f"{kind} since {alarm['since']}: {alarm['why']}" for kind, alarm in state["alarms"].items()]
    told += [f"{cause}: no retraining, {why}" for cause, why in state["declined"].items()]
    table.title = Text(plain(f"{answer['model']}: {state['open'] or 'no episode'} is open"))
    table.caption = Text(plain("\n".join(told))) if told else None
    table.caption_justify = "left"
    return table


def proposal_lines(answer: Answer) -> list[str]:
    """A line for each threshold that was proposed, the newest first. Raises Unavailable if it is no such answer."""
    try:
        return [
            f"{one['name']} is {one['status']}: "
            + (one["text"] if one["status"] == "proposed" else one["why"] or f"by {one['approved_by']}")
            for one in answer["proposals"]
        ]
    except (KeyError, TypeError):
        raise Unavailable(FOREIGN) from None


def deliveries_table(answer: Answer) -> Table:
    """News and whom they reached: those still to be told, then the others, the newest first."""
    rows = []
    for item in [*answer["waiting"], *answer["deliveries"]]:
        about = [ago(item["at"]), f"{item['version']}: {item['what']}"]
        for one in item["deliveries"]:
            rows.append([*about, one["to"], one["status"], str(one["attempts"]), one["error"] or "-"])
        if not item["deliveries"]:
            rows.append([*about, "-", "waiting" if item in answer["waiting"] else "nobody asked for it", "-", "-"])
    return table_of(["told", "news", "to", "status", "attempts", "error"], rows)
