"""Commands that keep the registry in a file, and bring it back."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeldrop.cli.calling import DEFAULT_DATA, NOT_DONE, Data, fail
from modeldrop.settings import Settings, read_settings, variable

if TYPE_CHECKING:
    from modeldrop.wiring import Services

app = typer.Typer()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="To be written.", dir_okay=False)],
    data: Data = DEFAULT_DATA,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the whole registry into a file: the embedded cloud's, or the project's.

    The project's with MODELDROP_BACKEND=gcp, MODELDROP_AUTH=iam, MODELDROP_PROJECT and MODELDROP_BUCKET set. Ends 1
    where a model was changed all the while it was read.
    """
    from modeldrop.handlers.backups.take_backup import take_backup

    if file.exists() and not force:
        fail(f"{file} is there already: --force replaces it")
    trailer = take_backup(_services(data, must_exist=True), file, lambda model: typer.echo(f"  {model}", err=True))
    typer.echo(f"{trailer.documents} documents in {file}")
    if trailer.unsettled:
        names = ", ".join(trailer.unsettled)
        fail(f"changed all the while they were read: {names}; take another backup when it is quieter", NOT_DONE)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.", exists=True, dir_okay=False)],
    data: Data = DEFAULT_DATA,
) -> None:
    """Bring a backup into a registry that is empty. Can be repeated; nothing is ever overwritten."""
    from modeldrop.handlers.backups.restore_backup import restore_backup

    restored = restore_backup(
        _services(data, must_exist=False), file, lambda done: typer.echo(f"  {done} documents", err=True)
    )
    there = f", {restored.there} of them were there" if restored.there else ""
    typer.echo(f"{restored.documents} documents restored{there}")


def _services(data: Path, *, must_exist: bool) -> "Services":
    """Those that the environment names, else those of the embedded cloud in that folder."""
    from modeldrop.wiring import Services

    named = os.environ.get(variable("backend"))
    if must_exist and not named and not data.is_dir():
        fail(f"{data} is not there: name the embedded cloud's folder with --data, or set MODELDROP_BACKEND=gcp")
    return Services(read_settings() if named else Settings("local", data=data, auth="none"))
