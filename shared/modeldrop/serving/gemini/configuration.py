"""What a package's metadata says of how its LLM is called."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from modeldrop.domain.retired_llms import retired
from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.serving.gemini.pricing import Price, read_price
from modeldrop.serving.gemini.prompt import DEFAULT_TEMPLATE, PromptTemplate, parse_template

MOST_OUTPUT_TOKENS = 2048
LONGEST_LLM_NAME = 256
LARGEST_THINKING_BUDGET = 32_768

_Default = TypeVar("_Default", int, None)
_Wrong = TypeVar("_Wrong")


class GeminiConfiguration(msgspec.Struct, frozen=True):
    """A checked configuration; this is all that is deployed."""

    llm: str
    template: PromptTemplate
    temperature: float = 0.2
    top_p: float = 0.9
    top_k: int = 40
    max_output_tokens: int = MOST_OUTPUT_TOKENS
    thinking_budget: int | None = None
    """Tokens the LLM may think with, which count as output; -1: as many as it likes, None: its own default."""
    price: Price | None = None
    """None: not known, and so is the cost of an answer."""
    log_text: bool = False
    """Whether prediction events may hold the user's words and the SQL."""


def read_configuration(metadata: Mapping[str, Any]) -> GeminiConfiguration:
    """The configuration in the metadata of a ``gemini`` package; raises InvalidInput with everything that is wrong.

    Hyperparameters that are left out have the defaults above; those it does not know are the trainer's own business.

    >>> read_configuration({"selected_model": "gemini-2.5-flash", "hyperparameters": {"top_k": 20}}).top_k
    20
    """
    problems: list[FieldProblem] = []
    hyperparameters = _object(metadata, "hyperparameters", problems)
    labels = _object(metadata, "labels", problems)
    llm = _llm(metadata, hyperparameters, problems)
    template = _template(metadata.get("prompt_template"), problems)
    numbers = _Numbers(hyperparameters, problems)
    configuration = GeminiConfiguration(
        llm=llm,
        template=template,
        temperature=numbers.real("temperature", 0.0, 2.0, 0.2),
        top_p=numbers.real("top_p", 0.0, 1.0, 0.9),
        top_k=numbers.whole("top_k", 1, 1_000, 40),
        max_output_tokens=numbers.whole("max_output_tokens", 1, MOST_OUTPUT_TOKENS, MOST_OUTPUT_TOKENS),
        thinking_budget=numbers.whole("thinking_budget", -1, LARGEST_THINKING_BUDGET, None),
        price=read_price(llm, labels, problems),
        log_text=labels.get("log_text") == "true",
    )
    if problems:
        raise InvalidInput(problems)
    return configuration


class _Numbers:
    """Hyperparameters, read one by one."""

    def __init__(self, values: Mapping[str, Any], problems: list[FieldProblem]) -> None:
        self._values = values
        self._problems = problems

    def real(self, name: str, least: float, most: float, default: float) -> float:
        value = self._values.get(name)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and math.isfinite(value) and least <= value <= most:
            return float(value)
        return self._wrong(name, f"must be a number from {least:g} to {most:g}", default)

    def whole(self, name: str, least: int, most: int, default: _Default) -> int | _Default:
        value = self._values.get(name)
        if value is None:
            return default
        is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
        if is_whole and least <= value <= most:
            return int(value)
        return self._wrong(name, f"must be a whole number from {least:,} to {most:,}", default)

    def _wrong(self, name: str, message: str, default: _Wrong) -> _Wrong:
        self._problems.append(FieldProblem(f"hyperparameters.{name}", message))
        return default


def _object(metadata: Mapping[str, Any], name: str, problems: list[FieldProblem]) -> Mapping[str, Any]:
    value = metadata.get(name)
    if value is None or isinstance(value, dict):
        return value or {}
    problems.append(FieldProblem(name, "must be an object"))
    return {}


def _llm(metadata: Mapping[str, Any], hyperparameters: Mapping[str, Any], problems: list[FieldProblem]) -> str:
    """``selected_model``, else the hyperparameter ``model``, as the gate reads it."""
    field = "selected_model" if metadata.get("selected_model") else "hyperparameters.model"
    name = metadata.get("selected_model") or hyperparameters.get("model")
    if name is None:
        problems.append(FieldProblem("selected_model", "missing: the runtime gemini needs the name of the LLM"))
        return ""
    # The name becomes part of an address.
    usable = isinstance(name, str) and 0 < len(name) <= LONGEST_LLM_NAME and _is_plain(name)
    if not usable:
        problems.append(FieldProblem(field, "must be the name of an LLM: letters, digits and ._-@/"))
        return ""
    reason = retired(name)
    if reason:
        problems.append(FieldProblem(field, reason))
    return str(name)


def _is_plain(name: str) -> bool:
    signs = name.replace("/", "").replace(".", "").replace("_", "").replace("-", "").replace("@", "")
    return name.isascii() and signs.isalnum() and not any(part in ("", ".", "..") for part in name.split("/"))


def _template(text: object, problems: list[FieldProblem]) -> PromptTemplate:
    if text is None:
        return parse_template(DEFAULT_TEMPLATE)
    try:
        return parse_template(text)
    except InvalidInput as error:
        problems += error.problems
        return parse_template(DEFAULT_TEMPLATE)
