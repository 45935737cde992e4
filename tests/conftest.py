"""What all tests share: the official emulators, started once when first needed, and the rule where they are missing.

A test that needs one says ``@pytest.mark.emulator("firestore")`` (also on a parameter) and gets it from the fixture
``firestore_host`` or ``pubsub_host``. Where it cannot run, such tests are left out and named at the end of the run;
``REQUIRE_EMULATORS=1`` makes that a failure. One that needs a program says ``@pytest.mark.program("terraform")``; the
same holds for it, with ``REQUIRE_PROGRAMS=1``.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from modeldrop.localcloud.emulators import Missing, find_emulator, firestore_emulator, pubsub_emulator
from tests.programs import HOW_TO_GET, find_program

Need = tuple[str, str]
"""emulator or program, and its name."""
_LEFT_OUT = pytest.StashKey[dict[Need, int]]()
_MISSING = pytest.StashKey[dict[Need, str]]()
_FROM_WORKER = "left_out"


@pytest.fixture(scope="session")
def firestore_host() -> Iterator[str]:
    """``host:port`` of the Firestore emulator; the Google client finds it through the environment."""
    with firestore_emulator() as host, _environment("FIRESTORE_EMULATOR_HOST", host):
        yield host


@pytest.fixture(scope="session")
def pubsub_host() -> Iterator[str]:
    """``host:port`` of the Pub/Sub emulator; the Google client finds it through the environment."""
    with pubsub_emulator() as host, _environment("PUBSUB_EMULATOR_HOST", host):
        yield host


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out, of the tests selected otherwise, those that need what cannot run here."""
    needed = {item: _needs(item) for item in items}
    lacks = {need: _lack(*need) for need in sorted(set().union(*needed.values()))}
    missing = {need: lack for need, lack in lacks.items() if lack is not None}
    left_out = [item for item in items if needed[item] & missing.keys()]
    config.stash[_MISSING] = missing
    config.stash[_LEFT_OUT] = {need: sum(need in needed[item] for item in left_out) for need in missing}
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not needed[item] & missing.keys()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Names what was left out, and how to get it."""
    missing = config.stash.get(_MISSING, {})
    for kind, title in (("emulator", "official emulators"), ("program", "programs")):
        if any(need[0] == kind for need in missing):
            terminalreporter.section(f"left out: {title} that cannot run here", yellow=True)
        for need, lack in missing.items():
            if need[0] == kind:
                terminalreporter.write_line(f"{config.stash[_LEFT_OUT][need]} tests. {lack}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Where several processes run the tests, each has left out the same ones: this one is told by them."""
    for kind, name, lack, count in getattr(node, "workeroutput", {}).get(_FROM_WORKER, []):
        node.config.stash.setdefault(_MISSING, {})[kind, name] = lack
        node.config.stash.setdefault(_LEFT_OUT, {})[kind, name] = count


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the run over left-out tests where what they need is required."""
    stash = session.config.stash
    if hasattr(session.config, "workeroutput"):  # of one process among several
        missing = stash.get(_MISSING, {}).items()
        session.config.workeroutput[_FROM_WORKER] = [(*need, lack, stash[_LEFT_OUT][need]) for need, lack in missing]
        return
    accepted = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    required = any(_is_required(kind) for kind, _ in session.config.stash.get(_MISSING, {}))
    if required and session.exitstatus in accepted:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _needs(item: pytest.Item) -> set[Need]:
    return {(kind, mark.args[0]) for kind in ("emulator", "program") for mark in item.iter_markers(kind)}


def _lack(kind: str, name: str) -> str | None:
    """What keeps it from running here, and the remedy; None: nothing does."""
    if kind == "program":
        return None if find_program(name) else f"{name}: {HOW_TO_GET[name]}"
    found = find_emulator(name)
    return str(found) if isinstance(found, Missing) else None


def _is_required(kind: str) -> bool:
    return os.environ.get(f"REQUIRE_{kind.upper()}S", "") not in ("", "0")


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
