"""``modeldrop drop``: a package on its way, from a folder to whatever comes of it."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from modeldrop.cli.control_plane import DEFAULT_URL, ControlPlane
from modeldrop.cli.ending import NOT_DONE, fail, fail_with
from modeldrop.cli.options import DEFAULT_DATA, AsJson, Data, Url
from modeldrop.errors import FieldProblem, InvalidInput

app = typer.Typer()

FOLLOW_SECONDS = 4 * 3600.0


@app.command()
def drop(  # noqa: PLR0913, PLR0917 - what can be said on its command line
    path: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Folder with metadata.json beside its files.")
    ],
    data: Data = DEFAULT_DATA,
    bucket: Annotated[str | None, typer.Option(help="gs://… or file://… instead of the embedded bucket.")] = None,
    url: Url = DEFAULT_URL,
    wait: Annotated[bool, typer.Option(help="Follow the version until it is live, rejected or failed.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to follow it at most.")] = FOLLOW_SECONDS,
    check: Annotated[bool, typer.Option(help="Look at the package first; what is wrong is not dropped.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, say what would be dropped, and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a package into the bucket, its metadata last, and follow what comes of it.

    Everything that is wrong with it is said at once, and then nothing is dropped; links and special files are wrong.
    It can be repeated after an interruption. A package whose metadata are there is complete: other bytes need a new
    version, unless it was rejected: then it is mended. With --wait it ends 0 once the version is live, 1 if it is
    rejected, fails or falls.
    """
    from modeldrop.localcloud.dropping import files_of, names_of

    _look_at(path, check)
    model, version = names_of(path)
    report: dict[str, Any] = {"model": model, "version": version, "bucket": bucket or str(data / "bucket")}
    report["files"] = [found.relative_to(path).as_posix() for found in files_of(path)]
    if dry_run:
        return _say(report, [*(f"would drop {name}" for name in report["files"]), _would_be(report)], as_json)
    _deliver(path, data, bucket, as_json)
    _say({}, [f"dropped {model} {version}"], as_json)
    if not wait:
        return _say(report, [], as_json)
    follow(url, report, timeout, as_json)


def follow(url: ControlPlane, report: dict[str, Any], timeout_seconds: float, as_json: bool) -> None:
    """Show what becomes of the dropped version; ends with 1 where it does not go live."""
    from modeldrop.cli.following import baking, last_of, look_until_settled
    from modeldrop.cli.live_rollout import follow_in_lines, follow_on_terminal

    looks = look_until_settled(url, report["model"], report["version"], timeout_seconds)
    show = follow_on_terminal if sys.stdout.isatty() else follow_in_lines
    seen = last_of(looks) if as_json else show(looks)
    _say(report | {"status": seen.status, "reasons": seen.reasons, "seconds": round(seen.seconds, 3)}, [], as_json)
    if seen.status == "live":
        return
    if not seen.is_settled and not as_json:
        waits = seen.waits_for or baking(seen.rollout, time.time()) or "it goes on"
        fail(f"still {seen.status} after {timeout_seconds:g} s; {waits}", NOT_DONE)
    raise SystemExit(NOT_DONE)


def _look_at(path: Path, check: bool) -> None:
    """Everything that would have the package turned away whatever the policy says."""
    if not check:
        return
    from modeldrop.domain.packages import MANIFEST_NAME
    from modeldrop.handlers.packages.judge_file import judge_file, measure_of_files
    from modeldrop.localcloud.dropping import names_of
    from modeldrop.localcloud.packaging import verify

    problems: list[FieldProblem] = []
    try:
        names_of(path)
        judge_file(path, None, measure_of_files(None, None))
    except InvalidInput as error:
        problems += error.problems
    if (path / MANIFEST_NAME).is_file():
        problems += verify(path, None)[0]
    if problems:
        fail_with(problems, code=2)


def _deliver(path: Path, data: Path, bucket: str | None, as_json: bool) -> None:
    from modeldrop.localcloud.dropping import drop_package, upload_package
    from modeldrop.wiring import open_artifacts

    if bucket is None:
        drop_package(path, data / "bucket")
        return
    opened, prefix = open_artifacts(bucket)
    parts = urlsplit(bucket)
    if parts.scheme == "file" and not Path(unquote(parts.path)).is_dir():
        fail(f"there is no bucket at {bucket}")  # a slip of the pen would make one, which nobody looks into
    if prefix:
        fail(f"{bucket} is a folder in a bucket: name the bucket alone")
    upload_package(path, opened, lambda line: _say({}, [f"  {line}"], as_json))


def _would_be(report: dict[str, Any]) -> str:
    return f"as {report['model']} {report['version']} into {report['bucket']}"


def _say(report: dict[str, Any], lines: list[str], as_json: bool) -> None:
    """To people line by line, to programs one report."""
    from modeldrop.cli.tables.drawing import plain

    if as_json and report:
        print(json.dumps(report, indent=2))
    for line in [] if as_json else lines:
        print(plain(line), flush=True)
