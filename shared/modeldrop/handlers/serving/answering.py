"""Instances in, answers out: from the cache or the runtime, and what is told of them afterwards."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from modeldrop.errors import InvalidInput
from modeldrop.handlers.serving.prediction_events import Answered
from modeldrop.handlers.serving.response_cache import KeptAnswers, cache_key, given_again, is_worth_keeping
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
    cache: KeptAnswers | None, served: str, instances: list[object], predict: Predict
) -> tuple[list[dict[str, Any]], int]:
    if cache is None:
        return predict(instances), 0
    keys = [None if isinstance(instance, InvalidInput) else cache_key(served, instance) for instance in instances]
    asked = list({key for key in keys if key is not None})
    known = dict(zip(asked, cache.get_many(asked, time.monotonic()), strict=True))
    found = [None if key is None else known[key] for key in keys]
    predicted = iter(predict([instance for instance, one in zip(instances, found, strict=True) if one is None]))
    answers = [next(predicted) if one is None else given_again(one) for one in found]
    new = {
        key: answer
        for key, answer, one in zip(keys, answers, found, strict=True)
        if key is not None and one is None and is_worth_keeping(answer)
    }
    cache.put_many(new, time.monotonic())
    return answers, sum(one is not None for one in found)


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
