"""The onnx runtime with real models: trained by scikit-learn, written by skl2onnx, run by onnxruntime."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.errors import InvalidInput, NotFound, PermanentError
from modeldrop.serving.loading import load_runtime
from modeldrop.wiring import connect_llm

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights" / "rows.jsonl"
NUMERIC = ("dep_delay", "hour", "distance")
CATEGORICAL = ("carrier", "origin")


@cache
def flights() -> list[dict[str, Any]]:
    """Rows with features and label of the flights example."""
    lines = FLIGHTS.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def matrix(names: Sequence[str] = NUMERIC) -> Any:
    return np.array([[row["features"][name] for name in names] for row in flights()], dtype=np.float64)


def labels() -> Any:
    return np.array([int(row["label"]) for row in flights()])


def instances(names: Sequence[str]) -> list[object]:
    return [{name: row["features"][name] for name in names} for row in flights()]


def numeric(*names: str) -> dict[str, dict[str, str]]:
    return {name: {"type": "numeric"} for name in names}


def load(folder: Path, model: bytes | None, features: object, **metadata: Any) -> Any:
    """The runtime of a package with these features and this model."""
    data = json.dumps({"runtime": "onnx", "features": features} | metadata).encode()
    (folder / "metadata.json").write_bytes(data)
    if model is not None:
        (folder / "model.onnx").write_bytes(model)
    return load_runtime(FolderBucket(folder), "", hashlib.sha256(data).hexdigest(), connect_llm=connect_llm)


def problems_of(folder: Path, model: bytes, features: object, **metadata: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        load(folder, model, features, **metadata)
    return {problem.field: problem.message for problem in caught.value.problems}


@cache
def trained_classifier() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(matrix(), labels())


def real_type(zipmap: bool) -> Any:
    """onnxruntime has no ZipMap for doubles."""
    return FloatTensorType if zipmap else DoubleTensorType


def classifier(zipmap: bool) -> bytes:
    types = [("input", real_type(zipmap)([None, 3]))]
    options = {LogisticRegression: {"zipmap": zipmap}}
    return bytes(to_onnx(trained_classifier(), initial_types=types, options=options).SerializeToString())


def operator(name: str, element: int = TensorProto.FLOAT, shape: Sequence[Any] = (None, 1), **more: Any) -> bytes:
    """A model of one operator over the input x."""
    given = helper.make_tensor_value_info("x", element, list(shape))
    result = helper.make_tensor_value_info("y", more.pop("gives", element), list(more.pop("result_shape", shape)))
    graph = helper.make_graph([helper.make_node(name, ["x"], ["y"], **more)], "g", [given], [result])
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


# --- the same answers as the trainer's -------------------------------------------------------------------------


@pytest.mark.parametrize("zipmap", [True, False])
def test_a_classifier_over_a_matrix(tmp_path: Path, zipmap: bool) -> None:
    runtime = load(tmp_path, classifier(zipmap), numeric(*NUMERIC))
    runtime.self_check()
    answers = runtime.predict(instances(NUMERIC))
    scores = trained_classifier().predict_proba(matrix())[:, 1]
    decisions = trained_classifier().predict(matrix()) == 1
    assert np.abs(np.array([answer["score"] for answer in answers]) - scores).max() < 1e-6
    assert [answer["decision"] for answer in answers] == decisions.tolist()
    assert 0 < decisions.sum() < len(decisions)


def test_columns_go_in_the_declared_order(tmp_path: Path) -> None:
    turned = tuple(reversed(NUMERIC))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(matrix(turned), labels())
    options = {LogisticRegression: {"zipmap": False}}
    converted = to_onnx(model, initial_types=[("X", DoubleTensorType([None, 3]))], options=options)
    runtime = load(tmp_path, converted.SerializeToString(), numeric(*turned))
    answers = runtime.predict(instances(NUMERIC)[:50])  # fields of an object have no order
    scores = model.predict_proba(matrix(turned)[:50])[:, 1]
    assert np.abs(np.array([answer["score"] for answer in answers]) - scores).max() < 1e-6


def columns_pipeline(handle_unknown: str) -> Any:
    import pandas as pd

    names = [*NUMERIC, "departed_late", *CATEGORICAL]
    frame = pd.DataFrame([row["features"] for row in flights()])[names]
    frame["departed_late"] = frame["departed_late"].astype(float)
    encode = ColumnTransformer(
        [
            ("n", StandardScaler(), [*NUMERIC, "departed_late"]),
            ("c", OneHotEncoder(handle_unknown=handle_unknown), list(CATEGORICAL)),
        ]
    )
    return make_pipeline(encode, LogisticRegression(max_iter=500)).fit(frame, labels()), frame


def column_types(zipmap: bool) -> list[tuple[str, Any]]:
    types = [(name, real_type(zipmap)([None, 1])) for name in (*NUMERIC, "departed_late")]
    return types + [(name, StringTensorType([None, 1])) for name in CATEGORICAL]


COLUMN_FEATURES = {
    **{name: {"type": "categorical"} for name in CATEGORICAL},
    "departed_late": {"type": "boolean"},
    **numeric(*NUMERIC),
}


@pytest.mark.parametrize("zipmap", [True, False])
def test_a_classifier_with_an_input_for_each_feature(tmp_path: Path, zipmap: bool) -> None:
    model, frame = columns_pipeline("ignore")
    options = {LogisticRegression: {"zipmap": zipmap}}
    converted = to_onnx(model, initial_types=column_types(zipmap), options=options).SerializeToString()
    runtime = load(tmp_path, converted, COLUMN_FEATURES)
    runtime.self_check()
    answers = runtime.predict([row["features"] for row in flights()])
    scores = model.predict_proba(frame)[:, 1]
    assert np.abs(np.array([answer["score"] for answer in answers]) - scores).max() < 1e-6


def test_an_unknown_category_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    model, _ = columns_pipeline("error")
    converted = to_onnx(model, initial_types=column_types(zipmap=True)).SerializeToString()
    runtime = load(tmp_path, converted, COLUMN_FEATURES)
    runtime.self_check()  # it does not know the empty category either, and can answer
    good = flights()[0]["features"]
    answers = runtime.predict([good, good | {"carrier": "??"}, good])
    assert ["score" in answer for answer in answers] == [True, False, True]
    assert "the model failed" in answers[1]["error"]
    assert answers[0] == answers[2] == runtime.predict([good])[0]


@pytest.mark.parametrize("type_", [DoubleTensorType, FloatTensorType])
def test_a_regressor(tmp_path: Path, type_: Any) -> None:
    delay = matrix()[:, 0]
    model = LinearRegression().fit(matrix(("hour", "distance")), delay)
    converted = to_onnx(model, initial_types=[("X", type_([None, 2]))]).SerializeToString()
    answers = load(tmp_path, converted, numeric("hour", "distance")).predict(instances(("hour", "distance")))
    expected = model.predict(matrix(("hour", "distance")))
    tolerance = 1e-6 if type_ is DoubleTensorType else 1e-4
    assert np.abs(np.array([answer["value"] for answer in answers]) - expected).max() < tolerance
    assert answers[0].keys() == {"value"}


def test_classes_that_are_texts(tmp_path: Path) -> None:
    named = np.where(labels() == 1, "late", "in time")
    model = LogisticRegression().fit(matrix(("hour",)), named)
    converted = to_onnx(model, initial_types=[("X", FloatTensorType([None, 1]))]).SerializeToString()
    answers = load(tmp_path, converted, numeric("hour")).predict(instances(("hour",))[:20])
    scores = model.predict_proba(matrix(("hour",))[:20])[:, list(model.classes_).index("late")]
    assert np.abs(np.array([answer["score"] for answer in answers]) - scores).max() < 1e-6


def test_the_threshold_is_the_packages(tmp_path: Path) -> None:
    scores = trained_classifier().predict_proba(matrix())[:, 1]
    for threshold in (0.1, 0.9):
        runtime = load(
            tmp_path, classifier(False), numeric(*NUMERIC), parameters={"threshold": threshold, "threads": 2}
        )
        answers = runtime.predict(instances(NUMERIC))
        assert [answer["decision"] for answer in answers] == (scores >= threshold).tolist()


def test_one_answer_or_many_are_the_same(tmp_path: Path) -> None:
    runtime = load(tmp_path, classifier(True), numeric(*NUMERIC))
    some = instances(NUMERIC)[:20]
    together = runtime.predict(some)
    for one, answer in zip(some, together, strict=True):
        (alone,) = runtime.predict([one])  # sums of 32-bit floats depend on how many are made at once
        assert alone == answer | {"score": pytest.approx(answer["score"], abs=1e-6)}
    assert runtime.predict([]) == []
    assert list(runtime.stream(some[0])) == [{"prediction": runtime.predict(some[:1])[0]}]


# --- instances that are wrong ----------------------------------------------------------------------------------

GOOD = {"dep_delay": 4, "hour": 7.0, "distance": 500}


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        ({}, "feature 'dep_delay' is missing; feature 'hour' is missing; feature 'distance' is missing"),
        (GOOD | {"hour": None}, "feature 'hour' must be a number"),
        (GOOD | {"hour": "7"}, "feature 'hour' must be a number"),
        (GOOD | {"hour": True}, "feature 'hour' must be a number"),
        (GOOD | {"hour": float("nan")}, "must be a finite number"),
        (GOOD | {"hour": float("inf")}, "must be a finite number"),
        (GOOD | {"hour": 10**400}, "must be a finite number"),
        ([1, 2, 3], "must be an object"),
        (None, "must be an object"),
    ],
)
def test_a_wrong_instance_leaves_its_neighbours_alone(tmp_path: Path, instance: object, reason: str) -> None:
    runtime = load(tmp_path, classifier(False), numeric(*NUMERIC))
    first, wrong, last = runtime.predict([GOOD, instance, GOOD])
    assert reason in wrong["error"]
    assert first == last
    assert first.keys() == {"score", "decision"}


@pytest.mark.parametrize(
    ("element", "value", "is_good"),
    [
        (TensorProto.FLOAT, 3e38, True),
        (TensorProto.FLOAT, 4e38, False),
        (TensorProto.FLOAT, 10**38, True),
        (TensorProto.DOUBLE, 1e300, True),
        (TensorProto.INT64, 7.0, True),
        (TensorProto.INT64, 7.5, False),
        (TensorProto.INT64, float("inf"), False),
        (TensorProto.INT64, 2**62, True),
        (TensorProto.INT64, 2**63, False),
        (TensorProto.INT32, 2**31, False),
    ],
)
def test_numbers_the_model_cannot_hold(tmp_path: Path, element: int, value: float, is_good: bool) -> None:
    model = operator("Cast", element, to=TensorProto.FLOAT, gives=TensorProto.FLOAT)
    if element in (TensorProto.FLOAT, TensorProto.DOUBLE):
        model = operator("Identity", element)
    (answer,) = load(tmp_path, model, numeric("x")).predict([{"x": value}])
    if is_good:
        assert answer == {"value": pytest.approx(value, rel=1e-6)}
    else:
        assert "number in the model's range" in answer["error"]


def test_answers_that_are_no_numbers_are_errors(tmp_path: Path) -> None:
    runtime = load(tmp_path, operator("Sqrt"), numeric("x"))
    good, bad = runtime.predict([{"x": 4}, {"x": -4}])
    assert (good, bad) == ({"value": 2.0}, {"error": "the model's answer is not a finite number"})
    twice = load(tmp_path, operator("Sqrt", shape=(None, 2)), numeric("a", "b"))
    not_finite = {"error": "the model's answer is not a finite number"}
    assert twice.predict([{"a": 0.04, "b": -1}, {"a": -1, "b": 0.04}]) == [not_finite, not_finite]
    assert twice.predict([{"a": 0.04, "b": 0.64}]) == [{"score": pytest.approx(0.8), "decision": True}]


@pytest.mark.parametrize(
    ("type_", "element"),
    [("boolean", TensorProto.BOOL), ("boolean", TensorProto.FLOAT), ("boolean", TensorProto.INT64)],
)
def test_booleans(tmp_path: Path, type_: str, element: int) -> None:
    model = operator("Cast", element, shape=(None,), to=TensorProto.DOUBLE, gives=TensorProto.DOUBLE)
    runtime = load(tmp_path, model, {"x": {"type": type_}})
    assert runtime.predict([{"x": True}, {"x": False}, {"x": 1}])[:2] == [{"value": 1.0}, {"value": 0.0}]
    assert "true or false" in runtime.predict([{"x": 1}])[0]["error"]


# --- packages that are wrong -----------------------------------------------------------------------------------


def test_all_that_does_not_fit_is_said(tmp_path: Path) -> None:
    types = [
        ("hour", StringTensorType([None, 1])),
        ("distance", DoubleTensorType([None, 2])),
        ("late", BooleanTensorType([None, 1])),
        ("other", Int64TensorType([None, 1])),
    ]
    inputs = [helper.make_tensor_value_info(name, *_onnx(type_)) for name, type_ in types]
    output = helper.make_tensor_value_info("late_again", TensorProto.BOOL, [None, 1])
    graph = helper.make_graph([helper.make_node("Identity", ["late"], ["late_again"])], "g", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    features = numeric("hour", "distance", "dep_delay") | {"late": {"type": "categorical"}}
    problems = problems_of(tmp_path, model, features, parameters={"threshold": "high", "threads": 0})
    assert problems == {
        "parameters.threshold": "must be a number",
        "parameters.threads": "must be a whole number from 1 to 64",
        "inputs.dep_delay": "the feature has no input in the model",
        "inputs.other": "an input without a feature",
        "inputs.hour": "the feature is numeric, the model takes string",
        "inputs.distance": "has the shape [N, 2], not [N, 1] or [N]",
        "inputs.late": "the feature is categorical, the model takes bool",
        "outputs": "one output of probabilities or of values is needed, given are: 'late_again' tensor(bool)",
    }


def _onnx(type_: Any) -> tuple[int, list[int | None]]:
    elements: Mapping[type, int] = {
        StringTensorType: TensorProto.STRING,
        DoubleTensorType: TensorProto.DOUBLE,
        BooleanTensorType: TensorProto.BOOL,
        Int64TensorType: TensorProto.INT64,
    }
    return elements[type(type_)], list(type_.shape)


@pytest.mark.parametrize(
    ("features", "field", "message"),
    [
        (numeric("a", "b"), "inputs.input", "has the shape [N, 3], not [N, 2]"),
        (numeric("a", "b") | {"c": {"type": "categorical"}}, "inputs.c", "categorical, the model takes float64"),
        ({}, "features", "must be an object"),
        (None, "features", "must be an object"),
        ([1], "features", "must be an object"),
        ({"a": {"type": "int"}}, "features.a.type", "must be one of"),
        ({"a": "numeric"}, "features.a.type", "must be one of"),
    ],
)
def test_features_that_do_not_fit_a_matrix(tmp_path: Path, features: object, field: str, message: str) -> None:
    assert message in problems_of(tmp_path, classifier(False), features)[field]


def test_a_batch_of_fixed_size_is_refused(tmp_path: Path) -> None:
    assert "[1, 1], not [N, 1]" in problems_of(tmp_path, operator("Identity", shape=(1, 1)), numeric("x"))["inputs.x"]


def test_element_types_that_are_not_supported(tmp_path: Path) -> None:
    model = operator("Identity", TensorProto.FLOAT16)
    problems = problems_of(tmp_path, model, numeric("x"))
    assert "tensor(float16), which is not supported" in problems["inputs.x"]
    assert "float16" in problems["outputs"]


def test_more_than_two_classes_are_refused(tmp_path: Path) -> None:
    three = LogisticRegression().fit(matrix(("hour",)), matrix(("hour",))[:, 0].astype(int) % 3)
    types = [("X", FloatTensorType([None, 1]))]
    plain = to_onnx(three, initial_types=types, options={id(three): {"zipmap": False}}).SerializeToString()
    assert "3 classes or values" in problems_of(tmp_path, plain, numeric("hour"))["outputs.probabilities"]
    mapped = load(tmp_path, to_onnx(three, initial_types=types).SerializeToString(), numeric("hour"))
    with pytest.raises(PermanentError, match="the model knows 3 classes, not 2"):
        mapped.self_check()  # the file does not say how many there will be
    assert "3 classes" in mapped.predict([{"hour": 7}])[0]["error"]


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_corrupted_file_is_refused(tmp_path: Path, keep: int) -> None:
    assert "cannot be loaded" in problems_of(tmp_path, classifier(False)[:keep], numeric(*NUMERIC))["model.onnx"]


def test_junk_and_wrong_features_are_said_together(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, b"junk" * 100, {"a": {"type": "int"}})
    assert problems.keys() == {"features.a.type", "model.onnx"}


@pytest.mark.parametrize("place", ["weights.bin", "../{}/weights.bin", "{}/weights.bin"])
def test_weights_in_other_files_are_refused(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model may name a file to read its numbers from, beside the process or anywhere: only model.onnx was checked.

    As many numbers as this onnxruntime would read without its optimiser stumbling over them.
    """
    monkeypatch.chdir(tmp_path)
    np.full(4096, 2.0, dtype=np.float32).tofile("weights.bin")
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4096], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=place.format(tmp_path if place.startswith("{") else tmp_path.name))
    inputs, outputs = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 1])] for n in "xy")
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["z"]),
        helper.make_node("ReduceMean", ["z"], ["y"], axes=[1], keepdims=1),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    assert "External data path" in problems_of(tmp_path, model, numeric("x"))["model.onnx"]


def test_a_package_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"model\.onnx does not exist"):
        load(tmp_path, None, numeric("x"))


def test_without_onnxruntime_it_says_what_to_install(tmp_path: Path) -> None:
    """A process in which the module cannot be found, as in an image without the extra."""
    (tmp_path / "model.onnx").write_bytes(classifier(False))
    (tmp_path / "metadata.json").write_text('{"runtime": "onnx", "features": {"a": {"type": "numeric"}}}')
    code = (
        "import hashlib, pathlib, sys\n"
        "sys.modules['onnxruntime'] = None\n"
        "from modeldrop.adapters.local.folder_bucket import FolderBucket\n"
        "from modeldrop.serving.loading import load_runtime\n"
        "from modeldrop.wiring import connect_llm\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "digest = hashlib.sha256((folder / 'metadata.json').read_bytes()).hexdigest()\n"
        "load_runtime(FolderBucket(folder), '', digest, connect_llm=connect_llm)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "PermanentError: the runtime onnx needs onnxruntime" in done.stderr
    assert "pip install 'modeldrop[onnx]'" in done.stderr


def test_a_model_that_does_not_run_fails_its_self_check(tmp_path: Path) -> None:
    inputs, outputs = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 1])] for n in "xy")
    sixth = helper.make_tensor("sixth", TensorProto.INT64, [1], [5])
    column = helper.make_node("Gather", ["x", "sixth"], ["y"], axis=1)  # of one column
    graph = helper.make_graph([column], "g", inputs, outputs, [sixth])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    runtime = load(tmp_path, model, numeric("x"))
    with pytest.raises(PermanentError, match=r"model\.onnx does not run"):
        runtime.self_check()
    assert "the model failed" in runtime.predict([{"x": 1}])[0]["error"]


# --- events ----------------------------------------------------------------------------------------------------


def test_events_hold_the_declared_features(tmp_path: Path) -> None:
    runtime = load(tmp_path, classifier(False), numeric(*NUMERIC))
    instance = GOOD | {"name": "A. Person", "distance": [1]}
    described = runtime.describe(instance, {"score": 0.7, "decision": True}, 0.002)
    assert described == {
        "features": {"dep_delay": 4, "hour": 7.0},
        "prediction": {"score": 0.7, "decision": True},
        "status": "ok",
        "latency_ms": 2.0,
    }
    assert runtime.describe(GOOD, {"value": 1.5}, 0.0)["prediction"] == 1.5
    failed = runtime.describe(GOOD, {"error": "no"}, 0.0)
    assert (failed["prediction"], failed["status"]) == (None, "error")
    assert runtime.describe([1], {"error": "no"}, 0.0) is None
