"""The command line: ``modeldrop …``. Each command is a few lines over a use case or over the API."""

from typing import Annotated

import typer

from modeldrop import __version__
from modeldrop.cli import backups, cloud, models, packages
from modeldrop.cli.calling import NOT_DONE, fail
from modeldrop.errors import ModeldropError, TransientError

app = typer.Typer(
    name="modeldrop",
    help="Drop a metadata file into a bucket; the model is checked, rolled out, watched.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point: our own errors are one line on standard error, not a traceback."""
    try:
        app()
    except TransientError as error:
        fail(str(error), NOT_DONE)
    except ModeldropError as error:
        fail(str(error))


@app.callback(invoke_without_command=True)
def about(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Options of all commands."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


for group in (cloud, models, packages, backups):
    app.add_typer(group.app)
