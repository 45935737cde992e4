"""The options that commands share."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from modeldrop.cli.completing import model_names, version_names
from modeldrop.cli.control_plane import DEFAULT_URL, ControlPlane, checked_url
from modeldrop.cli.ending import want_json

DEFAULT_DATA = Path("modeldrop-data")
MOST_ROWS = 200
"""The longest page the API gives."""


def _named(value: str | ControlPlane) -> ControlPlane:
    return value if isinstance(value, ControlPlane) else ControlPlane(value)


def _chosen(ctx: typer.Context, value: ControlPlane | None) -> ControlPlane | None:
    """The control plane of this command: its own address, else the one that was given for all commands."""
    for_all = ctx.obj if isinstance(ctx.obj, ControlPlane) else DEFAULT_URL
    if value is None:
        return None
    return for_all if value is DEFAULT_URL else replace(for_all, url=checked_url(value.url))


def url_option(help_text: str) -> typer.models.OptionInfo:
    """``--url`` of one command."""
    option: typer.models.OptionInfo = typer.Option(
        "--url", parser=_named, callback=_chosen, metavar="URL", help=help_text, show_default=False
    )
    return option


Url = Annotated[ControlPlane, url_option("Address of the control plane; without it, that of all commands.")]
Data = Annotated[Path, typer.Option(help="Folder of the embedded cloud.", file_okay=False)]
Keys = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="JSON file of signing keys.")]
AsJson = Annotated[bool, typer.Option("--json", callback=want_json, help="Print JSON, for programs.")]
Limit = Annotated[
    int | None, typer.Option(min=1, max=MOST_ROWS, help="Rows at most; without it, as many as a page has.")
]
Everything = Annotated[bool, typer.Option("--all", help="All pages, not only the first.")]
Trend = Annotated[bool, typer.Option("--trend", help="Window by window, the newest first, a line each.")]
Model = Annotated[str, typer.Argument(help="Name of the model.", autocompletion=model_names)]
Version = Annotated[str, typer.Argument(help="The version.", autocompletion=version_names)]
