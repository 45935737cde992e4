"""A site for tests, and somebody who visits it."""

from dataclasses import dataclass, field

from playwright.sync_api import Page

from tests.handlers.control import Control


@dataclass(frozen=True)
class Site:
    """An address, and what is behind it."""

    url: str
    control: Control


@dataclass
class Visitor:
    """A window. ``expected``: statuses other than 200 that the browser may report."""

    page: Page
    url: str
    expected: set[int] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str, status: int = 200) -> Page:
        """Open a page; its status is that."""
        if status != 200:
            self.expected.add(status)
        response = self.page.goto(path)
        assert response is not None and response.status == status, response
        return self.page

    @property
    def text(self) -> str:
        """What the page says."""
        return self.page.locator("main").inner_text()
