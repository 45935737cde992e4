"""The runtime of ``onnx`` versions: the package's ``model.onnx``, run in this process by onnxruntime."""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from modeldrop.domain.scorecard import FeatureType
from modeldrop.errors import FieldProblem, InvalidInput, PermanentError
from modeldrop.serving.onnx_inputs import Declared, Inputs, Values, match_inputs
from modeldrop.serving.onnx_outputs import DEFAULT_THRESHOLD, Outputs, match_outputs
from modeldrop.serving.package import Package
from modeldrop.serving.runtime import Described, describe_features, stream_at_once

logger = logging.getLogger(__name__)

MODEL_NAME = "model.onnx"
MODEL_LIMIT_BYTES = 500 * 1024 * 1024
MOST_THREADS = 64
MOST_PROBLEMS = 100

_FATAL_ONLY = 4  # onnxruntime writes to standard error what it also raises


class OnnxRuntime:
    """Answers ``{"score", "decision"}`` (a classifier of two classes) or ``{"value"}`` (a regressor)."""

    def __init__(self, session: Any, inputs: Inputs, outputs: Outputs) -> None:
        self._session = session
        self._inputs = inputs
        self._outputs = outputs

    def predict(self, instances: list[object]) -> list[dict[str, Any]]:
        """See ``Runtime``: one run for all; if that fails, one for each."""
        read = [self._inputs.read(instance) for instance in instances]
        rows = [row for row in read if not isinstance(row, str)]
        answers = iter(self._answers(rows))
        return [{"error": row} if isinstance(row, str) else next(answers) for row in read]

    def stream(self, instance: object) -> Iterator[dict[str, Any]]:
        """See ``Runtime``."""
        return stream_at_once(self, instance)

    def describe(self, instance: object, answer: Mapping[str, Any], seconds: float) -> Described | None:
        """See ``Runtime``: the declared features, and no other fields."""
        return describe_features(instance, answer, seconds, names=self._inputs.features)

    def self_check(self) -> None:
        """See ``Runtime``: one run on noughts. A model of categories may refuse the empty one, and be right."""
        try:
            self._run([self._inputs.zeros()])
        except Exception as error:
            if not self._inputs.has_text:
                raise PermanentError(f"{MODEL_NAME} does not run: {_excerpt(error)}") from None
            logger.info("%s does not know the empty category", MODEL_NAME)

    def _answers(self, rows: Sequence[Values]) -> list[dict[str, Any]]:
        if not rows:
            return []
        try:
            return self._run(rows)
        except Exception as error:  # onnxruntime's own classes have no common one
            if len(rows) == 1:
                return [{"error": f"the model failed: {_excerpt(error)}"}]
            return [self._answers([row])[0] for row in rows]

    def _run(self, rows: Sequence[Values]) -> list[dict[str, Any]]:
        (given,) = self._session.run([self._outputs.name], self._inputs.tensors_of(rows))
        return self._outputs.answers(given, len(rows))


def load_onnx(package: Package) -> OnnxRuntime:
    """The runtime of a package with a ``model.onnx``.

    Raises InvalidInput with everything that does not fit, NotFound or TooLarge for the file, PermanentError where
    onnxruntime is not installed, Unavailable (try again).
    """
    problems: list[FieldProblem] = []
    features = _features(package.metadata.get("features"), problems)
    parameters = package.metadata.get("parameters") or {}
    if not isinstance(parameters, dict):
        problems.append(FieldProblem("parameters", "must be an object"))
        parameters = {}
    threshold = _threshold(parameters.get("threshold"), problems)
    threads = _threads(parameters.get("threads"), problems)
    try:
        session = _session(package.read(MODEL_NAME, limit_bytes=MODEL_LIMIT_BYTES), threads)
    except InvalidInput as error:
        raise InvalidInput([*problems, *error.problems]) from None
    inputs = match_inputs(_declared(session.get_inputs()), features, problems) if features else Inputs({}, ())
    outputs = match_outputs(_declared(session.get_outputs()), threshold, problems)
    if problems:
        raise InvalidInput(problems[:MOST_PROBLEMS])
    return OnnxRuntime(session, inputs, outputs)


def _session(model: bytes, threads: int) -> Any:
    """Raises InvalidInput for bytes that are no model."""
    try:
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise PermanentError(
            "the runtime onnx needs onnxruntime, which is not installed: pip install 'modeldrop[onnx]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    # A model given as bytes may still name files to read its numbers from, by default below the working directory and
    # out of it: nobody checked those. In this folder there are none.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InvalidInput([FieldProblem(MODEL_NAME, f"cannot be loaded: {_excerpt(error)}")]) from None


def _declared(nodes: Sequence[Any]) -> list[Declared]:
    """Open dimensions have a name, or nothing."""
    return [
        Declared(node.name, node.type, tuple(size if isinstance(size, int) else None for size in node.shape))
        for node in nodes
    ]


def _features(declared: object, problems: list[FieldProblem]) -> dict[str, FeatureType]:
    if not isinstance(declared, dict) or not declared:
        problems.append(
            FieldProblem("features", "must be an object of name to {type}, in the order of the model's inputs")
        )
        return {}
    known = get_args(FeatureType)
    features: dict[str, FeatureType] = {}
    for name, feature in declared.items():
        type_: Any = feature.get("type") if isinstance(feature, dict) else None
        if type_ in known:
            features[name] = type_
        else:
            place = f"features.{ascii(name)[1:-1][:128]}.type"
            problems.append(FieldProblem(place, f"must be one of {', '.join(known)}"))
    return features


def _threshold(value: object, problems: list[FieldProblem]) -> float:
    if value is None:
        return DEFAULT_THRESHOLD
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    problems.append(FieldProblem("parameters.threshold", "must be a number"))
    return DEFAULT_THRESHOLD


def _threads(value: object, problems: list[FieldProblem]) -> int:
    """One, so that requests served side by side do not fight for the processors."""
    if value is None:
        return 1
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_THREADS:
        return value
    problems.append(FieldProblem("parameters.threads", f"must be a whole number from 1 to {MOST_THREADS}"))
    return 1


def _excerpt(error: Exception) -> str:
    return " ".join(ascii(str(error))[1:-1].split())[:200]
