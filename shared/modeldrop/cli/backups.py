"""Commands that keep the registry in a file, and bring it back."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeldrop.cli.ending import NOT_DONE, fail
from modeldrop.cli.options import DEFAULT_DATA, AsJson, Data
from modeldrop.settings import Settings, read_settings, variable

if TYPE_CHECKING:
    from modeldrop.wiring import Services

OWN_VARIABLES = frozenset(
    {
        "MODELDROP_URL",
        "MODELDROP_TIMEOUT",
        "MODELDROP_TOKEN",
        "MODELDROP_IMPERSONATE_SERVICE_ACCOUNT",
        "MODELDROP_AUDIENCES",
    }
)

app = typer.Typer()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="To be written.", dir_okay=False)],
    data: Data = DEFAULT_DATA,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the whole registry into a file: the embedded cloud's, or the project's.

    The project's with MODELDROP_BACKEND=gcp, MODELDROP_AUTH=iam, MODELDROP_PROJECT and MODELDROP_BUCKET set. Ends 1
    where a model was changed all the while it was read.
    """
    from modeldrop.handlers.backups.take_backup import take_backup

    if file.exists() and not file.is_file():
        fail(f"{file} is no file")  # a device would be replaced by one
    if file.exists() and not force:
        fail(f"{file} is there already: --force replaces it")
    services = services_at(data, must_exist=True)
    trailer = take_backup(services, file, lambda model: typer.echo(f"  {model}", err=True))
    report = {"file": str(file), "documents": trailer.documents, "unsettled": list(trailer.unsettled)}
    if not (as_json and trailer.unsettled):
        typer.echo(json.dumps(report, indent=2) if as_json else f"{trailer.documents} documents in {file}")
    if trailer.unsettled:
        names = ", ".join(trailer.unsettled)
        fail(f"changed all the while they were read: {names}; take another backup when it is quieter", NOT_DONE, report)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.", exists=True, dir_okay=False)],
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Bring a backup into a registry that is empty. Can be repeated; nothing is ever overwritten."""
    from modeldrop.handlers.backups.restore_backup import restore_backup

    services = services_at(data, must_exist=False)
    restored = restore_backup(services, file, lambda done: typer.echo(f"  {done} documents", err=True))
    there = f", {restored.there} of them were there" if restored.there else ""
    report = {"documents": restored.documents, "there": restored.there}
    typer.echo(json.dumps(report, indent=2) if as_json else f"{restored.documents} documents restored{there}")


def services_at(data: Path, *, must_exist: bool) -> "Services":
    """Those that the environment names, else those of the embedded cloud in that folder."""
    from modeldrop.wiring import Services

    named = os.environ.get(variable("backend"))
    if must_exist and not named and not data.is_dir():
        fail(f"{data} is not there: name the embedded cloud's folder with --data, or set MODELDROP_BACKEND=gcp")
    # What the command line itself reads is no setting of the services.
    settings = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    return Services(read_settings(settings) if named else Settings("local", data=data, auth="none"))
