"""How commands end: their exit codes, what is said where they could not do it, and pipes and keys that end them early.

0 done · 1 not done, refused, unhealthy or drifted · 2 bad input · 3 no answer, or not now · 130 Ctrl-C · 141 nobody
reads the output any more. ``gate`` ends 2 also where it could not ask: that must not look like a rejection.

With ``--json`` standard output holds one JSON document in either case: the answer, or the problem (RFC 9457). The line
for people is on standard error.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from modeldrop.errors import FieldProblem, InvalidInput, ModeldropError, TransientError, Unavailable

NOT_DONE = 1
BAD_INPUT = 2
NO_ANSWER = 3
NOBODY_READS = 141  # as of a program that SIGPIPE ended

TITLES = {NOT_DONE: "Not done", BAD_INPUT: "Bad input", NO_ANSWER: "No answer"}
_JSON_WANTED = "modeldrop.json"


class Ended(Exception):
    """A command ends with ``code``; ``lines`` say why, ``problem`` says it to programs."""

    def __init__(self, lines: Iterable[str], code: int, problem: Mapping[str, Any] | None = None) -> None:
        self.lines = tuple(lines)
        self.code = code
        about = {"type": "about:blank", "title": TITLES.get(code, "Not done"), "detail": "; ".join(self.lines)}
        self.problem: dict[str, Any] = about | dict(problem or {})
        super().__init__(about["detail"])


def fail(message: str, code: int = BAD_INPUT, problem: Mapping[str, Any] | None = None) -> NoReturn:
    """Say what is wrong and end. ``problem``: what programs are told besides."""
    raise Ended([message], code, problem)


def fail_with(problems: Iterable[FieldProblem], code: int = NOT_DONE) -> NoReturn:
    """Say everything that is wrong, one reason a line, and end."""
    found = tuple(problems)
    raise Ended(map(str, found), code, {"problems": [{"field": p.field, "message": p.message} for p in found]})


def want_json(ctx: typer.Context, wanted: bool) -> bool:
    """Remember that a program reads what this command prints."""
    ctx.meta[_JSON_WANTED] = wanted
    return wanted


def warn(line: str) -> None:
    """A line on standard error that asks for attention."""
    _say(line, typer.colors.YELLOW)


class Commands(TyperGroup):
    """The commands; whatever ends one of them early is told in one way."""

    def invoke(self, ctx: Any) -> Any:
        """Carry out what was asked for."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()  # a pipe that is closed shows here, not when Python ends
        except BrokenPipeError:
            _read_no_more()
            raise SystemExit(NOBODY_READS) from None
        except (Ended, ModeldropError, OSError) as error:
            ended = error if isinstance(error, Ended) else ending_of(error)
            _tell(ended, as_json=bool(ctx.meta.get(_JSON_WANTED)))
            raise SystemExit(ended.code) from None


def ending_of(error: ModeldropError | OSError, unanswered: int = NO_ANSWER) -> Ended:
    """How an error of ours, or of the disk, ends a command; ``unanswered``: the code where nobody answered."""
    if isinstance(error, OSError):
        where = f"{error.filename2 or error.filename}: " if error.filename else ""
        return Ended([f"{where}{error.strerror or error}"], BAD_INPUT)
    if isinstance(error, InvalidInput):
        problems = [{"field": problem.field, "message": problem.message} for problem in error.problems]
        return Ended([str(error)], BAD_INPUT, {"problems": problems})
    if isinstance(error, Unavailable):
        return Ended([str(error)], unanswered)
    return Ended([str(error)], NOT_DONE if isinstance(error, TransientError) else BAD_INPUT)


def _tell(ended: Ended, *, as_json: bool) -> None:
    try:
        if as_json:
            print(json.dumps(ended.problem, indent=2))
        sys.stdout.flush()
    except OSError:  # nobody reads, or the disk is full: people can still be told
        _read_no_more()
    with suppress(OSError):
        for line in ended.lines:
            _say(f"modeldrop: {line}", typer.colors.RED)


def _say(line: str, colour: str) -> None:
    from modeldrop.cli.tables.drawing import plain

    typer.secho(plain(line), err=True, fg=None if os.environ.get("NO_COLOR") else colour)


def _read_no_more() -> None:
    """Nobody reads: what is left in the buffer goes nowhere, so that Python does not complain when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
