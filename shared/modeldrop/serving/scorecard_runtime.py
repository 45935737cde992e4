"""The runtime of scorecards: the metadata is the whole model."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec

from modeldrop.domain.scorecard import FeatureType, Scorecard, parse_scorecard
from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.serving.runtime import Described, describe_features, stream_at_once


class ScorecardRuntime(msgspec.Struct, frozen=True):
    """Answers ``{"score": number, "decision": bool}`` per instance."""

    scorecard: Scorecard

    def predict(self, instances: list[object]) -> list[dict[str, Any]]:
        """See ``Runtime``."""
        return [msgspec.structs.asdict(self.scorecard.score(instance)) for instance in instances]

    def stream(self, instance: object) -> Iterator[dict[str, Any]]:
        """See ``Runtime``."""
        return stream_at_once(self, instance)

    def describe(self, instance: object, answer: Mapping[str, Any], seconds: float) -> Described | None:
        """See ``Runtime``."""
        return describe_features(instance, answer, seconds)

    def self_check(self) -> None:
        """Whatever an empty instance is answered, a scorecard that can answer at all does not raise."""
        self.predict([{}])


def load_scorecard(metadata: Mapping[str, Any]) -> ScorecardRuntime:
    """The runtime a package's metadata describes; raises InvalidInput with all problems of features and parameters."""
    problems: list[FieldProblem] = []
    features = _feature_types(metadata.get("features"), problems)
    try:
        scorecard = parse_scorecard(metadata.get("parameters"), features)
    except InvalidInput as error:
        raise InvalidInput([*problems, *error.problems]) from None
    if problems:
        raise InvalidInput(problems)
    return ScorecardRuntime(scorecard)


def _feature_types(features: object, problems: list[FieldProblem]) -> dict[str, FeatureType] | None:
    """The declared types; None where none are declared (also ``{}``): then the coefficients tell."""
    if features is None or features == {}:
        return None
    if not isinstance(features, dict):
        problems.append(FieldProblem("features", "must be an object of name to {type}"))
        return None
    known = get_args(FeatureType)
    types: dict[str, FeatureType] = {}
    for name, feature in features.items():
        type_: Any = feature.get("type") if isinstance(feature, dict) else None
        if type_ in known:
            types[name] = type_
        else:
            problems.append(
                FieldProblem(f"features.{ascii(name)[1:-1][:128]}.type", f"must be one of {', '.join(known)}")
            )
    return types
