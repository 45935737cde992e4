"""The emulators: named where missing, running where not, and never left behind."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from modeldrop.errors import ConfigurationError
from modeldrop.localcloud.emulators import Missing, find_emulator, pubsub_emulator

ROOT = Path(__file__).parents[2]
ONE_TEST_EACH = ["tests/contract/test_documents.py", "-k", "lives_from_create", "-p", "no:cacheprovider"]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Java."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("JAVA_HOME", "REQUIRE_EMULATORS"):
        monkeypatch.delenv(name, raising=False)


def run_tests() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *ONE_TEST_EACH]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", ["firestore", "pubsub"])
def test_what_is_missing_is_said_with_its_remedy(name: str) -> None:
    missing = find_emulator(name)
    assert isinstance(missing, Missing)
    assert name in str(missing)
    assert "install" in missing.remedy


@pytest.mark.usefixtures("bare")
def test_starting_what_is_missing_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="install"), pubsub_emulator():
        pass


@pytest.mark.usefixtures("bare")
def test_a_run_names_what_it_left_out() -> None:
    run = run_tests()
    assert run.returncode == 0, run.stdout
    assert "1 passed" in run.stdout
    assert "left out" in run.stdout
    assert "1 tests. firestore emulator" in run.stdout
    assert "install" in run.stdout


@pytest.mark.usefixtures("bare")
def test_a_run_that_requires_emulators_fails_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_EMULATORS", "1")
    run = run_tests()
    assert run.returncode == 1, run.stdout
    assert "1 passed" in run.stdout
    assert "left out" in run.stdout


@pytest.mark.emulator("pubsub")
def test_an_emulator_ends_with_its_context() -> None:
    with pubsub_emulator() as address:
        host, _, port = address.rpartition(":")
        (java,) = [child for child in psutil.Process().children() if address.rpartition(":")[2] in str(child.cmdline())]
        socket.create_connection((host, int(port))).close()
    assert not java.is_running()


@pytest.mark.emulator("pubsub")
@pytest.mark.program("linux")
def test_an_emulator_ends_with_a_parent_that_was_killed() -> None:
    code = """
from modeldrop.localcloud.emulators import pubsub_emulator
with pubsub_emulator() as address:
    print(address, flush=True)
    input()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert ":" in parent.stdout.readline()
    (java,) = psutil.Process(parent.pid).children()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    gone, _ = psutil.wait_procs([java], timeout=10)
    parent.stdin.close()
    parent.stdout.close()
    assert gone == [java]
