"""Kept answers: the ones used most lately, so many bytes of them."""

from todo_service.queries.task_lists import Stamp
from todo_service.routes.list_cache import OVERHEAD, CachedList, ListCache


def answer(size: int, version: int = 1) -> CachedList:
    return CachedList(Stamp(7, version), b"x" * (size - OVERHEAD), total=1, next_cursor=None)


def test_an_answer_is_kept_until_another_takes_its_place() -> None:
    cache = ListCache(100_000)
    assert cache.get("a") is None
    for version in (1, 2):
        cache.put("a", answer(2000, version))
        assert cache.get("a") == answer(2000, version)
        assert (len(cache), cache.bytes) == (1, 2000)


def test_what_was_not_used_longest_goes_when_the_bytes_are_full() -> None:
    cache = ListCache(20_000)
    for key in "abcdefghij":
        cache.put(key, answer(2000))
    assert cache.get("a") is not None
    cache.put("k", answer(2000))
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert (len(cache), cache.bytes) == (10, 20_000)


def test_an_answer_too_big_is_not_kept_and_drops_the_one_before() -> None:
    cache = ListCache(20_000)
    cache.put("a", answer(2000))
    cache.put("a", answer(3000))
    assert (cache.get("a"), cache.bytes) == (None, 0)
