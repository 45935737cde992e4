"""Buttons: with the script and without it, asked first where they change who answers, and never from elsewhere."""

from collections.abc import Callable
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Page, expect

from modeldrop.domain.versions import Status
from tests.browser.site import Site, Visitor
from tests.handlers.control import MODEL

pytestmark = pytest.mark.program("chromium")
Visit = Callable[..., Visitor]
PATH = f"/models/{MODEL}"


def ask_for_rollback(page: Page) -> None:
    """As far as the question."""
    page.get_by_text("Roll back…").click()
    page.get_by_label("Why", exact=True).locator("visible=true").fill("it is <slow>")
    page.get_by_role("button", name="Roll back", exact=True).click()


def test_a_rollback_with_the_script(own_site: Site, visit: Visit) -> None:
    page = visit(own_site.url).go(PATH)
    ask_for_rollback(page)
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("Roll fraud back to v1? v3 loses its traffic at once.")
    question.get_by_role("button", name="No, leave it").click()
    assert own_site.control.version("v3").status is Status.CANARY
    page.get_by_role("button", name="Roll back", exact=True).click()
    question.get_by_role("button", name="Yes, do it").click()
    expect(page.get_by_role("status")).to_contain_text("✓ rollback accepted: v3 is rolled back; v1 serves again")
    own_site.control.settle()
    assert own_site.control.traffic == {"v1": 100}
    expect(page.locator("#version-v3")).to_contain_text("rolled back", timeout=15_000)
    expect(page.locator("#history")).to_contain_text("it is <slow>")
    expect(page.locator("#rollback-to option")).to_have_count(0)  # v3 has fallen: nobody can go back to it


def test_a_rollback_without_the_script(own_site: Site, visit: Visit) -> None:
    visitor = visit(own_site.url, java_script_enabled=False)
    page = visitor.go(PATH)
    ask_for_rollback(page)
    assert "Roll fraud back to v1? v3 loses its traffic at once." in visitor.text
    assert own_site.control.version("v3").status is Status.CANARY
    page.get_by_role("button", name="Yes, roll back").click()
    assert "v3 is rolled back; v1 serves again" in visitor.text
    own_site.control.settle()
    page.get_by_role("link", name=f"Back to {MODEL}").click()
    expect(page.locator("#version-v3")).to_contain_text("↩ rolled back")
    assert own_site.control.traffic == {"v1": 100}


def test_what_is_refused_says_why(own_site: Site, visit: Visit) -> None:
    visitor = visit(own_site.url, java_script_enabled=False)
    visitor.expected.add(409)
    page = visitor.go(PATH)
    page.get_by_text("Promote…").click()
    page.get_by_label("Version", exact=True).select_option("v2")
    page.get_by_role("button", name="Promote", exact=True).click()
    assert "Make v2 the champion of fraud?" in visitor.text
    with page.expect_response(lambda response: response.request.method == "POST") as answered:
        page.get_by_role("button", name="Yes, promote").click()
    assert answered.value.status == 409
    assert "refused" in visitor.text and "at least 0.8310 is required" in visitor.text


@pytest.mark.parametrize("script", [True, False])
def test_pause_and_resume(own_site: Site, visit: Visit, script: bool) -> None:
    visitor = visit(own_site.url, java_script_enabled=script)
    page = visitor.go(PATH)
    for button, paused in (("Pause", True), ("Resume", False)):
        page.get_by_role("button", name=button, exact=True).click()
        said = f"{button.lower()} accepted" if script else f"{button}: ✓ accepted"
        expect(page.get_by_text(said)).to_be_visible()
        assert (own_site.control.head.paused is not None) == paused
        if not script:
            page.get_by_role("link", name=f"Back to {MODEL}").click()
        expect(page.get_by_text("Paused.")).to_be_visible(visible=paused)


@pytest.mark.parametrize("script", [True, False])
def test_an_approval(own_site: Site, visit: Visit, script: bool) -> None:
    page = visit(own_site.url, java_script_enabled=script).go("/models/churn")
    expect(page.locator("#version-v1")).to_contain_text("! awaits approval")
    page.get_by_role("button", name="Approve v1").click()
    expect(page.get_by_text("Approve v1? It goes on at once towards all traffic of churn.")).to_be_visible()
    before = own_site.control.services.registry.version("churn", "v1")
    assert before is not None and before.value.approval is None
    page.get_by_role("button", name="Yes").click()
    expect(page.get_by_text("accepted").first).to_be_visible()
    found = own_site.control.services.registry.version("churn", "v1")
    assert found is not None and found.value.approval is not None
    if not script:
        page.get_by_role("link", name="Back to churn").click()
    expect(page.get_by_role("button", name="Approve v1")).to_have_count(0)


def test_a_retraining_that_has_no_target_is_refused(own_site: Site, visit: Visit) -> None:
    page = visit(own_site.url).go(PATH)
    page.get_by_text("Retrain…").click()
    page.get_by_role("button", name="Ask for a retraining").click()
    expect(page.get_by_role("status")).to_contain_text("✕ retrain refused")
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("status")).to_be_empty()


def test_a_form_on_a_page_elsewhere_is_refused(own_site: Site, visit: Visit) -> None:
    """A real browser says where a form comes from, and that is somewhere else."""
    visitor = visit("http://elsewhere.example")
    visitor.expected |= {403, 404}
    form = f'<form method="post" action="{own_site.url}{PATH}/pause"><button>Win a prize</button></form>'
    visitor.page.route("http://elsewhere.example/", lambda route: route.fulfill(body=form, content_type="text/html"))
    visitor.page.goto("http://elsewhere.example/")
    with visitor.page.expect_response(f"**{PATH}/pause") as answered:
        visitor.page.get_by_role("button").click()
    assert answered.value.status == 403
    assert own_site.control.head.paused is None


def test_a_form_must_prove_where_it_comes_from(own_site: Site) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for headers in ({}, {"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "same-site"}):
        answer = httpx.post(f"{own_site.url}{PATH}/pause", headers=form | headers)
        assert (answer.status_code, own_site.control.head.paused) == (403, None), headers


def test_a_double_click_is_one(own_site: Site, visit: Visit) -> None:
    """The second click of it falls on the button that has come in the place of the first."""
    page = visit(own_site.url).go(PATH)
    commands: list[str] = []
    page.on("request", lambda sent: commands.append(sent.url.split(":")[-1]) if sent.method == "POST" else None)
    page.get_by_role("button", name="Pause", exact=True).click()
    resume = page.get_by_role("button", name="Resume", exact=True)
    resume.hover()
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    assert commands == ["pause"]
    resume.click()
    expect(page.get_by_text("resume accepted")).to_be_visible()
    assert commands == ["pause", "resume"]


@pytest.mark.parametrize("target", ["v1. Call 555-0100 now", "", "v1\r\nX: 1"])
def test_a_link_puts_no_words_into_our_question(site: str, visit: Visit, target: str) -> None:
    visitor = visit(site)
    for command in ("promote", "approve", *(["rollback"] if target else [])):
        name = "to" if command == "rollback" else "version"
        visitor.go(f"{PATH}?{urlencode({'confirm': command, name: target})}", status=400)
        assert "that is no name of a version" in visitor.text
        assert "555" not in visitor.text


@pytest.mark.parametrize("answered", ["<html>Sign in", None])
def test_a_command_that_gets_no_answer_is_told(site: str, visit: Visit, answered: str | None) -> None:
    """From what stands between, or none at all."""
    page = visit(site).go(PATH)
    page.clock.install()
    page.context.route("**/v1/**", lambda route: route.fulfill(body=answered) if answered else None)
    button = page.get_by_role("button", name="Pause", exact=True)
    button.click()
    if answered is None:
        expect(button).to_be_disabled()
        page.clock.run_for(31_000)
    expect(page.get_by_role("status")).to_contain_text("✕ pause failed: the server gave no answer")
    expect(button).to_be_enabled()


def test_the_way_back_is_named(site: str, visit: Visit) -> None:
    """A page may be older than the last change of who serves: "the one before" could be another by now."""
    page = visit(site).go(PATH)
    values = page.locator("#rollback-to option").evaluate_all("options => options.map(option => option.value)")
    assert values == ["v1"]
