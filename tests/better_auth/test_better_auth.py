"""A real Better Auth server beside the service: what it gives its users opens our API, and nothing else of it does."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import jwt
import pytest
import pytest_asyncio

from tests.better_auth import peer
from tests.better_auth.peer import SECRET, BetterAuth
from tests.client import Api, User
from tests.conftest import make_settings, run_sql, running_service, temporary_database
from tests.families import Dialect, in_every_family
from todo_service.config.settings import Settings
from todo_service.postgres import migrations

pytestmark = [pytest.mark.better_auth, pytest.mark.xdist_group("better_auth")]


def settings(server: BetterAuth, **others: object) -> Settings:
    """The service's settings as an operator of this server would make them."""
    return make_settings(
        server.database_url,
        **{
            "jwks_url": server.jwks_url,
            "jwt_issuer": server.issuer,
            "jwt_audience": server.issuer,
            "better_auth_secret": SECRET,
            "session_token_storage": "plain",
            **others,
        },
    )


@pytest_asyncio.fixture(scope="module")
async def service(better_auth: BetterAuth) -> AsyncIterator[Api]:
    """The service as it trusts this server."""
    async with running_service(settings(better_auth)) as running:
        yield running


async def status(api: Api, token: str) -> int:
    """What a list of tasks answers to a token; a refusal must say how to do better."""
    answer = await api.get("/api/v1/tasks", token=token)
    if answer.status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert token not in answer.raw.decode()
    return answer.status


async def test_what_the_server_makes_is_what_the_service_is_built_for(better_auth: BetterAuth) -> None:
    account = await better_auth.sign_up()
    assert (len(account.id), len(account.session_token)) == (32, 32)
    assert account.bearer.startswith(account.session_token + ".")
    token = await better_auth.jwt(account)
    header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    assert header["alg"] == "EdDSA"
    assert header["kid"] in await better_auth.kids()
    assert claims["sub"] == claims["id"] == account.id
    assert claims["iss"] == claims["aud"] == better_auth.issuer
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert "user_id" not in claims


@in_every_family
@pytest.mark.parametrize("credential", ["jwt", "session token", "signed bearer", "signed bearer, URL-encoded"])
async def test_each_credential_opens_the_tasks_of_its_user(
    better_auth: BetterAuth, service: Api, family: Dialect, credential: str
) -> None:
    account = await better_auth.sign_up()
    token = {
        "jwt": await better_auth.jwt(account),
        "session token": account.session_token,
        "signed bearer": account.bearer,
        "signed bearer, URL-encoded": quote(account.bearer, safe=""),
    }[credential]
    user = User(account.id, account.email, token)
    made = await service.post(family.tasks(user), {"title": "Milk"}, as_=user)
    assert made.status == 201, made.raw
    assert made.body[family.field("user_id")] == account.id
    listed = await service.get(family.tasks(user), as_=user)
    assert [task["title"] for task in family.unwrap(listed.body)] == ["Milk"]


async def test_every_credential_of_a_user_opens_the_same_tasks(better_auth: BetterAuth, service: Api) -> None:
    account = await better_auth.sign_up()
    tokens = [await better_auth.jwt(account), account.session_token, account.bearer]
    for title, token in zip("abc", tokens, strict=True):
        assert (await service.post("/api/v1/tasks", {"title": title}, token=token)).status == 201
    for token in tokens:
        assert len((await service.get("/api/v1/tasks", token=token)).body["tasks"]) == 3


@pytest.mark.parametrize("path", ["/api/{user_id}/tasks", "/api/users/{user_id}/tasks"])
async def test_nobody_is_let_into_the_tasks_of_another(better_auth: BetterAuth, service: Api, path: str) -> None:
    ada, bob = await better_auth.sign_up(), await better_auth.sign_up()
    for token in (await better_auth.jwt(bob), bob.session_token, bob.bearer):
        assert (await service.get(path.format(user_id=ada.id), token=token)).status == 403


async def test_a_rotated_key_is_known_at_its_first_token_and_the_old_one_as_long_as_it_is_published(
    better_auth: BetterAuth,
) -> None:
    account = await better_auth.sign_up()
    old = await better_auth.jwt(account)
    async with running_service(settings(better_auth)) as service:
        assert await status(service, old) == 200
        await better_auth.rotate_keys()
        new = await better_auth.jwt(account)
        kids = [jwt.get_unverified_header(token)["kid"] for token in (old, new)]
        assert kids[0] != kids[1]
        assert await better_auth.kids() >= set(kids)
        assert await status(service, new) == 200
        assert await status(service, old) == 200


async def test_a_key_that_is_no_longer_published_is_forgotten_with_the_tokens_under_it(better_auth: BetterAuth) -> None:
    account = await better_auth.sign_up()
    old = await better_auth.jwt(account)
    async with running_service(settings(better_auth)) as service:
        assert await status(service, old) == 200
        await better_auth.retire_keys()
        new = await better_auth.jwt(account)
        assert jwt.get_unverified_header(old)["kid"] not in await better_auth.kids()
        assert [await status(service, token) for token in (new, old)] == [200, 401]


async def test_signing_out_there_ends_the_session_here_at_once(better_auth: BetterAuth, service: Api) -> None:
    account, other = await better_auth.sign_up(), await better_auth.sign_up()
    tokens = (account.session_token, account.bearer)
    assert [await status(service, token) for token in tokens] == [200, 200]
    await better_auth.sign_out(account)
    assert [await status(service, token) for token in tokens] == [401, 401]
    assert await status(service, other.session_token) == 200


async def test_a_session_that_is_over_there_is_over_here(better_auth: BetterAuth, service: Api) -> None:
    account = await better_auth.sign_up()
    expire = f"""UPDATE user_sessions SET "expiresAt" = now() WHERE token = '{account.session_token}'"""
    await run_sql(better_auth.database_url, expire)
    assert [await status(service, token) for token in (account.session_token, account.bearer)] == [401, 401]


async def test_the_token_of_a_verification_mail_is_not_a_key(better_auth: BetterAuth, service: Api) -> None:
    account = await better_auth.sign_up()
    token = await better_auth.verification_token(account)
    assert jwt.decode(token, SECRET, algorithms=["HS256"])["email"] == account.email  # under the secret we share
    assert await status(service, token) == 401
    assert await better_auth.verifies(token)


async def test_no_token_of_ours_verifies_an_email_there(better_auth: BetterAuth) -> None:
    async with running_service(settings(better_auth, secret_key=None)) as service:
        user = await service.new_user()
        assert await status(service, user.token) == 200
        assert not await better_auth.verifies(user.token)


async def test_a_signature_of_another_token_or_secret_is_refused(better_auth: BetterAuth, service: Api) -> None:
    ada, bob = await better_auth.sign_up(), await better_auth.sign_up()
    signature = bob.bearer.removeprefix(bob.session_token)
    assert await status(service, ada.session_token + signature) == 401
    assert await status(service, ada.bearer[:40] + ("A" if ada.bearer[40] != "A" else "B") + ada.bearer[41:]) == 401
    assert await status(service, ada.bearer) == 200


async def test_a_session_stored_plainly_is_no_key_where_hashes_are_expected(better_auth: BetterAuth) -> None:
    account = await better_auth.sign_up()
    hashed = settings(
        better_auth, session_token_storage="hashed", session_hash_secret="for-tests-only-of-hashes-0123456789-abcdefgh"
    )
    async with running_service(hashed) as service:
        assert [await status(service, token) for token in (account.session_token, account.bearer)] == [401, 401]
        assert await status(service, await better_auth.jwt(account)) == 200


async def test_another_server_is_refused_even_where_it_uses_this_ones_name(
    better_auth: BetterAuth, node: str, program: Path, postgres_url: str
) -> None:
    async with (
        temporary_database(postgres_url) as url,
        peer.running(node, program, url, secret=SECRET[::-1], issuer=better_auth.issuer) as stranger,
        running_service(settings(better_auth)) as service,
    ):
        account = await stranger.sign_up()
        token = await stranger.jwt(account)
        assert jwt.decode(token, options={"verify_signature": False})["iss"] == better_auth.issuer
        tokens = (token, account.session_token, account.bearer, await stranger.verification_token(account))
        assert [await status(service, each) for each in tokens] == [401] * 4


@pytest.mark.parametrize("wrong", ["jwt_issuer", "jwt_audience"])
async def test_tokens_for_somebody_else_are_refused(better_auth: BetterAuth, wrong: str) -> None:
    account = await better_auth.sign_up()
    async with running_service(settings(better_auth, **{wrong: "http://127.0.0.1:1"})) as service:
        assert await status(service, await better_auth.jwt(account)) == 401


async def test_a_table_of_sessions_that_was_there_first_stays_the_servers(
    node: str, program: Path, postgres_url: str
) -> None:
    async with temporary_database(postgres_url) as url, peer.running(node, program, url) as server:
        account = await server.sign_up()
        files = migrations.find()
        db = await asyncpg.connect(url)
        try:
            assert await migrations.up(db, files) == len(files)
            async with running_service(settings(server)) as service:
                assert await status(service, account.session_token) == 200
            assert await migrations.down(db, files, len(files)) == len(files)
            assert await db.fetchval("SELECT token FROM user_sessions") == account.session_token
        finally:
            await db.close()
