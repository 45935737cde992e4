"""Running commands, and what may come in between: Ctrl-C, and the SIGTERM of a build that is cancelled."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from infra.deploy.functions_table import REPOSITORY

Run = Callable[[Sequence[str]], str]
"""Runs a command and gives what it wrote to its standard output; raises CommandFailed."""


class CommandFailed(Exception):
    """A command ended with an error; what it said about it stands on the terminal already."""


class Interrupted(BaseException):
    """Somebody wants the deployment to end. No error, and not to be taken for one."""


def run_command(command: Sequence[str]) -> str:
    """Runs it in the repository; its errors and its own progress go to the terminal.

    It has a session of its own, so that Ctrl-C reaches this program alone: gcloud would leave a deployment behind that
    goes on without it. Where something is raised here meanwhile, the command ends, with what it has started.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, start_new_session=True) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # gcloud is a shell script with a program below it
            raise
    if process.returncode:
        raise CommandFailed(f"{process.returncode} from: {shlex.join(command)}")
    return output.decode("utf-8", "replace")


class Interruptions:
    """Ctrl-C and SIGTERM while this context is entered: ``Interrupted`` is raised at once, or after what is held.

    The second ends what is held as well.
    """

    def __init__(self) -> None:
        self._came: str | None = None
        self._holding = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruptions":
        self._before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is done in here is done to its end, and the first interruption raised after it."""
        self._came, self._holding = None, True
        try:
            yield
        finally:
            self._holding = False
        if self._came is not None:
            raise Interrupted(self._came)

    def _take(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._holding and self._came is None:
            self._came = name
            # Not print: this may come in the middle of one.
            os.write(sys.stdout.fileno(), f"{name}: as soon as this command is done; once more ends it\n".encode())
            return
        self._holding = False
        raise Interrupted(name)
