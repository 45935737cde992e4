"""One drift report of 20 features and 4,096 rows a side, against Evidently and whylogs on the same rows.

Ours from columns of plain values in memory to the finished report: every statistic, threshold and p-value of all
features. *Anew*: the reference is profiled each time, as theirs is. *Kept*: its profile is there, as in use where the
baseline is a file. Theirs run in ``.venv-references`` (``make bench-references``), a child of the same run.
"""

import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any

import numpy as np

from modeldrop.domain.drift.columns import Column, Observations
from modeldrop.domain.drift.reference_profile import profile_reference
from modeldrop.domain.drift.report import DriftReport, drift_report
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.scorecard import FeatureType
from tests.bench.cold_import import ROOT
from tests.bench.measuring import Aim, Note, Reference, Row, timed

SEED = 20
ROWS = 4_096
NUMERIC = 16
LEVELS = (3, 12, 40, 90)  # of the four categorical columns
TURNS, REPORTS_A_TURN = 9, 6
FASTER = 100
"""So many of our reports are to take no longer than one of theirs."""
AGREE_WITHIN = 1e-6
REFERENCES = ROOT / ".venv-references"
Values = dict[str, list[Any]]
Seconds = defaultdict[str, list[float]]


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    reference, current = _rows(0.0), _rows(0.1)
    before, after = _observed(reference), _observed(current)
    policy, profile = DriftPolicy(), profile_reference(before)
    own = {
        "anew": lambda: drift_report(profile_reference(before), after, policy),
        "kept": lambda: drift_report(profile, after, policy),
    }
    with ExitStack() as stack:
        theirs = stack.enter_context(_references(reference, current)) if (REFERENCES / "installed").exists() else None
        seconds = _in_turns(own, theirs)
    wanted = "" if theirs else " (to hold it against Evidently and whylogs: make bench-references)"
    yield timed("report", f"one report, the reference profiled anew{wanted}", seconds["anew"], None, None)
    yield timed("report", f"one report, the reference's profile kept{wanted}", seconds["kept"], None, None)
    for library, found in (theirs.found if theirs else {}).items():
        if "failed" in found:
            yield Note("report", f"{library} could not run. {found['failed']}")
        else:
            yield from _against(library, f"{library} {found['version']}", seconds)
    if theirs and "values" in theirs.found["evidently"]:
        yield _agreement(own["kept"](), theirs.found["evidently"]["values"])


def _against(library: str, name: str, seconds: Seconds) -> Iterator[Row]:
    """Theirs, as a multiple of ours; and a hundred of ours against one of theirs."""
    anew, kept = (Reference(median(seconds[how]), f"ours, {how}") for how in ("anew", "kept"))
    whole = seconds[f"{library} whole"]
    if library == "evidently":
        yield timed("report", f"{name}: DataDriftPreset", whole, anew, None)
        yield timed(
            "report", "… its tests alone, one a column, no charts", seconds["evidently tests_alone"], anew, None
        )
    else:
        yield timed("report", f"{name}: both sides logged, drift scores", whole, anew, None)
        yield timed("report", "… the reference's profile kept", seconds["whylogs kept"], kept, None)
    what = f"{FASTER} reports of ours, the reference profiled anew, against one"
    reference = Reference(median(whole), library)
    yield Row("report", what, FASTER * anew.value, "s", None, reference, Aim(1.0, "ratio"))


def _agreement(report: DriftReport, values: Mapping[str, float]) -> Note:
    """Both measure Wasserstein distances in standard deviations of the reference: they looked at the same rows."""
    distances = {feature.name: feature.wasserstein for feature in report.features if feature.wasserstein is not None}
    assert len(distances) == NUMERIC
    apart = max(abs(distance / values[name] - 1) for name, distance in distances.items())
    assert apart < AGREE_WITHIN, f"our Wasserstein distances and Evidently's differ by {apart:.2g}"
    return Note("report", f"our Wasserstein distances of {NUMERIC} columns agree with Evidently's to {apart:.0e}")


# --- the rows --------------------------------------------------------------------------------------------------


def _rows(moved: float) -> Values:
    """Rows by column: numbers of four kinds, one in fifty missing in two of the columns, and categories.

    ``moved``: by how much of its spread a numeric column of the first half lies higher.
    """
    random = np.random.default_rng([SEED, round(100 * moved)])
    rows: Values = {}
    for number in range(NUMERIC):
        shift = moved if number < NUMERIC // 2 else 0.0
        rows[f"number_{number:02d}"] = _numbers(random, number % 4, shift).tolist()
    for name in ("number_00", "number_09"):
        kept = (random.random(ROWS) >= 0.02).tolist()
        rows[name] = [value if keep else None for value, keep in zip(rows[name], kept, strict=True)]
    for levels in LEVELS:
        shares = 1 / np.arange(1, levels + 1)
        drawn = random.choice(levels, ROWS, p=shares / shares.sum())
        rows[f"of_{levels}_levels"] = [f"level {level}" for level in drawn.tolist()]
    return rows


def _numbers(random: np.random.Generator, kind: int, shift: float) -> np.ndarray:
    if kind == 0:
        return random.normal(100 + 15 * shift, 15, ROWS)
    if kind == 1:
        return random.lognormal(shift, 1, ROWS)
    if kind == 2:
        return random.poisson(20 + 4 * shift, ROWS)
    return random.exponential(1 + shift, ROWS).round(2)


def _kind(name: str) -> FeatureType:
    return "numeric" if name.startswith("number") else "categorical"


def _observed(rows: Values) -> Observations:
    return Observations([Column(name, _kind(name), values) for name, values in rows.items()])


# --- theirs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _References:
    """The other interpreter, running; ``found``: its first answer, see ``report_reference``."""

    questions: IO[str]
    answers: IO[str]
    found: dict[str, dict[str, Any]]

    def turn(self) -> dict[str, float]:
        """Every work of every library done once: its seconds."""
        print(file=self.questions, flush=True)
        answer = json.loads(self.answers.readline())
        return {f"{library} {work}": each for library, works in answer.items() for work, each in works.items()}


@contextmanager
def _references(reference: Values, current: Values) -> Iterator[_References]:
    told: dict[str, Any] = {"reference": reference, "current": current}
    told |= {kind: [name for name in reference if _kind(name) == kind] for kind in ("numeric", "categorical")}
    with tempfile.TemporaryDirectory() as folder:
        rows, errors = Path(folder) / "rows.json", Path(folder) / "errors"
        rows.write_text(json.dumps(told))
        # Both would tell their makers that they are used, and keep files in the home folder.
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": folder}
        environment |= {"DO_NOT_TRACK": "1", "WHYLOGS_NO_ANALYTICS": "True"}
        command = [str(REFERENCES / "bin/python"), str(Path(__file__).with_name("report_reference.py")), str(rows)]
        pipe = subprocess.PIPE
        with (
            errors.open("wb") as said,
            subprocess.Popen(
                command, env=environment, cwd=folder, stdin=pipe, stdout=pipe, stderr=said, text=True
            ) as child,
        ):
            assert child.stdin is not None and child.stdout is not None
            first = child.stdout.readline()
            if not first:
                raise RuntimeError(f"{command[1]} ended: {errors.read_text()[-2_000:]}")
            yield _References(child.stdin, child.stdout, json.loads(first))
            child.stdin.close()  # it ends by itself


def _in_turns(own: Mapping[str, Callable[[], object]], theirs: _References | None) -> Seconds:
    """Seconds of each work, ours and theirs in turns: a busy moment meets all."""
    seconds: Seconds = defaultdict(list)
    for _ in range(TURNS):
        for _ in range(REPORTS_A_TURN):
            for how, work in own.items():
                begin = time.perf_counter()
                work()
                seconds[how].append(time.perf_counter() - begin)
        for what, each in (theirs.turn() if theirs else {}).items():
            seconds[what].append(each)
    return seconds
