"""The description of the API, and the real function held against it by schemathesis, with a filled registry."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import functions_framework
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from modeldrop.web.openapi import document
from modeldrop.web.routes import DESCRIBED, Route
from tests.functions.api_calls import SOURCE, environment, fill_everywhere
from tests.handlers.control import MODEL, Control

COPY = Path(__file__).parents[2] / "docs/openapi.json"
# Not for us: what may be sent without credentials is told by MODELDROP_AUTH; and resources are made by packages alone.
NOT_FOR_US = {"ignored_auth", "use_after_free", "ensure_resource_availability"}
EXAMPLES = 20  # a call and mode


def fields_of(query: type[msgspec.Struct] | None) -> tuple[str, ...]:
    return query.__struct_fields__ if query else ()


def can_be_wrong(route: Route) -> bool:
    return "{" in route.path or route.body is not None or bool(fields_of(route.query))


each_route = pytest.mark.parametrize("route", DESCRIBED, ids=lambda route: route.name)
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """Something at every place: live and rejected versions, reports, an episode, a proposal, news, the quarantine."""
    folder = tmp_path_factory.mktemp("api")
    with environment(folder):
        control = Control(folder)
        fill_everywhere(control)
        yield control


@pytest.fixture(scope="module")
def app(control: Control) -> Any:
    """The function, after somebody looked at a report and asked for a retraining."""
    app = functions_framework.create_app(target="api", source=str(SOURCE))
    client = app.test_client()
    assert client.get(f"/v1/models/{MODEL}/drift?window=2026-03-01T10:00:00Z").status_code == 200
    assert client.post(f"/v1/models/{MODEL}:retrain", json={}).json["status"] == "accepted"
    return app


@pytest.fixture(scope="module")
def description(app: Any) -> Any:
    load_all_checks()
    return schemathesis.openapi.from_wsgi("/v1/openapi.json", app)


def checks(route: Route) -> list[Any]:
    """Those that hold for a route. POST / answers 200 whatever comes of the call in its body."""
    but = {"negative_data_rejection"} if route.name == "call" else set()
    return [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in NOT_FOR_US | but]


def hold(route: Route, cases: Any) -> None:
    """Every one of some cases gets an answer that is as described."""

    @seed(20260101)
    @bounded
    @given(case=cases)
    def holds(case: Case) -> None:
        case.call_and_validate(checks=checks(route))

    holds()


@each_route
def test_what_is_asked_rightly_is_answered_as_described(description: Any, route: Route) -> None:
    hold(route, description[route.path][route.method].as_strategy(GenerationMode.POSITIVE))


@each_route
def test_what_is_there_is_answered_as_described(description: Any, control: Control, route: Route) -> None:
    names = {"model": MODEL, "version": "v1", "rollout": control.rollout.id}
    in_path = {name: text for name, text in names.items() if f"{{{name}}}" in route.path}
    hold(route, description[route.path][route.method].as_strategy(GenerationMode.POSITIVE, path_parameters=in_path))


@pytest.mark.parametrize("route", [route for route in DESCRIBED if can_be_wrong(route)], ids=lambda route: route.name)
def test_what_is_asked_wrongly_is_refused(description: Any, route: Route) -> None:
    hold(route, description[route.path][route.method].as_strategy(GenerationMode.NEGATIVE))


@each_route
def test_at_the_limits_of_what_may_be_asked(description: Any, route: Route) -> None:
    operation = description[route.path][route.method]
    modes, generation = list(GenerationMode), description.config.generation
    seen = 0
    for case in description.iter_coverage_cases(operation, generation_modes=modes, generation_config=generation):
        case.call_and_validate(checks=checks(route))
        seen += 1
    assert seen


def test_the_copy_is_the_table_as_it_is() -> None:
    assert COPY.read_bytes() == document(), "python -m modeldrop.web.openapi > docs/openapi.json"


def test_the_document_says_what_the_table_does() -> None:
    described = json.loads(document())
    operations = {(m.upper(), path): o for path, row in described["paths"].items() for m, o in row.items()}
    assert operations.keys() == {(route.method, route.path) for route in DESCRIBED}
    for route in DESCRIBED:
        operation = operations[route.method, route.path]
        assert (operation["operationId"], operation["summary"]) == (route.name, route.summary)
        assert {p["name"] for p in operation["parameters"] if p["in"] == "query"} == set(fields_of(route.query))
        assert ("requestBody" in operation) == (route.body is not None)
        assert {"400", "401", "403", "421", "503"} <= operation["responses"].keys()
    limit = next(p for p in operations["GET", "/v1/models"]["parameters"] if p["name"] == "limit")
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    row = described["components"]["schemas"]["ModelRow"]
    assert sorted(row["required"]) == sorted(row["properties"])


def test_every_reference_leads_somewhere() -> None:
    text = document().decode()
    described: Any = json.loads(text)
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        place = described
        for part in reference.split("/"):
            place = place[part]
