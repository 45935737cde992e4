"""For everybody: by keyboard, on a phone, in the dark, with a screen reader."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.site import Visitor
from tests.handlers.control import MODEL

pytestmark = pytest.mark.program("chromium")
Visit = Callable[..., Visitor]
PAGES = [
    ("/", 200),
    (f"/models/{MODEL}", 200),
    (f"/models/{MODEL}?confirm=rollback&to=v1", 200),
    (f"/models/{MODEL}/versions/v2", 200),
    ("/models/flights/drift", 200),
    ("/models/churn", 200),
    ("/audit", 200),
    ("/models/nobody", 404),
]
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize(
    ("scheme", "only"),
    [
        ("light", ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]),
        ("dark", {"type": "rule", "values": ["color-contrast"]}),
    ],
)
def test_no_page_has_a_violation_that_axe_finds(site: str, visit: Visit, scheme: str, only: Any) -> None:
    """Contrast included; in the dark it is all that differs."""
    visitor = visit(site, color_scheme=scheme)
    for path, status in PAGES:
        page = visitor.go(path, status=status)
        page.evaluate("document.querySelectorAll('details:not(.action)').forEach(each => { each.open = true })")
        found = Axe().run(page, options={"runOnly": only})
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"


def test_an_open_panel_and_the_question_have_none_either(site: str, visit: Visit) -> None:
    page = visit(site).go(f"/models/{MODEL}")
    page.get_by_text("Roll back…").click()
    assert Axe().run(page).violations_count == 0
    page.get_by_role("button", name="Roll back", exact=True).click()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("script", [True, False])
def test_nothing_scrolls_sideways_on_a_phone(site: str, visit: Visit, script: bool) -> None:
    visitor = visit(site, **PHONE, java_script_enabled=script)
    for path, status in PAGES:
        page = visitor.go(path, status=status)
        if script:
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert page.locator("main").bounding_box()["width"] <= 360, path  # type: ignore[index]


def test_nothing_scrolls_sideways_at_any_width(site: str, visit: Visit) -> None:
    visitor = visit(site)
    for path, status in PAGES:
        page = visitor.go(path, status=status)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        for width in (320, 480, 720, 897, 1000, 1600):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_by_keyboard_alone(site: str, visit: Visit) -> None:
    page = visit(site).go("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Name contains")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('href')") == f"/models/{MODEL}":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(MODEL)
    page.locator("summary", has_text="Roll back…").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("To", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # in the text's field: sends the form, which asks
    expect(page.get_by_role("button", name="No, leave it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("summary", has_text="Roll back…")).to_be_focused()


def test_the_dark_is_dark_and_colour_is_never_the_only_sign(site: str, visit: Visit) -> None:
    light, dark = (visit(site, color_scheme=scheme).go("/") for scheme in ("light", "dark"))
    brightness = "(() => { const c = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);"
    brightness += " return c[0] + c[1] + c[2] })()"
    assert light.evaluate(brightness) > 600
    assert dark.evaluate(brightness) < 120
    marks = [" ".join(text.split()) for text in light.locator(".mark").all_inner_texts()]
    assert all(len(mark.split(" ", 1)) == 2 and not mark[0].isalnum() for mark in marks), marks


def test_who_wants_no_motion_sees_none(site: str, visit: Visit) -> None:
    page = visit(site, reduced_motion="reduce").go(f"/models/{MODEL}")
    moving = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration !== '0s').length"
    assert page.evaluate(moving) == 0
