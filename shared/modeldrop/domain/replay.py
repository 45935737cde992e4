"""A stored decision, made again from its own record: who doubts it needs neither the registry nor the policy file."""

from modeldrop.domain.gate import judge
from modeldrop.domain.versions import Contender, Decision, Standing


def replay(decision: Decision) -> Decision | None:
    """The decision the gate comes to on the recorded facts, yardsticks and policy: an equal one.

    None where nothing was judged: a package that could not be read, or one that came too late.
    """
    if decision.facts is None or decision.gate is None:
        return None
    return judge(decision.facts, recorded_standing(decision), decision.gate, decision.policy)


def recorded_standing(decision: Decision) -> Standing:
    """Champion and best in history, as far as the decision looked at them."""
    found = {y.role: Contender(y.version, "", y.metrics) for y in decision.yardsticks}
    return Standing(found.get("production"), found.get("best"))
