"""Cold import: each function in fresh interpreters, against a function that does nothing, in turns.

Bytecode is kept in a folder of the run's own, so that the machine's settings and earlier runs make no difference. The
rows ``uncompiled`` are what a container pays that starts from sources alone: installed packages have bytecode there,
our own files have none. ``CPU`` is the process's time on a core: where it meets the aim and the time on the clock
does not, the machine was busy.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench import import_probe
from tests.bench.measuring import Aim, Note, Reference, Row

ROOT = Path(__file__).parents[2]
ROUNDS = 15
MOST_TIMES_NO_OP = 1.5
NO_OP = "no_op"
NO_OP_SOURCE = """\
import functions_framework

@functions_framework.http
def no_op(request):
    return "ok"
"""
# Each of these is a large part of a cold start, or drags in what is. Whoever needs one imports it where it is used.
HEAVY = (
    "google.api_core",
    "google.auth",
    "google.cloud.aiplatform",
    "google.cloud.aiplatform_v1",
    "google.cloud.firestore",
    "google.cloud.firestore_v1",
    "google.cloud.pubsub_v1",
    "google.cloud.storage",
    "google.genai",
    "google.protobuf",
    "grpc",
    "httpx",
    "numpy",
    "pandas",
    "pydantic",
    "requests",
    "rich",
    "scipy",
    "sklearn",
    "sqlglot",
    "typer",
    "yaml",
)


@dataclass(frozen=True)
class Imported:
    """One fresh process that loaded a function."""

    process_seconds: float  # the whole process: interpreter, framework, function
    import_seconds: float  # framework and function
    cpu_seconds: float  # as the whole process, without waiting for a core
    modules: frozenset[str]


def function_sources() -> dict[str, Path]:
    """Every function of the repository by its name."""
    return {main.parent.name: main for main in sorted((ROOT / "functions").glob("*/main.py"))}


def write_no_op(folder: Path) -> Path:
    """A function of the same framework that does nothing."""
    source = folder / "main.py"
    source.write_text(NO_OP_SOURCE)
    return source


def import_function(name: str, source: Path, variables: Mapping[str, str] | None = None) -> Imported:
    """Load a function in an interpreter of its own, with an environment that holds no settings."""
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT / "shared"), **(variables or {})}
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", import_probe.__file__, name, str(source)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )
    process_seconds = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"{name} cannot be imported: {done.stderr[-2000:]}")
    answer = json.loads(done.stdout)
    return Imported(process_seconds, answer["seconds"], answer["cpu_seconds"], frozenset(answer["modules"]))


def heavy_among(modules: frozenset[str], bare: frozenset[str]) -> list[str]:
    """Which of HEAVY are loaded, themselves or by a part of theirs, that the framework alone does not load.

    >>> heavy_among(frozenset({"json", "numpy.linalg"}), frozenset({"json"}))
    ['numpy']
    """
    return [name for name in HEAVY if any(f"{module}.".startswith(f"{name}.") for module in modules - bare)]


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        sources = {NO_OP: write_no_op(Path(folder)), **function_sources()}
        for state in ("compiled", "uncompiled"):
            cache = Path(folder) / state
            variables = {"PYTHONPYCACHEPREFIX": str(cache)}
            _in_turns(sources, variables, rounds=1)  # fills the cache
            if state == "uncompiled":
                for ours in (ROOT / "shared", ROOT / "functions"):
                    shutil.rmtree(cache / ours.relative_to("/"))
                variables["PYTHONDONTWRITEBYTECODE"] = "1"
            yield from _rows(_in_turns(sources, variables, ROUNDS), state)


def _in_turns(sources: Mapping[str, Path], variables: Mapping[str, str], rounds: int) -> dict[str, list[Imported]]:
    """Each function once a round, so that a busy moment of the machine hits all of them."""
    seen: dict[str, list[Imported]] = {name: [] for name in sources}
    names = list(sources)
    for turn in range(rounds):
        first = turn % len(names)  # nobody always follows the same one
        for name in names[first:] + names[:first]:
            seen[name].append(import_function(name, sources[name], variables))
    return seen


def _rows(seen: Mapping[str, list[Imported]], state: str) -> Iterator[Row]:
    bare = seen[NO_OP][0].modules
    aim = Aim(MOST_TIMES_NO_OP, "ratio")
    parts = {
        "process": lambda one: one.process_seconds,
        "import": lambda one: one.import_seconds,
        "CPU": lambda one: one.cpu_seconds,
    }
    for name in [name for name in seen if name != NO_OP]:
        for part, seconds in parts.items():
            measured, reference = (median(map(seconds, seen[which])) for which in (name, NO_OP))
            yield Row("cold", f"{name}: {part}, {state}", measured, "s", None, Reference(reference, "no-op"), aim)
        if state == "compiled":
            heavy = heavy_among(seen[name][0].modules, bare)
            what = f"{name}: heavy packages ({', '.join(heavy) or f'none of {len(HEAVY)}'})"
            yield Row("cold", what, len(heavy), "", aim=Aim(0, "measured"))
