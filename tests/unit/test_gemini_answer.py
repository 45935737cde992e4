"""What becomes of an LLM's answer, the deltas of a stream, and when a failed call is tried again."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.serving.gemini.answer import Signature, to_answer
from modeldrop.serving.gemini.configuration import read_configuration
from modeldrop.serving.gemini.explanation_deltas import LONGEST_EXPLANATION, ExplanationDeltas, clean
from modeldrop.serving.gemini.outcomes import Failure, Outcome, Reply
from modeldrop.serving.gemini.request import read_request
from modeldrop.serving.gemini.retrying import RetryRules, pause_seconds

REQUEST = read_request(
    {
        "user_query": "How many?",
        "dataset_name": "shop",
        "dataset_metadata": {"dialect": "sqlite", "tables": {"orders": {"id": "INTEGER", "day": "TEXT"}}},
    }
)
EXAMPLES = Path(__file__).parents[2] / "examples"
SIGNATURE = Signature(read_configuration({"selected_model": "gemini-2.5-flash"}), "v3")
BAR = {"type": "bar", "x": "day", "y": ["n"]}


def written(**changed: Any) -> str:
    fields = {
        "explanation": "Counts.",
        "sql_query": "select day, count(*) n from orders group by day",
        "visualization_config": BAR,
    }
    return json.dumps(fields | changed)


def answer_to(text: str, **changed: Any) -> dict[str, Any]:
    reply = Reply(text, **({"finish": "STOP", "tokens_in": 1_000, "tokens_out": 200} | changed))
    return to_answer(Outcome(reply, 2), REQUEST, SIGNATURE, 1.25)


# --- answers ---------------------------------------------------------------------------------------------------


def test_a_good_answer() -> None:
    answer = answer_to(written(), llm_version="gemini-2.5-flash-001")
    sql = answer.pop("sql_query")
    assert answer == {
        "visualization_config": BAR,
        "explanation": "Counts.",
        "model_used": "gemini-2.5-flash",
        "model_version": "v3",
        "metadata": {
            "tokens_in": 1_000,
            "tokens_out": 200,
            "cost_usd": 0.0008,
            "latency_ms": 1250.0,
            "attempts": 2,
            "llm_version": "gemini-2.5-flash-001",
        },
    }
    assert "LIMIT 1000" in sql


def test_no_drawing_is_a_table() -> None:
    assert answer_to(written(visualization_config=None))["visualization_config"] == {"type": "table"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (written(sql_query="DROP TABLE orders"), "only SELECT"),
        (written(sql_query="SELECT * FROM secrets"), "'secrets' is not in the schema"),
        (written(sql_query="SELECT 1; SELECT 2"), ""),
        (written(visualization_config={"type": "bar", "onclick": "x()"}), "visualization"),
        (written(visualization_config="bar"), "visualization"),
        (written(sql_query="  ", explanation="There are no prices."), "wrote no statement: There are no prices."),
        (written(sql_query=""), "wrote no statement"),
        (written(sql_query=None), "lacks the texts"),
        (written(explanation=["x"]), "lacks the texts"),
        ("[]", "lacks the texts"),
        ("Sure! Here is your SQL", "did not answer with JSON"),
        (f"```json\n{written()}\n```", "did not answer with JSON"),
        (written()[:-1], "did not answer with JSON"),
        ('{"sql_query": "SELECT 1", "sql_query": "DROP TABLE orders", "explanation": ""}', "did not answer with JSON"),
        ("[" * 100_000, "did not answer with JSON"),
        (" " * 300_000, "did not answer with JSON"),
        ("\ud800", "did not answer with JSON"),
    ],
)
def test_refusals_say_why_and_hold_no_sql(text: str, reason: str) -> None:
    answer = answer_to(text)
    assert answer["refused"] is True
    assert reason in answer["reason"]
    assert answer.keys() == {"refused", "reason", "model_used", "model_version", "metadata"}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"finish": "", "blocked": "PROHIBITED_CONTENT"}, "blocked the question (PROHIBITED_CONTENT)"),
        ({"finish": "SAFETY"}, "held its answer back (SAFETY)"),
        ({"finish": "RECITATION"}, "held its answer back (RECITATION)"),
        ({"finish": "MAX_TOKENS"}, "longer than it may be (MAX_TOKENS)"),
        ({"finish": ""}, "gave no answer"),
        ({"finish": "A_REASON_OF_NEXT_YEAR"}, "did not finish its answer (A_REASON_OF_NEXT_YEAR)"),
    ],
)
def test_an_answer_that_is_not_whole_is_refused_whatever_its_text(changed: dict[str, Any], reason: str) -> None:
    assert reason in answer_to(written(), **changed)["reason"]


def test_a_failed_call_is_an_error() -> None:
    outcome = Outcome(Failure("the LLM service answered 403", "refused"), 1)
    assert to_answer(outcome, REQUEST, SIGNATURE, 1.0) == {"error": "the LLM service answered 403"}


def test_an_llm_without_a_price_has_no_cost() -> None:
    signature = Signature(read_configuration({"selected_model": "gemini-9"}), "v3")
    answer = to_answer(Outcome(Reply(written(), "STOP"), 1), REQUEST, signature, 1.0)
    assert answer["metadata"]["cost_usd"] is None


def test_explanations_are_cut_and_clean() -> None:
    explanation = answer_to(written(explanation="a\x1b[31m\u202eb\n" + "x" * 10_000))["explanation"]
    assert (explanation[:8], len(explanation)) == ("a [31m b", LONGEST_EXPLANATION)


# --- deltas ----------------------------------------------------------------------------------------------------


def deltas_of(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    deltas = ExplanationDeltas()
    return [deltas.add(text[start:end]) for start, end in pairwise(places)]


@given(st.text(max_size=60), st.lists(st.integers(0, 10_000), max_size=30), st.booleans())
def test_the_explanation_comes_through_however_it_is_cut(text: str, cuts: list[int], ascii_only: bool) -> None:
    body = json.dumps({"explanation": text, "sql_query": "DROP TABLE orders"}, ensure_ascii=ascii_only)
    body = body.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
    seen = "".join(deltas_of(body, cuts))
    assert "DROP" not in seen
    assert seen == clean(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"sql_query": "DROP TABLE orders", "explanation": "x"}',
        '{"explanation": ["DROP TABLE orders"], "sql_query": ""}',
        '"DROP TABLE orders"',
        "DROP TABLE orders " * 100,
        '{"explanation_": "DROP TABLE orders"}',
    ],
)
def test_an_answer_that_begins_otherwise_has_no_deltas(text: str) -> None:
    assert "".join(deltas_of(text, list(range(0, len(text), 3)))) == ""


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ('{"explanation": "a\\q", "sql_query": "b"}', "a"),
        ('{"explanation": "a\\ud800", "sql_query": "b"}', "a"),
        ('{"explanation": "a\nb", "sql_query": "b"}', "a"),
        ('{"explanation": "a\\ud83d\\ude00b', "a\U0001f600b"),
    ],
)
def test_what_is_no_json_ends_it(text: str, seen: str) -> None:
    assert "".join(deltas_of(text, list(range(len(text))))) == seen


def test_deltas_end_at_the_limit() -> None:
    assert len("".join(deltas_of(json.dumps({"explanation": "x" * 10_000}), [100, 3_000]))) == LONGEST_EXPLANATION


# --- trying again ----------------------------------------------------------------------------------------------

BUSY = Failure("busy", "overloaded")
RULES = RetryRules(most_attempts=3, first_pause_seconds=1.0, longest_wait_asked_seconds=10.0)


@pytest.mark.parametrize(
    ("failure", "attempts", "left", "pause"),
    [
        (BUSY, 1, 30.0, 0.5),
        (BUSY, 2, 30.0, 1.0),
        (BUSY, 3, 30.0, None),
        (BUSY, 1, 0.5, None),
        (Failure("busy", "overloaded", 10.0), 1, 30.0, 10.5),
        (Failure("busy", "overloaded", 10.1), 1, 30.0, None),
        (Failure("busy", "overloaded", 9.0), 1, 9.4, None),
        (Failure("gone", "down"), 1, 30.0, None),
        (Failure("no", "refused", 1.0), 1, 30.0, None),
    ],
)
def test_pauses(failure: Failure, attempts: int, left: float, pause: float | None) -> None:
    assert pause_seconds(failure, attempts, left, 0.5, RULES) == pause


# --- the example -----------------------------------------------------------------------------------------------


def test_what_the_example_shows_the_llm_is_what_the_guard_accepts() -> None:
    (path,) = EXAMPLES.glob("text-to-sql/models/*/best_model_metadata.json")
    configuration = read_configuration(json.loads(path.read_bytes()))
    schema = {"orders": {"id": "INTEGER", "day": "DATE", "country": "TEXT", "total": "NUMERIC"}}
    shown = [line for line in configuration.template.text.splitlines() if line.startswith('{"explanation"')]
    for dialect in ("bigquery", "postgres", "duckdb", "sqlite"):
        metadata = {"dialect": dialect, "tables": schema}
        request = read_request({"user_query": "?", "dataset_name": "shop", "dataset_metadata": metadata})
        signature = Signature(configuration, "v1")
        answers = [to_answer(Outcome(Reply(line, "STOP"), 1), request, signature, 0.0) for line in shown]
        assert ["sql_query" in answer for answer in answers] == [True, True, True, False]
        assert "The schema has no customers" in answers[3]["reason"]
