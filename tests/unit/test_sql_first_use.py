"""The guard's first uses, by two threads at once: no dialect may be seen half loaded."""

import subprocess
import sys

# The first thread is held up between sqlglot's listing of the dialect's class and the rest of its making, until the
# second has had its answer; a second thread that waits for the first makes it go on after a while.
CODE = """
import sys, threading
import sqlglot.dialects.dialect as making
from modeldrop.serving.sql.guard import check_sql
from modeldrop.serving.sql.schema import read_schema

schema = read_schema({"dialect": sys.argv[1], "tables": {"orders": {"id": "INTEGER"}}})
listed, answered = threading.Event(), threading.Event()
new_trie = making.new_trie

def hold_up(words):
    if sys._getframe(1).f_locals.get("clsname", "").lower() == sys.argv[1] and not listed.is_set():
        listed.set()
        answered.wait(0.5)
    return new_trie(words)

making.new_trie = hold_up
found = []

def ask():
    found.append(repr(check_sql("SELECT COUNT(*) AS n FROM orders", schema)))

first = threading.Thread(target=ask)
first.start()
assert listed.wait(30)
ask()
answered.set()
first.join()
print(len(set(found)), *found)
"""


def test_two_threads_read_the_same() -> None:
    # BigQuery's quotes are not those of a dialect that is half made: there it shows.
    done = subprocess.run([sys.executable, "-c", CODE, "bigquery"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("1 Accepted("), done.stdout + done.stderr
