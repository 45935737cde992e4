"""Commands about models: what there is, and why."""

import sys
from typing import Annotated, Any

import typer

from modeldrop.cli.calling import FOREIGN, get, pages
from modeldrop.cli.completing import model_names, version_names
from modeldrop.cli.control_plane import DEFAULT_URL
from modeldrop.cli.ending import NOT_DONE, fail, warn
from modeldrop.cli.options import AsJson, Everything, Limit, Model, Trend, Url, Version
from modeldrop.errors import Unavailable

app = typer.Typer()


@app.command()
def status(
    model: Annotated[str | None, typer.Argument(help="One model; without it, all.", autocompletion=model_names)] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every other second, until Ctrl-C.")] = False,
    limit: Limit = None,
    everything: Everything = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Models, what serves, and what is under way; a word on standard error where ticks fail."""
    from modeldrop.cli.tables.drawing import drawn, show
    from modeldrop.cli.tables.models import model_table, models_table, tick_warnings
    from modeldrop.cli.watching import watched

    def look() -> dict[str, Any]:
        if model is not None:
            return get(url, "v1", "models", model)
        return pages(url, "models", "v1", "models", everything=everything, **_page(limit))

    table = models_table if model is None else model_table
    if watch:
        if as_json:
            fail("--watch and --json exclude each other")
        return watched(lambda: drawn(look(), table))
    found = look()
    show(found, table, as_json)
    if model is None and not as_json:
        _tell_of_more(found)
        for line in tick_warnings(found):
            warn(line)


@app.command()
def versions(
    model: Model, limit: Limit = None, everything: Everything = False, url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Versions of a model, the newest first."""
    from modeldrop.cli.tables.drawing import show
    from modeldrop.cli.tables.models import versions_table

    path = ("v1", "models", model, "versions")
    found = pages(url, "versions", *path, everything=everything, **_page(limit))
    show(found, versions_table, as_json)
    _tell_of_more(found, as_json)


@app.command()
def health(model: Model, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """How the version that serves is doing; ends with 1 if it is unhealthy."""
    from modeldrop.cli.tables.drawing import show
    from modeldrop.cli.tables.models import health_table

    found = get(url, "v1", "models", model, "health")
    show(found, health_table, as_json)
    if found.get("status") == "unhealthy":
        sys.exit(NOT_DONE)


@app.command()
def rollouts(
    model: Model,
    rollout: Annotated[str | None, typer.Argument(help="Id of one; without it, the latest.")] = None,
    limit: Limit = None,
    everything: Annotated[bool, typer.Option("--all", help="A list of all there were, a line each.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """A rollout, step by step, with what was measured: the latest, or the one asked for."""
    from modeldrop.cli.tables.drawing import show
    from modeldrop.cli.tables.rollouts import one_rollout_table, rollout_table, rollouts_table

    path = ("v1", "models", model, "rollouts")
    if rollout is not None:
        return show(get(url, *path, rollout), one_rollout_table, as_json)
    found = pages(url, "rollouts", *path, everything=everything, **_page(limit))
    is_list = everything or limit is not None
    show(found, rollouts_table if is_list else rollout_table, as_json)
    if is_list:
        _tell_of_more(found, as_json)


@app.command()
def drift(
    model: Model,
    version: Annotated[
        str | None, typer.Option(help="Left out: the one in production.", autocompletion=version_names)
    ] = None,
    window: Annotated[str | None, typer.Option(help="ISO 8601 time a window began; left out: the latest.")] = None,
    trend: Trend = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """How far a version's live inputs and predictions are from its reference; ends with 1 if they have drifted."""
    from modeldrop.cli.tables.drawing import show
    from modeldrop.cli.tables.reports import drift_table, drift_trend_table

    if trend and window is not None:
        fail("--trend and --window exclude each other")
    asked = (("version", version), ("window", window))
    query: dict[str, Any] = {name: value for name, value in asked if value is not None}
    path = ("v1", "models", model, "drift", *(["windows"] if trend else []))
    found = get(url, *path, **query)
    try:
        has_drifted = any(one["verdict"] == "drifted" for one in (found["windows"][:1] if trend else [found]))
    except (KeyError, TypeError):
        raise Unavailable(f"{url} {FOREIGN}") from None
    show(found, drift_trend_table if trend else drift_table, as_json)
    if has_drifted:
        sys.exit(NOT_DONE)


@app.command()
def quality(model: Model, trend: Trend = False, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """How well versions predict, by the labels that have come."""
    from modeldrop.cli.tables.drawing import show
    from modeldrop.cli.tables.reports import quality_table, quality_trend_table

    path = ("v1", "models", model, "quality", *(["windows"] if trend else []))
    show(get(url, *path), quality_trend_table if trend else quality_table, as_json)


@app.command()
def retraining(
    model: Model, limit: Limit = None, everything: Everything = False, url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Retrainings that were asked for and what came of them, what is remembered of drift, and proposed thresholds."""
    from modeldrop.cli.tables.drawing import plain, show
    from modeldrop.cli.tables.retraining import proposal_lines, retraining_table

    path = ("v1", "models", model, "retraining")
    found = pages(url, "episodes", *path, everything=everything, **_page(limit))
    show(found, retraining_table, as_json)
    for line in [] if as_json else proposal_lines(found):
        print(plain(line))
    _tell_of_more(found, as_json)


@app.command()
def deliveries(
    model: Model, limit: Limit = None, everything: Everything = False, url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """News of a model and whom they reached, those still to be told first."""
    from modeldrop.cli.tables.drawing import show
    from modeldrop.cli.tables.retraining import deliveries_table

    path = ("v1", "models", model, "deliveries")
    found = pages(url, "deliveries", *path, everything=everything, **_page(limit))
    show(found, deliveries_table, as_json)
    _tell_of_more(found, as_json)


@app.command()
def explain(
    model: Model,
    version: Version,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
    replay: Annotated[bool, typer.Option("--replay", help="Make the decision again; 1 if it differs.")] = False,
) -> None:
    """Why a version was approved, held or rejected."""
    found = get(url, "v1", "models", model, "versions", version, "explain")
    if replay:
        return _explain_again(found, as_json)
    from modeldrop.cli.tables.drawing import show
    from modeldrop.cli.tables.models import decision_table

    show(found, decision_table, as_json)


def _explain_again(found: dict[str, Any], as_json: bool) -> None:
    from modeldrop.cli.tables.drawing import plain, show
    from modeldrop.cli.tables.models import decision_table
    from modeldrop.handlers.packages.judge_file import replayed

    result = replayed(found)
    show(found | {"replay": {"agrees": result.agrees, "says": result.says}}, decision_table, as_json)
    if not as_json:
        print(plain(f"replay: {result.says}"))
    if not result.agrees:
        sys.exit(NOT_DONE)


@app.command()
def history(
    model: Model,
    at: Annotated[str | None, typer.Option(help="ISO 8601 time: what served then.")] = None,
    limit: Limit = None,
    everything: Everything = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """What happened to a model and by whose word; or what served at a time."""
    from modeldrop.cli.tables.drawing import show
    from modeldrop.cli.tables.rollouts import history_table, served_table

    path = ("v1", "models", model, "history")
    if at is not None:
        return show(get(url, *path, at=at), served_table, as_json)
    found = pages(url, "history", *path, everything=everything, **_page(limit))
    show(found, history_table, as_json)
    _tell_of_more(found, as_json)


def _page(limit: int | None) -> dict[str, int]:
    return {} if limit is None else {"limit": limit}


def _tell_of_more(found: dict[str, Any], as_json: bool = False) -> None:
    if found.get("next") is not None and not as_json:
        warn("there are more: --all shows them")
