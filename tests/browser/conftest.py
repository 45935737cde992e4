"""One browser for all tests; a site that is only looked at, and one of its own for a test that changes something."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, sync_playwright

from tests.browser.site import Site, Visitor
from tests.browser.stage import filled, serving
from tests.handlers.control import Control, StillClock
from tests.programs import find_program

QUIETLY = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
_LISTENING = (
    "document.addEventListener('securitypolicyviolation', e => console.error('violates ' + e.violatedDirective))"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real one, as long as a module needs it: in its process nobody else can run an event loop meanwhile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_program("chromium"), args=[*QUIETLY])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def filled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``stage.filled`` made."""
    folder = tmp_path_factory.mktemp("filled")
    filled(folder)
    return folder


@pytest.fixture(scope="session")
def site(filled_folder: Path) -> Iterator[str]:
    """The address of the site that tests only look at."""
    with serving(filled_folder) as url:
        yield url


@pytest.fixture
def own_site(filled_folder: Path, tmp_path: Path) -> Iterator[Site]:
    """The same, for one test to change."""
    folder = tmp_path / "own"
    shutil.copytree(filled_folder, folder)
    with serving(folder) as url:
        yield Site(url, Control(folder, StillClock(datetime.now(UTC))))


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Opens a window on a site. None may complain of a script error or a violated policy."""
    visitors: list[Visitor] = []
    with ExitStack() as closing:

        def open_window(url: str, **options: Any) -> Visitor:
            context: BrowserContext = browser.new_context(base_url=url, **options)
            closing.callback(context.close)
            context.add_init_script(_LISTENING)
            visitor = Visitor(context.new_page(), url)
            visitor.page.set_default_timeout(10_000)
            visitor.page.on("console", lambda said: _note(visitor, said))
            visitor.page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
            visitor.page.on("dialog", lambda dialog: (visitor.complaints.append(dialog.message), dialog.dismiss()))
            visitors.append(visitor)
            return visitor

        yield open_window
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []


def _note(visitor: Visitor, said: ConsoleMessage) -> None:
    """Errors and warnings; that a page is answered with a status the test expects is none."""
    status = re.search(r"responded with a status of (\d+)", said.text)
    if said.type in {"error", "warning"} and not (status and int(status[1]) in visitor.expected):
        visitor.complaints.append(f"{said.type}: {said.text}")
