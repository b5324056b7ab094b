"""Session tokens: a row that holds, in the form the setting says, signed well if signed; one query and no other."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.auth_server import SHARED_SECRET, signed_session
from tests.conftest import make_settings, run_sql
from todo_service.auth.external_sessions import ExternalSessions
from todo_service.auth.tokens import TokenError
from todo_service.config.database_options import database_options
from todo_service.postgres import citus
from todo_service.postgres.database import Database
from todo_service.queries.external_sessions import statements_for

HASH_SECRET = "hashes-session-tokens-0123456789-abc"


@asynccontextmanager
async def lookup(database_url: str, **changes: Any) -> AsyncIterator[ExternalSessions]:
    options = {"table": "user_sessions", "storage": "plain", "hash_secret": None, "signing_secret": SHARED_SECRET}
    database = Database(database_options(make_settings(database_url)))
    await database.open()
    try:
        yield ExternalSessions(database, **(options | changes))
    finally:
        await database.close()


def hashed(token: str) -> str:
    return hmac.new(HASH_SECRET.encode(), token.encode(), hashlib.sha256).hexdigest()


async def session(database_url: str, *, stored: str, user_id: str = "better", ends: str = "1 h") -> None:
    await run_sql(
        database_url,
        f"""INSERT INTO user_sessions (id, token, "userId", "expiresAt")
        VALUES ('{uuid4()}', '{stored}', '{user_id}', now() + interval '{ends}')""",
    )


async def refused(tokens: ExternalSessions, shown: str) -> None:
    with pytest.raises(TokenError) as error:
        await tokens.user_of(shown)
    assert shown not in str(error.value) or len(shown) < 5


@pytest.mark.parametrize("present", ["SELECT false", "SELECT true"], ids=["one server", "a cluster"])
async def test_a_plain_session_holds_until_it_ends(
    database_url: str, monkeypatch: pytest.MonkeyPatch, present: str
) -> None:
    monkeypatch.setattr(citus, "SELECT_IS_PRESENT", present)
    token, over = uuid4().hex, uuid4().hex
    await session(database_url, stored=token)
    await session(database_url, stored=over, ends="-1 s")
    async with lookup(database_url) as tokens:
        assert (await tokens.user_of(token)).id == "better"
        for wrong in (over, token[:-1], token.upper(), hashed(token), uuid4().hex):
            await refused(tokens, wrong)


async def test_where_hashing_is_on_a_stored_value_is_no_token(database_url: str) -> None:
    token, plain = uuid4().hex, uuid4().hex
    await session(database_url, stored=hashed(token))
    await session(database_url, stored=plain)
    async with lookup(database_url, storage="hashed", hash_secret=HASH_SECRET) as tokens:
        assert (await tokens.user_of(token)).id == "better"
        assert (await tokens.user_of(signed_session(token))).id == "better"
        for wrong in (plain, hashed(token), signed_session(hashed(token))):
            await refused(tokens, wrong)


async def test_without_its_secret_hashing_takes_nothing(database_url: str) -> None:
    token = uuid4().hex
    await session(database_url, stored=token)
    async with lookup(database_url, storage="hashed") as tokens:
        await refused(tokens, token)
        await refused(tokens, signed_session(token))


async def test_a_signature_is_checked(database_url: str) -> None:
    token = uuid4().hex
    await session(database_url, stored=token)
    good = signed_session(token)
    signature = good.partition(".")[2]
    async with lookup(database_url) as tokens:
        for right in (good, quote(good), quote(good, safe="")):
            assert (await tokens.user_of(right)).id == "better"
        for wrong in (
            signed_session(token, "another-secret-0123456789-0123456789"), good[:-1], good + "=", f"{token}.",
            f".{signature}", f"{uuid4().hex}.{signature}", f"{token}.{'A' * 43}=", quote(quote(good, safe=""), safe=""),
            f"{token}.{signature}.{signature}", f"{token}.\u00e9", f"{token}.\udcff", f"\udcff.{signature}",
        ):  # fmt: skip
            await refused(tokens, wrong)
    async with lookup(database_url, signing_secret=None) as tokens:
        await refused(tokens, good)
        assert (await tokens.user_of(token)).id == "better"


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "short",
        "x" * 513,
        "%00" * 20,
        "%ff" * 20,
        "a b" * 10,
        "\udcff" * 20,
        "é" * 20,
        "' OR true --" + "-" * 9 + " ",
    ],
)
async def test_what_is_no_token_costs_no_query(database_url: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with lookup(database_url) as tokens:
        monkeypatch.setattr(tokens, "_database", None)
        await refused(tokens, shown)


async def test_the_table_is_a_setting(database_url: str) -> None:
    token = uuid4().hex
    await run_sql(database_url, 'CREATE SCHEMA "Auth"')
    await run_sql(
        database_url,
        f"""CREATE TABLE "Auth".session AS
        SELECT 'id' AS id, '{token}' AS token, gen_random_uuid() AS "userId", now() + interval '1 h' AS "expiresAt" """,
    )
    async with lookup(database_url, table="Auth.session") as tokens:
        assert len((await tokens.user_of(token)).id) == 36
    await run_sql(database_url, 'DROP SCHEMA "Auth" CASCADE')
    assert 'FROM "Auth"."session" AS session' in statements_for("Auth.session").select_user


async def test_a_user_id_nothing_could_be_stored_under_is_refused(database_url: str) -> None:
    token = uuid4().hex
    await session(database_url, stored=token, user_id="")
    async with lookup(database_url) as tokens:
        await refused(tokens, token)
