"""Instances in, answers out: from the cache or the runtime, and what is told of them afterwards."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from modeldrop.errors import InvalidInput
from modeldrop.handlers.serving.prediction_events import Answered
from modeldrop.handlers.serving.response_cache import ResponseCache, cache_key
from modeldrop.handlers.serving.service import Service
from modeldrop.serving.runtime import Runtime
from modeldrop.serving.served_version import Serving

logger = logging.getLogger(__name__)

Predict = Callable[[list[object]], list[dict[str, Any]]]


class Answers(msgspec.Struct, frozen=True):
    """One answer per instance, what is to be told of them, and how many came from the cache."""

    answers: list[dict[str, Any]]
    told: list[Answered]
    cached: int


def answer_instances(service: Service, serving: Serving, instances: list[object]) -> Answers:
    """The answers in order. An instance that is an InvalidInput is answered with what is wrong with it."""
    begin = time.perf_counter()
    predict = partial(predict_each, serving.runtime)
    answers, cached = _through_cache(service.cache, f"{serving.version} {serving.digest}", instances, predict)
    seconds = time.perf_counter() - begin
    told = service.events.answered(instances, answers, seconds) if service.events else []
    return Answers(answers, told, cached)


def afterwards(service: Service, serving: Serving, told: Sequence[Answered]) -> Callable[[], None] | None:
    """What is left to do once the answers are out."""
    return partial(service.events.tell, serving, told) if service.events and told else None


def version_headers(serving: Serving, answers: Answers | None = None) -> dict[str, str]:
    """Which version answers; of a single answer also the id that a label must name, and whether it was cached."""
    headers = {"X-Modeldrop-Model": serving.model, "X-Modeldrop-Version": serving.version}
    if answers is not None and answers.cached:
        headers["X-Modeldrop-Cached"] = str(answers.cached)
    if answers is not None and len(answers.told) == 1:
        headers["X-Modeldrop-Prediction-Id"] = answers.told[0].prediction_id
    return headers


def predict_each(runtime: Runtime, instances: list[object]) -> list[dict[str, Any]]:
    """One answer per instance; whatever happens to one leaves the others alone. InvalidInput stands for itself."""
    good = [instance for instance in instances if not isinstance(instance, InvalidInput)]
    try:
        answers = _checked(runtime.predict(good), len(good)) if good else []
    except Exception:
        logger.exception("a batch of %d instances failed: each is tried by itself", len(good))
        answers = [_predict_one(runtime, instance) for instance in good]
    following = iter(answers)
    return [{"error": str(i)} if isinstance(i, InvalidInput) else next(following) for i in instances]


def _through_cache(
    cache: ResponseCache | None, served: str, instances: list[object], predict: Predict
) -> tuple[list[dict[str, Any]], int]:
    if cache is None:
        return predict(instances), 0
    now = time.monotonic()
    keys = [None if isinstance(instance, InvalidInput) else cache_key(served, instance) for instance in instances]
    found = [None if key is None else cache.get(key, now) for key in keys]
    predicted = iter(predict([instance for instance, known in zip(instances, found, strict=True) if known is None]))
    answers = []
    for key, known in zip(keys, found, strict=True):
        answer = next(predicted) if known is None else known
        if key is not None and known is None:
            cache.put(key, answer, time.monotonic())
        answers.append(answer)
    return answers, sum(known is not None for known in found)


def _predict_one(runtime: Runtime, instance: object) -> dict[str, Any]:
    try:
        return _checked(runtime.predict([instance]), 1)[0]
    except Exception as error:
        logger.exception("an instance failed")
        return {"error": f"{type(error).__name__} in the runtime"}


def _checked(answers: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    if len(answers) != count:
        raise ValueError(f"the runtime gave {len(answers)} answers to {count} instances")
    return answers
