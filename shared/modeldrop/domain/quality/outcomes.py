"""What a prediction and a label say, so that the two can be held against each other.

**Classes.** true, 1, 1.0, "1" and "true" (in any case) are one class, "1"; false, 0, 0.0, "0" and "false" are "0"; any
other whole number is its digits, any other text itself. A prediction that is

- a map ``{"score", "decision"}`` (a scorecard's answer) has the class of its decision, and its score for AUC; without a
  decision, the class of the score;
- a number from 0 to 1 that is not whole is a score: "1" at the threshold or above, else "0";
- any other number that is not whole has no class.

**Names.** Where labels are names ("fraud", "legitimate") and the policy says which is positive, the classes "1" and "0"
of a prediction mean the positive one and not the positive one.

**Numbers.** For MAE and MAPE both must be numbers; true and false are none, nor is text.
"""

import math
from collections.abc import Mapping, Sequence

POSITIVE = "1"
NEGATIVE = "0"
DEFAULT_THRESHOLD = 0.5
_BINARY = {"true": POSITIVE, "false": NEGATIVE}


def class_of(value: object) -> str | None:
    """The class a label, a decision or the policy's ``positive`` names; None if it names none.

    >>> [class_of(value) for value in (True, 1, 1.0, "1", "True", 0, "fraud", 12, 0.5, None, [])]
    ['1', '1', '1', '1', '1', '0', 'fraud', '12', None, None, None]
    """
    if isinstance(value, str):
        return _BINARY.get(value.lower(), value)
    if isinstance(value, bool | int):
        return str(int(value)) if int(value).bit_length() <= 64 else None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**63:
        return str(int(value))
    return None


def predicted_class(prediction: object, threshold: float = DEFAULT_THRESHOLD) -> str | None:
    """The class a prediction says; None if it says none.

    >>> [predicted_class(said) for said in ({"score": 0.2, "decision": True}, {"score": 0.9}, 0.4, 1.5, "fraud")]
    ['1', '1', '0', None, 'fraud']
    """
    if isinstance(prediction, Mapping):
        if "decision" in prediction:
            return class_of(prediction["decision"])
        score = number_of(prediction.get("score"))
        return None if score is None else _at(score, threshold)
    if isinstance(prediction, float) and 0 < prediction < 1:
        return _at(prediction, threshold)
    return class_of(prediction)


def score_of(prediction: object) -> float | None:
    """The number by which predictions are ranked; true is 1 and false 0. None if there is none.

    >>> [score_of(said) for said in ({"score": 0.2, "decision": True}, 0.4, True, "fraud")]
    [0.2, 0.4, 1.0, None]
    """
    if isinstance(prediction, Mapping):
        prediction = prediction.get("score")
    return float(prediction) if isinstance(prediction, bool) else number_of(prediction)


def number_of(value: object) -> float | None:
    """The value as a finite float; of a map, its score.

    >>> [number_of(value) for value in (2, 2.5, {"score": 7.0}, True, "2", 10**400)]
    [2.0, 2.5, 7.0, None, None, None]
    """
    if isinstance(value, Mapping):
        value = value.get("score")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def is_binary(predictions: Sequence[object]) -> bool:
    """Whether predictions are scores or decisions: none says a class but 1 and 0, and one is not just a whole number.

    >>> is_binary([0.2, 0, 1, None]), is_binary([True]), is_binary([1, 0]), is_binary([0.2, 3]), is_binary(["fraud"])
    (True, True, False, False, False)
    """
    named = {predicted_class(prediction) for prediction in predictions}
    return named <= {POSITIVE, NEGATIVE, None} and any(map(_is_score_or_decision, predictions))


def _is_score_or_decision(prediction: object) -> bool:
    return isinstance(prediction, bool | Mapping) or (isinstance(prediction, float) and 0 < prediction < 1)


def _at(score: float, threshold: float) -> str:
    return POSITIVE if score >= threshold else NEGATIVE
