"""The desired champion as a fold over the versions in order of declared time.

Each version's record carries the standing after it. So a version that arrives last in order needs its predecessor
alone, and one that arrives in the middle is folded in from there until the standings agree with what is stored.
"""

from collections.abc import Iterable, Iterator

import msgspec

from modeldrop.domain.gate import APPROVED, REJECTED, decide, score_over
from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.presets import weighing
from modeldrop.domain.versions import Command, Contender, Decision, ModelVersion, Standing


def fold(
    versions: Iterable[ModelVersion], standing: Standing, policy: GatePolicy, policy_digest: str | None = None
) -> Iterator[ModelVersion]:
    """Each version with its decision and the standing after it; ``standing`` is the one before the first."""
    for version in versions:
        standing, decided = step(version, standing, policy, policy_digest)
        yield decided


def command_step(command: Command, standing: Standing) -> Command:
    """The command with the standing after it: its version is champion, whatever the gate says of it."""
    if command.void:
        return msgspec.structs.replace(command, standing=standing)
    best = standing.best or command.champion
    return msgspec.structs.replace(command, standing=Standing(champion=command.champion, best=best))


def step(
    version: ModelVersion, standing: Standing, policy: GatePolicy, policy_digest: str | None
) -> tuple[Standing, ModelVersion]:
    """One step of the fold: the standing after ``version``, and the version with its decision."""
    if not version.is_candidate:
        decision = _decision_without_a_fold(version)
    else:
        decision = decide(version, standing, policy, policy_digest)
        if decision.verdict == APPROVED:
            standing = _with_champion(standing, version, policy)
    return standing, msgspec.structs.replace(version, decision=decision, standing=standing)


def _with_champion(standing: Standing, version: ModelVersion, policy: GatePolicy) -> Standing:
    assert version.metadata is not None
    by = version.approval.by if version.approval else "gate"
    new = Contender(version.version, version.key, version.metadata.metrics, by)
    weigh = weighing(policy, new.metrics)
    old = None if standing.best is None else score_over(standing.best.metrics, weigh, standing.best.metrics)
    own = score_over(new.metrics, weigh, new.metrics)
    keeps = own is None or (old is not None and old > own)
    return Standing(champion=new, best=standing.best if standing.best is not None and keeps else new)


def _decision_without_a_fold(version: ModelVersion) -> Decision | None:
    """What is said of versions that are no candidates."""
    if version.problems:
        return Decision(REJECTED, "invalid_package", [str(problem) for problem in version.problems])
    if version.late:
        return Decision(REJECTED, "late_arrival", [f"{version.late}: history, no candidate"])
    if version.fallen:
        earlier = version.decision
        return earlier or Decision(REJECTED, "fallen", [version.fallen])
    return None  # waits for artifacts
