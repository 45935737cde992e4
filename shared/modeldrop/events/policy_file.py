"""``policies/{model}.yaml``, from bytes to a checked policy."""

import math
from collections.abc import Iterable
from typing import Any

import yaml

from modeldrop.domain.policy import Policy, RolloutPolicy
from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events.field_errors import convert

POLICY_LIMIT_BYTES = 64 << 10
MOST_DEPTH = 16
MOST_EVENTS = 4_000


class _Loader(yaml.SafeLoader):
    """YAML's core schema: null, booleans, numbers, text. No dates, no merging, and ``on`` is a word."""


_BOOLEAN = "tag:yaml.org,2002:bool"
_LEFT_OUT = {f"tag:yaml.org,2002:{kind}" for kind in ("timestamp", "merge", "value", "yaml")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag not in _LEFT_OUT and (tag != _BOOLEAN or first in "tTfF")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_policy(data: bytes) -> Policy:
    """The policy; raises InvalidInput with everything that is wrong with the file.

    >>> read_policy(b"rollout: {bake_seconds: 0}\\nretrain: {on: [data_drift]}").rollout.bake_seconds
    0.0
    """
    document = _load(data)
    infinite = _not_finite(document, "")
    if infinite:
        raise InvalidInput(infinite)
    policy = convert({} if document is None else document, Policy)
    problems = [
        FieldProblem(f"gate.scale.{metric}", "worst and best are the same")
        for metric, (worst, best) in policy.gate.scale.items()
        if worst == best
    ]
    if policy.gate.preset == "custom" and not policy.gate.weights:
        problems.append(FieldProblem("gate.weights", "the preset custom needs weights"))
    rollout = policy.rollout
    if any(later <= earlier for earlier, later in zip(rollout.steps, rollout.steps[1:], strict=False)):
        problems.append(FieldProblem("rollout.steps", "must increase"))
    if set(rollout.approve_steps) - set(_shares(rollout)):
        problems.append(FieldProblem("rollout.approve_steps", f"must be of {_shares(rollout)}"))
    if policy.drift.tests.get("categorical") in {"ks", "wasserstein"}:
        problems.append(
            FieldProblem("drift.tests.categorical", "must be psi or jensen_shannon: the others compare numbers")
        )
    if policy.drift.false_discovery_rate == 0:
        problems.append(FieldProblem("drift.false_discovery_rate", "must be above 0: with 0 nothing ever drifts"))
    if policy.quality.metric is None and (policy.quality.min is not None or policy.quality.max_drop is not None):
        problems.append(FieldProblem("quality.metric", "is required with min or max_drop"))
    if rollout.bake_seconds >= rollout.deadline_seconds:
        problems.append(FieldProblem("rollout.deadline_seconds", "is not longer than a step bakes"))
    if problems:
        raise InvalidInput(problems)
    return policy


def _shares(rollout: RolloutPolicy) -> list[int]:
    """The shares of traffic that a rollout comes to."""
    shares = {"canary": [*rollout.steps, 100], "blue_green": [0, 100], "all_at_once": [100], "hot_swap": [100]}
    return shares[rollout.strategy]


def _load(data: bytes) -> Any:
    if len(data) > POLICY_LIMIT_BYTES:
        raise _invalid(f"larger than {POLICY_LIMIT_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
        _check_events(text)
        loader = _Loader(text)
        root = loader.get_single_node()
        duplicates = _duplicate_keys(root)
        if duplicates:
            raise InvalidInput(duplicates)
        return None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError) as error:
        raise _invalid(f"no YAML we read: {' '.join(str(error).split())[:300]}") from None


def _check_events(text: str) -> None:
    """Before anything is built: no aliases (a bomb needs them), no tags, no deep nesting, no lone surrogates."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _invalid("anchors and aliases are not allowed")
        if getattr(event, "tag", None) is not None:
            raise _invalid("tags are not allowed")
        if isinstance(event, yaml.ScalarEvent):
            event.value.encode()  # an escaped surrogate raises UnicodeEncodeError, a ValueError
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise _invalid(f"nested deeper than {MOST_DEPTH} levels")
        if number > MOST_EVENTS:
            raise _invalid("more than a policy can need")


def _duplicate_keys(node: Any) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        problems += [
            FieldProblem(str(n)[:128], "stands twice") for n in sorted({n for n in names if names.count(n) > 1})
        ]
        problems += [p for _, value in node.value for p in _duplicate_keys(value)]
    elif isinstance(node, yaml.SequenceNode):
        problems += [p for value in node.value for p in _duplicate_keys(value)]
    return problems


def _not_finite(value: object, path: str) -> list[FieldProblem]:
    """YAML has infinities and NaN; no field of ours has."""
    if isinstance(value, float) and not math.isfinite(value):
        return [FieldProblem(path or "$", "is not a finite number")]
    parts: Iterable[tuple[str, object]] = ()
    if isinstance(value, dict):
        parts = [(f"{path}.{name}" if path else str(name), part) for name, part in value.items()]
    elif isinstance(value, list):
        parts = [(f"{path}[{index}]", part) for index, part in enumerate(value)]
    return [problem for name, part in parts for problem in _not_finite(part, name)]


def _invalid(message: str) -> InvalidInput:
    return InvalidInput([FieldProblem("$", message)])
