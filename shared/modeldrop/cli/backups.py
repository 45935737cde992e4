"""Commands that keep the registry in a file, and bring it back."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeldrop.cli.calling import DEFAULT_DATA, Data
from modeldrop.settings import Settings, read_settings, variable

if TYPE_CHECKING:
    from modeldrop.wiring import Services

app = typer.Typer()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="To be written; one that is there is replaced.", dir_okay=False)],
    data: Data = DEFAULT_DATA,
) -> None:
    """Write the whole registry into a file: the embedded cloud's, or with MODELDROP_BACKEND=gcp the project's."""
    from modeldrop.handlers.backups.take_backup import take_backup

    trailer = take_backup(_services(data), file, lambda model: typer.echo(f"  {model}", err=True))
    typer.echo(f"{trailer.documents} documents in {file}")
    for model in trailer.unsettled:
        typer.echo(f"note: {model} was changed all the while; take another backup when it is quieter", err=True)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.", exists=True, dir_okay=False)],
    data: Data = DEFAULT_DATA,
) -> None:
    """Bring a backup into a registry that is empty. Can be repeated; nothing is ever overwritten."""
    from modeldrop.handlers.backups.restore_backup import restore_backup

    restored = restore_backup(_services(data), file, lambda done: typer.echo(f"  {done} documents", err=True))
    there = f", {restored.there} of them were there" if restored.there else ""
    typer.echo(f"{restored.documents} documents restored{there}")


def _services(data: Path) -> "Services":
    """Those that the environment names, else those of the embedded cloud in that folder."""
    from modeldrop.wiring import Services

    named = os.environ.get(variable("backend"))
    return Services(read_settings() if named else Settings("local", data=data, auth="none"))
