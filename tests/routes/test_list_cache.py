"""Kept answers: the ones used most lately, so many bytes of them."""

from multidict import CIMultiDict

from todo_service.queries.task_lists import Stamp
from todo_service.routes.list_cache import OVERHEAD, CachedList, Key, ListCache


def key(owner_id: str) -> Key:
    return ("v1", owner_id, "", "", "")


def answer(size: int, version: int = 1) -> CachedList:
    """An answer that takes this size under a key of three characters."""
    return CachedList(Stamp(7, version), b"x" * (size - OVERHEAD - 3), CIMultiDict())


def test_an_answer_is_kept_until_another_takes_its_place() -> None:
    cache = ListCache(100_000)
    assert cache.get(key("a")) is None
    for version in (1, 2):
        cache.put(key("a"), answer(2000, version))
        assert cache.get(key("a")) == answer(2000, version)
        assert (len(cache), cache.bytes) == (1, 2000)


def test_what_was_not_used_longest_goes_when_the_bytes_are_full() -> None:
    cache = ListCache(20_000)
    for user in "abcdefghij":
        cache.put(key(user), answer(2000))
    assert cache.get(key("a")) is not None
    cache.put(key("k"), answer(2000))
    assert cache.get(key("b")) is None
    assert cache.get(key("a")) is not None
    assert (len(cache), cache.bytes) == (10, 20_000)


def test_an_answer_too_big_is_not_kept_and_drops_the_one_before() -> None:
    cache = ListCache(20_000)
    cache.put(key("a"), answer(2000))
    cache.put(key("a"), answer(3000))
    assert (cache.get(key("a")), cache.bytes) == (None, 0)
