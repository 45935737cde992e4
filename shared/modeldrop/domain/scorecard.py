"""The scorecard: a linear model whose coefficients are its metadata.

z = intercept + Σ w·x (numeric) + Σ w·[x is true] (boolean) + Σ w[x] (categorical; 0 for a category not named)
score = 1 / (1 + e^-z) with link ``logit``, z with link ``identity``;   decision = score >= threshold
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput

FeatureType = Literal["numeric", "categorical", "boolean", "text"]
Link = Literal["logit", "identity"]

MOST_FEATURES = 1_000
MOST_COEFFICIENTS = 10_000
LONGEST_NAME = 256
MOST_FEATURES_NAMED = 50
"""An answer names this many bad features; the rest is counted, so that small requests cannot ask for huge answers."""

DEFAULT_THRESHOLD: Mapping[str, float] = {"logit": 0.5, "identity": 0.0}
_PARAMETERS = ("intercept", "coefficients", "link", "threshold")


class Scored(msgspec.Struct, frozen=True):
    """The answer to one instance."""

    score: float
    decision: bool


class Unscored(msgspec.Struct, frozen=True):
    """Why one instance has no score."""

    error: str


Answer = Scored | Unscored


class Term(msgspec.Struct, frozen=True):
    """One feature's part of the sum: ``weight`` for numbers and booleans, ``weights`` by category else."""

    feature: str
    type: FeatureType
    weight: float = 0.0
    weights: Mapping[str, float] = msgspec.field(default_factory=dict)


class Scorecard(msgspec.Struct, frozen=True):
    """A checked linear model, ready to score."""

    intercept: float
    terms: tuple[Term, ...]
    link: Link
    threshold: float

    def score(self, instance: object) -> Answer:
        """The score of one instance (an object of feature to value), or what is wrong with it; never raises.

        Features without a coefficient may be absent or hold anything.

        >>> card = parse_scorecard({"coefficients": {"amount": 0.5, "country": {"DE": -1.0}}}, None)
        >>> card.score({"amount": 2, "country": "DE"})
        Scored(score=0.5, decision=True)
        >>> card.score({"amount": "2"}).error
        "feature 'amount' must be a number, not a string; feature 'country' is missing"
        """
        if not isinstance(instance, dict):
            return Unscored(f"an instance must be an object of features, not {_kind(instance)}")
        parts: list[float] = [self.intercept]
        problems: list[str] = []
        for term in self.terms:
            part = _part(term, instance)
            if isinstance(part, str):
                problems.append(f"feature {_shown(term.feature)!r} {part}")
            else:
                parts.append(part)
        return Unscored(_joined(problems)) if problems else self._answer(parts)

    def _answer(self, parts: list[float]) -> Answer:
        """``fsum`` is exact, so that the order of the coefficients in the file does not matter."""
        try:
            total = math.fsum(parts)
        except (OverflowError, ValueError):  # a partial sum beyond the largest float; inf - inf
            total = math.nan
        if not math.isfinite(total):
            return Unscored("the score is not a finite number: the features are too large for the coefficients")
        score = _logistic(total) if self.link == "logit" else total
        return Scored(score, score >= self.threshold)


def parse_scorecard(parameters: object, features: Mapping[str, FeatureType] | None) -> Scorecard:
    """The model in a package's ``parameters``; raises InvalidInput with everything that is wrong.

    ``features`` are the declared types; None: they follow from the coefficients (number: numeric, map: categorical).
    """
    if not isinstance(parameters, Mapping):
        raise InvalidInput([FieldProblem("parameters", f"must be an object, not {_kind(parameters)}")])
    problems = [
        FieldProblem(f"parameters.{_shown(name)}", f"unknown; known are {', '.join(_PARAMETERS)}")
        for name in parameters
        if name not in _PARAMETERS
    ]
    terms = _terms(parameters, features, problems)
    intercept = _number(parameters.get("intercept", 0.0), "parameters.intercept", problems)
    link = parameters.get("link", "logit")
    if link not in get_args(Link):
        problems.append(FieldProblem("parameters.link", f"must be one of {', '.join(get_args(Link))}"))
        link = "logit"
    threshold = _number(parameters.get("threshold", DEFAULT_THRESHOLD[link]), "parameters.threshold", problems)
    if problems:
        raise InvalidInput(problems)
    return Scorecard(intercept, terms, link, threshold)


def _terms(
    parameters: Mapping[str, Any], features: Mapping[str, FeatureType] | None, problems: list[FieldProblem]
) -> tuple[Term, ...]:
    path = "parameters.coefficients"
    coefficients = parameters.get("coefficients")
    if not isinstance(coefficients, Mapping):
        missing = "is missing" if "coefficients" not in parameters else f"must be an object, not {_kind(coefficients)}"
        problems.append(FieldProblem(path, missing))
        return ()
    count = sum(len(c) if isinstance(c, Mapping) else 1 for c in coefficients.values())
    if len(coefficients) > MOST_FEATURES or count > MOST_COEFFICIENTS:
        allowed = f"at most {MOST_FEATURES:,} features and {MOST_COEFFICIENTS:,} coefficients in all"
        problems.append(FieldProblem(path, f"{len(coefficients):,} features and {count:,} coefficients: {allowed}"))
        return ()
    return tuple(_term(name, c, _declared(name, c, features), problems) for name, c in coefficients.items())


def _declared(name: str, coefficient: object, features: Mapping[str, FeatureType] | None) -> FeatureType | None:
    if features is not None:
        return features.get(name)
    return "categorical" if isinstance(coefficient, Mapping) else "numeric"


def _term(feature: str, coefficient: object, type_: FeatureType | None, problems: list[FieldProblem]) -> Term:
    path = f"parameters.coefficients.{_shown(feature)}"
    if len(feature) > LONGEST_NAME:
        problems.append(FieldProblem(path, f"the name is longer than {LONGEST_NAME} characters"))
    if type_ is None:
        problems.append(FieldProblem(path, "the feature is not declared in features"))
    elif type_ == "text":
        problems.append(FieldProblem(path, "a text feature cannot have coefficients"))
    elif (type_ == "categorical") != isinstance(coefficient, Mapping):
        wanted = "an object of category to number" if type_ == "categorical" else "a number"
        problems.append(FieldProblem(path, f"must be {wanted} for a {type_} feature, not {_kind(coefficient)}"))
        if not isinstance(coefficient, Mapping):
            return Term(feature, "numeric")
    if isinstance(coefficient, Mapping):
        return Term(feature, "categorical", weights=_weights(coefficient, path, problems))
    return Term(feature, type_ or "numeric", weight=_number(coefficient, path, problems))


def _weights(by_category: Mapping[str, Any], path: str, problems: list[FieldProblem]) -> dict[str, float]:
    for category in by_category:
        if len(category) > LONGEST_NAME:
            place = f"{path}.{_shown(category)}"
            problems.append(FieldProblem(place, f"the name is longer than {LONGEST_NAME} characters"))
    return {c: _number(weight, f"{path}.{_shown(c)}", problems) for c, weight in by_category.items()}


def _number(value: object, path: str, problems: list[FieldProblem]) -> float:
    number = _finite(value)
    if isinstance(number, str):
        problems.append(FieldProblem(path, number))
        return 0.0
    return number


def _part(term: Term, instance: Mapping[str, Any]) -> float | str:
    """What one feature adds to the sum, or what is wrong with it."""
    if term.feature not in instance:
        return "is missing"
    value = instance[term.feature]
    if term.type == "categorical":
        return term.weights.get(value, 0.0) if isinstance(value, str) else f"must be a string, not {_kind(value)}"
    if term.type == "boolean":
        return term.weight * value if isinstance(value, bool) else f"must be true or false, not {_kind(value)}"
    number = _finite(value)
    return number if isinstance(number, str) else term.weight * number


def _finite(value: object) -> float | str:
    """The value as a finite float, or what is wrong with it. True and false are no numbers here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number, not {_kind(value)}"
    try:
        number = float(value)
    except OverflowError:
        return "is too large for a floating-point number"
    return number if math.isfinite(number) else "must be a finite number"


def _logistic(z: float) -> float:
    """1 / (1 + e^-z) without overflow: the exponent is never positive.

    >>> _logistic(-1000.0), _logistic(0.0), _logistic(1000.0)
    (0.0, 0.5, 1.0)
    """
    if z >= 0:
        return 1.0 / (1.0 + math.exp(-z))
    power = math.exp(z)
    return power / (1.0 + power)


def _kind(value: object) -> str:
    """The JSON name of the value's kind, for people."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def _shown(name: object) -> str:
    """Names come from outside: printable and cut, so that a report cannot be forged or blown up."""
    text = name if isinstance(name, str) and name.isprintable() else ascii(name)
    return text[:128]


def _joined(problems: list[str]) -> str:
    named = "; ".join(problems[:MOST_FEATURES_NAMED])
    left = len(problems) - MOST_FEATURES_NAMED
    return f"{named}; and {left} more" if left > 0 else named
