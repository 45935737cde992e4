"""Commands that change something: what should happen to a model."""

import json
import sys
from typing import Annotated, Any

import typer

from modeldrop.cli.calling import FOREIGN, answer, request
from modeldrop.cli.completing import version_names
from modeldrop.cli.control_plane import DEFAULT_URL, ControlPlane
from modeldrop.cli.ending import NOT_DONE
from modeldrop.cli.options import AsJson, Model, Url, Version
from modeldrop.errors import Unavailable

app = typer.Typer()


@app.command()
def promote(
    model: Model,
    version: Version,
    force: Annotated[bool, typer.Option("--force", help="Do not ask the gate. Stands in the history.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion from now on."""
    _command(url, model, "promote", {"version": version, "force": force}, as_json)


@app.command()
def rollback(
    model: Model,
    to: Annotated[
        str | None,
        typer.Option(help="The version to serve again; without it, the one before.", autocompletion=version_names),
    ] = None,
    why: Annotated[str, typer.Option(help="Stands in the history.")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Take back what serves or rolls out, and serve an earlier version again at once."""
    _command(url, model, "rollback", {"to": to, "why": why}, as_json)


@app.command()
def pause(model: Model, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Nothing goes forward until it is resumed; a canary that fails is still taken back."""
    _command(url, model, "pause", {}, as_json)


@app.command()
def resume(model: Model, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Go on after a pause, or after a rollout was held."""
    _command(url, model, "resume", {}, as_json)


@app.command()
def approve(model: Model, version: Version, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Let a version pass that waits for approval."""
    _command(url, model, "approve", {"version": version}, as_json)


@app.command()
def retrain(
    model: Model,
    why: Annotated[str, typer.Option(help="Stands in the episode.")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Ask for a retraining now, at the target of the model's policy."""
    _command(url, model, "retrain", {"why": why}, as_json)


@app.command()
def replay(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Put quarantined prediction events back: after a fix, or once their version is registered."""
    totals: dict[str, int] = {}
    after: str | None = None
    while True:
        found = answer(url, request("POST", url, ("v1", "quarantine:replay"), json={"after": after}))
        before, after = after, found.pop("next", None)
        if not found or not all(type(count) is int for count in found.values()) or (after and after == before):
            raise Unavailable(f"{url} {FOREIGN}")
        totals = {name: totals.get(name, 0) + count for name, count in found.items()}
        said = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in totals.items())
        if after is None:
            return print(json.dumps(totals, indent=2) if as_json else said)
        print(f"{said} …", file=sys.stderr)


def _command(url: ControlPlane, model: str, command: str, body: dict[str, Any], as_json: bool) -> None:
    """Send a command and print the reply; a refused one ends with 1."""
    from modeldrop.cli.tables.drawing import plain

    reply = answer(url, request("POST", url, ("v1", "models", f"{model}:{command}"), json=body))
    print(json.dumps(reply, indent=2) if as_json else plain(f"{reply.get('status')}: {reply.get('reason')}"))
    if reply.get("status") != "accepted":
        sys.exit(NOT_DONE)
