"""The command line: ``modeldrop …``. Each command is a few lines over a use case or over the API."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import quote

import typer

from modeldrop import __version__
from modeldrop.errors import ModeldropError, TransientError, Unavailable

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_DATA = Path("modeldrop-data")
NOT_DONE = 1
BAD_INPUT = 2

app = typer.Typer(
    name="modeldrop",
    help="Drop a metadata file into a bucket; the model is checked, rolled out, watched.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Url = Annotated[str, typer.Option(envvar="MODELDROP_URL", help="Address of the control plane.")]
Data = Annotated[Path, typer.Option(help="Folder of the embedded cloud.", file_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def main() -> None:
    """Entry point: our own errors are one line on standard error, not a traceback."""
    try:
        app()
    except TransientError as error:
        fail(str(error), NOT_DONE)
    except ModeldropError as error:
        fail(str(error))


def fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    """Say what is wrong and end."""
    from modeldrop.web.terminal import plain

    typer.secho(plain(f"modeldrop: {message}"), err=True, fg=typer.colors.RED)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def about(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Options of all commands."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


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
def status(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Models, what serves, and what is under way."""
    from modeldrop.web.terminal import models_table, show

    answer = _get(url, "v1", "models")
    show(answer, models_table, as_json)


@app.command()
def versions(model: str, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Versions of a model, the newest first."""
    from modeldrop.web.terminal import show, versions_table

    show(_get(url, "v1", "models", model, "versions"), versions_table, as_json)


@app.command()
def explain(model: str, version: str, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Why a version was approved or rejected."""
    from modeldrop.web.terminal import decision_table, show

    show(_get(url, "v1", "models", model, "versions", version, "explain"), decision_table, as_json)


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
    response = _request("POST", url, ("functions", function), content=body, headers={"content-type": media_type})
    typer.echo(plain(response.text))
    if response.is_error:
        sys.exit(NOT_DONE)


def _get(url: str, *path: str) -> dict[str, Any]:
    response = _request("GET", url, path)
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Unavailable(f"{url} does not answer as modeldrop does. Is it its address?")
    if response.is_error:
        fail(str(answer.get("detail", response.text)), NOT_DONE)
    return answer


def _request(method: str, url: str, path: Iterable[str], **content: Any) -> "httpx.Response":
    """The answer to a request for the path of these segments. Raises Unavailable where there is none."""
    import httpx

    segments = "/".join(quote(segment, safe="", errors="surrogateescape") for segment in path)
    try:
        return httpx.request(method, f"{url.rstrip('/')}/{segments}", timeout=60, trust_env=False, **content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"{url} cannot be reached: {error}. Is modeldrop up running?") from None


if __name__ == "__main__":
    main()
