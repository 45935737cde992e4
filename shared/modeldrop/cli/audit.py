"""Commands about the audit trail."""

import json
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from modeldrop.cli.calling import pages
from modeldrop.cli.control_plane import DEFAULT_URL
from modeldrop.cli.ending import NOT_DONE, fail, warn
from modeldrop.cli.options import DEFAULT_DATA, AsJson, Data, Everything, Limit, Url

if TYPE_CHECKING:
    from modeldrop.domain.audit_chain import Link
    from modeldrop.handlers.audit.verify_audit import Audited

app = typer.Typer()


@app.callback(invoke_without_command=True)
def audit(
    ctx: typer.Context,
    limit: Limit = None,
    everything: Everything = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Who asked for what, and what came of it, the newest first; only operators may see it."""
    if ctx.invoked_subcommand is not None:
        return
    from modeldrop.cli.tables.audit import audit_table
    from modeldrop.cli.tables.drawing import show

    page = {} if limit is None else {"limit": limit}
    found = pages(url, "entries", "v1", "audit", everything=everything, **page)
    show(found, audit_table, as_json)
    if found.get("next") is not None and not as_json:
        warn("there are more: --all shows them")


@app.command()
def verify(
    data: Data = DEFAULT_DATA,
    anchor: Annotated[
        list[str] | None,
        typer.Option(metavar="NUMBER:HASH", help="From the log: that entry must still be there. Can be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go through the whole audit trail and all histories; ends 0 only if nothing was changed, removed or put in.

    The embedded cloud's in that folder, or the project's, as ``modeldrop backup`` does. What was cut off at the end is
    found with an anchor alone.
    """
    from modeldrop.cli.backups import services_at
    from modeldrop.handlers.audit.verify_audit import verify_audit

    anchors = _anchors(anchor or [])
    services = services_at(data, must_exist=True)
    found = verify_audit(services, anchors, lambda model: typer.echo(f"  {model}", err=True))
    if as_json:
        print(json.dumps(msgspec.to_builtins(found) | {"is_whole": found.is_whole}, indent=2))
    else:
        _tell(found)
    if not found.is_whole:
        raise typer.Exit(NOT_DONE)


def _anchors(texts: list[str]) -> "list[Link]":
    from modeldrop.domain.audit_chain import read_anchor

    try:
        return [read_anchor(text) for text in texts]
    except ValueError as error:
        fail(str(error))


def _tell(found: "Audited") -> None:
    """What was found, a line each; breaks on standard error."""
    from modeldrop.cli.tables.drawing import plain

    end, broken = found.trail.end, found.trail.broken
    typer.echo(f"audit trail: {end.number} entries" + (f", the last is {end.number}:{end.hash}" if end.number else ""))
    for entry in found.trail.unanswered:
        typer.echo(plain(f"  {entry.number}: {entry.call} by {entry.caller} was asked; what came of it is not written"))
    typer.echo(f"models whose history holds: {found.models - len(found.histories)} of {found.models}")
    if broken is not None:
        warn(f"the audit trail is broken at entry {broken.number}: {broken.why}")
    for history in found.histories:
        where = f"{history.broken.number}: {history.broken.why}"
        warn(f"the history of {history.model} is broken at entry {where}")
