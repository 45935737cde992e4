"""Reading for a page: what the JSON API answers, in this process."""

from collections.abc import Callable
from typing import Any

from modeldrop.web.problem import Problem
from modeldrop.wiring import Services

Answer = dict[str, Any]
Read = Callable[..., Answer | Problem]
"""``read(services, path, **query)``: what GET of that path answers."""


class Unanswered(Exception):
    """There is no page: the API has a problem with what it would show."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Reader:
    """Reads one after the other, for one page."""

    def __init__(self, services: Services, read: Read) -> None:
        self._services = services
        self._read = read

    def get(self, path: str, **query: str | int | None) -> Answer:
        """The answer; raises Unanswered. Parameters that are None are left out."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        answer = self._read(self._services, path, **given)
        if isinstance(answer, Problem):
            raise Unanswered(answer)
        return answer

    def find(self, path: str, **query: str | int | None) -> Answer | None:
        """The answer, or None where there is nothing yet (404); raises Unanswered for anything else."""
        try:
            return self.get(path, **query)
        except Unanswered as error:
            if error.problem.status != 404:
                raise
            return None
