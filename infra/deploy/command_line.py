"""What ``deploy.py`` is called with."""

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from infra.deploy import commands
from infra.deploy.commands import Access, Destination, Wrong
from infra.deploy.deployment import SMOKE_ATTEMPTS, Deployment, dry_run
from infra.deploy.functions_table import Function, Table, read_table
from infra.deploy.lock import Lock, Locked
from infra.deploy.running import CommandFailed, Interrupted, Interruptions, run_command

_BY_DIGEST = re.compile(r"[a-z0-9./_-]+@sha256:[0-9a-f]{64}")
_FORMS = {
    "project": r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
    "region": r"[a-z]+-[a-z]+[0-9]+",
    "bucket": r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]",
    "database": r"\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]",
}


def main(arguments: Sequence[str]) -> int:
    """0: deployed, or printed; 1: not deployed, or taken back; 2: what was asked for cannot be."""
    asked = _parser().parse_args(arguments)
    try:
        table = read_table()
        functions, to = _chosen(table, asked.only), _destination(asked)
        if asked.dry_run:
            if not asked.predict_image:
                print(shlex.join(commands.newest_image(to)))
                to = replace(to, predict_image=f"{commands.predict_repository(to)}@DIGEST")
            print("\n".join(dry_run(table, functions, to)))
            return 0
        if not asked.predict_image:
            to = _with_newest_image(to)
        for function in functions:
            commands.deploy(table, function, to)  # what is wrong with one is said before any is deployed
        return 0 if _deploy(table, functions, to, asked) else 1
    except Wrong as error:
        _say(str(error))
        return 2
    except (CommandFailed, Locked, OSError) as error:
        _say(f"nothing was deployed: {error}")
        return 1
    except Interrupted as error:
        _say(f"interrupted by {error}")
        return 1


def _deploy(table: Table, functions: Sequence[Function], to: Destination, asked: argparse.Namespace) -> bool:
    """Whether all of them are deployed. Ctrl-C and SIGTERM take back what was begun; the lock is given back always."""
    lock = Lock(to.bucket, lambda: run_command(commands.ACCESS_TOKEN).strip(), _say)
    with Interruptions() as interruptions:
        try:
            with interruptions.held():  # one that was taken, and the answer not waited for, would stay
                lock.take(by_force=asked.force_unlock)
            return Deployment(
                table,
                to,
                say=_say,
                pause_seconds=asked.smoke_pause_seconds,
                attempts=max(1, asked.smoke_attempts),
                interruptions=interruptions,
                turn=lock.renew,
            ).deploy(functions)
        finally:
            with interruptions.held():
                lock.release()


def _say(line: str) -> None:
    print(line, flush=True)  # into a build's log at once


def _chosen(table: Table, only: Sequence[str]) -> list[Function]:
    names = {function.name for function in table.functions}
    if unknown := sorted(set(only) - names):
        raise Wrong(f"not in infra/functions.yaml: {', '.join(unknown)}; there are {', '.join(sorted(names))}")
    return [function for function in table.functions if not only or function.name in only]


def _destination(asked: argparse.Namespace) -> Destination:
    bucket = asked.bucket or f"{asked.project}-modeldrop"
    given = {"project": asked.project, "region": asked.region, "bucket": bucket, "database": asked.database}
    for name, value in given.items():
        if not re.fullmatch(_FORMS[name], value):
            raise Wrong(f"--{name}={value} cannot be the name of one: {_FORMS[name]}")
    image = "" if asked.predict_image in (None, "none") else asked.predict_image
    if image and not _BY_DIGEST.fullmatch(image):
        raise Wrong("--predict-image is given by its digest, …@sha256:…: a tag may mean another image tomorrow")
    if unknown := sorted(
        set(asked.secret) - {secret.name for each in read_table().functions for secret in each.secrets}
    ):
        raise Wrong(f"infra/functions.yaml has no secret {', '.join(unknown)}")
    return Destination(
        **given,
        predict_image=image,
        settings=_settings(asked.settings),
        secrets=frozenset(asked.secret),
        api_callers=_members(asked.api_caller),
        smoke_callers=_members(asked.smoke_caller),
        bucket_location=asked.bucket_location.lower(),
        ticks_paused=asked.no_tick_smoke,
        access=_access(asked),
    )


def _access(asked: argparse.Namespace) -> Access:
    for who in (*asked.viewer, *asked.operator, *asked.approver):
        if not re.fullmatch(r"\*|@[^@\s,|]+|[^@\s,|:]+@[^@\s,|]+", who):
            raise Wrong(f"{who} is nobody: an e-mail address, @domain, or *")
    audience = asked.iap_audience
    if audience and not re.fullmatch(r"/projects/[0-9]+/[a-zA-Z0-9/_-]+", audience):
        raise Wrong(f"--iap-audience={audience} is none: /projects/NUMBER/…, as Identity-Aware Proxy shows it")
    return Access(tuple(asked.viewer), tuple(asked.operator), tuple(asked.approver), audience)


def _members(given: Sequence[str]) -> tuple[str, ...]:
    for member in given:
        if not re.fullmatch(r"(user|group|serviceAccount):[^:@\s]+@[^:@\s]+", member):
            raise Wrong(f"{member} is no member: user:…, group:… or serviceAccount:…; never everybody")
    return tuple(given)


def _settings(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Wrong(f"{path}: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise Wrong(f"{path} must be a YAML mapping of settings to texts; write numbers in quotes")
    return {str(name): value for name, value in content.items()}


def _with_newest_image(to: Destination) -> Destination:
    digest = run_command(commands.newest_image(to)).strip()
    if not digest:
        _say("no predict image was pushed yet: until one is, packages have to name an image of their own")
        return to
    image = f"{commands.predict_repository(to)}@{digest}"
    if not _BY_DIGEST.fullmatch(image):
        raise Wrong(f"gcloud named no digest: {digest!r}")
    _say(f"versions will be served by {image}")
    return replace(to, predict_image=image)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("infra/deploy/deploy.py", description="Deploy the functions, and smoke-test them.")
    add = parser.add_argument
    add("--project", required=True, help="Google Cloud project id")
    add("--region", required=True, help="region of the functions and of Vertex AI, such as us-central1")
    add("--only", nargs="+", action="extend", default=[], metavar="NAME", help="these functions alone")
    add("--dry-run", action="store_true", help="print every command, run none")
    add("--bucket", help="the models' bucket (PROJECT-modeldrop)")
    add("--bucket-location", default="", help="where the bucket is, if it is a multi-region: us, eu, asia (REGION)")
    add("--database", default="(default)", help="Firestore database id")
    add("--predict-image", help="image of functions/predict, by digest (the one pushed last); none: without")
    add("--settings", type=Path, help="YAML file of further MODELDROP_… settings")
    add("--secret", action="append", default=[], metavar="NAME", help="mount this secret of the table; repeatable")
    add("--api-caller", action="append", default=[], metavar="MEMBER", help="who may call the API; repeatable")
    add("--smoke-caller", action="append", default=[], metavar="MEMBER", help="who runs this, to be let in; repeatable")
    for role, may in (("viewer", "look"), ("operator", "give commands"), ("approver", "approve")):
        add(f"--{role}", action="append", default=[], metavar="WHO", help=f"may {may}: e-mail, @domain, *; repeatable")
    add("--iap-audience", default="", help="Identity-Aware Proxy stands before the API, with this audience")
    add("--no-tick-smoke", action="store_true", help="call no tick: while they are paused, as for a restore")
    add("--force-unlock", action="store_true", help="take the lock over from another deployment")
    add("--smoke-attempts", type=int, default=SMOKE_ATTEMPTS, help="of each smoke test (%(default)s)")
    add("--smoke-pause-seconds", type=float, default=15.0, help="between attempts of a smoke test (%(default)s)")
    return parser
