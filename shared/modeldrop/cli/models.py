"""Commands about models: what there is, why, and what should happen."""

import sys
from typing import Annotated, Any

import typer

from modeldrop.cli.calling import DEFAULT_URL, NOT_DONE, AsJson, Url, answer, get, request

app = typer.Typer()


@app.command()
def status(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Models, what serves, and what is under way; a word on standard error where ticks fail."""
    from modeldrop.web.terminal import models_table, plain, show, tick_warnings

    found = get(url, "v1", "models")
    show(found, models_table, as_json)
    if not as_json:
        for line in tick_warnings(found):
            typer.secho(plain(line), err=True, fg=typer.colors.YELLOW)


@app.command()
def versions(model: str, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Versions of a model, the newest first."""
    from modeldrop.web.terminal import show, versions_table

    show(get(url, "v1", "models", model, "versions"), versions_table, as_json)


@app.command()
def health(model: str, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """How the version that serves is doing; ends with 1 if it is unhealthy."""
    from modeldrop.web.terminal import health_table, show

    found = get(url, "v1", "models", model, "health")
    show(found, health_table, as_json)
    if found.get("status") == "unhealthy":
        sys.exit(NOT_DONE)


@app.command()
def rollouts(model: str, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """The latest rollout, step by step, with what was measured."""
    from modeldrop.web.terminal import rollout_table, show

    show(get(url, "v1", "models", model, "rollouts"), rollout_table, as_json)


@app.command()
def drift(
    model: str,
    version: Annotated[str | None, typer.Option(help="Left out: the one in production.")] = None,
    window: Annotated[str | None, typer.Option(help="ISO 8601 time a window began; left out: the latest.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """How far a version's live inputs and predictions are from its reference; ends with 1 if they have drifted."""
    from modeldrop.web.terminal import drift_table, show

    query: dict[str, Any] = {k: v for k, v in (("version", version), ("window", window)) if v is not None}
    found = get(url, "v1", "models", model, "drift", **query)
    show(found, drift_table, as_json)
    if found.get("verdict") == "drifted":
        sys.exit(NOT_DONE)


@app.command()
def quality(model: str, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """How well versions predict, by the labels that have come."""
    from modeldrop.web.terminal import quality_table, show

    show(get(url, "v1", "models", model, "quality"), quality_table, as_json)


@app.command()
def retraining(model: str, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Retrainings that were asked for and what came of them, what is remembered of drift, and proposed thresholds."""
    from modeldrop.web.terminal import plain, proposal_lines, retraining_table, show

    found = get(url, "v1", "models", model, "retraining")
    show(found, retraining_table, as_json)
    if not as_json:
        for line in proposal_lines(found):
            typer.echo(plain(line))


@app.command()
def deliveries(model: str, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """News of a model and whom they reached, those still to be told first."""
    from modeldrop.web.terminal import deliveries_table, show

    show(get(url, "v1", "models", model, "deliveries"), deliveries_table, as_json)


@app.command()
def explain(
    model: str,
    version: str,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
    replay: Annotated[bool, typer.Option("--replay", help="Make the decision again; 1 if it differs.")] = False,
) -> None:
    """Why a version was approved, held or rejected."""
    from modeldrop.web.terminal import decision_table, plain, show

    found = get(url, "v1", "models", model, "versions", version, "explain")
    if not replay:
        return show(found, decision_table, as_json)
    from modeldrop.handlers.packages.judge_file import replayed

    result = replayed(found)
    show(found | {"replay": {"agrees": result.agrees, "says": result.says}}, decision_table, as_json)
    if not as_json:
        typer.echo(plain(f"replay: {result.says}"))
    if not result.agrees:
        sys.exit(NOT_DONE)


@app.command()
def history(
    model: str,
    at: Annotated[str | None, typer.Option(help="ISO 8601 time: what served then.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """What happened to a model and by whose word; or what served at a time."""
    from modeldrop.web.terminal import history_table, served_table, show

    path = ("v1", "models", model, "history")
    if at is None:
        show(get(url, *path), history_table, as_json)
    else:
        show(get(url, *path, at=at), served_table, as_json)


@app.command()
def promote(
    model: str,
    version: str,
    force: Annotated[bool, typer.Option("--force", help="Do not ask the gate. Stands in the history.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Make a version the champion from now on."""
    _command(url, model, "promote", {"version": version, "force": force})


@app.command()
def rollback(
    model: str,
    to: Annotated[str | None, typer.Option(help="The version to serve again; without it, the one before.")] = None,
    why: Annotated[str, typer.Option(help="Stands in the history.")] = "",
    url: Url = DEFAULT_URL,
) -> None:
    """Take back what serves or rolls out, and serve an earlier version again at once."""
    _command(url, model, "rollback", {"to": to, "why": why})


@app.command()
def pause(model: str, url: Url = DEFAULT_URL) -> None:
    """Nothing goes forward until it is resumed; a canary that fails is still taken back."""
    _command(url, model, "pause", {})


@app.command()
def resume(model: str, url: Url = DEFAULT_URL) -> None:
    """Go on after a pause, or after a rollout was held."""
    _command(url, model, "resume", {})


@app.command()
def retrain(
    model: str,
    why: Annotated[str, typer.Option(help="Stands in the episode.")] = "",
    url: Url = DEFAULT_URL,
) -> None:
    """Ask for a retraining now, at the target of the model's policy."""
    _command(url, model, "retrain", {"why": why})


@app.command()
def replay(url: Url = DEFAULT_URL) -> None:
    """Put quarantined prediction events back: after a fix, or once their version is registered."""
    totals: dict[str, int] = {}
    after: str | None = None
    while True:
        found = answer(url, request("POST", url, ("v1", "quarantine:replay"), json={"after": after}))
        after = found.pop("next", None)
        totals = {name: totals.get(name, 0) + count for name, count in found.items()}
        said = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in totals.items())
        typer.echo(said if after is None else f"{said} …", err=after is not None)
        if after is None:
            return


@app.command()
def approve(model: str, version: str, url: Url = DEFAULT_URL) -> None:
    """Let a version pass that waits for approval."""
    _command(url, model, "approve", {"version": version})


def _command(url: str, model: str, command: str, body: dict[str, Any]) -> None:
    """Send a command and print the reply; a refused one ends with 1."""
    from modeldrop.web.terminal import plain

    reply = answer(url, request("POST", url, ("v1", "models", f"{model}:{command}"), json=body))
    typer.echo(plain(f"{reply.get('status')}: {reply.get('reason')}"))
    if reply.get("status") != "accepted":
        sys.exit(NOT_DONE)
