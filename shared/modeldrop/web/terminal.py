"""Answers of the API as tables for people, or as they are for programs."""

import json
import unicodedata
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from modeldrop.errors import Unavailable

Answer = dict[str, Any]

_FOREIGN = "the server does not answer as modeldrop does. Is it its address?"
_STEERING = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})  # controls, formats, private use, surrogates, breaks


def plain(text: str) -> str:
    r"""Text from outside, safe to print: what could steer a terminal, or turn its writing around, is spelled out.

    >>> print(plain("\x1b[31mred\x9b2J\u202e"))
    \x1b[31mred\x9b2J\u202e
    """
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _STEERING and character != "\n"
        else character
        for character in text
    )


def show(answer: Answer, table: Callable[[Answer], Table], as_json: bool) -> None:
    """Print the answer. Everything that came from outside is printed as text, never as markup.

    Raises Unavailable if it is no answer of the API.
    """
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        Console().print(_drawn(answer, table))


def _drawn(answer: Answer, table: Callable[[Answer], Table]) -> Table:
    try:
        return table(answer)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Unavailable(_FOREIGN) from None


def models_table(answer: Answer) -> Table:
    """Models with their traffic."""
    rows = []
    for model in answer["models"]:
        traffic = (model["endpoint"] or {}).get("traffic", {})
        split = ", ".join(f"{version} {percent} %" for version, percent in traffic.items())
        under_way = f"paused: {model['paused']}" if model["paused"] else model["rollout"] or "-"
        rows.append([model["model"], model["production"] or "-", split or "-", model["health"] or "-", under_way])
    return _table(["model", "production", "traffic", "health", "rollout"], rows)


def tick_warnings(answer: Answer) -> list[str]:
    """A line for each tick that does not come, or does not get its work done, and for news that wait.

    Raises Unavailable if it is no answer of the API.
    """
    try:
        ticks = answer["ticks"]
        lines = [f"{name} has not come for a while: does its scheduler run?" for name in ticks["stale"]]
        lines += [f"{name} has never come: does it have a scheduler?" for name in ticks["never"]]
        lines += [f"{name} could not do all its work the last time: its log says why" for name in ticks["incomplete"]]
        if ticks["oldest_news"]:
            lines.append(f"news of {ticks['oldest_news']} are still to be told: see modeldrop deliveries MODEL")
        return [f"warning: {line}" for line in lines]
    except (KeyError, TypeError):
        raise Unavailable(_FOREIGN) from None


def health_table(answer: Answer) -> Table:
    """The version that serves: what was looked at, and what was found."""
    figures = answer["metadata"]
    rows = [[name, str(answer[name])] for name in ("status", "version", "model_type", "available", "loadable", "why")]
    rows += [[name, str(value)] for name, value in figures.items() if not isinstance(value, dict | list)]
    return _table(["health", answer["model"]], rows)


def rollout_table(answer: Answer) -> Table:
    """The latest rollout: its steps, and the last measurements."""
    if not answer["rollouts"]:
        return _table(["no rollout yet"], [])
    rollout = answer["rollouts"][0]
    rows = [[entry["at"], entry["phase"], f"{entry['percent']} %", entry["reason"]] for entry in rollout["entries"]]
    rows += [
        [measured["at"], measured["verdict"], f"{measured['percent']} %", measured["why"]]
        for measured in rollout["measurements"]
    ]
    table = _table(["at", "what", "traffic", "why"], sorted(rows))
    table.title = Text(plain(f"{rollout['id']}: {rollout['phase']}"))
    held = rollout["held"]
    table.caption = Text(plain(f"held ({held['cause']}): {held['why']}")) if held else None
    return table


def versions_table(answer: Answer) -> Table:
    """Versions of one model."""
    rows = []
    for version in answer["versions"]:
        score = "-" if version["score"] is None else f"{version['score']:.4f}"
        rows.append([version["version"], version["status"], score, version["declared_at"], version["digest"][:12]])
    return _table(["version", "status", "score", "declared", "digest"], rows)


def history_table(answer: Answer) -> Table:
    """The audit trail, the newest first."""
    rows = [[entry[name] for name in ("at", "version", "what", "by", "why")] for entry in answer["history"]]
    return _table(["at", "version", "what", "by", "why"], rows)


def served_table(answer: Answer) -> Table:
    """What served at a time."""
    served = answer["served"]
    rows = [[served[name] for name in ("version", "since", "by", "why", "digest")]] if served else []
    return _table(["version", "since", "by", "why", "digest"], rows)


def drift_table(answer: Answer) -> Table:
    """A window's report, feature by feature, the predictions last."""
    found = [*answer["features"], *([answer["prediction"]] if answer["prediction"] else [])]
    rows = [
        [
            one["name"],
            one["type"],
            one["test"],
            *[
                "-" if one[name] is None else f"{one[name]:.4g}"
                for name in ("value", "threshold", "p_value", "missing")
            ],
            one["verdict"],
        ]
        for one in found
    ]
    table = _table(["feature", "type", "test", "value", "threshold", "p", "missing", "verdict"], rows)
    so_far = "" if answer["complete"] else " so far"
    about = f"{answer['model']} {answer['version']}, window {answer['window']}: {answer['verdict']}{so_far}"
    table.title = Text(plain(f"{about} ({answer['rows']} rows of about {answer['estimated_events']} events)"))
    reference = answer["reference"]
    table.caption = Text(plain(f"compared with: {reference['kind']} {reference['why']}"))
    return table


def quality_table(answer: Answer) -> Table:
    """Versions and what their labels say."""
    rows = []
    for one in answer["versions"]:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in one["metrics"].items())
        coverage = "-" if one["coverage"] is None else f"{one['coverage']:.0%}"
        rows.append([one["version"], one["window"], one["verdict"], str(one["n"]), coverage, metrics or "-"])
    return _table(["version", "window", "verdict", "labelled", "coverage", "metrics"], rows)


def retraining_table(answer: Answer) -> Table:
    """Episodes, the newest first; below them what stands, and why it opened none."""
    rows = []
    for episode in answer["episodes"]:
        run = episode["run"]
        came = episode["closed_by"] or "-"
        gain = {None: "-", True: "yes", False: "no"}[episode["gain"]]
        said = episode["outcome"] or run["why"] or episode["why"]
        rows.append([episode["id"], episode["cause"], episode["status"], run["url"] or "-", came, gain, said])
    table = _table(["episode", "cause", "status", "run", "version", "gain", "why"], rows)
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
        raise Unavailable(_FOREIGN) from None


def deliveries_table(answer: Answer) -> Table:
    """News and whom they reached: those still to be told, then the others, the newest first."""
    rows = []
    for item in [*answer["waiting"], *answer["deliveries"]]:
        about = [item["at"], f"{item['version']}: {item['what']}"]
        for one in item["deliveries"]:
            rows.append([*about, one["to"], one["status"], str(one["attempts"]), one["error"] or "-"])
        if not item["deliveries"]:
            rows.append([*about, "-", "waiting" if item in answer["waiting"] else "nobody asked for it", "-", "-"])
    return _table(["at", "news", "to", "status", "attempts", "error"], rows)


def decision_table(answer: Answer) -> Table:
    """A decision: its terms, and the reasons below."""
    rows = []
    for term in answer["terms"]:
        numbers = [term[name] for name in ("value", "weight", "scaled", "contribution")]
        rows.append([term["metric"], *["-" if n is None else f"{n:.4g}" for n in numbers], term["direction"]])
    table = _table(["metric", "value", "weight", "scaled", "contribution", "better"], rows)
    score = "" if answer["score"] is None else f", score {answer['score']:.4f}"
    title = f"{answer['model']} {answer['version']}: {answer['verdict']} ({answer['rule']}{score})"
    table.title = Text(plain(title))
    table.caption = Text(plain("\n".join(answer["reasons"])))
    table.caption_justify = "left"
    return table


def _table(columns: list[str], rows: list[list[str]]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*[Text(plain(cell)) for cell in row])
    return table
