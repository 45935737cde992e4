"""Pages without a browser: roles, headers, forms, how much is read, and answers that lack what came later."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from modeldrop.web.callers.caller import Caller
from modeldrop.web.dashboard import rendering
from modeldrop.web.dashboard.assets import asset, asset_name
from modeldrop.web.dashboard.pages import problem_page
from modeldrop.web.dashboard.rendering import Viewer
from modeldrop.web.dashboard.views.actions import ROLE_OF
from modeldrop.web.dashboard.views.decision import sentence
from modeldrop.web.problem import Problem
from modeldrop.web.reading import read as read_registry
from modeldrop.wiring import Services
from tests.browser.in_process import InProcess, html_of
from tests.functions.api_calls import call, iam_services
from tests.handlers.control import FAST, MODEL, Control, metadata

PATH = f"/models/{MODEL}"
LIMIT_OF_READS = 14


@pytest.fixture(scope="module")
def dashboard(filled_folder: Path) -> InProcess:
    return InProcess(Control(filled_folder).services)


def only(dashboard: InProcess, *roles: Any) -> InProcess:
    return replace(dashboard, caller=Caller("ann@example.com", frozenset(roles)))


@pytest.mark.parametrize(
    ("roles", "buttons"),
    [
        (("viewer",), set()),
        (("viewer", "operator"), {"promote", "rollback", "retrain", "pause"}),
        (("viewer", "approver"), {"approve"}),
    ],
)
def test_only_buttons_the_caller_has_a_role_for(dashboard: InProcess, roles: tuple[Any], buttons: set[str]) -> None:
    shown = only(dashboard, *roles).text(PATH)
    assert set(re.findall('data-command="([a-z]+)"', shown)) == buttons
    assert ('href="/audit"' in shown) == ("operator" in roles)
    assert only(dashboard, *roles).get("/audit").status == (200 if "operator" in roles else 403)
    assert only(dashboard, *roles).get(PATH, confirm="rollback").status == (200 if "operator" in roles else 403)


def test_commands_of_the_pages_are_those_of_the_api() -> None:
    from modeldrop.web.commands import COMMANDS

    assert COMMANDS.keys() == ROLE_OF.keys()


def test_a_policy_without_holes_stands_on_every_page(dashboard: InProcess) -> None:
    for path in ("/", PATH, "/models/nobody", "/nowhere"):
        policy = dashboard.get(path).headers["Content-Security-Policy"]
        assert policy == rendering.POLICY
        assert "unsafe" not in policy and policy.startswith("default-src 'none'")
        text = dashboard.text(path)
        assert not re.search(r"<style|\sstyle=|<script(?! src=)|\son[a-z]+=|javascript:", text)


def test_a_tag_stands_for_the_content_not_for_its_age(filled_folder: Path) -> None:
    control = Control(filled_folder)
    dashboard = InProcess(control.services)
    before = dashboard.get(PATH)
    control.clock.forward(3)
    after = dashboard.get(PATH)
    assert before.body != after.body
    assert before.headers["ETag"] == after.headers["ETag"]
    assert dashboard.get(PATH, versions="0").headers["ETag"] != after.headers["ETag"]


def test_style_and_script_are_kept_for_ever_under_their_own_names() -> None:
    for file, kind in (("style.css", "text/css"), ("page.js", "text/javascript")):
        reply = asset(asset_name(file))
        assert reply is not None and reply.content_type.startswith(kind)
        assert "immutable" in reply.headers["Cache-Control"]
        other = asset(re.sub("-[0-9a-f]{12}", "-000000000000", asset_name(file)))
        assert other is not None and other.headers["Cache-Control"] == "no-store"
    assert asset("pages-000000000000.py") is None
    assert asset("style-000000000000.js") is None


@pytest.mark.parametrize(
    ("command", "form", "status"),
    [
        ("promote", {"version": "v9"}, 409),
        ("promote", {}, 400),
        ("pause", {"version": "v1"}, 400),
        ("rollback", {"why": "x" * 2_000}, 400),
        ("rollback", {"why": "x" * 20_000}, 413),
        ("explode", {}, 404),
    ],
)
def test_forms_that_cannot_be_carried_out(
    dashboard: InProcess, command: str, form: dict[str, str], status: int
) -> None:
    assert dashboard.ask("POST", f"{PATH}/{command}", {}, form).status == status


def test_a_problem_is_a_page(dashboard: InProcess) -> None:
    problem = Problem(503, "Unavailable", "the store <cannot> be reached")
    reply = problem_page(problem, Viewer(None, dashboard.services.clock()))
    assert (reply.status, "&lt;cannot&gt;" in html_of(reply)) == (503, True)


def test_reads_of_a_page_are_bounded(dashboard: InProcess) -> None:
    paths: list[str] = []

    def counting(services: Services, path: str, **query: Any) -> dict[str, Any] | Problem:
        paths.append(path)
        return read_registry(services, path, **query)

    for path in (PATH, "/", f"{PATH}/drift", f"{PATH}/versions/v2"):
        paths.clear()
        replace(dashboard, read=counting).get(path)
        assert len(paths) <= LIMIT_OF_READS, paths


@pytest.mark.parametrize("lost", ["/drift/windows", "/quality/windows", "/drift", "/quality"])
def test_what_an_answer_lacks_leaves_a_gap_and_no_error(dashboard: InProcess, lost: str) -> None:
    def without(services: Services, path: str, **query: Any) -> dict[str, Any] | Problem:
        return Problem(404, "Not found", "not yet") if path.endswith(lost) else read_registry(services, path, **query)

    assert replace(dashboard, read=without).get(PATH).status == 200
    assert replace(dashboard, read=without).get(f"{PATH}/drift").status == 200


def test_a_report_from_before_pictures_were_kept(dashboard: InProcess) -> None:
    def older(services: Services, path: str, **query: Any) -> dict[str, Any] | Problem:
        answer = read_registry(services, path, **query)
        if path.endswith("/drift") and isinstance(answer, dict):
            for feature in [*answer["features"], answer["prediction"]]:
                feature["distribution"] = None
        return answer

    text = replace(dashboard, read=older).text(f"{PATH}/drift")
    assert "chart overlay" not in text and "chart pairs" not in text
    assert "PSI" in text and "chart windows" in text


@pytest.mark.parametrize("path", ["/", PATH, f"{PATH}/drift", f"{PATH}/versions/v1"])
def test_a_store_that_cannot_be_read_is_told(dashboard: InProcess, path: str) -> None:
    def broken(services: Services, path: str, **query: Any) -> Problem:
        return Problem(503, "Unavailable", "the store cannot be reached")

    reply = replace(dashboard, read=broken).get(path)
    assert (reply.status, "the store cannot be reached" in html_of(reply)) == (503, True)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> InProcess:
    """A model with more versions, history and rollouts than a page has."""
    control = Control(tmp_path_factory.mktemp("many"))
    control.policy(FAST)
    for number in range(1, 25):
        control.make_live(f"v{number}", number / 100, day=number)
    return InProcess(control.services)


def test_lists_end_and_go_on_with_a_link(many: InProcess) -> None:
    shown = many.text(PATH)
    assert shown.count('<tr id="version-') == 20
    for section in ("versions", "rollouts", "history"):
        link = re.search(rf'href="\?{section}=([^"#]+)#{section}"', shown)
        assert link is not None, section
    older = re.search(r'href="\?versions=([^"#]+)#', shown)
    assert older is not None
    rest = many.text(PATH, versions=unquote(older[1]))
    assert re.findall('<tr id="version-(v[0-9]+)', rest) == ["v4", "v3", "v2", "v1"]


def test_models_go_on_with_a_link(many: InProcess) -> None:
    control = Control(many.services.settings.data)
    for number in range(51):
        name = f"m{number:02d}"
        control.put(f"models/{name}/v1/metadata.json", json.dumps(metadata("v1", 0.5, 1) | {"model": name}).encode())
        control.tell(f"models/{name}/v1/metadata.json")
    first = many.text("/")
    link = re.search(r'href="/\?before=([^"]+)">More models', first)
    assert link is not None and first.count('<tr id="model-') == 50
    rest = many.text("/", before=unquote(link[1]))
    assert re.findall('<tr id="model-(m[0-9]+)', rest) == ["m49", "m50"]
    assert re.findall('<tr id="model-([a-z0-9]+)', many.text("/", name="50")) == ["m50"]


def test_older_rows_have_a_way_back_to_the_newest(many: InProcess) -> None:
    shown = many.text(PATH)
    assert ">Newest<" not in shown
    for section, older in re.findall(r'href="\?([a-z]+)=([^"#]+)#', shown):
        paged = many.text(PATH, **{section: unquote(older)})
        assert f'href="{PATH}#{section}">Newest<' in paged, section


def test_a_name_is_found_behind_any_number_of_models(many: InProcess) -> None:
    """A filter looks through some pages of them only."""

    def thousands(services: Services, path: str, **query: Any) -> dict[str, Any] | Problem:
        answer = read_registry(services, path, **query)
        if path == "/v1/models" and isinstance(answer, dict):
            return answer | {"models": [], "next": "a"}
        return answer

    found = re.findall('<tr id="model-([a-z0-9]+)', replace(many, read=thousands).text("/", name=MODEL))
    assert found == [MODEL]
    assert re.findall('<tr id="model-([a-z0-9]+)', many.text("/", name=MODEL)) == [MODEL]


def test_what_waits_for_an_approver_is_offered_wherever_it_is_in_the_list(dashboard: InProcess) -> None:
    def without_rows(services: Services, path: str, **query: Any) -> dict[str, Any] | Problem:
        answer = read_registry(services, path, **query)
        return answer | {"versions": []} if path.endswith("/versions") and isinstance(answer, dict) else answer

    for read in (read_registry, without_rows):
        assert replace(dashboard, read=read).text("/models/churn").count("Approve v1<") == 1


@pytest.mark.parametrize("asked", [{"version": "v9"}, {"window": "2020-01-01T00:00:00Z"}])
def test_a_report_that_is_not_there_is_not_one_that_is_to_come(dashboard: InProcess, asked: dict[str, str]) -> None:
    assert "There is no such report" in dashboard.text(f"{PATH}/drift", **asked)
    assert "Nothing to compare yet" in dashboard.text("/models/churn/drift")


def test_styles_are_for_everybody_and_nothing_else_is(many: InProcess) -> None:
    """Who is not known sees a page that says so, and it looks like one; looking leaves nothing in the audit trail."""
    control = Control(many.services.settings.data)
    cloud = iam_services(control)
    for file in ("style.css", "page.js"):
        reply = call(cloud, "GET", f"/assets/{asset_name(file)}")
        assert (reply.status, "immutable" in reply.headers["Cache-Control"]) == (200, True)
    assert call(cloud, "GET", "/assets/pages.py").status == 404
    assert call(cloud, "POST", f"/assets/{asset_name('page.js')}").status == 401
    page = call(cloud, "GET", PATH, headers={"Accept": "text/html"})
    assert (page.status, asset_name("style.css") in html_of(page)) == (401, True)
    assert MODEL not in html_of(page)


def decided(**changes: Any) -> dict[str, Any]:
    return {"verdict": "approved", "rule": "first_model", "reasons": [], "compared_with": []} | changes


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (decided(reasons=["there is no champion to beat: the first model"]), "v3 was approved: there is no champion"),
        (
            decided(verdict="held", rule="awaiting_approval", reasons=["because"]),
            "v3 waits for somebody's word: because.",
        ),
        (decided(verdict="rejected", rule="limit", reasons=["f1 is 0.1"]), "v3 was rejected: f1 is 0.1."),
        (decided(verdict="rejected", rule="limit", reasons=["f1 is 0.1", "b"]), "v3 was rejected for 2 reasons."),
        (decided(verdict="rejected", rule="not_ready"), "v3 was rejected: not ready."),
        (None, "v3 has no decision yet: it waits for its turn."),
    ],
)
def test_a_decision_in_a_sentence(decision: dict[str, Any] | None, said: str) -> None:
    assert sentence("v3", decision, []).startswith(said)
