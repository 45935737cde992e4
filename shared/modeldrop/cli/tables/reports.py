"""Reports on windows: drift and quality."""

from rich.table import Table
from rich.text import Text

from modeldrop.cli.tables.drawing import Answer, plain, table_of


def drift_table(answer: Answer) -> Table:
    """A window's report, feature by feature, the predictions last."""
    found = [*answer["features"], *([answer["prediction"]] if answer["prediction"] else [])]
    rows = [
        [
            one["name"],
            one["type"],
            one["test"],
            *[
                "-" if one[name] is None else f"{one[name]:.4g}"
                for name in ("value", "threshold", "p_value", "missing")
            ],
            one["verdict"],
        ]
        for one in found
    ]
    table = table_of(["feature", "type", "test", "value", "threshold", "p", "missing", "verdict"], rows)
    so_far = "" if answer["complete"] else " so far"
    about = f"{answer['model']} {answer['version']}, window {answer['window']}: {answer['verdict']}{so_far}"
    table.title = Text(plain(f"{about} ({answer['rows']} rows of about {answer['estimated_events']} events)"))
    reference = answer["reference"]
    table.caption = Text(plain(f"compared with: {reference['kind']} {reference['why']}"))
    return table


def quality_table(answer: Answer) -> Table:
    """Versions and what their labels say."""
    rows = []
    for one in answer["versions"]:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in one["metrics"].items())
        coverage = "-" if one["coverage"] is None else f"{one['coverage']:.0%}"
        rows.append([one["version"], one["window"], one["verdict"], str(one["n"]), coverage, metrics or "-"])
    return table_of(["version", "window", "verdict", "labelled", "coverage", "metrics"], rows)


def drift_trend_table(answer: Answer) -> Table:
    """Windows with what has drifted in them."""
    rows = []
    for one in answer["windows"]:
        tested = one["features"] | ({"prediction": one["prediction"]} if one["prediction"] else {})
        drifted = [f"{name} ({_value(test)})" for name, test in tested.items() if test["verdict"] == "drifted"]
        so_far = "" if one["complete"] else " so far"
        seen = [one["window"], f"{one['verdict']}{so_far}", str(one["rows"]), str(one["estimated_events"])]
        rows.append([*seen, ", ".join(drifted) or "-"])
    table = table_of(["window", "verdict", "rows", "events", "drifted"], rows)
    table.title = Text(plain(f"{answer['model']} {answer['version']}"))
    return table


def _value(test: Answer) -> str:
    return test["test"] if test["value"] is None else f"{test['test']} {test['value']:.4g}"


def quality_trend_table(answer: Answer) -> Table:
    """Windows with the metric the policy goes by."""
    rows = []
    for one in answer["windows"]:
        numbers = ["-" if one[name] is None else f"{one[name]:.4f}" for name in ("value", "expected")]
        coverage = "-" if one["coverage"] is None else f"{one['coverage']:.0%}"
        rows.append([one["window"], one["verdict"], one["metric"] or "-", *numbers, str(one["n"]), coverage])
    table = table_of(["window", "verdict", "metric", "value", "expected", "labelled", "coverage"], rows)
    table.title = Text(plain(f"{answer['model']} {answer['version']}"))
    return table
