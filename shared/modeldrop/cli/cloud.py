"""Commands for the embedded cloud, and to call functions by hand."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from modeldrop.cli.calling import DEFAULT_DATA, DEFAULT_URL, NOT_DONE, Data, Url, fail, request

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
    from modeldrop.localcloud.cloud import CloudOptions, functions_folder, run

    def announce(url: str) -> None:
        ends = "; registry and topics are in the emulators and end with them" if emulators else ""
        typer.echo(f"modeldrop is ready at {url} (bucket: {data / 'bucket'}{ends})")
        sys.stdout.flush()

    run(CloudOptions(port, data, tick_seconds, functions_folder(), emulators), announce)


@app.command()
def demo() -> None:
    """Play the main job on the embedded cloud, with real flights data; ends 0 only if every step held."""
    from modeldrop.localcloud.demo import play

    play()


@app.command()
def drop(
    path: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Folder with metadata.json beside its files.")
    ],
    data: Data = DEFAULT_DATA,
    url: Url = DEFAULT_URL,
    wait: Annotated[bool, typer.Option(help="Follow the version until it is live, rejected or failed.")] = False,
) -> None:
    """Copy a package into the bucket, its metadata last. Where the bucket is Cloud Storage, use gcloud storage cp."""
    from modeldrop.localcloud.dropping import drop_package, follow
    from modeldrop.web.terminal import plain

    model, version = drop_package(path, data / "bucket")
    typer.echo(f"dropped {model} {version}")
    if wait and not follow(url, model, version, lambda line: typer.echo(plain(line))):
        sys.exit(NOT_DONE)


@app.command()
def call(
    function: str,
    data: Annotated[str | None, typer.Option(help="JSON body, for HTTP functions.")] = None,
    cloud_event: Annotated[str | None, typer.Option(help="CloudEvent as JSON, for event functions.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Call a function by hand, as ``gcloud functions call`` does."""
    from modeldrop.web.terminal import plain

    if data is not None and cloud_event is not None:
        fail("--data and --cloud-event exclude each other")
    media_type = "application/cloudevents+json" if cloud_event is not None else "application/json"
    text = (cloud_event if cloud_event is not None else data) or "{}"
    body = text.encode(errors="surrogateescape")  # the bytes as they were typed
    response = request("POST", url, ("functions", function), content=body, headers={"content-type": media_type})
    typer.echo(plain(response.text))
    if response.is_error:
        sys.exit(NOT_DONE)
