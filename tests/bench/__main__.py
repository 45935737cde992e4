"""``python -m tests.bench [NAME…] [--json]``: measure, and print ratios against references of the same run.

Ends 0 whether or not an aim is missed: a busy machine is no error. Ends otherwise only if a benchmark cannot run.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from rich.console import Console

from tests.bench import (
    cold_import,
    gate_rate,
    growth,
    ingest,
    pages,
    prediction_rate,
    registry_size,
    report,
    retraining,
    rollback,
    service,
    spine,
)
from tests.bench.measuring import Note, Row, table

BENCHMARKS: Mapping[str, Callable[[], Iterator[Row | Note]]] = {
    "spine": spine.run,
    "rollback": rollback.run,
    "cold": cold_import.run,
    "gate": gate_rate.run,
    "registry": registry_size.run,
    "predictions": prediction_rate.run,
    "ingest": ingest.run,
    "growth": growth.run,
    "report": report.run,
    "retraining": retraining.run,
    "service": service.run,
    "pages": pages.run,
}


def main() -> None:
    """Run what was asked for, all of it without names."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure modeldrop on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; without one: all")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - BENCHMARKS.keys())
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    progress = Console(stderr=True)
    machine = _machine()
    results: list[Row | Note] = []
    begin = time.perf_counter()
    for name in [name for name in BENCHMARKS if name in arguments.names or not arguments.names]:
        progress.print(f"measuring {name} …", style="dim")
        results += BENCHMARKS[name]()
    machine |= {"seconds": round(time.perf_counter() - begin), "load_after": round(os.getloadavg()[0], 1)}
    _print(machine, results, as_json=arguments.json)


def _print(machine: dict[str, object], results: list[Row | Note], *, as_json: bool) -> None:
    rows = [result for result in results if isinstance(result, Row)]
    notes = [f"{result.bench}: {result.text}" for result in results if isinstance(result, Note)]
    if as_json:
        answer = {"machine": machine, "rows": [row.facts() for row in rows], "notes": notes}
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
        return
    # A table that is piped into a file keeps its width.
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table(rows))
    for note in notes:
        console.print(note, highlight=False)
    aims = [row.verdict for row in rows if row.verdict]
    console.print(f"{aims.count('ok')} of {len(aims)} aims met. " + ", ".join(f"{k}: {v}" for k, v in machine.items()))


def _machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
