"""What is remembered of checked tokens: bounded, and never past its end."""

import time

import pytest

from todo_service.auth.caller import Caller, Kind
from todo_service.auth.token_cache import TokenCache

ADA = Caller(Kind.ACCOUNT, "ada")


def test_a_token_is_found_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = TokenCache()
    expires_at = int(time.time()) + 60
    cache.add("token", ADA, expires_at)
    assert cache.get("token") is ADA
    assert cache.get("Token") is None
    monkeypatch.setattr(time, "time", lambda: expires_at)
    assert cache.get("token") is None


def test_the_one_used_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todo_service.auth.token_cache.MAX_TOKENS", 10)
    cache, expires_at = TokenCache(), int(time.time()) + 60
    cache.add("kept", ADA, expires_at)
    for n in range(30):
        cache.add(str(n), ADA, expires_at)
        assert cache.get("kept") is ADA
    assert (len(cache), cache.get("0"), cache.get("29")) == (10, None, ADA)
    cache.clear()
    assert len(cache) == 0


def test_the_tokens_of_one_user_are_forgotten_and_those_of_others_are_not() -> None:
    cache, expires_at = TokenCache(), int(time.time()) + 60
    cache.add("hers", ADA, expires_at)
    cache.add("his", Caller(Kind.ACCOUNT, "bob"), expires_at)
    cache.evict({"ada"})
    assert cache.get("hers") is None
    assert cache.get("his") is not None
