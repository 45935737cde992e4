"""The main paths of somebody who looks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.site import Visitor
from tests.browser.stage import serving
from tests.handlers.control import MODEL

pytestmark = pytest.mark.program("chromium")
Visit = Callable[..., Visitor]


def test_from_all_models_to_a_rejected_decision(site: str, visit: Visit) -> None:
    visitor = visit(site)
    page = visitor.go("/")
    row = page.locator(f"#model-{MODEL}")
    for text in ("v1 80 %", "v3 20 %", "v3: step 2 of 4, 20 %", "✓ healthy", "◆ drifted"):
        assert text in " ".join(row.inner_text().split()), text
    row.get_by_role("link", name=MODEL, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(MODEL)
    page.locator("#version-v2").get_by_role("link", name="v2").click()
    expect(page.locator(".sentence").first).to_have_text(
        "v2 was rejected: its score 0.43 does not reach 0.701. v1 (in production) has 0.7."
    )
    term = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="f1"))
    assert " ".join(term.inner_text().split()) == "f1 0.43 0.7 higher is better 100 % 0.43 ✓ keeps it at least 0.3"
    assert "3f9c2ab71d" in visitor.text


def test_a_rollout_with_what_was_measured_at_each_step(site: str, visit: Visit) -> None:
    page = visit(site).go(f"/models/{MODEL}")
    rollout = page.locator("article.rollout")
    expect(rollout.locator("[aria-current=step]")).to_contain_text("20 %")
    measured = rollout.locator("tr.measured").first
    assert measured.locator("td").all_inner_texts()[1:6] == ["✓ pass", "20 %", "1\u202f440", "0.4 %", "22 ms"]
    measured.get_by_text("figures").click()
    expect(measured.get_by_text("error rate: 0.4 %, stable 0.1 %, limit 1 %")).to_be_visible()
    rollout.get_by_text("older lines").click()
    expect(rollout.get_by_text("v3 has 5 % of traffic")).to_be_visible()


def test_the_drift_of_the_flights_example(site: str, visit: Visit) -> None:
    visitor = visit(site)
    page = visitor.go("/models/flights/drift")
    dest = page.locator("article", has=page.get_by_role("heading", name="dest", exact=True))
    expect(dest.locator("header")).to_contain_text("drifted")
    picture = dest.get_by_role("img", name="dest: live shares beside the reference")
    assert picture.locator("rect.reference").count() == picture.locator("rect.live").count() == 20
    assert "ATL" in str(picture.locator("desc").text_content())
    delay = page.get_by_role("img", name="dep_delay: live values over the reference")
    assert delay.locator("path.hatched").bounding_box() is not None
    trend = dest.get_by_role("img", name="dest: jensen_shannon over 5 windows")
    assert trend.locator("polygon.bad").count() == dest.locator("polygon.bad").count() >= 1
    expect(trend.locator("line.threshold")).to_have_count(1)


def test_an_earlier_window_is_chosen_from_the_trend(site: str, visit: Visit) -> None:
    page = visit(site).go("/models/flights/drift")
    windows = page.get_by_role("navigation", name="Windows").get_by_role("link")
    expect(windows).to_have_count(5)
    expect(windows.last).to_have_attribute("aria-current", "page")
    windows.first.click()
    expect(windows.first).to_have_attribute("aria-current", "page")
    expect(page.locator(".title")).to_contain_text("no drift")


def test_what_served_on_a_day(site: str, visit: Visit) -> None:
    visitor = visit(site)
    page = visitor.go(f"/models/{MODEL}")
    page.get_by_label("What served on").fill("2020-01-01T00:00:00")
    page.get_by_role("button", name="Look").click()
    expect(page.locator("#served")).to_have_text("Nothing served then.")
    page.get_by_label("What served on").fill("2099-01-01T00:00:00")
    page.get_by_role("button", name="Look").click()
    expect(page.locator("#served")).to_contain_text("v1 served, since")


def test_a_name_filters_models(site: str, visit: Visit) -> None:
    visitor = visit(site)
    page = visitor.go("/")
    expect(page.locator("table.models tbody tr")).to_have_count(3)
    page.get_by_label("Name contains").fill("LIGHT")
    page.keyboard.press("Enter")
    expect(page.locator("table.models tbody tr")).to_have_count(1)
    page.get_by_label("Name contains").fill("nobody")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="No model here is called like that")).to_be_visible()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/models/nobody", "there is no model nobody"),
        (f"/models/{MODEL}/versions/v9", "fraud has no version v9"),
        ("/models/nobody/drift", "nobody"),
    ],
)
def test_what_is_not_there_is_a_page_as_well(site: str, visit: Visit, path: str, said: str) -> None:
    visitor = visit(site)
    page = visitor.go(path, status=404)
    assert said in visitor.text
    page.get_by_role("link", name="To the models").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")


@pytest.fixture(scope="module")
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("empty")
    with serving(folder) as url:
        yield url


def test_a_first_look_says_how_to_drop_a_package(empty_site: str, visit: Visit) -> None:
    visitor = visit(empty_site)
    page = visitor.go("/")
    expect(page.get_by_role("heading", name="No model yet")).to_be_visible()
    assert "modeldrop drop" in visitor.text and "health_tick has never come" in visitor.text
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_role("heading", name="Nobody has changed anything yet")).to_be_visible()
