"""What operators and approvers say, in the order of versions."""

import json

from modeldrop.domain.versions import Status
from modeldrop.handlers.rollouts.approve_version import approve_version
from modeldrop.handlers.rollouts.promote_version import Reply, promote_version
from tests.handlers.control import MODEL, Control, metadata


def promote(control: Control, version: str, *, force: bool = False) -> Reply:
    return promote_version(control.services, MODEL, version, force=force, by="ada")


def test_force_makes_a_worse_version_champion_until_a_better_one_comes(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    control.make_live("v2", 0.6, day=2)
    assert promote(control, "v2").status == "refused"
    assert promote(control, "v2", force=True).status == "accepted"
    control.settle()
    assert control.traffic == {"v2": 100}
    control.clock.forward(60)
    after = control.clock.now.isoformat()
    control.drop("v3", 0.65, day=0, created_at=after)
    assert control.tell_version("v3") == "rejected", "it beats v2, but not the best in history"
    control.drop("v4", 0.8, day=0, created_at=after)
    assert control.tell_version("v4") == "approved"
    control.settle()
    assert control.traffic == {"v4": 100}


def test_what_was_declared_before_a_command_does_not_undo_it(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    control.make_live("v2", 0.6, day=2)
    promote(control, "v2", force=True)
    control.make_live("v3", 0.9, day=3)
    assert control.traffic == {"v2": 100}
    assert control.version("v3").status is Status.SUPERSEDED


def test_a_command_given_twice_is_carried_out_once(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    control.make_live("v2", 0.6, day=2)
    promote(control, "v2", force=True)
    again = promote(control, "v2", force=True)
    assert (again.status, "already" in again.reason) == ("accepted", True)
    control.settle()
    promoted = [entry for _, entry in control.services.registry.history(MODEL) if entry.what == "promoted"]
    assert len(promoted) == 1
    assert [version.version for version in control.services.registry.versions(MODEL)] == ["v2", "v1"]


def test_the_gate_lets_an_earlier_champion_back_once_the_later_one_has_fallen(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    assert "already" in promote(control, "v1").reason
    assert promote(control, "v9").status == "refused"
    control.drop("v2", 0.7, day=2, runtime="onnx")
    control.tell_version("v2")
    assert "waits for" in promote(control, "v2", force=True).reason


def test_a_version_that_failed_comes_back_by_force_alone_and_may_fail_again(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    control.drop("v2", 0.9, day=2)
    control.tell_version("v2")
    control.fail_deployments("no quota")
    control.settle()
    assert "only force" in promote(control, "v2").reason
    assert promote(control, "v2", force=True).status == "accepted"
    control.fail_deployments("still no quota")
    control.settle()
    assert control.traffic == {"v1": 100}, "it is not tried for ever"
    assert control.head.desired == "v1"
    control.clock.forward(1)
    promote(control, "v2", force=True)
    control.settle()
    assert control.traffic == {"v2": 100}
    assert control.version("v2").status is Status.LIVE


def test_content_that_fell_is_not_deployed_again_under_another_name(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    content = {key: value for key, value in metadata("v2", 0.9, 2).items() if key != "version"}
    for version in ("v2", "v3"):
        control.put(f"models/{MODEL}/{version}/metadata.json", json.dumps(content).encode())
    control.tell_version("v2")
    control.fail_deployments("it answers nothing but errors")
    control.settle()
    assert control.tell_version("v3") == "rejected"
    rejection = control.record("v3", "rejection.json")
    assert rejection is not None
    assert "the same content has fallen as v2" in rejection["reasons"][0]
    assert promote(control, "v3", force=True).status == "accepted"
    control.settle()
    assert control.traffic == {"v3": 100}


APPROVAL = "gate: {approval: manual}\nrollout: {bake_seconds: 0, min_requests: 0, keep_warm_seconds: 0}\n"


def test_approval_by_hand(control: Control) -> None:
    control.policy(APPROVAL)
    control.drop("v1", 0.7, day=1, labels={"created_by": "bob"})
    assert control.tell_version("v1") == "awaiting_approval"
    control.settle()
    assert control.traffic == {}
    assert control.record("v1", "rejection.json") is None
    info = control.record("v1", "deployment_info.json")
    assert info is not None
    assert (info["status"], info["rule"]) == ("awaiting_approval", "awaiting_approval")
    assert approve_version(control.services, MODEL, "v1", by="bob").status == "refused", (
        "who made it does not approve it"
    )
    assert approve_version(control.services, MODEL, "v1", by="ada").status == "accepted"
    assert approve_version(control.services, MODEL, "v1", by="eve").reason == "ada has approved it already"
    control.settle()
    assert control.traffic == {"v1": 100}
    served = control.services.registry.served_at(MODEL, control.clock.now)
    assert served is not None
    assert served.by == "ada"


def test_what_the_gate_rejects_cannot_be_approved(control: Control) -> None:
    control.policy(APPROVAL.replace("manual", "manual, floors: {f1: 0.8}"))
    control.drop("v1", 0.7, day=1)
    assert control.tell_version("v1") == "rejected"
    assert approve_version(control.services, MODEL, "v1", by="ada").status == "refused"


def test_a_version_approved_late_is_judged_at_its_place(control: Control) -> None:
    control.policy(APPROVAL)
    for version, f1, day in (("v1", 0.7, 1), ("v2", 0.8, 2), ("v3", 0.75, 3)):
        control.drop(version, f1, day)
        control.tell_version(version)
    for version in ("v1", "v3"):
        assert approve_version(control.services, MODEL, version, by="ada").status == "accepted"
    control.settle()
    assert control.traffic == {"v3": 100}
    approve_version(control.services, MODEL, "v2", by="ada")
    control.settle()
    assert control.traffic == {"v2": 100}
    assert control.version("v3").status is Status.REJECTED


def test_the_history_names_everything_that_happened(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    entries = [entry for _, entry in reversed(control.services.registry.history(MODEL))]
    assert [entry.what for entry in entries] == ["approved", "deploying", "shifting", "baking", "live"]
    assert {entry.version for entry in entries} == {"v1"}


def test_force_does_not_stand_in_for_a_signature_or_a_second_pair_of_eyes(control: Control) -> None:
    control.policy("gate: {require_signature: true}\n")
    control.drop("v1", 0.7, day=1)
    assert control.tell_version("v1") == "rejected"
    assert "requires a signature" in promote(control, "v1", force=True).reason
    control.policy(APPROVAL.replace("manual", "manual, floors: {f1: 0.8}"))
    control.drop("v2", 0.7, day=2, lineage={"created_by": "ada"})
    assert control.tell_version("v2") == "rejected"
    assert "somebody else" in promote(control, "v2", force=True).reason
    by_another = promote_version(control.services, MODEL, "v2", force=True, by="eve")
    assert by_another.status == "accepted"
    assert control.head.desired == "v2"
