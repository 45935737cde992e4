"""What runs one version: instances in, one answer for each out."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol, TypedDict


class Described(TypedDict):
    """What a prediction event says of one answer; see ``modeldrop.client.PredictionLogger.log``."""

    features: dict[str, Any]
    prediction: Any
    status: str
    """``ok``, or ``error`` for an instance that failed."""
    latency_ms: float


class Runtime(Protocol):
    """A loaded version. Used by many threads at once."""

    def predict(self, instances: list[object]) -> list[dict[str, Any]]:
        """One JSON answer per instance, in order. An instance that fails is answered ``{"error": "why"}``."""

    def stream(self, instance: object) -> Iterator[dict[str, Any]]:
        """The answer as it comes: any number of ``{"delta": text}``, then one ``{"prediction": {…}}``, which is last.

        Deltas are for people to read while they wait; only the prediction is checked.
        """

    def describe(self, instance: object, answer: Mapping[str, Any], seconds: float) -> Described | None:
        """What the prediction event of this answer says; None where there is nothing to say. Never raises.

        ``seconds``: how long the answer took.
        """

    def self_check(self) -> None:
        """Whether this version can answer, asked before it replaces another. Costs next to nothing.

        Raises PermanentError if it never will, Unavailable if it may later.
        """


def stream_at_once(runtime: Runtime, instance: object) -> Iterator[dict[str, Any]]:
    """The stream of a runtime that has nothing to tell before its answer."""
    (answer,) = runtime.predict([instance])
    yield {"prediction": answer}


def describe_features(
    instance: object, answer: Mapping[str, Any], seconds: float, names: Collection[str] | None = None
) -> Described | None:
    """What the event of a model over features says: the answer, and the features of these names (None: of all).

    Only values an event can hold; None for an instance that is no object.

    >>> describe_features({"amount": 2.5, "tags": []}, {"score": 0.7, "decision": True}, 0.002)["prediction"]
    {'score': 0.7, 'decision': True}
    >>> describe_features({"amount": 2.5, "tags": []}, {"error": "tags is missing"}, 0.002)
    {'features': {'amount': 2.5}, 'prediction': None, 'status': 'error', 'latency_ms': 2.0}
    """
    if not isinstance(instance, dict):
        return None
    wanted = instance if names is None else [name for name in names if name in instance]
    features = {name: instance[name] for name in wanted if isinstance(instance[name], str | int | float | None)}
    if "error" in answer:
        return Described(features=features, prediction=None, status="error", latency_ms=seconds * 1000)
    prediction = answer["value"] if "value" in answer else dict(answer)
    return Described(features=features, prediction=prediction, status="ok", latency_ms=seconds * 1000)
