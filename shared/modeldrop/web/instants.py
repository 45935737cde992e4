"""Times that come in as text."""

from datetime import UTC, datetime

from modeldrop.errors import FieldProblem
from modeldrop.web.problem import Problem, bad_request


def instant(name: str, text: str) -> datetime | Problem:
    """The parameter ``name`` as a time in UTC, which it is taken to be in where it says no other zone.

    >>> instant("at", "2026-03-01T11:00:00+01:00")
    datetime.datetime(2026, 3, 1, 10, 0, tzinfo=datetime.timezone.utc)
    >>> instant("at", "yesterday").detail
    "at: must be an ISO 8601 time, not 'yesterday'"
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        problem = FieldProblem(name, f"must be an ISO 8601 time, not {text[:64]!a}")
        return bad_request(str(problem), [problem])
