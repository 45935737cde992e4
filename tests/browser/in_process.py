"""Pages made in this process, over whatever the API is said to answer, and shown in a real browser."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from playwright.sync_api import Page, Request, Route

from modeldrop.http.messages import Asked, Reply
from modeldrop.web.callers.caller import Caller
from modeldrop.web.dashboard.pages import answer
from modeldrop.web.dashboard.reader import Read
from modeldrop.web.reading import read as read_registry
from modeldrop.web.roles import ALL_ROLES
from modeldrop.wiring import Services

HOST = "http://dashboard.test"
EVERYBODY = Caller("ann@example.com", ALL_ROLES)


@dataclass
class InProcess:
    """The dashboard without a server. What it answered last is in ``replies``, by path."""

    services: Services
    read: Read = read_registry
    caller: Caller = EVERYBODY
    replies: dict[str, Reply] = field(default_factory=dict)

    def get(self, path: str, **query: str) -> Reply:
        """A page."""
        return self.ask("GET", path, query)

    def ask(self, method: str, path: str, query: Mapping[str, str], form: Mapping[str, str] | None = None) -> Reply:
        """The reply to a request."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = io.BytesIO(urlencode(form or {}).encode())
        return answer(
            self.services, Asked(method, path, query, headers, body, "127.0.0.1", "127.0.0.1"), self.caller, self.read
        )

    def text(self, path: str, **query: str) -> str:
        """The HTML of a page."""
        return html_of(self.get(path, **query))

    def show_in(self, page: Page) -> None:
        """Answer what the browser asks for at ``HOST``, with our headers."""
        page.context.route(f"{HOST}/**", self._fulfil)

    def _fulfil(self, route: Route, request: Request) -> None:
        parts = urlsplit(request.url)
        reply = self.ask(request.method, parts.path, dict(parse_qsl(parts.query)))
        self.replies[parts.path] = reply
        assert isinstance(reply.body, bytes)
        headers: dict[str, Any] = {**reply.headers, "Content-Type": reply.content_type}
        route.fulfill(status=reply.status, headers=headers, body=reply.body)


def html_of(reply: Reply) -> str:
    """The page as text."""
    assert isinstance(reply.body, bytes)
    return reply.body.decode()
