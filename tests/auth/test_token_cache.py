"""What is remembered of checked tokens: bounded, and never past its end."""

import time
from dataclasses import dataclass

import pytest

from todo_service.auth.token_cache import Verified


@dataclass(frozen=True)
class Said:
    expires_at: int


def test_a_token_is_found_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    known: Verified[Said] = Verified()
    said = known.add("token", Said(int(time.time()) + 60))
    assert known.find("token") is said
    assert known.find("Token") is None
    monkeypatch.setattr(time, "time", lambda: said.expires_at)
    assert known.find("token") is None


def test_the_one_used_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todo_service.auth.token_cache.MAX_KNOWN", 10)
    known: Verified[Said] = Verified()
    said = known.add("kept", Said(int(time.time()) + 60))
    for n in range(30):
        known.add(str(n), said)
        assert known.find("kept") is said
    assert (len(known), known.find("0"), known.find("29")) == (10, None, said)
    known.clear()
    assert len(known) == 0
