"""What the prediction event of an answer says: figures to watch for drift, and no words, unless they are asked for."""

from collections.abc import Mapping
from typing import Any

from modeldrop.errors import InvalidInput
from modeldrop.serving.gemini.request import LONGEST_DATASET_NAME, read_request
from modeldrop.serving.runtime import Described

VALID, REFUSED = "valid", "refused"


def describe_answer(instance: object, answer: Mapping[str, Any], seconds: float, *, log_text: bool) -> Described | None:
    """Features: what was asked, in figures. Prediction: ``valid`` or ``refused``; None where the call failed.

    An answer of the cache has no tokens and no cost: sums over events are what was paid. ``log_text``: the question and
    the SQL, too. None for an instance that was no request.
    """
    try:
        request = read_request(instance)
    except InvalidInput:
        return None
    figures = answer.get("metadata") or {}
    features: dict[str, Any] = {
        "query_length": len(request.user_query),
        "dataset": request.dataset_name[:LONGEST_DATASET_NAME],
        "dialect": request.dialect,
        "tables": len(request.tables),
        "tokens_in": figures.get("tokens_in"),
        "tokens_out": figures.get("tokens_out"),
        "cost_usd": figures.get("cost_usd"),
        "cached": bool(figures.get("cached")),
    }
    if log_text:
        features |= {"user_query": request.user_query, "sql_query": answer.get("sql_query")}
    failed = "error" in answer
    prediction = None if failed else (REFUSED if answer.get("refused") else VALID)
    return Described(
        features=features, prediction=prediction, status="error" if failed else "ok", latency_ms=seconds * 1000
    )
