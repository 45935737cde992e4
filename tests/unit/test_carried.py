"""How an endpoint with a carrier is shown, and a split said to the machines."""

import pytest

from modeldrop.adapters.hot_swap.carried import Carried
from modeldrop.domain.endpoint import CARRIER
from modeldrop.domain.packages import VERSION_NAME
from modeldrop.domain.serving_pointer import Swappable, pointer_to
from modeldrop.errors import Refused
from modeldrop.ports import DeployedVersion, Endpoint


def one(version: str) -> Swappable:
    return Swappable(version, "0" * 64, f"verified/fraud/{version}")


def carried(percent: int, *versions: str, **own: int) -> Carried:
    """A carrier with that share of traffic, on the last of ``versions``; the others are warm; ``own`` by version."""
    carrier = DeployedVersion(CARRIER, "77", percent)
    others = tuple(DeployedVersion(version, version.removeprefix("v"), share) for version, share in own.items())
    pointer = pointer_to("fraud", one(versions[-1]), map(one, versions[:-1])) if versions else None
    return Carried(Endpoint("fraud", "e1", (*others, carrier)), carrier, pointer, 5)


def shown(what: Carried) -> list[tuple[str, str, int]]:
    return [(d.version, d.deployed_id, d.traffic_percent) for d in what.shown().deployed]


def test_no_version_can_be_called_as_the_carrier_is() -> None:
    assert VERSION_NAME.fullmatch(CARRIER) is None


def test_a_carrier_is_shown_as_what_it_carries() -> None:
    assert shown(carried(90, "v1", "v3", v2=10)) == [("v1", "77 v1", 0), ("v2", "2", 10), ("v3", "77", 90)]
    assert carried(100, "v1").shown().etag == "e1 5"


def test_a_carrier_without_a_pointer_goes_by_its_own_name() -> None:
    assert shown(carried(100)) == [(CARRIER, "77", 100)]


def test_no_version_is_listed_twice() -> None:
    """It has a deployment of its own as well: the one with traffic counts."""
    assert shown(carried(0, "v1", v1=100)) == [("v1", "1", 100)]
    assert shown(carried(100, "v1", v1=0)) == [("v1", "77", 100)]
    assert shown(carried(0, "v1", "v2", v1=100)) == [("v1", "1", 100), ("v2", "77", 0)]


def test_a_split_in_the_machines_words() -> None:
    both = carried(0, "v1", "v3", v2=100)
    assert both.of_machines({"v2": 30, "v3": 70}) == {"v2": 30, CARRIER: 70}
    assert both.of_machines({"v1": 100, "v3": 0}) == {CARRIER: 100}
    assert carried(0, "v1", v1=100).of_machines({"v1": 100}) == {"v1": 100}
    with pytest.raises(Refused, match="v1 and v3 share one deployment"):
        both.of_machines({"v1": 50, "v3": 50})
    with pytest.raises(Refused, match="not behind the endpoint"):
        both.of_machines({CARRIER: 100})
