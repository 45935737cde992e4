"""The files of infra/observability and docs/metrics.md, held against the metrics there are.

``python -m tests.unit.test_observability`` prints the table of docs/metrics.md anew.
"""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from modeldrop.web.scrape.families import BY_NAME, FAMILIES

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "infra" / "observability"
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
RULES = [
    rule
    for name in ("alerts.yaml", "alerts-google-cloud.yaml")
    for group in yaml.safe_load((FOLDER / name).read_text())["groups"]
    for rule in group["rules"]
]
ADDED_BY_PROMETHEUS = {"job", "instance"}
OF_GOOGLE = {
    "pubsub_googleapis_com:subscription_num_undelivered_messages": {"monitored_resource", "subscription_id"},
}
FUNCTIONS = {"absent", "changes", "count", "delta", "increase", "sum", "time", "vector"}
WORDS = {"and", "by", "on", "or", "unless"}

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<range>\[\d+[smhd]\])"""
    r"""|(?P<number>\d+(?:\.\d+)?)|(?P<sign>==|!=|>=|<=|=~|!~|[-+*/<>=(){},]))"""
)


def tokens(expression: str) -> list[tuple[str, str]]:
    """Kind and text of each token; fails where there is none."""
    found, at = [], 0
    while at < len(expression.rstrip()):
        token = _TOKEN.match(expression, at)
        assert token is not None, f"{expression}: what is {expression[at:]!r}?"
        assert token.lastgroup is not None
        found.append((token.lastgroup, token[token.lastgroup]))
        at = token.end()
    return found


def used(expression: str) -> dict[str, set[str]]:
    """The metrics of an expression, with the labels that are asked for of each; fails where it is not whole."""
    metrics: dict[str, set[str]] = {}
    depth, current, grouping = [], "", False
    all_tokens = tokens(expression)
    for number, (kind, text) in enumerate(all_tokens):
        following = all_tokens[number + 1][1] if number + 1 < len(all_tokens) else ""
        if text in "({" and kind == "sign":
            depth.append(text)
        elif text in ")}" and kind == "sign":
            assert depth.pop() == {")": "(", "}": "{"}[text], expression
            grouping = grouping and text != ")"
        elif kind == "name" and depth and depth[-1] == "{":
            assert following in {"=", "=~", "!=", "!~"} and all_tokens[number + 2][0] == "text", expression
            metrics[current].add(text)
        elif kind == "name" and text in WORDS:
            grouping = text in {"by", "on"}
        elif kind == "name" and not grouping and text not in FUNCTIONS:
            current = text
            metrics.setdefault(text, set())
        elif kind == "name" and text in FUNCTIONS:
            assert following in {"(", "by"}, expression
    assert not depth, f"{expression} is not closed"
    return metrics


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression there is, with where it stands."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def panels() -> list[dict[str, Any]]:
    return DASHBOARD["panels"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("where", "expression"), [pytest.param(*each, id=each[0]) for each in expressions()])
def test_expressions_name_metrics_and_labels_that_exist(where: str, expression: str) -> None:
    found = used(expression)
    assert found
    for metric, labels in found.items():
        known = OF_GOOGLE.get(metric) or {*BY_NAME[metric].labels, *ADDED_BY_PROMETHEUS}
        assert labels <= known, f"{where}: {metric} has no {labels - known}"


@pytest.mark.parametrize(
    "broken",
    ["sum(modeldrop_models", "modeldrop_models)", "modeldrop_models{model=}", "modeldrop_models % 2", 'a{b="c"'],
)
def test_a_broken_expression_is_seen(broken: str) -> None:
    with pytest.raises((AssertionError, IndexError)):
        used(broken)


def test_what_is_in_labels_texts_and_groups_is_told_apart() -> None:
    expression = 'sum by (status) (a{b="c{",d=~"e"}) / on (model) increase(f[5m]) or vector(0)'
    assert used(expression) == {"a": {"b", "d"}, "f": set()}


def test_legends_and_texts_name_labels_that_exist() -> None:
    for panel in panels():
        for target in panel.get("targets", []):
            known = {label for metric in used(target["expr"]) for label in BY_NAME[metric].labels}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known, panel["title"]
    for rule in RULES:
        known = {label for metric in used(rule["expr"]) if metric in BY_NAME for label in BY_NAME[metric].labels}
        texts = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", texts)) <= known, rule["alert"]


def test_states_that_are_asked_for_are_states_there_are() -> None:
    """A misspelt one would never fire."""
    known = {
        "modeldrop_model_health": {"healthy", "degraded", "unhealthy", "unknown"},
        "modeldrop_quality_verdict": {"ok", "degraded", "insufficient_data"},
    }
    asked = re.compile(r'(modeldrop_\w+){[^}]*(?:status|verdict)=~?"([^"]+)"')
    found = [each for _, expression in expressions() for each in asked.findall(expression)]
    assert found
    for metric, states in found:
        assert set(states.split("|")) <= known[metric]


def test_every_metric_is_shown_on_the_dashboard() -> None:
    shown = {metric for panel in panels() for target in panel.get("targets", []) for metric in used(target["expr"])}
    shown |= {"modeldrop_alarm"} & {metric for rule in RULES for metric in used(rule["expr"])}
    assert {family.name for family in FAMILIES} - shown == set()


def test_alerts_are_told_of_whole() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert re.fullmatch(r"\d+[mhd]", rule.get("for", "0m"))


def test_every_alert_is_in_the_operations_handbook() -> None:
    handbook = (REPOSITORY / "docs" / "operations.md").read_text()
    assert [rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in handbook] == []


def test_panels_do_not_overlap_and_have_a_source() -> None:
    places = [panel["gridPos"] for panel in panels()]
    for place in places:
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
    assert len({panel["id"] for panel in panels()}) == len(panels())
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        if panel["type"] != "row":
            assert panel["title"] and panel["description"]
            assert [panel["datasource"], *[target["datasource"] for target in panel["targets"]]] == [source] * (
                1 + len(panel["targets"])
            )
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_variables_are_those_that_are_used() -> None:
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD)
    assert set(re.findall(r"\$\{?(datasource|model)\b", text)) == names == {"datasource", "model"}
    asked = re.findall(r"label_values\((\w+), (\w+)\)", text)
    assert asked
    assert all(label in BY_NAME[metric].labels for metric, label in asked)


def test_the_scraper_reads_the_rules_that_are_there() -> None:
    scraper = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert all((FOLDER / name).exists() for name in scraper["rule_files"])
    assert all(job.get("metrics_path", "/metrics") == "/metrics" for job in scraper["scrape_configs"])


def test_a_lost_scrape_leaves_no_gap() -> None:
    """A sample counts for five minutes in Prometheus: alerts with ``for`` begin anew where there is none."""
    scraper = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    seconds = {"s": 1, "m": 60}
    for job in scraper["scrape_configs"]:
        number, unit = job["scrape_interval"][:-1], job["scrape_interval"][-1]
        assert 2 * int(number) * seconds[unit] < 300, job["job_name"]


def table() -> str:
    """Every metric, as docs/metrics.md has it."""
    rows = []
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "–"
        rows.append(f"| `{family.name}` | {family.kind} | {labels} | {family.about} |")
    return "\n".join(["| metric | kind | labels | what it says |", "|---|---|---|---|", *rows])


def test_every_metric_is_documented() -> None:
    assert table() in (REPOSITORY / "docs" / "metrics.md").read_text()


if __name__ == "__main__":
    print(table())
