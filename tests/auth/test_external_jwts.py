"""JWTs of others: the good ones say who somebody is, and no more; the table of forged and odd ones is refused."""

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
import pytest_asyncio

from tests.auth_server import ISSUER, SHARED_SECRET, Key, KeyServer, by_hand, good_claims, key_server, shared
from todo_service.auth.external_jwts import ExternalJwts, Identity, is_external
from todo_service.auth.jose import split_jwt
from todo_service.auth.jwks import JwksClient
from todo_service.auth.tokens import TokenError
from todo_service.config import secrets

KEYS = {algorithm: Key(algorithm, f"{algorithm}-1") for algorithm in ("EdDSA", "ES256", "RS256")}
ED, RSA = KEYS["EdDSA"], KEYS["RS256"]
STRANGER = Key("EdDSA", ED.kid)


def now(offset: int = 0) -> int:
    return int(time.time()) + offset


@pytest_asyncio.fixture(scope="module")
async def server() -> AsyncIterator[KeyServer]:
    """Publishes the good keys."""
    async with key_server(*KEYS.values()) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def issuers(server: KeyServer) -> AsyncIterator[ExternalJwts]:
    """Both kinds, with issuer and audience."""
    key_set = JwksClient(server.url)
    await key_set.open()
    yield ExternalJwts(shared_secret=SHARED_SECRET, jwks=key_set, issuer=ISSUER, audience=ISSUER)
    await key_set.close()


async def verify(issuers: ExternalJwts, token: str) -> Identity:
    header, claims = split_jwt(token)
    if not is_external(header):
        raise TokenError("for the check of our own tokens")
    return await issuers.verify(token, header, claims)


GOOD: dict[str, Callable[[], str]] = {
    "shared": shared,
    "shared, typ JWT": lambda: shared(headers={"typ": "JWT"}),
    "shared, user_id": lambda: shared(sub=..., user_id="outsider"),
    "shared, both": lambda: shared(user_id="outsider"),
    "shared, iss and aud": lambda: shared(iss=ISSUER, aud=ISSUER),
    "shared, no typ": lambda: by_hand({"alg": "HS256"}, json.dumps(good_claims()).encode()),
    "shared, no iat": lambda: shared(iat=...),
    "expired within the leeway": lambda: shared(exp=now(-20)),
    "from a clock ahead": lambda: shared(iat=now(20), nbf=now(20)),
    "EdDSA": ED.sign,
    "ES256": KEYS["ES256"].sign,
    "RS256": RSA.sign,
    "shared, with a kid": lambda: shared(headers={"kid": "k1"}),
    "no typ": lambda: ED.sign(headers={"typ": None}),
    "an access token of RFC 9068": lambda: RSA.sign(headers={"typ": "at+jwt"}),
    "with a role": lambda: ED.sign(role="admin", is_admin=True),
    "shared, with a role": lambda: shared(role="admin", roles=["admin"]),
    "Better Auth's claims": lambda: ED.sign(id="outsider", name="O", emailVerified=False, image=None),
}


UUID = "5f0c1c3e-8f1b-4c5e-9a52-3d1f7a1b2c3d"
# The form of the tokens of well-known providers: members of the header, claims besides the times.
PROVIDERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Auth0": (
        {"typ": "JWT"},
        {"sub": "auth0|5f7c8ec7c33c6c004bbafe82", "aud": [ISSUER, "https://x.auth0.com/userinfo"],
         "azp": "my_client_id", "scope": "openid profile"},
    ),
    "Cognito": (
        {"typ": None},
        {"sub": UUID, "cognito:username": "ada", "token_use": "id", "auth_time": now(), "origin_jti": UUID},
    ),
    "Entra": (
        {"typ": "JWT", "x5t": "nOo3ZDrODXEK1jKWhXslHR_KXEg"},
        {"sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "oid": UUID, "tid": UUID, "ver": "2.0", "nbf": now()},
    ),
    "Keycloak": (
        {"typ": "JWT"},
        {"sub": UUID, "aud": ["account", ISSUER], "typ": "Bearer", "realm_access": {"roles": ["admin"]},
         "preferred_username": "ada"},
    ),
    "Clerk": (
        {"typ": "JWT", "cat": "cl_B7d4PD111AAA"},
        {"sub": "user_2NNEqL2nrIRdJ194ndJqAHwEfxC", "azp": "https://app.example.com", "sid": "sess_x", "nbf": now()},
    ),
    "Supabase": (
        {"typ": "JWT"},
        {"sub": UUID, "role": "authenticated", "aal": "aal1", "is_anonymous": False, "app_metadata": {"provider": "x"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROVIDERS)
async def test_tokens_of_well_known_providers(issuers: ExternalJwts, name: str) -> None:
    headers, claims = PROVIDERS[name]
    key = KEYS["ES256"] if name == "Supabase" else RSA
    identity = await verify(issuers, key.sign(headers=headers, **claims))
    assert identity.user_id == claims["sub"]
    with pytest.raises(TokenError):
        await verify(issuers, key.sign(headers=headers, **claims | {"aud": ["another"]}))


async def test_numeric_dates_may_have_a_fraction(issuers: ExternalJwts) -> None:
    identity = await verify(issuers, shared(exp=time.time() + 60.75, iat=time.time() - 0.5))
    assert identity.expires_at == pytest.approx(time.time() + 60, abs=2)
    for wrong in (True, "1900000000", 1e308, None):
        with pytest.raises(TokenError):
            await verify(issuers, shared(exp=wrong))


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_token_says_who_and_nothing_more(issuers: ExternalJwts, name: str) -> None:
    identity = await verify(issuers, GOOD[name]())
    assert (identity.user_id, identity.email) == ("outsider", "outsider@example.com")


def _claims(text: str) -> bytes:
    return json.dumps(good_claims()).encode()[:-1] + b", " + text.encode() + b"}"


FORGED: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "not a token": lambda: "a.b.c",
    "four parts": lambda: shared() + ".x",
    "truncated": lambda: shared()[:-1],
    "padded": lambda: shared() + "=",
    "new line": lambda: shared() + "\n",
    "NUL": lambda: shared() + "\0",
    "not ASCII": lambda: shared()[:-1] + "é",
    "a lone surrogate": lambda: shared()[:-1] + "\udcff",
    "9 KiB": lambda: shared(note="x" * 9000),
    "1 MB": lambda: shared() + "x" * 2**20,
    "alg none": lambda: by_hand({"alg": "none"}, json.dumps(good_claims()).encode()),
    "alg None": lambda: by_hand({"alg": "None"}, json.dumps(good_claims()).encode()),
    "alg hs256": lambda: by_hand({"alg": "hs256"}, json.dumps(good_claims()).encode()),
    "alg missing": lambda: by_hand({"typ": "JWT"}, json.dumps(good_claims()).encode()),
    "alg null": lambda: by_hand({"alg": None, "typ": "JWT"}, json.dumps(good_claims()).encode()),
    "alg a list": lambda: by_hand({"alg": ["HS256"]}, json.dumps(good_claims()).encode()),
    "alg twice": lambda: by_hand(b'{"alg": "none", "alg": "HS256"}', json.dumps(good_claims()).encode()),
    "HS384": lambda: shared(secret=SHARED_SECRET * 2, algorithm="HS384"),
    "HS512": lambda: shared(secret=SHARED_SECRET * 2, algorithm="HS512"),
    "another secret": lambda: shared(secret="x" * 40),
    "another token's signature": lambda: ".".join([*shared().split(".")[:2], shared(sub="x").split(".")[2]]),
    "the public key as a secret": lambda: by_hand({"alg": "HS256"}, json.dumps(good_claims()).encode(), RSA.pem),
    "the public key as a secret, with its kid": lambda: by_hand(
        {"alg": "HS256", "kid": RSA.kid}, json.dumps(good_claims()).encode(), RSA.pem
    ),
    "the shared secret for RS256": lambda: by_hand(
        {"alg": "RS256", "kid": RSA.kid}, json.dumps(good_claims(iss=ISSUER, aud=ISSUER)).encode()
    ),
    "the kid of another algorithm": lambda: ED.sign(headers={"kid": RSA.kid}),
    "a stranger's key under a known kid": STRANGER.sign,
    "kid missing": lambda: jwt.encode(good_claims(iss=ISSUER, aud=ISSUER), ED.private, "EdDSA"),
    "kid unknown": lambda: ED.sign(headers={"kid": "unknown"}),
    "kid a path": lambda: ED.sign(headers={"kid": "../../../dev/null"}),
    "kid SQL": lambda: ED.sign(headers={"kid": "' OR 1=1 --"}),
    "kid long": lambda: ED.sign(headers={"kid": "k" * 129}),
    "kid empty": lambda: ED.sign(headers={"kid": ""}),
    "jku": lambda: ED.sign(headers={"jku": "http://127.0.0.1/keys"}),
    "jwk": lambda: STRANGER.sign(headers={"jwk": STRANGER.published()}),
    "x5u": lambda: ED.sign(headers={"x5u": "http://127.0.0.1/"}),
    "x5c": lambda: ED.sign(headers={"x5c": ["AAAA"]}),
    "crit": lambda: ED.sign(headers={"crit": ["exp"]}),
    "zip": lambda: shared(headers={"zip": "DEF"}),
    "typ of another kind": lambda: ED.sign(headers={"typ": "logout+jwt"}),
    "typ at+jwt under the shared secret": lambda: shared(headers={"typ": "at+jwt"}, role="admin"),
    "typ AT+JWT under the shared secret": lambda: shared(headers={"typ": "AT+JWT"}, role="admin"),
    "under the key derived from the secret": lambda: shared(secret=secrets.derive_signing_key(SHARED_SECRET, "HS256")),
    "expired": lambda: shared(exp=now(-31)),
    "expired, published key": lambda: ED.sign(exp=now(-31)),
    "exp missing": lambda: shared(exp=...),
    "exp missing, published key": lambda: ED.sign(exp=...),
    "exp null": lambda: shared(exp=None),
    "exp a string": lambda: shared(exp=str(now(600))),
    "exp in other digits": lambda: shared(exp="٩" * 10),
    "exp true": lambda: shared(exp=True),
    "exp negative": lambda: shared(exp=-1),
    "exp in milliseconds": lambda: shared(exp=now(600) * 1000),
    "exp in the year 9999": lambda: shared(exp=253402300799),
    "exp after 32 days": lambda: shared(exp=now(32 * 24 * 3600)),
    "exp immense": lambda: shared(exp=10**400),
    "exp infinite": lambda: by_hand({"alg": "HS256"}, _claims('"nbf": Infinity')),
    "nbf ahead": lambda: shared(nbf=now(60)),
    "nbf a string": lambda: shared(nbf="0"),
    "iat ahead": lambda: shared(iat=now(60)),
    "iat a string": lambda: shared(iat="0"),
    "iss wrong": lambda: ED.sign(iss="https://auth.test.example"),
    "iss a prefix": lambda: ED.sign(iss=ISSUER[:-1]),
    "iss a list": lambda: jwt.PyJWS().encode(
        json.dumps(good_claims(iss=[ISSUER], aud=ISSUER)).encode(), ED.private, "EdDSA", headers={"kid": ED.kid}
    ),
    "iss missing": lambda: ED.sign(iss=...),
    "iss wrong, shared": lambda: shared(iss="https://other.test"),
    "aud wrong": lambda: ED.sign(aud="other"),
    "aud missing": lambda: ED.sign(aud=...),
    "aud a list of others": lambda: ED.sign(aud=["another", "other"]),
    "aud wrong, shared": lambda: shared(aud="other"),
    "an e-mail verification": lambda: shared(sub=...),
    "an e-mail verification of a newer version": lambda: shared(sub=..., userId="outsider", requestType="change"),
    "by id alone": lambda: shared(sub=..., id="outsider"),
    "sub and user_id differ": lambda: shared(user_id="other"),
    "sub null": lambda: shared(sub=None, user_id="outsider"),
    "sub empty": lambda: shared(sub=""),
    "sub a number": lambda: shared(sub=..., user_id=7),
    "sub a list": lambda: shared(sub=..., user_id=["outsider"]),
    "sub with NUL": lambda: shared(sub="a\0"),
    "sub a lone surrogate": lambda: shared(sub="\ud800"),
    "sub too long": lambda: shared(sub="u" * 256),
    "sub twice": lambda: by_hand({"alg": "HS256"}, _claims('"sub": "admin"')),
    "payload a list": lambda: by_hand({"alg": "HS256"}, b"[1, 2, 3, 4, 5]"),
    "payload not JSON": lambda: by_hand({"alg": "HS256"}, b"hello, world"),
    "payload UTF-16": lambda: by_hand({"alg": "HS256"}, json.dumps(good_claims()).encode("utf-16")),
    "payload with a BOM": lambda: by_hand({"alg": "HS256"}, json.dumps(good_claims()).encode("utf-8-sig")),
    "payload deep": lambda: by_hand({"alg": "HS256"}, b"[" * 5000),
    "header a string": lambda: by_hand(b'"HS256 HS256"', json.dumps(good_claims()).encode()),
    "a JWE": lambda: ".".join(["e" * 20] * 5),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_or_odd_token_is_refused_without_a_word_about_it(issuers: ExternalJwts, name: str) -> None:
    token = FORGED[name]()
    for _ in range(2):
        with pytest.raises(TokenError) as refused:
            await verify(issuers, token)
    assert len(str(refused.value)) < 100
    assert len(token) < 10 or token not in str(refused.value)


async def test_what_is_not_configured_is_off(server: KeyServer) -> None:
    nothing = ExternalJwts(shared_secret=None, jwks=None, issuer=None, audience=None)
    for token in (shared(), ED.sign(), shared(secret="None" * 10)):
        with pytest.raises(TokenError):
            await verify(nothing, token)


async def test_without_issuer_and_audience_neither_is_looked_at(server: KeyServer) -> None:
    key_set = JwksClient(server.url)
    await key_set.open()
    issuers = ExternalJwts(shared_secret=SHARED_SECRET, jwks=key_set, issuer=None, audience=None)
    for token in (ED.sign(iss=..., aud=...), ED.sign(iss="x", aud=["y", "z"]), shared(iss="x", aud="y")):
        assert (await verify(issuers, token)).user_id == "outsider"
    await key_set.close()


@pytest.mark.parametrize(
    ("sub", "same"), [("u" * 255, True), ("Ω≈ç/√ %2F", True), ("x", True), ("a" * 32, True), ("\r\n", True)]
)
async def test_an_id_is_any_storable_text(issuers: ExternalJwts, sub: str, same: bool) -> None:
    assert ((await verify(issuers, shared(sub=sub))).user_id == sub) is same


@pytest.mark.parametrize(
    "email", [None, 7, "", "no address", "a@b@c", "a@\0", "\ud800@x", "x" * 250 + "@y.org", "a @b"]
)
async def test_an_email_that_is_none_is_left_out(issuers: ExternalJwts, email: Any) -> None:
    assert (await verify(issuers, shared(email=email))).email is None


async def test_no_key_is_looked_up_for_what_cannot_hold(issuers: ExternalJwts, server: KeyServer) -> None:
    before = server.fetches
    for changes in ({"exp": now(-31)}, {"exp": "x"}, {"iss": "x"}, {"sub": ""}):
        with pytest.raises(TokenError):
            await verify(issuers, ED.sign(headers={"kid": "never seen"}, **changes))
    for token in (shared(aud="other", headers={"kid": "never seen"}), ED.sign(headers={"kid": "not a kid"})):
        with pytest.raises(TokenError):
            await verify(issuers, token)
    assert server.fetches == before


def test_the_shape_of_a_signature_is_long_enough_for_every_key() -> None:
    assert len(base64.urlsafe_b64encode(bytes(1024)).rstrip(b"=")) <= 1400
