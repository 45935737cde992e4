"""The response cache: what is kept, how long, how much; nothing wrong is ever given again."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from modeldrop.handlers.serving.response_cache import ResponseCache, cache_key, is_worth_keeping

ANSWER = {"score": 0.5, "decision": True}
MUCH = 1_000_000


def test_kept_for_its_time_and_no_longer() -> None:
    cache = ResponseCache(10.0, MUCH)
    cache.put(b"a", ANSWER, 100.0)
    assert cache.get(b"a", 109.9) == ANSWER
    assert cache.get(b"a", 110.0) is None
    assert len(cache) == 0
    cache.put(b"a", ANSWER, 120.0)
    assert cache.get(b"a", 129.0) == ANSWER


def test_each_reader_gets_an_object_of_its_own() -> None:
    cache = ResponseCache(10.0, MUCH)
    cache.put(b"a", ANSWER | {"nested": {"x": 1}}, 0.0)
    first = cache.get(b"a", 1.0)
    assert first is not None
    first["nested"]["x"] = 2
    assert cache.get(b"a", 1.0) == ANSWER | {"nested": {"x": 1}}


@pytest.mark.parametrize("answer", [{"error": "no"}, {"refused": True, "reason": "blocked"}])
def test_what_went_wrong_is_not_kept(answer: dict[str, object]) -> None:
    assert not is_worth_keeping(answer)


def test_the_least_recently_used_goes_first() -> None:
    cache = ResponseCache(1_000.0, 3 * 330)
    for number, key in enumerate((b"a", b"b", b"c")):
        cache.put(key, {"n": number}, 0.0)
    assert len(cache) == 3
    assert cache.get(b"a", 1.0) == {"n": 0}
    cache.put(b"d", {"n": 3}, 2.0)
    assert [cache.get(key, 3.0) for key in (b"a", b"b", b"c", b"d")] == [{"n": 0}, None, {"n": 2}, {"n": 3}]


def test_bytes_are_counted_through_overwriting_expiry_and_what_is_too_large() -> None:
    cache = ResponseCache(10.0, 1_000)
    for number in range(50):
        cache.put(b"a", {"text": "x" * number}, float(number))
    cache.put(b"b", {"text": "y"}, 50.0)
    assert cache.get(b"a", 50.0) is not None
    cache.put(b"a", {"text": "z" * 1_000}, 50.0)  # too large for all of it: the older answer is not left standing
    assert cache.get(b"a", 50.0) is None
    assert cache.get(b"b", 50.0) == {"text": "y"}
    assert cache.get(b"b", 60.0) is None
    for key in (b"c", b"d"):  # all the room is free again
        cache.put(key, {"text": "x" * 150}, 61.0)
    assert len(cache) == 2


def test_many_threads() -> None:
    cache = ResponseCache(1_000.0, 40 * 330)

    def work(number: int) -> None:
        key = str(number % 100).encode()
        cache.put(key, {"n": number % 100}, float(number))
        assert cache.get(key, float(number)) in ({"n": number % 100}, None)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(4_000)))
    assert 0 < len(cache) <= 42


def query(**fields: object) -> dict[str, object]:
    return {"user_query": "how many rows?", "dataset_name": "d", "dataset_metadata": {"tables": {}}} | fields


def test_the_key_is_of_version_and_input() -> None:
    key = cache_key("1", query())
    assert key == cache_key("1", dict(reversed(query().items())))
    assert key == cache_key("1", query(user_query="\thow  many\nrows? "))
    others = [
        cache_key("2", query()),
        cache_key("1", query(user_query="name = 'a  b'")),
        cache_key("1", query(user_query="name = 'a b'")),
        cache_key("1", query(user_query="How many rows?")),
        cache_key("1", query(dataset_name=" d")),
        cache_key("1", query(dataset_metadata={"tables": []})),
        cache_key("1", {"n": 1}),
        cache_key("1", {"n": "1"}),
        cache_key("1", {"n": True}),
        cache_key("1", [1]),
    ]
    assert len({key, *others}) == 1 + len(others)
