"""The scorecard: what it refuses to be built from, and what it answers."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.scorecard import Answer, FeatureType, Scorecard, Scored, Unscored, parse_scorecard
from modeldrop.errors import InvalidInput

FEATURES: dict[str, FeatureType] = {
    "dep_delay": "numeric",
    "carrier": "categorical",
    "weekend": "boolean",
    "remark": "text",
    "distance": "numeric",
}
PARAMETERS: dict[str, Any] = {
    "intercept": -1.0,
    "coefficients": {"dep_delay": 0.5, "carrier": {"UA": 2.0, "DL": -2.0}, "weekend": 1.0},
    "link": "identity",
    "threshold": 0.25,
}


def scorecard(**changes: Any) -> Scorecard:
    return parse_scorecard(PARAMETERS | changes, FEATURES)


def problems_of(parameters: object, features: dict[str, FeatureType] | None = None) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        parse_scorecard(parameters, features)
    return {problem.field: problem.message for problem in caught.value.problems}


def error_of(answer: Answer) -> str:
    assert isinstance(answer, Unscored)
    return answer.error


def score_of(answer: Answer) -> float:
    assert isinstance(answer, Scored)
    return answer.score


# --- reading ---------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    logit = parse_scorecard({"coefficients": {}}, None)
    assert (logit.intercept, logit.link, logit.threshold) == (0.0, "logit", 0.5)
    assert logit.score({}) == Scored(0.5, True)
    assert parse_scorecard({"coefficients": {}, "link": "identity"}, None).threshold == 0.0


def test_types_follow_from_the_coefficients_where_none_are_declared() -> None:
    card = parse_scorecard({"coefficients": {"amount": 1, "country": {"DE": 2}}, "link": "identity"}, None)
    assert [term.type for term in card.terms] == ["numeric", "categorical"]
    assert card.score({"amount": 3, "country": "DE"}) == Scored(5.0, True)
    assert "must be a number, not a boolean" in error_of(card.score({"amount": True, "country": "DE"}))


def test_all_problems_at_once() -> None:
    parameters = {
        "intercept": "zero",
        "coefficients": {
            "dep_delay": math.nan,
            "distance": {"far": 1.0},
            "weekend": True,
            "carrier": {"UA": "x", "DL": math.inf, "AA": 1.0, "WN": None},
            "remark": 1.0,
            "typo": 1.0,
            "typo_map": {"a": []},
        },
        "link": "probit",
        "threshold": None,
        "treshold": 0.7,
    }
    assert problems_of(parameters, FEATURES) == {
        "parameters.treshold": "unknown; known are intercept, coefficients, link, threshold",
        "parameters.coefficients.dep_delay": "must be a finite number",
        "parameters.coefficients.distance": "must be a number for a numeric feature, not an object",
        "parameters.coefficients.weekend": "must be a number, not a boolean",
        "parameters.coefficients.carrier.UA": "must be a number, not a string",
        "parameters.coefficients.carrier.DL": "must be a finite number",
        "parameters.coefficients.carrier.WN": "must be a number, not null",
        "parameters.coefficients.remark": "a text feature cannot have coefficients",
        "parameters.coefficients.typo": "the feature is not declared in features",
        "parameters.coefficients.typo_map": "the feature is not declared in features",
        "parameters.coefficients.typo_map.a": "must be a number, not a list",
        "parameters.intercept": "must be a number, not a string",
        "parameters.link": "must be one of logit, identity",
        "parameters.threshold": "must be a number, not null",
    }


@pytest.mark.parametrize("parameters", [None, [], "x", 1, True])
def test_parameters_must_be_an_object(parameters: object) -> None:
    assert problems_of(parameters).keys() == {"parameters"}


@pytest.mark.parametrize("parameters", [{}, {"coefficients": None}, {"coefficients": [1.0]}, {"coefficients": 1}])
def test_coefficients_must_be_there(parameters: object) -> None:
    assert problems_of(parameters).keys() == {"parameters.coefficients"}


@pytest.mark.parametrize("link", [None, 1, ["logit"], {"a": 1}, True])
def test_a_link_of_a_wrong_type_is_a_problem(link: object) -> None:
    assert problems_of({"coefficients": {}, "link": link}).keys() == {"parameters.link"}


def test_a_number_for_a_categorical_feature() -> None:
    message = problems_of({"coefficients": {"carrier": 1.0}}, FEATURES)["parameters.coefficients.carrier"]
    assert message == "must be an object of category to number for a categorical feature, not a number"


def test_integers_beyond_a_float() -> None:
    assert problems_of({"coefficients": {"x": 10**400}}) == {
        "parameters.coefficients.x": "is too large for a floating-point number"
    }


def test_limits() -> None:
    parse_scorecard({"coefficients": {f"f{i}": 1.0 for i in range(1_000)}}, None)
    parse_scorecard({"coefficients": {"f": {f"c{i}": 1.0 for i in range(10_000)}}}, None)
    assert problems_of({"coefficients": {f"f{i}": 1.0 for i in range(1_001)}}).keys() == {"parameters.coefficients"}
    too_many = {"coefficients": {"f": {f"c{i}": 1.0 for i in range(10_000)}, "g": 1.0}}
    assert problems_of(too_many).keys() == {"parameters.coefficients"}
    parse_scorecard({"coefficients": {"n" * 256: 1.0, "m": {"c" * 256: 1.0}}}, None)
    assert len(problems_of({"coefficients": {"n" * 257: 1.0, "m": {"c" * 257: 1.0}}})) == 2


def test_names_from_outside_are_shown_printable() -> None:
    assert problems_of({"coefficients": {"a\nb": "x"}}).keys() == {"parameters.coefficients.'a\\nb'"}


# --- scoring ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance", "score"),
    [
        ({"dep_delay": 4, "carrier": "UA", "weekend": True}, 4.0),
        ({"dep_delay": 4.5, "carrier": "DL", "weekend": False}, -0.75),
        ({"dep_delay": -2, "carrier": "never seen", "weekend": False}, -2.0),
        ({"dep_delay": 0, "carrier": "", "weekend": True, "remark": 7, "more": None}, 0.0),
    ],
)
def test_scores(instance: object, score: float) -> None:
    assert scorecard().score(instance) == Scored(score, score >= 0.25)


def test_the_threshold_itself_is_a_yes() -> None:
    assert scorecard(coefficients={"dep_delay": 1.0}).score({"dep_delay": 1.25}) == Scored(0.25, True)


def test_all_bad_features_of_an_instance_are_named() -> None:
    assert error_of(scorecard().score({"dep_delay": None, "carrier": 3})) == (
        "feature 'dep_delay' must be a number, not null; feature 'carrier' must be a string, not a number; "
        "feature 'weekend' is missing"
    )


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        ("dep_delay", "4"),
        ("dep_delay", True),
        ("dep_delay", [4]),
        ("dep_delay", math.nan),
        ("dep_delay", -math.inf),
        ("dep_delay", 10**400),
        ("carrier", None),
        ("carrier", True),
        ("carrier", ["UA"]),
        ("weekend", 1),
        ("weekend", "true"),
        ("weekend", None),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_feature(feature: str, value: object) -> None:
    good = {"dep_delay": 1, "carrier": "UA", "weekend": True}
    error = error_of(scorecard().score(good | {feature: value}))
    assert error.startswith(f"feature {feature!r} ")
    assert "; " not in error


@pytest.mark.parametrize("instance", [None, 1, "x", [], [1.0], True])
def test_an_instance_must_be_an_object(instance: object) -> None:
    assert error_of(scorecard().score(instance)).startswith("an instance must be an object")


def test_errors_of_wide_models_stay_short() -> None:
    card = parse_scorecard({"coefficients": {f"f{i}": 1.0 for i in range(1_000)}}, None)
    error = error_of(card.score({}))
    assert "'f49' is missing; and 950 more" in error
    assert len(error) < 2_000


@pytest.mark.parametrize("link", ["logit", "identity"])
@pytest.mark.parametrize("values", [(1e308, 1e308), (1e308, -1e308), (1e200, 0)])
def test_a_score_that_is_not_finite_is_an_error(link: str, values: tuple[float, float]) -> None:
    card = parse_scorecard({"coefficients": {"a": 1e200, "b": 1e200}, "link": link}, None)
    assert "not a finite number" in error_of(card.score({"a": values[0], "b": values[1]}))


def test_partial_sums_may_not_overflow_either() -> None:
    card = parse_scorecard({"coefficients": {"a": 1.0, "b": 1.0}, "link": "identity", "intercept": 1.7e308}, None)
    assert "not a finite number" in error_of(card.score({"a": 1.7e308, "b": 1.7e308}))


@pytest.mark.parametrize(("z", "score"), [(-1e300, 0.0), (-800, 0.0), (0, 0.5), (40, 1.0), (1e300, 1.0)])
def test_the_logistic_is_stable(z: float, score: float) -> None:
    card = parse_scorecard({"coefficients": {"z": 1.0}}, None)
    assert score_of(card.score({"z": z})) == pytest.approx(score)


@given(st.dictionaries(st.text(max_size=3), st.floats(-1e6, 1e6), min_size=1, max_size=8), st.randoms())
def test_the_order_of_coefficients_does_not_matter(coefficients: dict[str, float], random: Any) -> None:
    shuffled = list(coefficients.items())
    random.shuffle(shuffled)
    instance = dict.fromkeys(coefficients, 1.1)
    one = parse_scorecard({"coefficients": coefficients}, None).score(instance)
    other = parse_scorecard({"coefficients": dict(shuffled)}, None).score(instance)
    assert one == other


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(list(FEATURES)), JSON) | JSON)
def test_any_instance_gets_a_finite_score_or_a_reason(instance: object) -> None:
    answer = scorecard().score(instance)
    assert answer.error if isinstance(answer, Unscored) else math.isfinite(answer.score)
