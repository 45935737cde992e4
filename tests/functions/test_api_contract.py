"""The public interface, row by row as it was promised: every path is there, and answers with those fields."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from modeldrop.domain.retraining.threshold import Proposal
from modeldrop.records.proposals import ProposalRecord, Proposals, new_proposal
from modeldrop.web.reading import read
from modeldrop.web.routes import ROUTES, find_route
from modeldrop.wiring import services
from tests.functions.api_calls import client_of_function, environment, fill_everywhere
from tests.handlers.control import MODEL, Control
from tests.handlers.prediction_log import NOW

M = f"/v1/models/{MODEL}"

# Each row: the path, where in its answer the fields are, and the fields. Taken from the contract, not from the code.
ROWS: list[tuple[str, str, str]] = [
    ("/v1/models", "models.0", "model production endpoint health drift rollout"),
    ("/v1/models", "models.0.endpoint", "traffic"),
    (M, "", "model production endpoint health drift rollout aliases"),
    (M, "aliases", "production previous staging latest"),
    (f"{M}/versions", "versions.0", "version status score digest lineage"),
    (f"{M}/versions/v1", "", "version status score digest lineage decision"),
    (f"{M}/versions/v1/explain", "", "verdict rule score compared_with terms reasons"),
    (f"{M}/versions/v1/explain", "terms.0", "metric value weight direction scaled contribution passed"),
    (f"{M}/rollouts", "rollouts.0", "id steps measurements entries phase version"),
    (f"{M}/rollouts/ROLLOUT", "entries.0", "at phase percent reason"),
    (f"{M}/drift", "", "window version reference rows estimated_events verdict features"),
    (
        f"{M}/drift?window=2026-03-01T10:00:00Z&version=v1",
        "features.0",
        "name type test value threshold p_value missing verdict psi ks wasserstein jensen_shannon l_infinity"
        " chi_square",
    ),
    (f"{M}/drift?window=2026-03-01T10:00:00Z", "features.0", "distribution"),
    (f"{M}/drift/windows", "windows.0", "window verdict complete rows estimated_events features prediction"),
    (f"{M}/drift/windows", "windows.0.features.amount", "test value threshold verdict"),
    (f"{M}/quality", "versions.0", "version window labelled coverage metrics verdict"),
    (f"{M}/quality/windows", "windows.0", "window verdict metric value bounds expected n coverage"),
    (f"{M}/health", "", "model status version available loadable why since checked_at metadata"),
    (f"{M}/history", "history.0", "number at what version by why"),
    (f"{M}/history?at=2100-01-01T00:00:00Z", "served", "version digest since by why rollout"),
    (f"{M}/standing", "", "model policy champion best"),
    (f"{M}/retraining", "", "model episodes state proposals next"),
    (
        f"{M}/retraining",
        "episodes.0",
        "id cause why by version status target run opened_at until ended_at closed_by gain",
    ),
    (f"{M}/retraining", "proposals.0", "name status proposal text"),
    (f"{M}/deliveries", "", "model deliveries waiting next"),
    (f"{M}/deliveries", "waiting.0", "id at kind version what why resolved deliveries"),
    ("/v1/ticks", "ticks.0", "tick at seconds status models errors interval_seconds stale"),
    ("/v1/quarantine", "quarantine.0", "id what problems at"),
    ("/v1/audit", "entries.0", "number at caller call outcome status detail hash"),
    ("/v1", "", "name version links"),
    ("/v1/openapi.json", "", "openapi info paths components"),
]
COMMANDS = {
    "promote": {"version": "v2", "force": False},
    "rollback": {"to": "v9"},
    "pause": {},
    "resume": {},
    "approve": {"version": "v2"},
    "retrain": {},
}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """Something at every place."""
    folder = tmp_path_factory.mktemp("contract")
    with environment(folder):
        control = Control(folder)
        fill_everywhere(control)
        _propose(control)
        yield control


def _propose(control: Control) -> None:
    proposals, figures = Proposals(control.services.documents), Proposal(0.43, 0.2, 0.31, 0.2, 400, 500)
    record = ProposalRecord("v1-threshold-1", MODEL, "v1", "0a", NOW, "package", 0.5, 0.5, figures, NOW)
    proposals.commit(new_proposal(record, proposals.open(MODEL), None))


@pytest.fixture(scope="module")
def client(control: Control) -> Any:
    client = client_of_function()
    for path in (f"{M}/drift?window=2026-03-01T10:00:00Z", f"{M}/drift", f"{M}/quality"):
        assert client.get(path).status_code == 200
    assert client.post(f"{M}:retrain", json={}).json["status"] == "accepted"
    return client


def inside(content: Any, where: str) -> Any:
    for part in where.split(".") if where else []:
        content = content[int(part)] if part.isdigit() else content[part]
    return content


@pytest.mark.parametrize(("path", "where", "fields"), ROWS)
def test_every_row_is_there(client: Any, control: Control, path: str, where: str, fields: str) -> None:
    answer = client.get(path.replace("ROLLOUT", control.rollout.id))
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert inside(answer.json, where).keys() >= set(fields.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_there(client: Any, command: str) -> None:
    answer = client.post(f"{M}:{command}", json=COMMANDS[command])
    assert (answer.status_code, answer.json.keys()) == (200, {"status", "reason"})
    assert answer.json["status"] in ("accepted", "refused")


def test_figures_and_pages_are_there(client: Any) -> None:
    assert client.get("/metrics").content_type.startswith("text/plain; version=0.0.4")
    for path in ("/", f"/models/{MODEL}", f"/models/{MODEL}/versions/v1", f"/models/{MODEL}/drift", "/audit"):
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype) == (200, "text/html"), path


def test_what_a_page_refers_to_is_there(client: Any) -> None:
    text = client.get("/").text
    styles, script = re.search(r'rel="stylesheet" href="([^"]+)', text), re.search(r'<script src="([^"]+)', text)
    assert styles and script
    for address, kind in ((styles[1], "text/css"), (script[1], "text/javascript")):
        answer = client.get(address)
        assert (answer.status_code, answer.mimetype, answer.data != b"") == (200, kind, True)


def test_no_route_is_left_out_here() -> None:
    promised = {path.partition("?")[0].replace("ROLLOUT", "1") for path, _, _ in ROWS} | {"/", "/metrics"}
    found = {found[0].name for path in promised if isinstance(found := find_route("GET", path), tuple)}
    pages = {"page_models", "page_model", "page_version", "page_drift", "page_audit", "asset", "page_command"}
    assert {route.name for route in ROUTES} - pages - {*COMMANDS, "replay", "call"} == found - pages


@pytest.mark.parametrize("path", sorted({path for path, _, _ in ROWS if "ROLLOUT" not in path} - {"/v1/openapi.json"}))
def test_reads_in_this_process_are_what_the_api_answers(client: Any, path: str) -> None:
    bare, _, text = path.partition("?")
    query = dict(part.split("=") for part in text.split("&")) if text else {}
    assert read(services(), bare, **query) == client.get(path).json
