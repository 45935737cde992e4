"""Structured logs: one JSON object a line on standard error, as Cloud Logging reads it.

functions-framework leaves the root logger at WARNING and swallows ``basicConfig``: the handler is put in by hand. With
``LOG_EXECUTION_ID`` it configures logging itself as well, for asynchronous functions only after they were imported, and
thereby silences every logger there is until then: ``traced`` puts that right with the first request.
"""

import functools
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from modeldrop.http.tracing import CURRENT, Trace, trace_of
from modeldrop.settings import log_level

_SEVERITY = {"WARN": "WARNING", "FATAL": "CRITICAL"}
_PACKAGES = Path(__file__).parent.parent
_GOOGLE = "logging.googleapis.com"

Function = TypeVar("Function", bound=Callable[..., Any])


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON. ``project``: whose traces they are; None: they go by their ids alone."""

    def __init__(self, project: str | None = None) -> None:
        super().__init__()
        self._project = project

    def format(self, record: logging.LogRecord) -> str:
        """``severity``, ``message``, ``time``, ``logger``; ``stack_trace``, by which Error Reporting groups errors.

        Beside them, where Cloud Logging wants them: the line of code, the trace and the execution (``http.tracing``).
        """
        entry: dict[str, Any] = {
            "severity": _SEVERITY.get(record.levelname, record.levelname),
            "message": record.getMessage(),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
            f"{_GOOGLE}/sourceLocation": {
                "file": _shortened(record.pathname),
                "line": str(record.lineno),
                "function": record.funcName,
            },
            **self._traced(CURRENT.get()),
        }
        if record.exc_info:
            entry["stack_trace"] = f"{entry['message']}\n{self.formatException(record.exc_info)}"
        return json.dumps(entry)

    def _traced(self, trace: Trace) -> dict[str, Any]:
        found: dict[str, Any] = {
            "trace": f"projects/{self._project}/traces/{trace.trace_id}" if self._project else trace.trace_id,
            "spanId": trace.span_id,
            "trace_sampled": trace.sampled,
            "labels": {"execution_id": trace.execution_id} if trace.execution_id else None,
        }
        if trace.trace_id is None:
            found = {"labels": found["labels"]}
        return {f"{_GOOGLE}/{name}": value for name, value in found.items() if value is not None}


def set_up() -> None:
    """Send all logs to standard error: modeldrop's from its own level, others' warnings; as often as it is called.

    A handler that somebody else gave the root logger, with a format of its own, is left alone.
    """
    ours, root = logging.getLogger("modeldrop"), logging.getLogger()
    if not ours.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter(os.environ.get("MODELDROP_PROJECT")))
        ours.addHandler(handler)
        ours.setLevel(log_level())
        ours.propagate = False
    for other in root.handlers[:]:
        if type(other) is logging.StreamHandler and other.formatter is None:  # the framework's
            root.removeHandler(other)
    if not root.handlers:
        root.addHandler(ours.handlers[0])
    if ours.disabled:
        _enable()


def traced(function: Function) -> Function:
    """A function of functions-framework whose logs say which request they belong to; it may be asynchronous."""

    def begin(request: Any) -> None:
        set_up()
        CURRENT.set(trace_of(request.headers))

    @functools.wraps(function)
    def answer(request: Any) -> Any:
        begin(request)
        return function(request)

    @functools.wraps(function)
    async def answer_asynchronously(request: Any) -> Any:
        begin(request)
        return await function(request)

    chosen: Any = answer_asynchronously if inspect.iscoroutinefunction(function) else answer
    return chosen  # type: ignore[no-any-return]


def _enable() -> None:
    """Let modeldrop's loggers speak again."""
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and f"{name}.".startswith("modeldrop."):
            logger.disabled = False


def _shortened(path: str) -> str:
    """Of a file of ours its place among our packages; else its name alone: where it lies says nothing."""
    file = Path(path)
    return str(file.relative_to(_PACKAGES)) if file.is_relative_to(_PACKAGES) else file.name
