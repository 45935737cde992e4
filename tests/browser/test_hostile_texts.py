"""Every text of every answer may be hostile: nothing of it runs, becomes an element, or leaves its attribute."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from modeldrop.web.problem import Problem
from modeldrop.web.reading import read as read_registry
from modeldrop.wiring import Services
from tests.browser.in_process import HOST, InProcess
from tests.browser.site import Site, Visitor
from tests.handlers.control import MODEL, Control, metadata

Visit = Callable[..., Visitor]
HOSTILE = (
    "\"'></title></desc></option></textarea><script>window.harmed=1</script><img src=x onerror=window.harmed=1>"
    "<svg onload=window.harmed=1>{{7*7}}&lt;b&gt;"
)
MAPS = frozenset({"metrics", "lineage", "labels", "traffic", "alarms", "declined", "floors", "ceilings", "features"})
KEPT = frozenset({"kind", "next"})
"""What of an answer is no text for people but says how to read the rest."""
PATHS = (
    "/",
    f"/models/{MODEL}",
    f"/models/{MODEL}/versions/v2",
    f"/models/{MODEL}/versions/v3",
    "/models/flights/drift",
)


class Poisoned:
    """The API's answers with every text made hostile, also the names in maps; counted, so that none is forgotten."""

    def __init__(self, mark: str = "") -> None:
        self.poison = HOSTILE + mark
        self.texts = 0

    def __call__(self, services: Services, path: str, **query: Any) -> dict[str, Any] | Problem:
        clean = {name: self._clean(value) if isinstance(value, str) else value for name, value in query.items()}
        answer = read_registry(services, self._clean(path), **clean)
        return answer if isinstance(answer, Problem) else self._poisoned(answer, "")

    def _clean(self, text: str) -> str:
        return text.replace(self.poison, "")

    def _poisoned(self, value: Any, name: str) -> Any:
        if isinstance(value, dict):
            spoil = name in MAPS
            return {(key + self.poison if spoil else key): self._poisoned(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [self._poisoned(each, f"{name}[]") for each in value]
        if not isinstance(value, str) or name in KEPT or is_time(value):
            return value
        self.texts += 1
        return value + self.poison


def is_time(text: str) -> bool:
    """Whether it is one of our times."""
    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False


@pytest.fixture(scope="module")
def registry(filled_folder: Path) -> Control:
    return Control(filled_folder)


@pytest.mark.program("chromium")
@pytest.mark.parametrize("path", PATHS)
def test_nothing_runs(registry: Control, visit: Visit, path: str) -> None:
    """Not when the page opens, nor when the script takes over a newer state of it."""
    visitor = visit(HOST)
    poisoned = Poisoned()
    dashboard = InProcess(registry.services, poisoned)
    dashboard.show_in(visitor.page)
    visitor.page.clock.install()
    page = visitor.go(path)
    assert poisoned.texts > 10
    shown = visitor.page.locator("body").text_content() or ""
    assert HOSTILE in shown
    dashboard.read = Poisoned("newer")
    page.clock.run_for(5_000)
    expect(page.locator("main")).to_contain_text("newer")
    assert page.evaluate("window.harmed") is None
    assert page.locator("img, main script, iframe, object").count() == 0
    handlers = "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => n.startsWith('on'))"
    assert page.evaluate(handlers) == []


@pytest.mark.program("chromium")
@pytest.mark.parametrize("width", [360, 1280])
def test_words_without_end_break(registry: Control, visit: Visit, width: int) -> None:
    visitor = visit(HOST, viewport={"width": width, "height": 740})
    dashboard = InProcess(registry.services, Poisoned("endless" * 60))
    dashboard.show_in(visitor.page)
    for path in PATHS:
        page = visitor.go(path)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


@pytest.mark.program("chromium")
def test_a_reason_and_an_outcome_that_are_hostile(own_site: Site, visit: Visit) -> None:
    """Through the real function: in the question, the answer of a command, the history."""
    page = visit(own_site.url).go(f"/models/{MODEL}")
    page.get_by_text("Roll back…").click()
    page.locator("#rollback-why").fill(HOSTILE)
    page.get_by_role("button", name="Roll back", exact=True).click()
    page.get_by_role("button", name="Yes, do it").click()
    expect(page.get_by_role("status")).to_contain_text("rollback accepted")
    expect(page.locator("#history")).to_contain_text(HOSTILE)
    assert page.evaluate("window.harmed") is None


@pytest.mark.program("chromium")
def test_a_package_whose_every_text_is_hostile(own_site: Site, visit: Visit) -> None:
    """As far as the gate takes it: lineage, labels, names of features and metrics; and what it refuses is told."""
    control = own_site.control
    hostile = {"lineage": {"commit": HOSTILE, "x": HOSTILE}, "labels": {"note": HOSTILE}}
    features = {HOSTILE[:60]: {"type": "numeric"}}
    control.drop("v4", 0.9, 4, **hostile)
    control.tell_version("v4")
    changed = metadata("v5", 0.9, 5, features=features, metrics={"f1": 0.9, HOSTILE[:60]: 1.0}, **hostile)
    control.drop("v5", 0.9, 5, **{name: changed[name] for name in ("features", "metrics", "lineage", "labels")})
    control.tell_version("v5")
    visitor = visit(own_site.url)
    page = visitor.go(f"/models/{MODEL}/versions/v4")
    assert HOSTILE in visitor.text
    visitor.go(f"/models/{MODEL}/versions/v5")
    visitor.go(f"/models/{MODEL}?confirm=rollback&to={MODEL}%22%3E%3Cscript%3Ewindow.harmed=1%3C/script%3E", status=400)
    visitor.go("/?name=%22%3E%3Cscript%3Ewindow.harmed%3D1%3C%2Fscript%3E")
    assert page.evaluate("window.harmed") is None


@pytest.mark.program("chromium")
def test_a_hostile_answer_to_a_command(registry: Control, visit: Visit) -> None:
    visitor = visit(HOST)
    InProcess(registry.services).show_in(visitor.page)
    said = {"status": "refused", "reason": HOSTILE}
    visitor.page.context.route(f"{HOST}/v1/**", lambda route: route.fulfill(json=said))
    page = visitor.go(f"/models/{MODEL}")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_contain_text(f"pause refused: {HOSTILE}")
    assert page.evaluate("window.harmed") is None


def test_an_address_that_is_a_script_is_no_link(registry: Control) -> None:
    def read(services: Services, path: str, **query: Any) -> dict[str, Any] | Problem:
        answer = read_registry(services, path, **query)
        if path.endswith("/retraining") and isinstance(answer, dict):
            return answer | {"episodes": [EPISODE]}
        return answer

    text = InProcess(registry.services, read).text(f"/models/{MODEL}")
    assert "run-7" in text
    assert "javascript:" not in text


EPISODE: dict[str, Any] = {
    **{"id": "fraud-1", "cause": "data_drift", "why": "", "by": "modeldrop", "version": "v1", "status": "running"},
    "target": "github",
    "run": {"id": "run-7", "url": "javascript:window.harmed=1", "state": "running", "why": ""},
    **{"opened_at": "2026-03-01T10:00:00Z", "until": "2026-03-08T10:00:00Z", "ended_at": None, "closed_by": None},
    **{"gain": None, "outcome": "", "window": None, "report": None},
}
