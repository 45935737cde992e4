"""From what an ONNX model gives to answers.

A classifier of two classes gives its probabilities: a matrix [N, 2], or with skl2onnx's ZipMap a map for each row, from
class to probability. The score is that of the second class, in the order of the classes. A regressor gives [N, 1] or
[N].
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from modeldrop.errors import FieldProblem
from modeldrop.serving.onnx_inputs import Declared

DEFAULT_THRESHOLD = 0.5
CLASSES = 2

_NUMBERS = ("tensor(float)", "tensor(double)")
_MAPS = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")
_NOT_FINITE = "the model's answer is not a finite number"


class Outputs(msgspec.Struct, frozen=True):
    """Which output is read, and how."""

    name: str
    kind: Literal["probabilities", "maps", "value"]
    threshold: float = DEFAULT_THRESHOLD

    def answers(self, given: Any, count: int) -> list[dict[str, Any]]:
        """One answer for each of ``count`` rows; raises ValueError if the model gave something else."""
        if self.kind == "value":
            return [self._value(number) for number in _rows(given, count, 1)]
        if self.kind == "maps":
            return [self._classified(_second(row)) for row in _of_length(given, count)]
        return [self._classified(row) for row in _rows(given, count, CLASSES)]

    def _value(self, row: Sequence[float]) -> dict[str, Any]:
        return {"value": row[0]} if math.isfinite(row[0]) else {"error": _NOT_FINITE}

    def _classified(self, row: Sequence[float]) -> dict[str, Any]:
        if not all(map(math.isfinite, row)):
            return {"error": _NOT_FINITE}
        return {"score": row[1], "decision": row[1] >= self.threshold}


def match_outputs(declared: Sequence[Declared], threshold: float, problems: list[FieldProblem]) -> Outputs:
    """The output that is read; ``problems`` grows if there is none, or more than one could be meant."""
    maps = [output for output in declared if output.type in _MAPS]
    numbers = [output for output in declared if output.type in _NUMBERS]
    if len(maps) == 1 and not numbers:
        return Outputs(maps[0].name, "maps", threshold)
    if len(numbers) == 1 and not maps:
        kind = _kind(numbers[0], problems)
        return Outputs(numbers[0].name, kind, threshold)
    given = ", ".join(f"{ascii(output.name)[:64]} {output.type[:64]}" for output in declared[:10])
    problems.append(FieldProblem("outputs", f"one output of probabilities or of values is needed, given are: {given}"))
    return Outputs("", "value", threshold)


def _kind(output: Declared, problems: list[FieldProblem]) -> Literal["probabilities", "value"]:
    width = output.shape[1] if len(output.shape) == 2 else 1
    if len(output.shape) in (1, 2) and width in (1, CLASSES):
        return "value" if width == 1 else "probabilities"
    classes = "" if width is None or width <= CLASSES else f": {width} classes or values"
    problems.append(
        FieldProblem(
            f"outputs.{ascii(output.name)[1:-1][:128]}",
            f"must have the shape [N, 2] for a classifier of two classes, [N, 1] or [N] for a regressor{classes}",
        )
    )
    return "value"


def _rows(given: Any, count: int, width: int) -> list[list[float]]:
    if given.size != count * width:
        raise ValueError(f"the model gave {given.size} numbers for {count} rows of {width}")
    rows: list[list[float]] = given.reshape(count, width).astype(float).tolist()
    return rows


def _of_length(given: Any, count: int) -> Any:
    if len(given) != count:
        raise ValueError(f"the model gave {len(given)} answers for {count} rows")
    return given


def _second(row: dict[Any, float]) -> list[float]:
    if len(row) != CLASSES:
        raise ValueError(f"the model knows {len(row)} classes, not {CLASSES}")
    return [float(row[name]) for name in sorted(row)]
