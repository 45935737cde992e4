"""The pointer that services follow: what is written is read, and nothing else is."""

import json

import pytest

from modeldrop.domain.serving_pointer import (
    MOST_WARM,
    POINTER_LIMIT_BYTES,
    ServingPointer,
    Swappable,
    pointer_name,
    pointer_to,
    read_pointer,
    swapped,
    with_warm,
    without,
    write_pointer,
)
from modeldrop.errors import InvalidInput

POINTER = ServingPointer("fraud", "v3", "0123456789abcdef" * 4, "verified/fraud/0123")


def test_as_it_stands_in_the_bucket() -> None:
    assert pointer_name("fraud") == "serving/fraud.json"
    assert json.loads(write_pointer(POINTER)) == {
        "model": "fraud",
        "version": "v3",
        "digest": "0123456789abcdef" * 4,
        "folder": "verified/fraud/0123",
    }


def test_a_newer_control_plane_may_say_more() -> None:
    more = json.dumps(json.loads(write_pointer(POINTER)) | {"since": "2026-01-01", "deep": [[{}]]}).encode()
    assert read_pointer(more, "fraud") == POINTER


WRONG = {
    "of another model": ({"model": "other"}, ["model"]),
    "a version nothing can be called": ({"version": "../v3"}, ["version"]),
    "a digest in capitals": ({"digest": "A" * 64}, ["digest"]),
    "a folder out of the bucket": ({"folder": "verified/fraud/../../../b"}, ["folder"]),
    "a folder from the root": ({"folder": "/verified/fraud/a"}, ["folder"]),
    "a folder with a slash at its end": ({"folder": "verified/fraud/a/"}, ["folder"]),
    "a folder that anybody may write to": ({"folder": "models/fraud/v3"}, ["folder"]),
    "another model's folder": ({"folder": "verified/other/0123"}, ["folder"]),
    "another model's folder on a detour": ({"folder": "verified/fraud/../other/0123"}, ["folder"]),
    "a model whose name only begins so": ({"folder": "verified/fraud2/0123"}, ["folder"]),
    "the folder of all versions": ({"folder": "verified/fraud"}, ["folder"]),
    "no folder": ({"folder": ""}, ["folder"]),
    "all at once": (
        {"model": "", "version": "", "digest": "", "folder": ".."},
        ["model", "version", "digest", "folder"],
    ),
    "a wrong type": ({"version": 3}, ["$"]),
}


@pytest.mark.parametrize(("changes", "named"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(changes: dict[str, object], named: list[str]) -> None:
    data = json.dumps(json.loads(write_pointer(POINTER)) | changes).encode()
    with pytest.raises(InvalidInput) as caught:
        read_pointer(data, "fraud")
    assert [problem.field for problem in caught.value.problems] == named


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"{}", b'{"x":' + b"[" * 8_000, b'{"model": NaN}'])
def test_no_pointer_at_all(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_pointer(data, "fraud")


def test_nothing_is_written_that_could_not_be_read() -> None:
    with pytest.raises(InvalidInput):
        write_pointer(ServingPointer("Fraud", "v3", "0" * 64, "a"))


def one(version: str) -> Swappable:
    return Swappable(version, "0" * 64, f"verified/fraud/{version}")


def names(pointer: ServingPointer | None) -> list[str]:
    """The warm ones, the first to be forgotten first, and then the current."""
    assert pointer is not None
    return [*(warm.version for warm in pointer.warm), pointer.version]


def test_versions_take_turns() -> None:
    pointer = with_warm(pointer_to("fraud", one("v1")), one("v2"))
    assert names(pointer) == ["v2", "v1"]
    assert names(swapped(pointer, "v2")) == ["v1", "v2"]
    assert names(swapped(swapped(pointer, "v2"), "v1")) == ["v2", "v1"]
    assert names(swapped(pointer, "v1")) == ["v2", "v1"]
    assert names(without(pointer, "v2")) == ["v1"]
    assert names(without(pointer, "v1")) == ["v2"]
    assert names(without(pointer, "v9")) == ["v2", "v1"]
    assert read_pointer(write_pointer(pointer), "fraud") == pointer


def test_the_oldest_are_forgotten_and_it_never_grows_too_large() -> None:
    longest = [
        Swappable(f"v{number:03d}".ljust(128, "x"), "f" * 64, f"verified/{'m' * 63}/{'e' * 64}") for number in range(40)
    ]
    pointer = pointer_to("m" * 63, longest[0])
    for version in longest[1:]:
        pointer = swapped(with_warm(pointer, version), version.version)
    assert names(pointer) == [version.version for version in longest[-MOST_WARM - 1 :]]
    assert len(write_pointer(pointer)) < POINTER_LIMIT_BYTES
    assert read_pointer(write_pointer(pointer), "m" * 63) == pointer


def test_what_is_wrong_with_a_warm_one_is_named() -> None:
    wrong = pointer_to("fraud", one("v1"), [one("v2"), Swappable("..", "0", "/")])
    with pytest.raises(InvalidInput) as caught:
        write_pointer(wrong)
    assert [problem.field for problem in caught.value.problems] == ["warm.1.version", "warm.1.digest", "warm.1.folder"]
