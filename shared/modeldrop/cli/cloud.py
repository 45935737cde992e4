"""Commands for the embedded cloud."""

import os
import sys
import webbrowser
from typing import Annotated

import typer

from modeldrop.cli.calling import address_of
from modeldrop.cli.completing import model_names
from modeldrop.cli.control_plane import DEFAULT_URL
from modeldrop.cli.ending import warn
from modeldrop.cli.options import DEFAULT_DATA, Data, Url

app = typer.Typer()


@app.command()
def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 picks a free one.")] = 8080,
    data: Data = DEFAULT_DATA,
    tick_seconds: Annotated[float, typer.Option(min=0.05, max=3600, help="Pace of the Scheduler ticks.")] = 1.0,
    emulators: Annotated[
        bool,
        typer.Option(help="Registry in the official Firestore emulator, topics in Pub/Sub's (Java; gone at the end)."),
    ] = False,
) -> None:
    """Run the embedded cloud until Ctrl-C."""
    from modeldrop.localcloud.cloud import EMULATED_PROJECT, CloudOptions, functions_folder, run

    def announce(url: str) -> None:
        where = f"PUBSUB_EMULATOR_HOST={os.environ.get('PUBSUB_EMULATOR_HOST')} GOOGLE_CLOUD_PROJECT={EMULATED_PROJECT}"
        ends = f"; registry and topics are in the emulators and end with them: {where}" if emulators else ""
        typer.echo(f"modeldrop is ready at {url} (bucket: {data / 'bucket'}{ends})")
        sys.stdout.flush()

    run(CloudOptions(port, data, tick_seconds, functions_folder(), emulators), announce)


@app.command()
def demo() -> None:
    """Play the main job on the embedded cloud, with real flights data; ends 0 only if every step held."""
    from modeldrop.localcloud.demo import play

    play()


@app.command(name="open")
def open_dashboard(
    model: Annotated[
        str | None, typer.Argument(help="Its page; without it, all models.", autocompletion=model_names)
    ] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the address, open nothing.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Open the dashboard in the browser, and print its address."""
    address = address_of(url, "models", model) if model else f"{url}/"
    typer.echo(address)
    if not only_print and not webbrowser.open(address):
        warn("there is no browser to open it with")
