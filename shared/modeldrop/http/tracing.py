"""Which trace a request belongs to, and which execution it is: what ties the lines of a log to a request.

From the header ``traceparent`` (W3C Trace Context), else ``X-Cloud-Trace-Context`` (Google's older one). Anybody can
send these: what does not have their form is no trace, and nothing of it reaches a log.
"""

import re
from contextvars import ContextVar

import msgspec

from modeldrop.http.messages import RequestHeaders

_MOST_CHARACTERS = 256
_W3C = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_GOOGLE = re.compile(r"(?P<trace>[0-9a-fA-F]{32})(/(?P<span>[0-9]{1,20}))?(;o=(?P<options>[0-9]))?")
_EXECUTION = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Trace(msgspec.Struct, frozen=True):
    """Ids as Cloud Logging wants them, each None where the request has none."""

    trace_id: str | None = None  # 32 hexadecimal digits
    span_id: str | None = None  # of the caller's span: 16 hexadecimal digits
    sampled: bool | None = None  # whether the trace is kept
    execution_id: str | None = None  # of this one request, made by functions-framework where Cloud Run gave none


NO_TRACE = Trace()
CURRENT: ContextVar[Trace] = ContextVar("trace", default=NO_TRACE)
"""That of the request that is being answered.

It is set anew with each request, and not taken back after it: what is done while an answer is sent belongs to it, too.
"""


def trace_of(headers: RequestHeaders) -> Trace:
    """What the headers of a request say.

    >>> trace_of({"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}).span_id
    '00f067aa0ba902b7'
    >>> trace_of({"X-Cloud-Trace-Context": "4bf92f3577b34da6a3ce929d0e0e4736/255;o=0"})
    Trace(trace_id='4bf92f3577b34da6a3ce929d0e0e4736', span_id='00000000000000ff', sampled=False, execution_id=None)
    >>> trace_of({"traceparent": '00-"}'}) == NO_TRACE
    True
    """
    trace = _from_w3c(_field(headers, "traceparent")) or _from_google(_field(headers, "X-Cloud-Trace-Context"))
    execution = _EXECUTION.fullmatch(_field(headers, "Function-Execution-Id"))
    return msgspec.structs.replace(trace or NO_TRACE, execution_id=execution[0] if execution else None)


def _field(headers: RequestHeaders, name: str) -> str:
    text = headers.get(name, "")
    return text if len(text) <= _MOST_CHARACTERS else ""


def _from_w3c(text: str) -> Trace | None:
    """Versions to come may have more parts behind these four; ``ff`` is none."""
    found = _W3C.fullmatch(text)
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return None
    if not int(found["trace"], 16) or not int(found["span"], 16):
        return None
    return Trace(found["trace"], found["span"], bool(int(found["flags"], 16) & 1))


def _from_google(text: str) -> Trace | None:
    """The span is a decimal number there, and may be 0 or missing; so may whether it is kept."""
    found = _GOOGLE.fullmatch(text)
    if found is None or not int(found["trace"], 16):
        return None
    span = int(found["span"] or 0)
    span_id = f"{span:016x}" if 0 < span < 1 << 64 else None
    sampled = None if found["options"] is None else found["options"] == "1"
    return Trace(found["trace"].lower(), span_id, sampled)
