"""The command line: ``modeldrop …``. Each command is a few lines over a use case or over the API."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import quote

import typer

from modeldrop import __version__
from modeldrop.errors import FieldProblem, InvalidInput, ModeldropError, TransientError, Unavailable

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
Keys = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="JSON file of signing keys.")]
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
def explain(
    model: str,
    version: str,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
    replay: Annotated[bool, typer.Option("--replay", help="Make the decision again; 1 if it differs.")] = False,
) -> None:
    """Why a version was approved, held or rejected."""
    from modeldrop.web.terminal import decision_table, plain, show

    answer = _get(url, "v1", "models", model, "versions", version, "explain")
    if not replay:
        return show(answer, decision_table, as_json)
    from modeldrop.handlers.judge_file import replayed

    result = replayed(answer)
    show(answer | {"replay": {"agrees": result.agrees, "says": result.says}}, decision_table, as_json)
    if not as_json:
        typer.echo(plain(f"replay: {result.says}"))
    if not result.agrees:
        sys.exit(NOT_DONE)


@app.command()
def gate(
    file: Annotated[Path, typer.Argument(help="Metadata, or the folder of a package.")],
    model: Annotated[str | None, typer.Option(help="The model's name, where the metadata do not say.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file to judge by.", dir_okay=False)] = None,
    against: Annotated[Path | None, typer.Option(help="Metadata or package to beat.")] = None,
    url: Annotated[
        str | None, typer.Option(help="Control plane whose policy and production count; without it, no network.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Dry run of the gate: ends 0 if the package would be promoted, 1 if rejected or held, 2 on bad input."""
    from modeldrop.handlers import judge_file
    from modeldrop.web.terminal import decision_table, plain, show

    try:
        measure = None
        if url is not None:
            name = model or judge_file.candidate_model(file)
            if name is None:
                raise InvalidInput([FieldProblem("model", "neither the metadata nor --model name one")])
            measure = judge_file.measure_of_answer(_get(url, "v1", "models", name, "standing", code=BAD_INPUT))
        dry_run = judge_file.judge_file(file, model, judge_file.measure_of_files(policy, against, measure))
    except InvalidInput as error:
        if as_json:
            typer.echo(json.dumps({"problems": [{"field": p.field, "message": p.message} for p in error.problems]}))
        fail("\n".join(map(str, error.problems)))
    except TransientError as error:  # who could not ask must not look like a rejection
        fail(str(error))
    show(dry_run.facts(), decision_table, as_json)
    for note in [] if as_json else dry_run.notes:
        typer.echo(plain(f"note: {note}"))
    if dry_run.decision.verdict != "approved":
        sys.exit(NOT_DONE)


@app.command()
def history(
    model: str,
    at: Annotated[str | None, typer.Option(help="ISO 8601 time: what served then.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """What happened to a model and by whose word; or what served at a time."""
    from modeldrop.web.terminal import history_table, served_table, show

    path = ("v1", "models", model, "history")
    if at is None:
        show(_get(url, *path), history_table, as_json)
    else:
        show(_get(url, *path, at=at), served_table, as_json)


@app.command()
def promote(
    model: str,
    version: str,
    force: Annotated[bool, typer.Option("--force", help="Do not ask the gate. Stands in the history.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Make a version the champion from now on."""
    _command(url, model, "promote", {"version": version, "force": force})


@app.command()
def approve(model: str, version: str, url: Url = DEFAULT_URL) -> None:
    """Let a version pass that waits for approval."""
    _command(url, model, "approve", {"version": version})


@app.command()
def package(
    model: str,
    version: str,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="The tar.gz to write.")],
    data: Data = DEFAULT_DATA,
    bucket: Annotated[str | None, typer.Option(help="gs://… or file://… instead of the embedded bucket.")] = None,
) -> None:
    """Write a package to a tar.gz with its manifest (made if missing); the same files give the same bytes."""
    from modeldrop.localcloud.packaging import pack
    from modeldrop.wiring import open_artifacts

    opened, prefix = open_artifacts(bucket or (data / "bucket").resolve().as_uri())
    if prefix:
        fail(f"{bucket} is a folder in a bucket: name the bucket alone")
    if not output.parent.is_dir():
        fail(f"there is no folder {output.parent}")
    try:
        count = pack(opened, model, version, output)
    except InvalidInput as error:
        _fail_with(error.problems)
    typer.echo(f"packed {count} files of {model} {version} into {output}")


@app.command()
def verify(path: Path, keys: Keys = None) -> None:
    """Check a package (a tar.gz or a folder) against its manifest; with --keys its signature, too."""
    from modeldrop.localcloud.packaging import verify
    from modeldrop.web.terminal import plain

    problems, about = verify(path, keys)
    if problems:
        _fail_with(problems)
    typer.echo(plain(f"ok; {about}"))


@app.command()
def sign(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The package's folder.")],
    key_id: Annotated[str, typer.Option(help="Which key of the file.")],
    keys: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="JSON file of signing keys.")],
) -> None:
    """Write the manifest of a package, signed."""
    from modeldrop.localcloud.packaging import sign_folder

    try:
        count = sign_folder(folder, key_id, keys)
    except InvalidInput as error:
        _fail_with(error.problems, BAD_INPUT)
    typer.echo(f"signed {count} files")


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


def _command(url: str, model: str, command: str, body: dict[str, Any]) -> None:
    """Send a command and print the reply; a refused one ends with 1."""
    from modeldrop.web.terminal import plain

    answer = _answer(url, _request("POST", url, ("v1", "models", f"{model}:{command}"), json=body))
    typer.echo(plain(f"{answer.get('status')}: {answer.get('reason')}"))
    if answer.get("status") != "accepted":
        sys.exit(NOT_DONE)


def _fail_with(problems: Iterable[FieldProblem], code: int = NOT_DONE) -> NoReturn:
    """Say everything that is wrong, one reason a line, and end."""
    from modeldrop.web.terminal import plain

    for problem in problems:
        typer.secho(plain(f"modeldrop: {problem}"), err=True, fg=typer.colors.RED)
    sys.exit(code)


def _get(url: str, *path: str, code: int = NOT_DONE, **query: str) -> dict[str, Any]:
    return _answer(url, _request("GET", url, path, params=query), code)


def _answer(url: str, response: "httpx.Response", code: int = NOT_DONE) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Unavailable(f"{url} does not answer as modeldrop does. Is it its address?")
    if response.is_error:
        fail(str(answer.get("detail", response.text)), code)
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
