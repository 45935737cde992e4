"""The command line: ``modeldrop …``. Each command is a few lines over a use case or over the API."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from modeldrop import __version__
from modeldrop.cli import audit, backups, call, cloud, commands, drop, models, packages
from modeldrop.cli.control_plane import EMBEDDED_URL, TIMEOUT_SECONDS, ControlPlane, checked_url
from modeldrop.cli.ending import Commands
from modeldrop.cli.identity_tokens import IdentityTokens

app = typer.Typer(
    name="modeldrop",
    cls=Commands,
    help="Drop a metadata file into a bucket; the model is checked, rolled out, watched.",
    epilog="Ends 0 if done, 1 if not done, refused or unhealthy, 2 on bad input, 3 without an answer, 130 on Ctrl-C.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point."""
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115 - whoever closed them wants no output
    sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a sign shows its number
            stream.reconfigure(errors="backslashreplace")
    app()


@app.callback(invoke_without_command=True)
def about(
    ctx: typer.Context,
    url: Annotated[
        str, typer.Option(envvar="MODELDROP_URL", metavar="URL", help="Address of the control plane.")
    ] = EMBEDDED_URL,
    timeout: Annotated[
        float, typer.Option(envvar="MODELDROP_TIMEOUT", min=0.1, max=3600, help="Seconds to wait for an answer.")
    ] = TIMEOUT_SECONDS,
    account: Annotated[
        str | None,
        typer.Option(
            "--impersonate-service-account",
            envvar="MODELDROP_IMPERSONATE_SERVICE_ACCOUNT",
            metavar="EMAIL",
            help="Act as this service account, in the cloud.",
        ),
    ] = None,
    audience: Annotated[
        str | None,
        typer.Option(
            "--audiences",
            envvar="MODELDROP_AUDIENCES",
            metavar="URL",
            help="Whom a service account's token is for; without it, the control plane.",
        ),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Options of all commands. Over https:// requests carry MODELDROP_TOKEN, else a token that gcloud gives."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    ctx.obj = ControlPlane(checked_url(url), timeout, IdentityTokens(account, audience))


for group in (cloud, drop, call, models, commands, packages, backups):
    app.add_typer(group.app)
app.add_typer(audit.app, name="audit")
