"""Shows that the tests bite: seeds each fault into a copy of the tree, and every one must turn a test red.

``python -m tests.faults [WORD …]`` (only faults whose name has one of the words). Nothing in the checkout is touched.
Ends with 1 if a fault survives, if its text is not there exactly once, or if the unseeded copy is not green.
"""

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.faults.faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
TEST_SECONDS = 60
_LEFT_OUT = (".venv*", ".git", ".*_cache", "__pycache__", "build", "dist", ".hypothesis")
_RED = 1  # pytest's exit code where tests failed; others mean that they did not run
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", re.MULTILINE)


class Outcome(NamedTuple):
    """What came of one run of tests."""

    name: str
    expected: bool
    seconds: float
    why: str


def main(words: Sequence[str]) -> int:
    """The exit code."""
    faults = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    misplaced = [problem for fault in faults for problem in _misplaced(fault)]
    if misplaced or not faults:
        print("\n".join(misplaced) or "no such fault", file=sys.stderr)
        return 1
    with _trees() as trees, ThreadPoolExecutor(AT_ONCE) as pool:
        unseeded = [pool.submit(_unseeded, trees, tests) for tests in sorted({fault.tests for fault in faults})]
        seeded = [pool.submit(_seeded, trees, fault) for fault in faults]
        outcomes = [future.result() for future in [*unseeded, *seeded]]
    _print_table(outcomes)
    return 0 if all(outcome.expected for outcome in outcomes) else 1


def _misplaced(fault: Fault) -> list[str]:
    found = (ROOT / fault.file).read_text().count(fault.old)
    return [] if found == 1 else [f"{fault.name}: its text is {found} times in {fault.file}"]


@contextmanager
def _trees() -> Iterator[queue.Queue[Path]]:
    """Copies of the tree, one for each run at a time."""
    trees: queue.Queue[Path] = queue.Queue()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(AT_ONCE):
            tree = Path(folder) / f"tree{number}"
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
            trees.put(tree)
        yield trees


def _unseeded(trees: queue.Queue[Path], tests: tuple[str, ...]) -> Outcome:
    tree = trees.get()
    try:
        code, seconds, said = _run(tree, tests)
    finally:
        trees.put(tree)
    return Outcome(f"no fault: {' '.join(tests)}", code == 0, seconds, "green" if code == 0 else _first_red(code, said))


def _seeded(trees: queue.Queue[Path], fault: Fault) -> Outcome:
    tree = trees.get()
    file = tree / fault.file
    sound = file.read_text()
    try:
        file.write_text(sound.replace(fault.old, fault.new))
        code, seconds, said = _run(tree, fault.tests)
    finally:
        file.write_text(sound)
        trees.put(tree)
    return Outcome(fault.name, code == _RED, seconds, _first_red(code, said))


def _run(tree: Path, tests: tuple[str, ...]) -> tuple[int, float, str]:
    """Runs tests in a copy, which comes before everything installed; stops at the first that is red."""
    options = ["-x", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}"]
    environment = os.environ | {"PYTHONPATH": f"{tree / 'shared'}{os.pathsep}{tree}", "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, time.monotonic() - began, done.stdout + done.stderr


def _first_red(code: int, said: str) -> str:
    found = _FAILED.search(said)
    if code == _RED and found:
        return found[1].rsplit("/", 1)[-1]
    return "SURVIVED" if code == 0 else f"pytest ended with {code}: {said.strip()[-300:]}"


def _print_table(outcomes: Sequence[Outcome]) -> None:
    width = max(len(outcome.name) for outcome in outcomes)
    for outcome in outcomes:
        mark = "ok " if outcome.expected else "BAD"
        print(f"{mark} {outcome.name:{width}} {outcome.seconds:5.1f} s  {outcome.why}")
    seeded = [outcome for outcome in outcomes if not outcome.name.startswith("no fault")]
    print(f"{sum(outcome.expected for outcome in seeded)} of {len(seeded)} faults turn a test red")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
