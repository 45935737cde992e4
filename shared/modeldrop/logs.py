"""Structured logs: one JSON object a line on standard error, as Cloud Logging reads it.

functions-framework leaves the root logger at WARNING and swallows ``basicConfig``: the handler is put in by hand.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from modeldrop.settings import log_level

_SEVERITY = {"WARN": "WARNING", "FATAL": "CRITICAL"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """``severity``, ``message`` (with the traceback, where Error Reporting looks), ``time``, ``logger``."""
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        entry = {
            "severity": _SEVERITY.get(record.levelname, record.levelname),
            "message": message,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
        }
        return json.dumps(entry)


def set_up() -> None:
    """Send modeldrop's logs to standard error; once, however often it is called."""
    logger = logging.getLogger("modeldrop")
    if logger.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(log_level())
    logger.propagate = False
