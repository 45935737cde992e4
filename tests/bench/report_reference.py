"""The drift report as Evidently and whylogs make it, timed; run by the interpreter of ``.venv-references``.

``python report_reference.py ROWS.json`` writes lines of JSON to stdout. First, by library: its version and ``values``
by column, or ``failed``, why it cannot run. Then for each line on stdin the seconds of each of its works, done once.
ROWS.json: ``{"numeric": [name…], "categorical": [name…], "reference": {name: [value…]}, "current": {…}}``.

Measured from two DataFrames in memory to the finished figures; the first call is not counted. Nothing of modeldrop is
imported here.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

Rows = dict[str, Any]
Works = Mapping[str, Callable[[], object]]


def evidently(rows: Rows, reference: pd.DataFrame, current: pd.DataFrame) -> tuple[dict[str, float], Works]:
    """``DataDriftPreset`` to its dict; and apart from it the tests it chooses here, without the charts it draws."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests import jensenshannon_stat_test, wasserstein_stat_test
    from evidently.legacy.core import ColumnType
    from evidently.presets import DataDriftPreset

    columns = DataDefinition(numerical_columns=rows["numeric"], categorical_columns=rows["categorical"])
    chosen = dict.fromkeys(rows["numeric"], (wasserstein_stat_test, ColumnType.Numerical))
    chosen |= dict.fromkeys(rows["categorical"], (jensenshannon_stat_test, ColumnType.Categorical))

    def whole() -> dict[str, Any]:
        sides = [Dataset.from_pandas(side, data_definition=columns) for side in (current, reference)]
        return Report([DataDriftPreset()]).run(*sides).dict()

    def tests_alone() -> dict[str, float]:
        found = {}
        for name, (test, kind) in chosen.items():
            sides = (side[name].dropna() for side in (reference, current))  # as the preset does first
            found[name] = float(test(*sides, kind, 0.1).drift_score)
        return found

    metrics = [metric for metric in whole()["metrics"] if "column" in metric["config"]]
    values = {metric["config"]["column"]: float(metric["value"]) for metric in metrics}
    if values != tests_alone():
        raise AssertionError("the preset chose other tests than those that are timed alone")
    return values, {"whole": whole, "tests_alone": tests_alone}


def whylogs(rows: Rows, reference: pd.DataFrame, current: pd.DataFrame) -> tuple[dict[str, float], Works]:
    """Both sides logged to profiles, and the drift scores of their columns; and with the reference's profile kept."""
    import whylogs as why
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    def profile(side: pd.DataFrame) -> Any:
        return why.log(pandas=side).view()

    def compared(before: Any) -> dict[str, Any]:
        return calculate_drift_scores(target_view=profile(current), reference_view=before, with_thresholds=True)

    kept = profile(reference)
    values = {name: float(score["pvalue"]) for name, score in compared(kept).items() if score}
    if without := set(rows["numeric"] + rows["categorical"]) - values.keys():
        raise AssertionError(f"no score of {sorted(without)}")
    return values, {"whole": lambda: compared(profile(reference)), "kept": lambda: compared(kept)}


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    """Both libraries on the same rows."""
    rows = json.loads(Path(sys.argv[1]).read_bytes())
    sides = [pd.DataFrame(rows[side]) for side in ("reference", "current")]
    answers = sys.stdout
    works: dict[str, Works] = {}
    found: dict[str, Any] = {}
    with redirect_stdout(sys.stderr):  # what the libraries say meanwhile is no answer
        for library in (evidently, whylogs):
            name = library.__name__
            try:
                values, works[name] = library(rows, *sides)
                found[name] = {"version": version(name), "values": values}
            except Exception as error:  # the other one may still run
                found[name] = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), file=answers, flush=True)
        for _ in sys.stdin:
            turn = {name: {work: _seconds(each) for work, each in some.items()} for name, some in works.items()}
            print(json.dumps(turn), file=answers, flush=True)


if __name__ == "__main__":
    main()
