"""What all tests share: the official emulators, started once when first needed, and the rule where they are missing.

A test that needs one says ``@pytest.mark.emulator("firestore")`` (also on a parameter) and gets it from the fixture
``firestore_host`` or ``pubsub_host``. Where it cannot run, such tests are left out and named at the end of the run;
``REQUIRE_EMULATORS=1`` makes that a failure.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modeldrop.localcloud.emulators import Missing, find_emulator, firestore_emulator, pubsub_emulator

_LEFT_OUT = pytest.StashKey[dict[str, int]]()
_MISSING = pytest.StashKey[dict[str, Missing]]()


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
    """Leaves out, of the tests selected otherwise, those whose emulator cannot run here."""
    needed = {item: _emulators(item) for item in items}
    found = {name: find_emulator(name) for name in sorted(set().union(*needed.values()))}
    missing = {name: emulator for name, emulator in found.items() if isinstance(emulator, Missing)}
    left_out = [item for item in items if needed[item] & missing.keys()]
    config.stash[_MISSING] = missing
    config.stash[_LEFT_OUT] = {name: sum(name in needed[item] for item in left_out) for name in missing}
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not needed[item] & missing.keys()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Names what was left out, and how to get it."""
    missing = config.stash.get(_MISSING, {})
    if missing:
        terminalreporter.section("left out: official emulators that cannot run here", yellow=True)
    for name, emulator in missing.items():
        terminalreporter.write_line(f"{config.stash[_LEFT_OUT][name]} tests. {emulator}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the run over left-out tests where the emulators are required."""
    accepted = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if _emulators_are_required() and session.config.stash.get(_MISSING, {}) and session.exitstatus in accepted:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _emulators(item: pytest.Item) -> set[str]:
    return {mark.args[0] for mark in item.iter_markers("emulator")}


def _emulators_are_required() -> bool:
    return os.environ.get("REQUIRE_EMULATORS", "") not in ("", "0")


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
