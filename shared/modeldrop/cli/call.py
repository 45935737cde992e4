"""``modeldrop call``: a function called by hand, on this machine or in the cloud."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

import typer

from modeldrop.cli.calling import address_of
from modeldrop.cli.control_plane import DEFAULT_URL, ControlPlane
from modeldrop.cli.ending import BAD_INPUT, NOT_DONE, fail
from modeldrop.cli.options import Url

app = typer.Typer()

DEFAULT_REGION = "us-central1"
_FUNCTIONS_HOST = ".cloudfunctions.net"
_LABEL = re.compile(r"[a-z][a-z0-9-]{0,62}")


@app.command()
def call(  # noqa: PLR0913, PLR0917 - what can be said on its command line
    ctx: typer.Context,
    function: Annotated[str, typer.Argument(help="Its name.")],
    data: Annotated[
        str | None, typer.Option(help="JSON body, for HTTP functions; @FILE reads it, - from standard input.")
    ] = None,
    cloud_event: Annotated[
        str | None, typer.Option(help="CloudEvent as JSON, for event functions; likewise @FILE or -.")
    ] = None,
    url: Url = DEFAULT_URL,
    project: Annotated[str | None, typer.Option(help="Project of the function, in the cloud.")] = None,
    region: Annotated[str, typer.Option(help="Its region, with --project.")] = DEFAULT_REGION,
) -> None:
    """Call a function by hand, as ``gcloud functions call`` does, and print what it answers; 1 if that is an error.

    The embedded cloud's; with --project the function of that name there; with --url any one by its own address.
    """
    from modeldrop.cli.tables.drawing import plain

    if data is not None and cloud_event is not None:
        fail("--data and --cloud-event exclude each other")
    media_type = "application/cloudevents+json" if cloud_event is not None else "application/json"
    body = _content(cloud_event if cloud_event is not None else data)
    plane, address = _place(url, function, project, region, is_own=_typed(ctx, "url"))
    with plane.connected() as client:
        response = client.post(address, content=body, headers={"content-type": media_type})
    print(plain(response.text))
    if response.is_error or response.is_redirect:
        raise SystemExit(NOT_DONE)


def _place(
    url: ControlPlane, function: str, project: str | None, region: str, *, is_own: bool
) -> tuple[ControlPlane, str]:
    """Whom to ask (that is also whom the token is for), and the function's address.

    ``is_own``: the address was given to this command, so away from this machine it is the function's.
    """
    if project is not None:
        if is_own:
            fail("--url and --project exclude each other")
        if not _LABEL.fullmatch(project) or not _LABEL.fullmatch(region):
            fail("--project and --region are names of small letters, digits and dashes")
        address = f"https://{region}-{project}{_FUNCTIONS_HOST}/{quote(function, safe='')}"
        return replace(url, url=address), address
    if url.is_here:
        return url, address_of(url, "functions", function)
    parts = urlsplit(url.url)
    if is_own:
        return url, url.url
    if (parts.hostname or "").endswith(_FUNCTIONS_HOST):  # where all functions of a project and region are
        address = f"{parts.scheme}://{parts.netloc}/{quote(function, safe='')}"
        return replace(url, url=address), address
    fail(f"{url} is the API's address: name the function's own with --url, or --project", BAD_INPUT)


def _content(given: str | None) -> bytes:
    """The body: as it was typed, from a file, or from standard input."""
    if given is None:
        return b"{}"
    if given == "-":
        return sys.stdin.buffer.read()
    if given.startswith("@"):
        try:
            return Path(given[1:]).read_bytes()
        except OSError as error:
            fail(f"{given[1:]}: {error.strerror}")
    return given.encode(errors="surrogateescape")  # the bytes as they were typed


def _typed(ctx: typer.Context, name: str) -> bool:
    """Whether the option was on the command line of this command."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
