"""The JSON the LLM is made to write.

The explanation comes first, so that a stream has something to show before there is SQL. The schema narrows what an LLM
writes; it is no guarantee, and everything is checked again when it is here.
"""

from typing import Any

_TEXT = {"type": "STRING"}
_TEXT_OR_NULL = {"type": "STRING", "nullable": True}

RESPONSE_SCHEMA: dict[str, Any] = {
    "type": "OBJECT",
    "properties": {
        "explanation": _TEXT,
        "sql_query": _TEXT,
        "visualization_config": {
            "type": "OBJECT",
            "nullable": True,
            "properties": {
                "type": {
                    "type": "STRING",
                    "enum": ["bar", "line", "pie", "scatter", "table", "area", "histogram"],
                },
                "x": _TEXT_OR_NULL,
                "y": {"type": "ARRAY", "items": _TEXT, "nullable": True},
                "title": _TEXT_OR_NULL,
            },
            "required": ["type"],
        },
    },
    "required": ["explanation", "sql_query", "visualization_config"],
    "propertyOrdering": ["explanation", "sql_query", "visualization_config"],
}
