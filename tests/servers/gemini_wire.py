"""What goes over the wire of the Gemini API: requests read as strictly as there, answers as they look there."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.servers.gemini import Said

SHORTEST_TIMEOUT_SECONDS = 10
PIECE_LENGTH = 10

_REQUEST = {"contents", "systemInstruction", "generationConfig", "safetySettings", "tools", "toolConfig", "labels"}
_GENERATION = {
    "temperature": (0.0, 2.0),
    "topP": (0.0, 1.0),
    "topK": (1, 1_000),
    "maxOutputTokens": (1, 65_536),
    "candidateCount": (1, 8),
}
_OTHER_GENERATION = {"responseMimeType", "responseSchema", "thinkingConfig", "stopSequences", "seed"}
_SCHEMA = {
    "type",
    "properties",
    "items",
    "required",
    "enum",
    "nullable",
    "propertyOrdering",
    "description",
    "maxLength",
}
_TYPES = {"OBJECT", "ARRAY", "STRING", "NUMBER", "INTEGER", "BOOLEAN"}


class ApiError(Exception):
    """An error as the API answers it."""

    def __init__(self, code: int, status: str, message: str, retry_delay: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self._error: dict[str, Any] = {"code": code, "message": message, "status": status}
        if retry_delay is not None:
            details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_delay}]
            self._error["details"] = details

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        return {"error": self._error}


def check_request(call: str, body: Any, headers: Mapping[str, str]) -> None:
    """Raises ApiError for what the API would not take."""
    told = headers.get("x-server-timeout")
    if told is not None and float(told) < SHORTEST_TIMEOUT_SECONDS:
        raise _invalid(
            f"Manually set deadline {told}s is too short. Minimum allowed deadline is {SHORTEST_TIMEOUT_SECONDS}s."
        )
    _check_fields(body, {"contents"} if call == "countTokens" else _REQUEST, "")
    if not body.get("contents"):
        raise _invalid("* GenerateContentRequest.contents: contents is not specified")
    for content in [*body["contents"], body.get("systemInstruction") or {"parts": []}]:
        _check_fields(content, {"role", "parts"}, "contents")
        for part in content["parts"]:
            _check_fields(part, {"text"}, "parts")
    if call != "countTokens":
        _check_generation(body.get("generationConfig", {}))


def _check_generation(config: Any) -> None:
    _check_fields(config, _GENERATION.keys() | _OTHER_GENERATION, "generation_config")
    for name, (least, most) in _GENERATION.items():
        value = config.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise _invalid(f"* GenerateContentRequest.generation_config.{name}: {value} is out of range")
    if "responseSchema" in config:
        if config.get("responseMimeType") != "application/json":
            raise _invalid("A response schema needs the response mime type application/json.")
        _check_schema(config["responseSchema"])
    thinking = config.get("thinkingConfig", {})
    _check_fields(thinking, {"thinkingBudget", "includeThoughts"}, "thinking_config")


def _check_schema(schema: Any) -> None:
    _check_fields(schema, _SCHEMA, "response_schema")
    if schema.get("type") not in _TYPES:
        raise _invalid(f"response_schema: no type {schema.get('type')}")
    properties = schema.get("properties", {})
    if schema["type"] == "OBJECT" and not properties:
        raise _invalid("response_schema.properties: should be non-empty for OBJECT type")
    if not set(schema.get("required", [])) | set(schema.get("propertyOrdering", [])) <= properties.keys():
        raise _invalid("response_schema: required or ordered properties that are not there")
    for inner in [*properties.values(), *([schema["items"]] if "items" in schema else [])]:
        _check_schema(inner)


def _check_fields(value: Any, known: Any, place: str) -> None:
    if not isinstance(value, dict):
        raise _invalid(f"Invalid value at '{place}'")
    unknown = {_camel_case(name) for name in value} - set(known)
    if unknown:
        raise _invalid(
            f"Invalid JSON payload received. Unknown name \"{min(unknown)}\" at '{place}': Cannot find field."
        )


def _camel_case(name: str) -> str:
    """Both spellings are read there."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _invalid(message: str) -> ApiError:
    return ApiError(400, "INVALID_ARGUMENT", message)


def data_of(body: Any) -> Any:
    """The request's data: the last part of the last content, as JSON."""
    return json.loads(body["contents"][-1]["parts"][-1]["text"])


def json_pieces(text: str) -> tuple[str, ...]:
    """The text in pieces, as an LLM would stream it; one empty piece for no text."""
    return tuple(text[at : at + PIECE_LENGTH] for at in range(0, len(text), PIECE_LENGTH)) or ("",)


def bodies(said: "Said", pieces: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The bodies of an answer: the reason to end is in the last, the tokens so far in each."""
    for number, piece in enumerate(pieces, 1):
        share = math.ceil(said.tokens_out * number / len(pieces))
        usage: dict[str, Any] = {"promptTokenCount": said.tokens_in, "candidatesTokenCount": share}
        usage |= {"thoughtsTokenCount": said.tokens_thought} if said.tokens_thought else {}
        usage["totalTokenCount"] = sum(usage.values())
        body: dict[str, Any] = {"modelVersion": "gemini-2.5-flash-001", "responseId": "r-1"}
        if said.has_usage:
            body["usageMetadata"] = usage
        if said.blocked:
            body["promptFeedback"] = {"blockReason": said.blocked}
        elif said.finish is not None:
            body["candidates"] = [_candidate(said, piece, is_first=number == 1, is_last=number == len(pieces))]
        yield body


def _candidate(said: "Said", piece: str, *, is_first: bool, is_last: bool) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": said.thought, "thought": True}] if said.thought and is_first else []
    parts += [{"text": piece}] if piece else []
    candidate: dict[str, Any] = {"index": 0}
    if parts:  # what a filter held back has no content
        candidate["content"] = {"parts": parts, "role": "model"}
    return candidate | ({"finishReason": said.finish} if is_last else {})


@cache
def _private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def service_account(project: str, token_uri: str) -> dict[str, str]:
    """A service account's key file, whose tokens come from ``token_uri``."""
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": "1",
        "private_key": _private_key(),
        "client_email": f"predict@{project}.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
