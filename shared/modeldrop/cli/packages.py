"""Commands about packages: judge, pack, verify, sign."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from modeldrop.cli.calling import (
    BAD_INPUT,
    DEFAULT_DATA,
    NOT_DONE,
    AsJson,
    Data,
    Keys,
    fail,
    fail_with,
    get,
)
from modeldrop.errors import FieldProblem, InvalidInput, TransientError

app = typer.Typer()


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
    from modeldrop.handlers.packages import judge_file
    from modeldrop.web.terminal import decision_table, plain, show

    try:
        measure = None
        if url is not None:
            name = model or judge_file.candidate_model(file)
            if name is None:
                raise InvalidInput([FieldProblem("model", "neither the metadata nor --model name one")])
            measure = judge_file.measure_of_answer(get(url, "v1", "models", name, "standing", code=BAD_INPUT))
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
        fail_with(error.problems)
    typer.echo(f"packed {count} files of {model} {version} into {output}")


@app.command()
def verify(path: Path, keys: Keys = None) -> None:
    """Check a package (a tar.gz or a folder) against its manifest; with --keys its signature, too."""
    from modeldrop.localcloud.packaging import verify
    from modeldrop.web.terminal import plain

    problems, about = verify(path, keys)
    if problems:
        fail_with(problems)
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
        fail_with(error.problems, BAD_INPUT)
    typer.echo(f"signed {count} files")
