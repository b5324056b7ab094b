"""J1 to J17: our access tokens, forged, over the network; the forgeries are those of tests/auth/test_tokens.py."""

import time
from collections.abc import Callable
from uuid import uuid4

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.raw import ask, exchange, request
from tests.auth.test_tokens import FORGED
from tests.auth_server import SHARED_SECRET, by_hand
from tests.client import Api, User
from tests.conftest import SECRET_KEY, make_settings, running_service
from tests.routes.test_sessions import until_refused
from todo_service.config.settings import Settings, SettingsError

PATH = "/api/v1/tasks"
ROWS = {
    "J1": ("alg ",), "J2": ("HS384", "HS512", "RS256", "another key"), "J3": ("kid", "jku", "jwk", "x5u"),
    "J4": ("typ ",), "J6": ("expired", "exp missing", "exp null", "exp true"),
    "J7": ("exp a string", "exp in", "exp immense", "exp a float"), "J8": ("iat ", "nbf "), "J9": ("aud ", "iss "),
    "J10": ("sub ",), "J12": ("crit", "b64", "cty", "padded", "new line", "space before", "NUL", "four parts"),
}  # fmt: skip
CASES = [
    pytest.param(make, id=f"{row} {name}")
    for row, starts in ROWS.items()
    for name, make in FORGED.items()
    if name.startswith(starts)
]


def claims_of(user: User) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(user.token, options={"verify_signature": False})
    return claims


def forged(user: User, **changes: object) -> str:
    """A token under the right key with these claims of the user's changed."""
    return jwt.encode(claims_of(user) | changes, SECRET_KEY, headers={"typ": "at+jwt"})


async def assert_refused(service: Api, token: str | bytes) -> None:
    value = b"Bearer " + (token if isinstance(token, bytes) else token.encode(errors="surrogatepass"))
    reply = await ask(service, "GET", PATH, [("Authorization", value)])
    if len(value) > 8190:
        assert reply.status == 431
        return
    if b"\n" in value or b"\0" in value:  # no header can have it
        assert reply.status == 400, token[:80]
        return
    assert reply.status == 401, token[:80]
    assert 'error="invalid_token"' in reply.one("www-authenticate")


@pytest.mark.parametrize("make", CASES)
async def test_j1_to_j12_forged_tokens(service: Api, make: Callable[[], str]) -> None:
    await assert_refused(service, make())


async def test_j5_tokens_of_other_kinds(service: Api, eve: User) -> None:
    await assert_refused(service, eve.refresh_token)
    reply = await service.post("/api/v1/auth/refresh", {"refresh_token": eve.token})
    assert reply.status == 401


async def test_j8_a_generation_of_before(service: Api, eve: User) -> None:
    await service.post("/api/v1/auth/logout", {"everywhere": True}, as_=eve)
    await until_refused(service, eve.token)
    await assert_refused(service, forged(eve, jti="new", iat=int(time.time())))


async def test_j10_subjects_that_are_nobody(service: Api, root: User) -> None:
    gone = await service.new_user()
    await service.delete(f"/api/v1/users/{gone.id}", as_=root)
    await until_refused(service, gone.token)
    stranger = forged(gone, sub=str(uuid4()), user_id="other")
    await assert_refused(service, stranger)


async def test_j11_duplicate_claims(service: Api, eve: User) -> None:
    payload = b'{"sub":"a","sub":"%s","exp":9999999999}' % eve.id.encode()
    for header in ({"alg": "HS256", "typ": "at+jwt"}, {"alg": "HS256", "typ": "JWT"}):
        await assert_refused(service, by_hand(header, payload, SECRET_KEY.encode()))
        await assert_refused(service, by_hand(header, payload, SHARED_SECRET.encode()))


async def test_j13_junk_of_every_size(service: Api) -> None:
    for size in (100, 4096, 7900):
        await assert_refused(service, "x" * size)
        await assert_refused(service, ".".join(["e" * (size // 3)] * 3))
    nested = by_hand({"alg": "HS256", "typ": "JWT"}, b"[" * 2000 + b"]" * 2000)
    await assert_refused(service, nested)
    replies = await exchange(service, request("GET", PATH, [("Authorization", "Bearer " + "x" * 9000)]))
    assert replies[0].status == 431


async def test_j14_a_payload_in_another_encoding(service: Api, eve: User) -> None:
    text = f'{{"sub":"{eve.id}","exp":9999999999}}'
    for encoded in (text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-32")):
        await assert_refused(service, by_hand({"alg": "HS256", "typ": "JWT"}, encoded, SHARED_SECRET.encode()))


@pytest.mark.parametrize("secret", ["secret", "x" * 16, "your-super-secret-key-here-0123456789", "a" * 64])
def test_j15_a_weak_secret_stops_the_start(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", secret)
    with pytest.raises(SettingsError, match="SECRET_KEY: ") as caught:
        Settings.load()
    assert secret not in str(caught.value).replace("SECRET_KEY", "")


async def test_j16_the_token_of_one_on_the_path_of_another(service: Api, eve: User, victim: User) -> None:
    for path in (f"/api/{victim.id}/tasks", f"/api/users/{victim.id}/tasks"):
        assert (await ask(service, "GET", path, as_=eve)).problem() == "forbidden"
    await assert_refused(service, forged(eve, role="admin", gen=2**31))


async def test_j17_the_key_rotates(database_url: str) -> None:
    new_key = "the-next-key-under-attack-0123456789-ab"
    async with running_service(make_settings(database_url)) as before:
        ada = await before.new_user()
    overlap = make_settings(database_url, secret_key=new_key, secret_key_previous=SECRET_KEY)
    async with running_service(overlap) as during:
        assert (await ask(during, "GET", PATH, as_=ada)).status == 200
    async with running_service(make_settings(database_url, secret_key=new_key)) as after:
        await assert_refused(after, ada.token)


def test_any_change_of_a_token_is_refused(database_url: str) -> None:
    """Property: whatever a token is turned into, it is another token."""
    import asyncio

    async def all_examples() -> None:
        async with running_service(make_settings(database_url)) as api:
            ada = await api.new_user()
            loop = asyncio.get_running_loop()

            @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
            @given(st.integers(0, len(ada.token) - 1), st.sampled_from("AbZ09-_.=~/+ "), st.booleans())
            def one(place: int, letter: str, inserts: bool) -> None:
                changed = ada.token[:place] + letter + ada.token[place + (not inserts) :]
                if changed.strip() != ada.token:
                    asyncio.run_coroutine_threadsafe(assert_refused(api, changed), loop).result(20)

            await asyncio.to_thread(one)

    asyncio.run(all_examples())
