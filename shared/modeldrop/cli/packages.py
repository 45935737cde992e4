"""Commands about packages: judge, pack, verify, sign."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modeldrop.cli.calling import get
from modeldrop.cli.completing import model_names
from modeldrop.cli.control_plane import ControlPlane
from modeldrop.cli.ending import BAD_INPUT, NOT_DONE, ending_of, fail, fail_with
from modeldrop.cli.options import DEFAULT_DATA, AsJson, Data, Keys, Model, Version, url_option
from modeldrop.errors import FieldProblem, InvalidInput, TransientError

if TYPE_CHECKING:
    from modeldrop.handlers.packages.judge_file import Measure

app = typer.Typer()


@app.command()
def gate(
    file: Annotated[Path, typer.Argument(help="Metadata, or the folder of a package.")],
    model: Annotated[
        str | None,
        typer.Option(help="The model's name, where the metadata do not say.", autocompletion=model_names),
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file to judge by.", dir_okay=False)] = None,
    against: Annotated[Path | None, typer.Option(help="Metadata or package to beat.")] = None,
    url: Annotated[
        ControlPlane | None,
        url_option("Control plane whose policy and production count; without it, no network."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Dry run of the gate: ends 0 if the package would be promoted, 1 if rejected or held, 2 on bad input."""
    from modeldrop.cli.tables.drawing import plain, show
    from modeldrop.cli.tables.models import decision_table
    from modeldrop.handlers.packages import judge_file

    try:
        measure = _measure(file, model, url)
        dry_run = judge_file.judge_file(file, model, judge_file.measure_of_files(policy, against, measure))
    except InvalidInput as error:
        fail_with(error.problems, BAD_INPUT)
    except TransientError as error:  # who could not ask must not look like a rejection
        raise ending_of(error, unanswered=BAD_INPUT) from None
    show(dry_run.facts(), decision_table, as_json)
    for note in [] if as_json else dry_run.notes:
        print(plain(f"note: {note}"))
    if dry_run.decision.verdict != "approved":
        sys.exit(NOT_DONE)


def _measure(file: Path, model: str | None, url: ControlPlane | None) -> "Measure | None":
    """What the control plane would judge by; None where none was named."""
    from modeldrop.handlers.packages import judge_file

    if url is None:
        return None
    name = model or judge_file.candidate_model(file)
    if name is None:
        raise InvalidInput([FieldProblem("model", "neither the metadata nor --model name one")])
    return judge_file.measure_of_answer(get(url, "v1", "models", name, "standing", code=BAD_INPUT))


@app.command()
def package(
    model: Model,
    version: Version,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="The tar.gz to write.")],
    data: Data = DEFAULT_DATA,
    bucket: Annotated[str | None, typer.Option(help="gs://… or file://… instead of the embedded bucket.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a package to a tar.gz with its manifest (made if missing); the same files give the same bytes."""
    from modeldrop.localcloud.packaging import pack
    from modeldrop.wiring import open_artifacts

    opened, prefix = open_artifacts(bucket or (data / "bucket").resolve().as_uri())
    if prefix:
        fail(f"{bucket} is a folder in a bucket: name the bucket alone")
    if output.exists() and not output.is_file():
        fail(f"{output} is no file")  # a device would be replaced by one
    if not output.parent.is_dir():
        fail(f"there is no folder {output.parent}")
    try:
        count = pack(opened, model, version, output)
    except InvalidInput as error:
        fail_with(error.problems)
    report = {"model": model, "version": version, "files": count, "output": str(output)}
    _done(f"packed {count} files of {model} {version} into {output}", report, as_json)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A package.")], keys: Keys = None, as_json: AsJson = False
) -> None:
    """Check a package (a tar.gz or a folder) against its manifest; with --keys its signature, too."""
    from modeldrop.localcloud.packaging import verify

    problems, about = verify(path, keys)
    if problems:
        fail_with(problems)
    _done(f"ok; {about}", {"ok": True, "signature": about}, as_json)


@app.command()
def sign(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The package's folder.")],
    key_id: Annotated[str, typer.Option(help="Which key of the file.")],
    keys: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="JSON file of signing keys.")],
    as_json: AsJson = False,
) -> None:
    """Write the manifest of a package, signed."""
    from modeldrop.localcloud.packaging import sign_folder

    try:
        count = sign_folder(folder, key_id, keys)
    except InvalidInput as error:
        fail_with(error.problems, BAD_INPUT)
    _done(f"signed {count} files", {"files": count, "key_id": key_id}, as_json)


def _done(line: str, report: dict[str, Any], as_json: bool) -> None:
    from modeldrop.cli.tables.drawing import plain

    print(json.dumps(report, indent=2) if as_json else plain(line))
