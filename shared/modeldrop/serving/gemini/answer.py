"""What becomes of the LLM's answer: a prediction whose SQL the guard accepted, or a refusal with its reason."""

from typing import Any

import msgspec

from modeldrop.errors import InvalidInput
from modeldrop.events import strict_json
from modeldrop.serving.gemini.configuration import GeminiConfiguration
from modeldrop.serving.gemini.explanation_deltas import LONGEST_EXPLANATION, clean
from modeldrop.serving.gemini.outcomes import UNREADABLE, Failure, Outcome, Reply
from modeldrop.serving.gemini.request import SqlRequest
from modeldrop.serving.sql.guard import check_sql
from modeldrop.serving.sql.verdicts import Refusal
from modeldrop.serving.sql.visualization import check_visualization

LONGEST_ANSWER_BYTES = 256 * 1024
LONGEST_EXCERPT = 200

_FILTERS = frozenset({"SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "RECITATION"})

_UNFINISHED = {
    "MAX_TOKENS": "the LLM's answer was longer than it may be (MAX_TOKENS)",
    UNREADABLE: "the LLM's answer cannot be read",
    "": "the LLM gave no answer",
}


class Signature(msgspec.Struct, frozen=True):
    """Who answers: the configuration, and the version that it is."""

    configuration: GeminiConfiguration
    model_version: str


def to_answer(outcome: Outcome, request: SqlRequest, signature: Signature, seconds: float) -> dict[str, Any]:
    """The JSON answer to one instance. A failed call is an error; it says nothing about the question."""
    if isinstance(outcome.result, Failure):
        return {"error": outcome.result.reason}
    judged = _judge(outcome.result, request)
    return judged | _signed(outcome.result, outcome.attempts, signature, seconds)


def _judge(reply: Reply, request: SqlRequest) -> dict[str, Any]:
    reason = _why_unusable(reply)
    if reason:
        return _refused(reason)
    try:
        written = strict_json.decode(reply.text.encode(), limit_bytes=LONGEST_ANSWER_BYTES)
    except (InvalidInput, UnicodeEncodeError):
        return _refused("the LLM did not answer with JSON")
    fields = written if isinstance(written, dict) else {}
    sql, explanation = fields.get("sql_query"), fields.get("explanation")
    if not isinstance(sql, str) or not isinstance(explanation, str):
        return _refused("the LLM's answer lacks the texts sql_query and explanation")
    explanation = clean(explanation)[:LONGEST_EXPLANATION]
    if not sql.strip():
        return _refused(f"the LLM wrote no statement: {explanation[:LONGEST_EXCERPT]}".rstrip(": "))
    return _checked(sql, fields.get("visualization_config"), explanation, request)


def _checked(sql: str, visualization: object, explanation: str, request: SqlRequest) -> dict[str, Any]:
    statement = check_sql(sql, request.schema)
    if isinstance(statement, Refusal):
        return _refused(statement.reason)
    shown = check_visualization(visualization, statement.columns)
    if isinstance(shown, Refusal):
        return _refused(shown.reason)
    return {
        "sql_query": statement.sql,
        "visualization_config": msgspec.to_builtins(shown),
        "explanation": explanation,
    }


def _why_unusable(reply: Reply) -> str | None:
    """What the service says of the answer; None if it is whole. A reason to end that we do not know is no whole one."""
    if reply.blocked:
        return f"the LLM service blocked the question ({reply.blocked})"
    if reply.finish in _FILTERS:
        return f"the LLM service held its answer back ({reply.finish})"
    if reply.finish in _UNFINISHED:
        return _UNFINISHED[reply.finish]
    if reply.finish != "STOP":
        return f"the LLM did not finish its answer ({reply.finish})"
    return None


def _refused(reason: str) -> dict[str, Any]:
    return {"refused": True, "reason": reason}


def _signed(reply: Reply, attempts: int, signature: Signature, seconds: float) -> dict[str, Any]:
    price = signature.configuration.price
    return {
        "model_used": signature.configuration.llm,
        "model_version": signature.model_version,
        "metadata": {
            "tokens_in": reply.tokens_in,
            "tokens_out": reply.tokens_out,
            "cost_usd": price.cost_usd(reply.tokens_in, reply.tokens_out) if price else None,
            "latency_ms": round(seconds * 1000, 1),
            "attempts": attempts,
            "llm_version": reply.llm_version,
        },
    }
