"""R1 to R8, S1 to S4, K1 to K5: refresh tokens, services, and users' API keys."""

import asyncio
import hashlib

import pytest

from tests.attacks.conftest import SERVICE_TOKEN
from tests.attacks.raw import ask, post
from tests.client import PASSWORD, Api, User
from tests.conftest import ENCRYPTION_KEY, make_settings, run_sql, running_service
from tests.provider import GOOD, ai_provider, always, flood
from tests.routes.test_sessions import refresh, rows, sign_in, until_refused

REFRESH, LOGOUT = "/api/v1/auth/refresh", "/api/v1/auth/logout"


async def test_r1_a_used_refresh_token_ends_its_family(database_url: str) -> None:
    async with running_service(make_settings(database_url, refresh_reuse_seconds=0)) as api:
        ada = await api.new_user()
        second = (await refresh(api, ada.refresh_token)).body["refresh_token"]
        assert (await post(api, REFRESH, {"refresh_token": ada.refresh_token})).status == 401
        assert (await post(api, REFRESH, {"refresh_token": second})).status == 401


async def test_r2_many_at_once_have_one_successor(service: Api, eve: User) -> None:
    replies = await asyncio.gather(*(post(service, REFRESH, {"refresh_token": eve.refresh_token}) for _ in range(50)))
    assert len({reply.json["refresh_token"] for reply in replies if reply.status == 200}) == 1


async def test_r3_a_lost_answer_is_given_again(service: Api, eve: User) -> None:
    first, again = [(await post(service, REFRESH, {"refresh_token": eve.refresh_token})).json for _ in range(2)]
    assert first["refresh_token"] == again["refresh_token"]


async def test_r4_only_digests_are_stored(service: Api, eve: User, database_url: str) -> None:
    dump = str(
        await rows(database_url, "SELECT row_to_json(t)::text FROM refresh_tokens AS t WHERE user_id = $1", eve.id)
    )
    assert eve.refresh_token not in dump
    assert hashlib.sha256(eve.refresh_token.encode()).hexdigest() in dump
    assert len(eve.refresh_token) == 43, "256 bits"


async def test_r5_rotation_does_not_prolong_a_session(service: Api, eve: User, database_url: str) -> None:
    until = "SELECT DISTINCT expires_at FROM refresh_tokens WHERE user_id = $1"
    before = await rows(database_url, until, eve.id)
    successor = (await refresh(service, eve.refresh_token)).body["refresh_token"]
    assert await rows(database_url, until, eve.id) == before
    await run_sql(database_url, f"UPDATE refresh_tokens SET expires_at = now() WHERE user_id = '{eve.id}'")
    assert (await post(service, REFRESH, {"refresh_token": successor})).status == 401


async def test_r6_every_way_to_end_a_session(service: Api, eve: User, root: User) -> None:
    other = await sign_in(service, eve)
    assert (await post(service, LOGOUT, {"refresh_token": other["refresh_token"]})).status == 204
    assert (await post(service, REFRESH, {"refresh_token": other["refresh_token"]})).status == 401
    await until_refused(service, other["access_token"])
    assert (await ask(service, "GET", "/api/v1/tasks", as_=eve)).status == 200, "the other session goes on"
    assert (await post(service, LOGOUT, {"everywhere": True}, as_=eve)).status == 204
    await until_refused(service, eve.token)
    third = await sign_in(service, eve)
    await service.patch(f"/api/v1/users/{eve.id}", {"is_active": False}, as_=root)
    await until_refused(service, third["access_token"])


async def test_r7_answers_with_tokens_are_not_stored(service: Api, eve: User) -> None:
    for reply in (
        await post(service, REFRESH, {"refresh_token": eve.refresh_token}),
        await post(service, "/api/v1/auth/login", {"email": eve.email, "password": PASSWORD}),
    ):
        assert (reply.status, reply.one("cache-control"), reply.one("pragma")) == (200, "no-store", "no-cache")
        assert (reply.json["token_type"], reply.json["expires_in"]) == ("bearer", 1800)


async def test_r8_each_sign_in_is_a_family_of_its_own(service: Api, eve: User) -> None:
    other = await sign_in(service, eve)
    await post(service, LOGOUT, {"refresh_token": other["refresh_token"]})
    assert (await post(service, REFRESH, {"refresh_token": eve.refresh_token})).status == 200


async def test_s1_a_wrong_service_token_is_401_whatever_else_is_there(service: Api, eve: User) -> None:
    for value in ("", "x", SERVICE_TOKEN[:-1], SERVICE_TOKEN + "x", SERVICE_TOKEN.upper(), b"\xff\xfe", "é"):
        for extra in ([], [("Authorization", f"Bearer {eve.token}")]):
            headers = [("X-Service-Auth", value), ("X-User-ID", eve.id), *extra]
            assert (await ask(service, "GET", "/api/v1/tasks", headers)).status == 401, value
    twice = [("X-Service-Auth", SERVICE_TOKEN)] * 2 + [("X-User-ID", eve.id)]
    assert (await ask(service, "GET", "/api/v1/tasks", twice)).status == 401


async def test_s2_the_user_of_a_service(service: Api, eve: User, root: User) -> None:
    token = ("X-Service-Auth", SERVICE_TOKEN)
    assert (await ask(service, "GET", "/api/v1/tasks", [token])).status == 400
    assert (
        await ask(service, "GET", "/api/v1/tasks", [token, ("X-User-ID", eve.id), ("X-User-ID", root.id)])
    ).status == 400
    for user_id in ("", "x" * 256, b"\xff"):
        assert (await ask(service, "GET", "/api/v1/tasks", [token, ("X-User-ID", user_id)])).status == 400
    as_root = [token, ("X-User-ID", root.id)]
    assert (await ask(service, "GET", "/api/v1/users", as_root)).status == 403, "never an administrator"
    assert (await ask(service, "GET", "/api/v1/tasks", as_root)).json["total"] == 0, "only the user's own"


async def test_s3_a_user_cannot_name_another(service: Api, eve: User, victim: User) -> None:
    await service.post("/api/v1/tasks", {"title": "the victim's"}, as_=victim)
    reply = await ask(service, "GET", "/api/v1/tasks", [("X-User-ID", victim.id)], as_=eve)
    assert (reply.status, reply.json["total"]) == (200, 0)


async def test_s4_without_a_token_in_the_settings_no_service_comes_in(database_url: str) -> None:
    async with running_service(make_settings(database_url)) as api:
        for value in ("", "x", "None", "null"):
            headers = [("X-Service-Auth", value), ("X-User-ID", "u")]
            assert (await ask(api, "GET", "/api/v1/tasks", headers)).status == 401


async def test_k1_to_k5_keys_of_providers(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    keys = "/api/user-api-keys"
    async with ai_provider() as provider:
        settings = make_settings(database_url, gemini_base_url=provider.url, service_auth_token=SERVICE_TOKEN)
        async with running_service(settings) as api:
            ada, bob = await api.new_user(), await api.new_user()
            stored = await post(api, keys, {"api_key": GOOD}, as_=ada)
            assert (stored.status, GOOD in stored.body.decode()) == (201, False)
            assert stored.one("cache-control") == "no-store"
            [row] = await rows(database_url, "SELECT ciphertext FROM user_api_keys WHERE user_id = $1", ada.id)
            assert row["ciphertext"].startswith("gAAAA"), "K2"
            swap = "INSERT INTO user_api_keys (user_id, provider, ciphertext, validation_status, last_validated_at)"
            await run_sql(
                database_url, f"{swap} SELECT '{bob.id}', provider, ciphertext, validation_status, now()"
                f" FROM user_api_keys WHERE user_id = '{ada.id}'",
            )  # fmt: skip
            as_bob = [("X-Service-Auth", SERVICE_TOKEN), ("X-User-ID", bob.id)]
            swapped = await ask(api, "GET", f"{keys}/current", as_bob)
            assert (swapped.status, GOOD in swapped.body.decode()) == (200, False)
            asked = len(provider.asked)
            for wrong in (f"{GOOD}\r\nHost: evil", f"{GOOD} x", "x" * 10_000, "", "\0"):
                reply = await post(api, keys, {"api_key": wrong}, as_=ada)
                assert (reply.status in {400, 422}, len(provider.asked)) == (True, asked), "K4: it is sent nowhere"
            for address in ("http://169.254.169.254/", "file:///etc/passwd"):
                assert (await post(api, keys, {"api_key": address}, as_=ada)).status == 400
            assert len(provider.asked) <= asked + 2, "K4: at most as a key, to the one host there is"
            assert (await post(api, keys, {"api_key": GOOD, "provider": "http://evil"}, as_=ada)).status == 422
            for misbehaviour in (
                always(500),
                always(302, Location="http://127.0.0.1:1/"),
                always(200, "garbage"),
                flood,
            ):
                provider.answer = misbehaviour
                assert (await post(api, f"{keys}/test", {"api_key": GOOD}, as_=await api.new_user())).status == 502, (
                    "K5"
                )
    both = f"{ENCRYPTION_KEY},{'A' * 42}E="
    with pytest.raises(ValueError, match="encryption_key"):
        make_settings(database_url, encryption_key=both)
    assert GOOD not in capfd.readouterr().out
