"""Pages keep themselves up to date, and leave the reader where the reader was."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from modeldrop.handlers.rollouts.pause_model import pause_model
from modeldrop.handlers.rollouts.resume_model import resume_model
from tests.browser.site import Site, Visitor
from tests.handlers.control import MODEL

pytestmark = pytest.mark.program("chromium")
Visit = Callable[..., Visitor]
PATH = f"/models/{MODEL}"


def opened(visitor: Visitor, path: str = PATH) -> Page:
    """The page with a clock of its own, which stands still until it is told."""
    visitor.page.clock.install()
    return visitor.go(path)


def pause(site: Site) -> None:
    assert pause_model(site.control.services, MODEL, by="somebody else").status == "accepted"


def test_a_new_state_shows_by_itself(own_site: Site, visit: Visit) -> None:
    page = opened(visit(own_site.url))
    page.evaluate("window.sameDocument = true")
    pause(own_site)
    page.clock.run_for(5_000)
    expect(page.get_by_text("Paused.")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert page.evaluate("window.sameDocument") is True


def test_the_place_of_the_reader_is_kept(own_site: Site, visit: Visit) -> None:
    """Focus, scroll, what was unfolded, and text that is selected."""
    page = opened(visit(own_site.url))
    page.locator("article.rollout").get_by_text("older lines").click()
    page.locator("details.rollout > summary").click()
    link = page.locator("#version-v1 a").first
    link.focus()
    page.evaluate("window.scrollTo(0, 900)")
    before = page.evaluate("window.scrollY")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#versions-title'))")
    pause(own_site)
    page.clock.run_for(5_000)
    expect(page.get_by_text("Paused.")).to_be_attached()
    assert page.locator("details.more").first.get_attribute("open") is not None
    assert page.locator("details.rollout").get_attribute("open") is not None
    assert page.evaluate("document.activeElement === document.querySelector('#version-v1 a')")
    assert abs(page.evaluate("window.scrollY") - before) < 120  # a line came above
    assert page.evaluate("String(getSelection())") == "Versions"


def test_nothing_is_taken_over_while_a_form_is_filled_in(own_site: Site, visit: Visit) -> None:
    page = opened(visit(own_site.url))
    page.get_by_text("Roll back…").click()
    why = page.get_by_label("Why", exact=True).locator("visible=true")
    why.fill("half a sen")
    pause(own_site)
    page.clock.run_for(11_000)
    expect(page.locator("#freshness")).to_have_text("Waits while a form is open.")
    assert why.input_value() == "half a sen"
    page.keyboard.press("Escape")
    page.clock.run_for(5_000)
    expect(page.get_by_text("Paused.")).to_be_visible()


def test_what_has_not_changed_is_not_sent_again(own_site: Site, visit: Visit) -> None:
    page = opened(visit(own_site.url))
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status) if response.url.endswith(PATH) else None)
    for _ in range(3):
        with page.expect_response(f"**{PATH}"):
            page.clock.run_for(5_000)
    assert statuses == [200, 304, 304]


def test_ages_grow_and_a_server_that_is_gone_is_told(own_site: Site, visit: Visit) -> None:
    visitor = visit(own_site.url)
    page = opened(visitor)
    made = page.locator("footer time .age")
    expect(made).to_have_text("0 s ago")
    page.context.set_offline(True)
    page.clock.run_for(10_000)
    expect(made).to_have_text("10 s ago")
    expect(page.locator("#freshness")).to_contain_text("! What you see is of 10 s ago")
    page.context.set_offline(False)
    page.clock.run_for(5_000)
    expect(page.locator("#freshness")).to_have_text("Looks again every 5 s.")
    visitor.complaints[:] = [each for each in visitor.complaints if "ERR_INTERNET_DISCONNECTED" not in each]


def test_a_command_that_somebody_else_undid_shows_both(own_site: Site, visit: Visit) -> None:
    page = opened(visit(own_site.url))
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused.")).to_be_visible()
    assert resume_model(own_site.control.services, MODEL, by="somebody else").status == "accepted"
    page.clock.run_for(5_000)
    expect(page.get_by_text("Paused.")).to_have_count(0)
    expect(page.locator("#history")).to_contain_text("somebody else")


def test_a_server_that_hangs_is_told_where_it_is_seen(site: str, visit: Visit) -> None:
    """On the first screen, not only at the end of a long page."""
    page = opened(visit(site))
    page.context.route("**/*", lambda route: None)
    page.clock.run_for(5_000)
    page.clock.run_for(31_000)
    said = page.locator("#freshness")
    expect(said).to_contain_text("no answer within 30 s")
    expect(said).to_be_in_viewport()
    page.context.unroute_all()
    page.clock.run_for(5_000)
    expect(said).to_have_text("Looks again every 5 s.")
    expect(said).not_to_be_in_viewport()
