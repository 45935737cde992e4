"""From instances to the tensors an ONNX model takes.

A model takes either one input per feature, of the feature's name and shape [N, 1] or [N]; or, where it has one input in
all, a matrix [N, k] of its k features in the order they are declared in.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from modeldrop.domain.scorecard import FeatureType
from modeldrop.errors import FieldProblem

if TYPE_CHECKING:
    import numpy as np

Values = Sequence[Any]
"""Of one instance, checked, in the order of the declared features."""

MOST_PROBLEMS_SHOWN = 20
LARGEST_FLOAT = 3.4028234e38  # of 32 bits

# Element types of ONNX, as numpy calls them.
_ELEMENTS = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
_INTEGERS = {"int64": 2**63 - 1, "int32": 2**31 - 1}
_FITTING: Mapping[str, tuple[str, ...]] = {
    "numeric": ("float32", "float64", "int64", "int32"),
    "boolean": ("bool", "float32", "float64", "int64", "int32"),
    "categorical": ("object",),
    "text": ("object",),
}


class Declared(msgspec.Struct, frozen=True):
    """An input or output, as the model declares it. Dimensions that are open are None."""

    name: str
    type: str
    shape: tuple[int | None, ...]


class InputTensor(msgspec.Struct, frozen=True):
    """One tensor to be made: which features it holds, in the order of its columns."""

    name: str
    element: str
    features: tuple[str, ...]
    is_flat: bool  # [N] instead of [N, k]


class Inputs(msgspec.Struct, frozen=True, dict=True):
    """What a checked model takes."""

    features: Mapping[str, FeatureType]
    tensors: tuple[InputTensor, ...]

    @property
    def has_text(self) -> bool:
        """Whether any tensor is of strings."""
        return any(tensor.element == "object" for tensor in self.tensors)

    @cached_property
    def elements(self) -> Mapping[str, str]:
        """The element type of each feature."""
        return {name: tensor.element for tensor in self.tensors for name in tensor.features}

    def read(self, instance: object) -> Values | str:
        """The values of an instance, or what is wrong with them. Features that are not declared are not looked at."""
        if not isinstance(instance, dict):
            return "an instance must be an object of features"
        problems = []
        for name, type_ in self.features.items():
            problem = _problem(instance[name], type_, self.elements[name]) if name in instance else "is missing"
            if problem:
                problems.append(f"feature {ascii(name)[:128]} {problem}")
        if not problems:
            return [instance[name] for name in self.features]
        more = len(problems) - MOST_PROBLEMS_SHOWN
        return "; ".join(problems[:MOST_PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")

    def tensors_of(self, rows: Sequence[Values]) -> dict[str, "np.ndarray[Any, Any]"]:
        """The model's inputs for these instances."""
        import numpy as np  # noqa: PLC0415 - cold start

        place = {name: index for index, name in enumerate(self.features)}
        made = {}
        for tensor in self.tensors:
            columns = [place[name] for name in tensor.features]
            values = np.array([[row[column] for column in columns] for row in rows], dtype=tensor.element)
            values = values.reshape(len(rows), len(columns))
            made[tensor.name] = values[:, 0] if tensor.is_flat else values
        return made

    def zeros(self) -> Values:
        """An instance of noughts and empty texts."""
        zero = {"numeric": 0, "boolean": False, "categorical": "", "text": ""}
        return [zero[type_] for type_ in self.features.values()]


def match_inputs(
    declared: Sequence[Declared], features: Mapping[str, FeatureType], problems: list[FieldProblem]
) -> Inputs:
    """How the model's inputs are made from the features; ``problems`` grows by everything that does not fit."""
    if len(declared) == 1 and declared[0].name not in features:
        tensors = [_matrix(declared[0], features, problems)]
    else:
        by_name = {tensor.name: tensor for tensor in declared}
        problems += [
            FieldProblem(_place(n), "the feature has no input in the model") for n in features if n not in by_name
        ]
        problems += [FieldProblem(_place(n), "an input without a feature") for n in by_name if n not in features]
        tensors = [_column(by_name[name], type_, problems) for name, type_ in features.items() if name in by_name]
    return Inputs(features, tuple(tensors))


def _matrix(tensor: Declared, features: Mapping[str, FeatureType], problems: list[FieldProblem]) -> InputTensor:
    element = _element(tensor, problems)
    if len(tensor.shape) != 2 or tensor.shape[0] is not None or tensor.shape[1] not in (None, len(features)):
        problems.append(
            FieldProblem(_place(tensor.name), f"has the shape {_shown(tensor.shape)}, not [N, {len(features)}]")
        )
    for name, type_ in features.items():
        _check_type(name, type_, element, problems)
    return InputTensor(tensor.name, element, tuple(features), is_flat=False)


def _column(tensor: Declared, type_: FeatureType, problems: list[FieldProblem]) -> InputTensor:
    element = _element(tensor, problems)
    shape = tensor.shape
    if shape[:1] != (None,) or len(shape) > 2 or (len(shape) == 2 and shape[1] not in (None, 1)):
        problems.append(FieldProblem(_place(tensor.name), f"has the shape {_shown(shape)}, not [N, 1] or [N]"))
    _check_type(tensor.name, type_, element, problems)
    return InputTensor(tensor.name, element, (tensor.name,), is_flat=len(shape) == 1)


def _element(tensor: Declared, problems: list[FieldProblem]) -> str:
    """ "" for a type that is not supported."""
    element = _ELEMENTS.get(tensor.type, "")
    if not element:
        problems.append(FieldProblem(_place(tensor.name), f"has the type {tensor.type[:64]}, which is not supported"))
    return element


def _check_type(name: str, type_: FeatureType, element: str, problems: list[FieldProblem]) -> None:
    if element and element not in _FITTING[type_]:
        taken = "string" if element == "object" else element
        problems.append(FieldProblem(_place(name), f"the feature is {type_}, the model takes {taken}"))


def _problem(value: object, type_: FeatureType, element: str) -> str | None:
    if type_ == "boolean":
        return None if isinstance(value, bool) else "must be true or false"
    if type_ != "numeric":
        return None if isinstance(value, str) else "must be a string"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    if element in _INTEGERS:
        is_whole = isinstance(value, int) or (math.isfinite(value) and value.is_integer())
        return None if is_whole and abs(value) <= _INTEGERS[element] else "must be a whole number in the model's range"
    largest = LARGEST_FLOAT if element == "float32" else 1.7e308
    return None if abs(value) <= largest else "must be a finite number in the model's range"  # NaN compares false


def _place(name: str) -> str:
    return f"inputs.{ascii(name)[1:-1][:128]}"


def _shown(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('N' if size is None else str(size) for size in shape)}]"
