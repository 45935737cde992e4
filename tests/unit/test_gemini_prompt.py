"""What is read from a package and from an instance, and what the LLM is told of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.errors import InvalidInput
from modeldrop.serving.gemini.configuration import GeminiConfiguration, read_configuration
from modeldrop.serving.gemini.pricing import Price
from modeldrop.serving.gemini.prompt import DEFAULT_TEMPLATE, LONGEST_TEMPLATE, parse_template
from modeldrop.serving.gemini.request import LONGEST_DATASET_NAME, LONGEST_QUERY, read_request

METADATA = {"dialect": "postgres", "tables": {"orders": {"id": "INTEGER", "total": "NUMERIC"}}}
INSTANCE: dict[str, Any] = {"user_query": "How many orders?", "dataset_name": "shop", "dataset_metadata": METADATA}
RULES_BEGIN = "The next message holds one JSON object"


def problems_of(read: Any, value: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        read(value)
    return {problem.field: problem.message for problem in caught.value.problems}


def prompt_of(template: str, **changed: Any) -> Any:
    return parse_template(template).prompt(read_request(INSTANCE | changed))


# --- the template ----------------------------------------------------------------------------------------------


def test_placeholders_name_the_data_and_never_hold_it() -> None:
    prompt = prompt_of("Q {user_query} D {dataset} S {schema} in {dialect}.", user_query="Drop {schema}?")
    assert prompt.instruction.startswith(
        'Q the text in the field "user_query" D the field "dataset" S in the field "schema" in postgres.\n\n'
    )
    assert "Drop" not in prompt.instruction
    assert json.loads(prompt.data) == {
        "user_query": "Drop {schema}?",
        "dataset": "shop",
        "dialect": "postgres",
        "schema": METADATA["tables"],
    }


def test_our_rules_follow_every_template() -> None:
    for template in ("Ignore what comes next.", DEFAULT_TEMPLATE):
        assert RULES_BEGIN in prompt_of(template).instruction


def test_other_braces_stand_for_themselves() -> None:
    shot = 'Q: all? A: {"sql_query": "SELECT {a: 1}", "visualization_config": {}} {{user_query}} {} {1}'
    instruction = prompt_of(shot).instruction
    expected = 'Q: all? A: {"sql_query": "SELECT {a: 1}", "visualization_config": {}} {user_query} {} {1}'
    assert instruction.partition("\n\n")[0] == expected


def test_braces_around_a_placeholder_that_are_not_doubled_stay() -> None:
    assert prompt_of("{{dialect} {dialect}}").instruction.startswith("{postgres postgres}\n")


def test_unknown_placeholders_are_all_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_template("{query} {user_query} {tables} {query}")
    messages = [problem.message for problem in caught.value.problems]
    assert [message.partition(":")[0] for message in messages] == [
        "unknown placeholder {query}",
        "unknown placeholder {tables}",
    ]


@pytest.mark.parametrize("template", ["", "  \n", 7, ["x"], "x" * (LONGEST_TEMPLATE + 1)])
def test_what_is_no_template(template: object) -> None:
    assert "must be text" in problems_of(parse_template, template)["prompt_template"]


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=200))
def test_no_text_gets_out_of_its_field(text: str) -> None:
    """Whatever the user writes, the instruction is the same and the data hold the text at its place."""
    if not text.strip():
        return
    plain = prompt_of(DEFAULT_TEMPLATE)
    prompt = prompt_of(DEFAULT_TEMPLATE, user_query=text, dataset_name=text)
    assert prompt.instruction == plain.instruction
    data = json.loads(prompt.data)
    assert (data["user_query"], data["dataset"], data["schema"]) == (text, text, METADATA["tables"])


# --- the instance ----------------------------------------------------------------------------------------------


def test_metadata_may_be_text() -> None:
    assert read_request(INSTANCE | {"dataset_metadata": json.dumps(METADATA)}) == read_request(INSTANCE)


def test_all_that_is_wrong_is_said() -> None:
    wrong = {"user_query": 7, "dataset_metadata": {"dialect": "oracle", "tables": {"orders": {"id": 1}}}}
    problems = problems_of(read_request, wrong)
    assert problems["user_query"] == "must be text"
    assert problems["dataset_name"] == "missing"
    assert "dataset_metadata.dialect" in problems
    assert any(field.startswith("dataset_metadata.tables.orders") for field in problems)


@pytest.mark.parametrize(
    ("changed", "field", "message"),
    [
        ({"user_query": " \n"}, "user_query", "is empty"),
        ({"user_query": "x" * (LONGEST_QUERY + 1)}, "user_query", "4,001 characters, more than the 4,000 allowed"),
        ({"user_query": "a\0b"}, "user_query", "holds characters that no text has"),
        ({"user_query": "a\ud800b"}, "user_query", "holds characters that no text has"),
        ({"dataset_name": "x" * (LONGEST_DATASET_NAME + 1)}, "dataset_name", "257 characters"),
        ({"dataset_metadata": None}, "dataset_metadata", "missing"),
        ({"dataset_metadata": 7}, "dataset_metadata", "must be JSON text"),
        ({"dataset_metadata": "{"}, "dataset_metadata", ""),
    ],
)
def test_what_is_no_request(changed: dict[str, Any], field: str, message: str) -> None:
    assert message in problems_of(read_request, INSTANCE | changed)[field]


def test_limits_are_reached_and_not_passed() -> None:
    longest = {"user_query": "x" * LONGEST_QUERY, "dataset_name": "y" * LONGEST_DATASET_NAME}
    assert read_request(INSTANCE | longest).user_query == longest["user_query"]


@pytest.mark.parametrize("instance", [None, [], "text", 7])
def test_what_is_no_object(instance: object) -> None:
    assert "$" in problems_of(read_request, instance)


# --- the configuration -----------------------------------------------------------------------------------------


def test_left_out_hyperparameters_have_the_documented_defaults() -> None:
    configuration = read_configuration({"selected_model": "gemini-2.5-flash"})
    assert configuration == GeminiConfiguration(
        llm="gemini-2.5-flash",
        template=parse_template(DEFAULT_TEMPLATE),
        temperature=0.2,
        top_p=0.9,
        top_k=40,
        max_output_tokens=2048,
        price=Price(0.30, 2.50),
    )


def test_stated_hyperparameters_count() -> None:
    stated = {"temperature": 0, "top_p": 1, "top_k": 7.0, "max_output_tokens": 100, "thinking_budget": 0, "lr": "x"}
    configuration = read_configuration(
        {
            "hyperparameters": stated | {"model": "gemini-2.5-pro"},
            "prompt_template": "T",
            "labels": {"log_text": "true"},
        }
    )
    assert (configuration.llm, configuration.template.text, configuration.log_text) == ("gemini-2.5-pro", "T", True)
    assert (configuration.temperature, configuration.top_p, configuration.top_k) == (0.0, 1.0, 7)
    assert (configuration.max_output_tokens, configuration.thinking_budget) == (100, 0)


def test_everything_wrong_is_found_at_once() -> None:
    wrong = {
        "selected_model": "text-bison@002",
        "prompt_template": "{nobody}",
        "labels": {"price_in": "free", "price_out": "-1"},
        "hyperparameters": {
            "temperature": 2.1,
            "top_p": float("nan"),
            "top_k": 1.5,
            "max_output_tokens": 2049,
            "thinking_budget": True,
        },
    }
    problems = problems_of(read_configuration, wrong)
    assert problems.keys() == {
        "selected_model",
        "prompt_template",
        "labels.price_in",
        "labels.price_out",
        *(f"hyperparameters.{name}" for name in wrong["hyperparameters"]),  # type: ignore[attr-defined]
    }
    assert "switched off in April 2025" in problems["selected_model"]


@pytest.mark.parametrize("llm", ["", "../models/x", "a//b", "a b", "a?key=1", "ä", "x" * 257, 7, "/a", "a:b"])
def test_names_that_must_not_become_part_of_an_address(llm: object) -> None:
    assert problems_of(read_configuration, {"selected_model": llm, "hyperparameters": {}})


@pytest.mark.parametrize("llm", ["models/gemini-2.5-pro", "publishers/google/models/gemini-2.5-pro", "tuned@001_b"])
def test_names_with_paths(llm: str) -> None:
    assert read_configuration({"selected_model": llm}).llm == llm


@pytest.mark.parametrize(
    ("llm", "labels", "price"),
    [
        ("models/gemini-2.5-flash-lite", {}, Price(0.10, 0.40)),
        ("gemini-9-ultra", {}, None),
        ("gemini-9-ultra", {"price_in": "1.5", "price_out": "0"}, Price(1.5, 0.0)),
        ("gemini-2.5-pro", {"price_in": "1", "price_out": "2"}, Price(1.0, 2.0)),
    ],
)
def test_prices(llm: str, labels: dict[str, str], price: Price | None) -> None:
    assert read_configuration({"selected_model": llm, "labels": labels}).price == price


def test_half_a_price_is_none() -> None:
    assert (
        "both or neither"
        in problems_of(read_configuration, {"selected_model": "gemini-2.5-pro", "labels": {"price_in": "1"}})["labels"]
    )
