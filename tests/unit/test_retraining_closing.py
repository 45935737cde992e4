"""Which version closes an episode, and whether it was worth it."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import msgspec
import pytest

from modeldrop.domain.retraining.closing import came_of, gained, why_no_gain
from modeldrop.domain.retraining.episode import FAILED, RUNNING, SUCCEEDED, Episode, Run, TrainingRequest
from modeldrop.domain.versions import Metadata, ModelVersion, Status, order_key

OPENED = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
EPISODE = Episode(
    TrainingRequest("fraud-1", "fraud", "v1", "data_drift", None, None),
    "",
    "modeldrop",
    OPENED,
    OPENED + HOUR,
    "",
    status=RUNNING,
    run=Run("r-77"),
    accepted_at=OPENED + HOUR / 2,
)


def version(
    name: str, hours: float = 1, status: Status = Status.APPROVED, labels: dict[str, str] | None = None, **lineage: str
) -> ModelVersion:
    arrived = OPENED + hours * HOUR
    return ModelVersion(
        "fraud",
        name,
        order_key(arrived, name),
        status,
        f"models/fraud/{name}/metadata.json",
        1,
        name,
        arrived,
        arrived,
        "upload",
        Metadata("scorecard", lineage=lineage, labels=labels or {}),
    )


@pytest.mark.parametrize("lineage", [{"run_id": "fraud-1"}, {"run_id": "r-77"}, {"parent": "v1"}])
def test_a_version_says_what_it_came_of(lineage: dict[str, str]) -> None:
    found = version("v2", **lineage)
    assert came_of(EPISODE, [version("v3"), found]) == found


def test_the_first_to_arrive_and_a_run_before_a_parent() -> None:
    late, first = version("v3", 3, run_id="fraud-1"), version("v2", 2, run_id="r-77")
    child = version("v4", 1, parent="v1")
    for order in permutations([late, first, child]):
        assert came_of(EPISODE, order) == first


@pytest.mark.parametrize(
    "other",
    [
        version("v2"),
        version("v2", run_id="fraud-2"),
        version("v2", parent="v0"),
        version("v2", parent="v1", run_id="somebody-else"),
        version("v2", -0.1, run_id="fraud-1"),  # it was there before anybody asked
        version("v2", parent="v1", labels={"proposal": "v1-threshold"}),
        version("v2", 0.4, parent="v1"),  # nobody had taken the order yet
        msgspec.structs.replace(version("v2", run_id="fraud-1"), metadata=None),
    ],
)
def test_what_did_not_come_of_it(other: ModelVersion) -> None:
    assert came_of(EPISODE, [other]) is None


def test_a_run_counts_for_more_than_a_label() -> None:
    """Metadata are copied from version to version, labels and all."""
    found = version("v2", run_id="fraud-1", labels={"proposal": "v1-threshold"})
    assert came_of(EPISODE, [found]) == found


def test_only_an_order_that_was_taken_has_children() -> None:
    child = version("v2", parent="v1")
    asked = msgspec.structs.replace(EPISODE, accepted_at=None)
    assert came_of(asked, [child]) is None
    assert came_of(msgspec.structs.replace(EPISODE, status=SUCCEEDED), [child]) == child
    by_run = version("v3", 0.1, run_id="fraud-1")  # somebody trained by hand, and says what for
    assert came_of(asked, [child, by_run]) == by_run


def test_of_an_episode_that_has_failed_comes_only_what_names_its_run() -> None:
    failed = msgspec.structs.replace(EPISODE, status=FAILED)
    late = version("v3", 5, run_id="r-77")
    assert came_of(failed, [version("v2", parent="v1"), late]) == late
    assert came_of(failed, [version("v2", parent="v1")]) is None


def test_an_episode_without_a_run_id_matches_no_version_without_one() -> None:
    assert came_of(msgspec.structs.replace(EPISODE, run=Run()), [version("v2")]) is None


@pytest.mark.parametrize("status", [Status.REJECTED, Status.FAILED, Status.ROLLED_BACK])
def test_versions_that_fell_are_no_gain(status: Status) -> None:
    fallen = version("v2", status=status)
    assert gained(fallen, serves_since=None, watched_seconds=60, now=OPENED) is False
    assert why_no_gain(fallen) != ""


def test_a_live_version_is_a_gain_when_its_watch_is_over() -> None:
    live = version("v2", status=Status.LIVE)
    assert gained(live, serves_since=OPENED, watched_seconds=60, now=OPENED + timedelta(seconds=59)) is None
    assert gained(live, serves_since=OPENED, watched_seconds=60, now=OPENED + timedelta(seconds=60)) is True


@pytest.mark.parametrize("rolled_out", [True, False])
def test_one_that_others_came_after(rolled_out: bool) -> None:
    over = msgspec.structs.replace(version("v2", status=Status.SUPERSEDED), rolled_out=rolled_out)
    assert gained(over, serves_since=None, watched_seconds=60, now=OPENED) is rolled_out


@pytest.mark.parametrize(
    "status", [Status.RECEIVED, Status.APPROVED, Status.AWAITING_APPROVAL, Status.CANARY, Status.PAUSED]
)
def test_what_is_under_way_is_not_judged(status: Status) -> None:
    assert gained(version("v2", status=status), serves_since=None, watched_seconds=60, now=OPENED) is None
