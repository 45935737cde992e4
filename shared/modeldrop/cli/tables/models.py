"""Models, their versions, and how the one that serves is doing."""

from rich.table import Table
from rich.text import Text

from modeldrop.cli.tables.drawing import FOREIGN, Answer, ago, plain, table_of
from modeldrop.errors import Unavailable


def models_table(answer: Answer) -> Table:
    """Models with their traffic."""
    rows = []
    for model in answer["models"]:
        under_way = f"paused: {model['paused']}" if model["paused"] else model["rollout"] or "-"
        seen = [model[name] or "-" for name in ("health", "drift")]
        rows.append([model["model"], model["production"] or "-", _split(model), *seen, under_way])
    return table_of(["model", "production", "traffic", "health", "drift", "rollout"], rows)


def model_table(answer: Answer) -> Table:
    """One model: what serves, what comes next, what is under way."""
    aliases = answer["aliases"]
    rows = [[name, aliases[name] or "-"] for name in ("production", "previous", "staging", "latest")]
    rows += [["traffic", _split(answer)]]
    rows += [[name, answer[name] or "-"] for name in ("desired", "rollout", "paused", "health", "drift")]
    return table_of(["model", answer["model"]], rows)


def _split(model: Answer) -> str:
    traffic = (model["endpoint"] or {}).get("traffic", {})
    return ", ".join(f"{version} {percent} %" for version, percent in traffic.items()) or "-"


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
        raise Unavailable(FOREIGN) from None


def versions_table(answer: Answer) -> Table:
    """Versions of one model."""
    rows = []
    for version in answer["versions"]:
        score = "-" if version["score"] is None else f"{version['score']:.4f}"
        declared = ago(version["declared_at"])
        rows.append([version["version"], version["status"], score, declared, version["digest"][:12]])
    return table_of(["version", "status", "score", "declared", "digest"], rows)


def health_table(answer: Answer) -> Table:
    """The version that serves: what was looked at, and what was found."""
    figures = answer["metadata"]
    seen = [(name, answer[name]) for name in ("status", "version", "model_type", "available", "loadable", "why")]
    seen += [(name, value) for name, value in figures.items() if not isinstance(value, dict | list)]
    rows = [[name, "-" if value in (None, "") else str(value)] for name, value in seen]
    return table_of(["health", answer["model"]], rows)


def decision_table(answer: Answer) -> Table:
    """A decision: its terms, and the reasons below."""
    rows = []
    for term in answer["terms"]:
        numbers = [term[name] for name in ("value", "weight", "scaled", "contribution")]
        rows.append([term["metric"], *["-" if n is None else f"{n:.4g}" for n in numbers], term["direction"]])
    table = table_of(["metric", "value", "weight", "scaled", "contribution", "better"], rows)
    score = "" if answer["score"] is None else f", score {answer['score']:.4f}"
    title = f"{answer['model']} {answer['version']}: {answer['verdict']} ({answer['rule']}{score})"
    table.title = Text(plain(title))
    table.caption = Text(plain("\n".join(answer["reasons"])))
    table.caption_justify = "left"
    return table
