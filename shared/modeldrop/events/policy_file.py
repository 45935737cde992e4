"""``policies/{model}.yaml``, from bytes to a checked policy."""

import math
from collections.abc import Iterable
from typing import Any

import yaml

from modeldrop.domain.policy import Policy
from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events.field_errors import convert

POLICY_LIMIT_BYTES = 64 << 10
MOST_DEPTH = 16


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a boolean: the key ``on`` of our policies is a word, not ``true``."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
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
    if rollout.bake_seconds * len(rollout.steps) >= rollout.deadline_seconds:
        problems.append(FieldProblem("rollout.deadline_seconds", "is not longer than all steps bake together"))
    if problems:
        raise InvalidInput(problems)
    return policy


def _load(data: bytes) -> Any:
    if len(data) > POLICY_LIMIT_BYTES:
        raise _invalid(f"larger than {POLICY_LIMIT_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
        _check_events(text)
        root = yaml.compose(text, Loader=_Loader)
        duplicates = _duplicate_keys(root)
        if duplicates:
            raise InvalidInput(duplicates)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _invalid(f"no YAML we read: {' '.join(str(error).split())[:300]}") from None


def _check_events(text: str) -> None:
    """Aliases (a bomb needs them) and deep nesting are refused before anything is built."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise _invalid("aliases are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise _invalid(f"nested deeper than {MOST_DEPTH} levels")


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
