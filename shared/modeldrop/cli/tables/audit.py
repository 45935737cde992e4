"""The audit trail."""

from rich.table import Table

from modeldrop.cli.tables.drawing import Answer, table_of, to_the_second


def audit_table(answer: Answer) -> Table:
    """Who asked what, and what came of it."""
    columns = ["number", "at", "caller", "call", "outcome", "detail"]
    rows = []
    for entry in answer["entries"]:
        outcome = f"{entry['outcome']} {entry['status']}" if entry["status"] else entry["outcome"]
        said = [entry["caller"] or "-", entry["call"], outcome, entry["detail"] or "-"]
        rows.append([str(entry["number"]), to_the_second(entry["at"]), *said])
    return table_of(columns, rows)
