"""Access tokens: ours hold, everything else does not, and nobody learns why from the text."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from todo_service.auth.tokens import AccessTokens, TokenError

KEY = "a-key-for-tests-only-0123456789abcdef"
TOKENS = AccessTokens([KEY], algorithm="HS256", lifetime=1800)
SESSION = uuid4()


def now(offset: int = 0) -> int:
    return int(time.time()) + offset


CLAIMS: dict[str, Any] = {
    "sub": "u1", "user_id": "u1", "email": "u1@example.com", "role": "user", "iss": "todo-service",
    "aud": "todo-service", "jti": "j", "gen": 1,
    "sid": str(SESSION),
}  # fmt: skip


def good() -> str:
    return TOKENS.issue(user_id="u1", email="u1@example.com", role="user", generation=3, session_id=SESSION)


def signed(*, key: str = KEY, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    claims = CLAIMS | {"iat": now(), "nbf": now(), "exp": now(600)} | changes
    claims = {name: value for name, value in claims.items() if value is not ...}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"typ": "at+jwt"} | (headers or {}))


def by_hand(header: dict[str, Any], payload: bytes | None = None, signature: str = "A" * 43) -> str:
    """A token no library would make."""
    parts = (json.dumps(header).encode(), payload or json.dumps(CLAIMS).encode())
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), signature])


def test_a_token_says_what_it_was_issued_for() -> None:
    claims = TOKENS.verify(good())
    assert (claims.user_id, claims.email, claims.role, claims.generation) == ("u1", "u1@example.com", "user", 3)
    assert claims.session_id == SESSION
    assert 1795 < claims.expires_at - time.time() <= 1800
    assert jwt.get_unverified_header(good()) == {"alg": "HS256", "typ": "at+jwt"}
    assert set(jwt.decode(good(), options={"verify_signature": False})) == {*CLAIMS, "iat", "nbf", "exp", "epoch"}
    assert TOKENS.verify(signed()).user_id == "u1"


def test_no_two_tokens_are_alike() -> None:
    assert len({good() for _ in range(100)}) == 100


def test_clocks_may_differ_by_30_seconds() -> None:
    assert TOKENS.verify(signed(exp=now(-20))).user_id == "u1"
    assert TOKENS.verify(signed(nbf=now(20), iat=now(20))).user_id == "u1"


FORGED: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "not a token": lambda: "hello",
    "two parts": lambda: ".".join(good().split(".")[:2]),
    "four parts": lambda: good() + ".x",
    "truncated": lambda: good()[:-1],
    "padded": lambda: good() + "=",
    "new line": lambda: good() + "\n",
    "space before": lambda: " " + good(),
    "NUL": lambda: good() + "\0",
    "not ASCII": lambda: good()[:-1] + "é",
    "a lone surrogate": lambda: good()[:-1] + "\udcff",
    "other digits": lambda: good().replace("e", "\u0435"),
    "1 MB": lambda: good() + "x" * 2**20,
    "9 KiB": lambda: signed(note="x" * 9000),
    "alg none": lambda: by_hand({"alg": "none", "typ": "at+jwt"}, signature=""),
    "alg none, with a signature": lambda: by_hand({"alg": "none", "typ": "at+jwt"}),
    "alg None": lambda: by_hand({"alg": "None", "typ": "at+jwt"}),
    "alg nOnE": lambda: by_hand({"alg": "nOnE", "typ": "at+jwt"}),
    "alg missing": lambda: by_hand({"typ": "at+jwt"}),
    "alg null": lambda: by_hand({"alg": None, "typ": "at+jwt"}),
    "alg a list": lambda: by_hand({"alg": ["HS256"], "typ": "at+jwt"}),
    "alg an object": lambda: by_hand({"alg": {}, "typ": "at+jwt"}),
    "HS384": lambda: signed(key=KEY * 2, algorithm="HS384"),
    "HS512": lambda: signed(key=KEY * 2, algorithm="HS512"),
    "RS256": lambda: by_hand({"alg": "RS256", "typ": "at+jwt"}, signature="A" * 86),
    "another key": lambda: signed(key="another-key-for-tests-0123456789abcdef"),
    "another token's signature": lambda: ".".join([*good().split(".")[:2], good().split(".")[2]]),
    "kid": lambda: signed(headers={"kid": "k1"}),
    "kid a path": lambda: signed(headers={"kid": "../../dev/null"}),
    "kid SQL": lambda: signed(headers={"kid": "' OR 1=1 --"}),
    "jku": lambda: signed(headers={"jku": "http://127.0.0.1/keys"}),
    "jwk": lambda: signed(headers={"jwk": {"kty": "oct", "k": "AAAA"}}),
    "x5u": lambda: signed(headers={"x5u": "http://127.0.0.1/"}),
    "crit": lambda: signed(headers={"crit": ["exp"]}),
    "b64": lambda: signed(headers={"zip": "DEF"}),
    "cty": lambda: signed(headers={"cty": "JWT"}),
    "typ JWT": lambda: signed(headers={"typ": "JWT"}),
    "typ in capitals": lambda: signed(headers={"typ": "AT+JWT"}),
    "typ of a refresh token": lambda: signed(headers={"typ": "refresh+jwt"}),
    "expired": lambda: signed(exp=now(-31)),
    "exp missing": lambda: signed(exp=...),
    "exp null": lambda: signed(exp=None),
    "exp a string": lambda: signed(exp=str(now(600))),
    "exp in other digits": lambda: signed(exp="٩" * 10),
    "exp a float": lambda: signed(exp=now(600) + 0.5),
    "exp true": lambda: signed(exp=True),
    "exp in milliseconds": lambda: signed(exp=now(600) * 1000),
    "exp in the year 9999": lambda: signed(exp=253402300799),
    "exp immense": lambda: signed(exp=10**400),
    "nbf ahead": lambda: signed(nbf=now(60)),
    "iat ahead": lambda: signed(iat=now(60)),
    "iat missing": lambda: signed(iat=...),
    "nbf missing": lambda: signed(nbf=...),
    "iss wrong": lambda: signed(iss="todo"),
    "iss missing": lambda: signed(iss=...),
    "aud wrong": lambda: signed(aud="todo"),
    "aud missing": lambda: signed(aud=...),
    "aud a list": lambda: signed(aud=["todo-service", "other"]),
    "sub missing": lambda: signed(sub=...),
    "sub empty": lambda: signed(sub="", user_id=""),
    "sub and user_id differ": lambda: signed(user_id="u2"),
    "sub with NUL": lambda: signed(sub="a\0", user_id="a\0"),
    "sub a lone surrogate": lambda: signed(sub="\ud800", user_id="\ud800"),
    "sub too long": lambda: signed(sub="u" * 256, user_id="u" * 256),
    "role unknown": lambda: signed(role="root"),
    "gen negative": lambda: signed(gen=-1),
    "gen immense": lambda: signed(gen=10**30),
    "user_id missing": lambda: signed(user_id=...),
    "role missing": lambda: signed(role=...),
    "role a list": lambda: signed(role=["admin"]),
    "jti missing": lambda: signed(jti=...),
    "gen missing": lambda: signed(gen=...),
    "gen a string": lambda: signed(gen="1"),
    "gen true": lambda: signed(gen=True),
    "sid missing": lambda: signed(sid=...),
    "sid not a UUID": lambda: signed(sid="s1"),
    "payload a list": lambda: by_hand({"alg": "HS256", "typ": "at+jwt"}, b"[1, 2, 3, 4]"),
    "payload not JSON": lambda: by_hand({"alg": "HS256", "typ": "at+jwt"}, b"hello, world"),
    "payload deep": lambda: by_hand({"alg": "HS256", "typ": "at+jwt"}, b"[" * 5000),
    "header deep": lambda: "W" * 5000 + "." + "W" * 20 + "." + "A" * 43,
    "a JWE": lambda: ".".join(["e" * 20] * 5),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused_without_a_word_about_it(name: str) -> None:
    token = FORGED[name]()
    with pytest.raises(TokenError) as refused:
        TOKENS.verify(token)
    assert len(str(refused.value)) < 80
    assert len(token) < 10 or token not in str(refused.value)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_no_text_is_a_token(text: str) -> None:
    header, payload, signature = good().split(".")
    for token in (text, f"{header}.{payload}.{text}", f"{header}.{text}.{signature}", f"{text}.{payload}.{signature}"):
        if token != good():
            with pytest.raises(TokenError):
                TOKENS.verify(token)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_the_algorithm_is_a_setting(algorithm: str) -> None:
    tokens = AccessTokens([KEY * 2], algorithm=algorithm, lifetime=60)
    token = tokens.issue(user_id="u1", email=None, role="user", generation=1, session_id=SESSION)
    assert tokens.verify(token).email is None
    with pytest.raises(TokenError):
        TOKENS.verify(token)


def test_a_key_is_replaced_without_logging_anybody_out() -> None:
    new_key = "the-next-key-for-tests-0123456789abcdef"
    old = good()
    during = AccessTokens([new_key, KEY], algorithm="HS256", lifetime=1800)
    assert during.verify(old).user_id == "u1"
    issued = during.issue(user_id="u2", email=None, role="user", generation=1, session_id=SESSION)
    after = AccessTokens([new_key], algorithm="HS256", lifetime=1800)
    assert after.verify(issued).user_id == "u2"
    for tokens, token in ((after, old), (TOKENS, issued)):
        with pytest.raises(TokenError):
            tokens.verify(token)
