"""The main job over the local adapters: order, duplicates, races, lateness, restarts."""

import json
import random
import tempfile
import threading
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.domain.rollout import Phase
from modeldrop.domain.versions import Status
from modeldrop.errors import Conflict
from modeldrop.ports import Bucket
from tests.handlers.control import FAST, MODEL, Control, metadata


def test_a_package_becomes_live(control: Control) -> None:
    control.drop("v1", 0.7, day=1)
    assert control.tell_version("v1") == "approved"
    control.settle()
    assert control.version("v1").status is Status.LIVE
    assert control.traffic == {"v1": 100}
    info = control.record("v1", "deployment_info.json")
    assert info is not None
    assert (info["status"], info["rule"]) == ("live", "first_model")
    assert control.record("v1", "model_comparison.json") is not None
    assert control.record("v1", "rejection.json") is None


def test_a_better_one_takes_over_step_by_step_and_the_old_one_is_retired(control: Control) -> None:
    control.policy("rollout: {steps: [5, 50, 100], bake_seconds: 10, min_requests: 0, keep_warm_seconds: 100}\n")
    control.drop("v1", 0.7, day=1)
    control.tell_version("v1")
    control.settle_until_live("v1")
    control.drop("v2", 0.8, day=2)
    control.tell_version("v2")
    seen = []
    while control.version("v2").status is not Status.LIVE:
        control.serve()
        control.tick()
        if control.traffic not in seen:
            seen.append(control.traffic)
        control.clock.forward(1)
    assert seen == [{"v1": 95, "v2": 5}, {"v1": 50, "v2": 50}, {"v2": 100}]
    (rollout, _) = control.services.registry.rollouts(MODEL)
    assert [entry.percent for entry in rollout.entries if entry.phase is Phase.BAKING] == [5, 50, 100]
    assert control.version("v1").status is Status.SUPERSEDED
    assert control.deployed == ["v1", "v2"], "the predecessor stays warm"
    control.clock.forward(100)
    control.settle()
    assert control.deployed == ["v2"]


def test_a_worse_one_is_rejected_with_its_reason(control: Control) -> None:
    control.drop("v1", 0.7, day=1)
    control.drop("v2", 0.6, day=2)
    control.tell_version("v1")
    assert control.tell_version("v2") == "rejected"
    control.settle()
    rejection = control.record("v2", "rejection.json")
    assert rejection is not None
    assert rejection["rule"] == "no_improvement"
    assert "0.6000 against 0.7000 of v1" in rejection["reasons"][0]
    assert control.traffic == {"v1": 100}


PACKAGES = {"v1": (0.7, 1), "v2": (0.8, 2), "v3": (0.75, 3), "v4": (0.9, 4)}


def play(order: list[str], settle_between: list[bool]) -> dict[str, object]:
    """Deliver the events in ``order`` (each package is dropped when it is first told), then settle."""
    with tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        control.policy(FAST)
        for version, settle in zip(order, settle_between, strict=True):
            path = control.data / "bucket/models" / MODEL / version
            if not path.exists():
                control.drop(version, *PACKAGES[version])
            control.tell_version(version)
            if settle:
                control.settle()
        control.settle()
        return control.end_state()


def test_every_order_of_arrival_ends_in_the_same_state() -> None:
    """All permutations of four packages, without and with a rollout finished in between."""
    expected = play(["v1", "v2", "v3", "v4"], [True] * 4)
    assert expected["production"] == "v4"
    for order in permutations(PACKAGES):
        assert play(list(order), [False] * 4) == expected, order
    for order in random.Random(1).sample(list(permutations(PACKAGES)), 8):
        assert play(list(order), [True] * 4) == expected, order


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(PACKAGES)), st.booleans()), max_size=10),
    st.permutations(sorted(PACKAGES)),
)
def test_duplicates_change_nothing(deliveries: list[tuple[str, bool]], last: list[str]) -> None:
    order = [version for version, _ in deliveries] + last
    between = [settle for _, settle in deliveries] + [False] * len(last)
    assert play(order, between) == play(["v1", "v2", "v3", "v4"], [True] * 4)


def test_the_same_event_again_writes_nothing(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    before = control.services.documents.get(f"models/{MODEL}")
    files = {path: path.stat().st_mtime_ns for path in (control.data / "bucket").rglob("*")}
    for _ in range(3):
        control.tell_version("v1")
    assert control.services.documents.get(f"models/{MODEL}") == before
    assert {path: path.stat().st_mtime_ns for path in (control.data / "bucket").rglob("*")} == files


def test_uploads_at_the_same_time(control: Control) -> None:
    """Eight instances get the events of four packages, each twice, all at once."""
    for version, (f1, day) in PACKAGES.items():
        control.drop(version, f1, day)
    failures: list[BaseException] = []
    gate = threading.Barrier(8)

    def instance(versions: list[str]) -> None:
        services = control.another_instance()
        gate.wait()
        for version in versions:
            try:
                control.tell_version(version, services)
            except Conflict:  # redelivery
                control.tell_version(version, services)
            except BaseException as error:
                failures.append(error)

    orders = [random.Random(seed).sample(sorted(PACKAGES), 4) for seed in range(8)]
    threads = [threading.Thread(target=instance, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    control.settle()
    assert control.end_state() == play(["v1", "v2", "v3", "v4"], [True] * 4)


@pytest.mark.parametrize(("waited", "champion", "status"), [(0, "v1", "live"), (7200, "v2", "rejected")])
def test_an_older_version_that_arrives_late(control: Control, waited: int, champion: str, status: str) -> None:
    """Within ``late_seconds`` it is folded in at its place (and wins, being better); after that it is history."""
    control.clock.forward(-waited)  # the file's own time of arrival is the present
    control.make_live("v2", 0.8, day=2)
    control.make_live("v1", 0.9, day=1)
    assert control.head.production is not None
    assert control.head.production.version == champion
    assert control.version("v1").status == status
    late = control.version("v1").decision
    assert late is not None
    assert (late.rule == "late_arrival") is (waited > 0)


def test_a_newer_version_supersedes_a_running_canary(control: Control) -> None:
    control.policy("rollout: {steps: [50, 100], bake_seconds: 60, min_requests: 0, keep_warm_seconds: 0}\n")
    control.drop("v1", 0.7, day=1)
    control.tell_version("v1")
    control.settle_until_live("v1")
    control.drop("v2", 0.8, day=2)
    control.tell_version("v2")
    control.serve()
    control.tick()
    assert control.traffic == {"v1": 50, "v2": 50}
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    assert control.traffic == {"v1": 100}, "the canary's traffic went back"
    control.settle_until_live("v3")
    control.settle()
    assert control.version("v2").status is Status.SUPERSEDED
    assert control.deployed == ["v3"]


def test_a_failed_deployment_leaves_production_alone_and_is_no_yardstick(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    control.drop("v2", 0.9, day=2)
    control.tell_version("v2")
    control.fail_deployments("the container exits with 1")
    control.tick()
    assert control.version("v2").status is Status.FAILED
    assert "the container exits with 1" in (control.version("v2").fallen or "")
    assert control.traffic == {"v1": 100}
    control.make_live("v3", 0.8, day=3)
    assert control.version("v3").status is Status.LIVE, "it beats v1; v2's better score does not count"


def test_a_restart_in_the_middle_of_a_rollout(control: Control) -> None:
    """A new process with nothing but the stored state goes on where the old one stopped, after every pass."""
    control.drop("v1", 0.7, day=1)
    control.drop("v2", 0.8, day=2)
    for version in ("v1", "v2"):
        control.tell_version(version)
        for _ in range(40):
            control.services = control.another_instance()
            control.serve()
            control.tick()
    assert control.end_state()["production"] == "v2"
    assert control.deployed == ["v2"]


def test_other_content_under_a_registered_name_is_refused(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    digest = control.version("v1").digest
    control.drop("v1", 0.99, day=1)
    assert control.tell_version("v1") == "refused"
    assert control.version("v1").digest == digest
    rejection = control.record("v1", "rejection.json")
    assert rejection is not None
    assert "a version never changes" in rejection["reasons"][0]


def test_a_rejected_package_can_be_mended_under_the_same_name(control: Control) -> None:
    control.drop("v1", 0.7, day=1, runtime="abacus")
    assert control.tell_version("v1") == "rejected"
    control.drop("v1", 0.7, day=1)
    assert control.tell_version("v1") == "approved"
    control.settle()
    assert control.version("v1").status is Status.LIVE
    assert control.record("v1", "rejection.json") is None
    assert len(control.services.registry.versions(MODEL)) == 1


def test_validation_that_arrives_after_the_metadata_still_counts(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    control.drop("v2", 0.8, day=2)
    control.tell_version("v2")
    control.put(f"models/{MODEL}/v2/validation_report.json", b'{"passed": false}')
    control.tell(f"models/{MODEL}/v2/validation_report.json")
    control.settle()
    assert control.traffic == {"v1": 100}
    decision = control.version("v2").decision
    assert decision is not None
    assert decision.rule == "validation_failed"


def test_policy_and_package_in_any_order(control: Control) -> None:
    """The package's event comes first; the policy that lies in the bucket is in force all the same."""
    control.policy("gate: {floors: {f1: 0.9}}\n")
    control.drop("v1", 0.7, day=1)
    assert control.tell_version("v1") == "rejected"
    assert control.tell(f"policies/{MODEL}.yaml") == "in force"


def test_a_bad_policy_changes_nothing_and_says_why(control: Control) -> None:
    control.tell(f"policies/{MODEL}.yaml")
    control.policy("rollout: {bake_seconds: soon, stepps: [1]}\n")
    assert control.tell(f"policies/{MODEL}.yaml") == "rejected"
    record = (control.data / f"bucket/policies/{MODEL}.rejection.json").read_text()
    assert "rollout.bake_seconds" in record
    assert "rollout.stepps" in record
    assert control.services.registry.policy(MODEL).value.policy.rollout.bake_seconds == 0
    control.policy(FAST)
    assert control.tell(f"policies/{MODEL}.yaml") == "in force"
    assert not (control.data / f"bucket/policies/{MODEL}.rejection.json").exists()


def test_a_policy_with_every_kind_of_value_is_kept(control: Control) -> None:
    control.policy("gate: {weights: {mae: 1}, scale: {mae: [10, 0]}}\nnotify: [{type: slack, on: [promoted]}]\n")
    assert control.tell(f"policies/{MODEL}.yaml") == "in force"
    assert control.services.registry.policy(MODEL).value.policy.gate.scale == {"mae": [10.0, 0.0]}
    control.policy("retrain: {target: {type: webhook, lists: [[1, 2]]}}\n")
    assert control.tell(f"policies/{MODEL}.yaml") == "rejected", "no document can hold a list of lists"
    assert control.services.registry.policy(MODEL).value.policy.gate.scale == {"mae": [10.0, 0.0]}


class SlowReader:
    """A bucket whose answer to the first read of a package's metadata takes long: ``meanwhile`` happens."""

    def __init__(self, bucket: Bucket, meanwhile: Callable[[], object]) -> None:
        self._bucket = bucket
        self._meanwhile: Callable[[], object] | None = meanwhile

    def read(self, name: str, **options: Any) -> Any:
        found = self._bucket.read(name, **options)
        if name.endswith("validation_report.json") and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)


def test_a_slow_instance_does_not_overwrite_what_a_faster_one_saw_later(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    control.drop("v2", 0.8, day=2)

    def validation_fails() -> None:
        control.put(f"models/{MODEL}/v2/validation_report.json", b'{"passed": false}')
        assert control.tell(f"models/{MODEL}/v2/validation_report.json") == "rejected"

    slow = control.another_instance()
    object.__setattr__(slow, "bucket", SlowReader(slow.bucket, validation_fails))
    control.tell_version("v2", slow)
    control.settle()
    assert control.version("v2").status is Status.REJECTED
    assert control.traffic == {"v1": 100}


def test_a_version_that_has_been_out_is_never_replaced(control: Control) -> None:
    """v2 serves, then a better v1 turns up in time: v2 is rejected afterwards, and its name stays taken."""
    control.make_live("v2", 0.8, day=2)
    control.make_live("v1", 0.9, day=1)
    assert control.version("v2").status is Status.REJECTED
    control.drop("v2", 0.99, day=2)
    assert control.tell_version("v2") == "refused"
    control.drop("v2", 0.8, day=2)
    assert control.tell_version("v2") == "rejected"
    rejection = control.record("v2", "rejection.json")
    assert rejection is not None
    assert rejection["rule"] == "no_improvement", "what is said of the refused content is gone with it"


def test_an_approved_version_that_is_overtaken_while_another_rolls_out(control: Control) -> None:
    for version, f1, day in (("v1", 0.7, 1), ("v2", 0.75, 2), ("v3", 0.8, 3), ("v4", 0.9, 4)):
        control.drop(version, f1, day)
        control.tell_version(version)
    control.settle()
    statuses = [control.version(f"v{number}").status for number in (1, 2, 3, 4)]
    assert statuses == [Status.SUPERSEDED] * 3 + [Status.LIVE]


def test_a_package_removed_while_it_waits_for_its_artifacts(control: Control) -> None:
    control.drop("v1", 0.7, day=1, runtime="onnx")
    assert control.tell_version("v1") == "received"
    (control.data / f"bucket/models/{MODEL}/v1/metadata.json").unlink()
    control.settle()
    assert control.version("v1").status is Status.REJECTED
    assert control.head.waiting == []


def test_artifacts_are_waited_for_with_a_deadline(control: Control) -> None:
    control.drop("v1", 0.7, day=1, runtime="onnx")
    assert control.tell_version("v1") == "received"
    info = control.record("v1", "deployment_info.json")
    assert info is not None
    assert info["waiting_for"] == [f"models/{MODEL}/v1/model.onnx"]
    control.clock.forward(901)
    control.settle()
    decision = control.version("v1").decision
    assert decision is not None
    assert (decision.rule, "model.onnx" in decision.reasons[0]) == ("invalid_package", True)
    control.put(f"models/{MODEL}/v1/model.onnx", b"weights")
    assert control.tell(f"models/{MODEL}/v1/model.onnx") == "approved", "better late than never"


def test_who_was_judged_before_keeps_the_policy_it_was_judged_by(control: Control) -> None:
    control.make_live("v1", 0.7, day=2)
    control.policy("gate: {floors: {f1: 0.75}}\n")
    control.drop("v0", 0.6, day=1)
    assert control.tell_version("v0") == "rejected"
    assert control.version("v1").status is Status.LIVE
    assert control.head.desired == "v1"


def test_a_rollout_that_ends_while_its_version_is_being_deployed_leaves_nothing_behind(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    control.drop("v2", 0.8, day=2)
    control.tell_version("v2")
    control.put(f"models/{MODEL}/v2/validation_report.json", b'{"passed": false}')
    control.tell(f"models/{MODEL}/v2/validation_report.json")
    control.tick()
    assert control.deployed == ["v1"], "it is still coming up"
    control.settle()
    assert control.deployed == ["v1"]


def test_one_model_in_trouble_does_not_stop_the_tick_for_others(control: Control) -> None:
    control.drop("v1", 0.7, day=1)
    control.tell_version("v1")
    other = json.dumps(metadata("v1", 0.7, 1, model="alpha", runtime="onnx")).encode()
    control.put("models/alpha/v1/metadata.json", other)
    control.tell("models/alpha/v1/metadata.json")
    (control.data / "bucket/models/alpha/v1").rename(control.data / "elsewhere")
    (control.data / "bucket/models/alpha/v1").symlink_to(control.data / "elsewhere")
    control.serve()
    report = control.tick()
    assert list(report.errors) == ["alpha"]
    assert MODEL in report.moved
    assert control.version("v1").status is Status.LIVE
