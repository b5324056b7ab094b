"""Deleting what has expired, of each table of tokens."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.queries.test_changes import new_user
from todo_service.postgres.connection import Connection
from todo_service.queries import one_time_tokens, personal_tokens, refresh_tokens, revocations

TOKENS = (
    "INSERT INTO refresh_tokens SELECT decode(md5($1 || n) || md5($1 || -n), 'hex'), $1, gen_random_uuid(), "
    "now() - n * interval '1 hour' FROM unnest('{-1, 1, 2, 3}'::int[]) AS n"
)
LINKS = (
    "INSERT INTO one_time_tokens SELECT $1, decode(md5($1 || n) || md5($1 || -n), 'hex'), 'email', '', NULL, "
    "now() - n * interval '1 hour' FROM unnest('{-1, 1, 2, 3}'::int[]) AS n"
)
PERSONAL = (
    "INSERT INTO personal_tokens (user_id, id, token_hash, name, scopes, is_strict, last_four, expires_at) "
    "SELECT $1, gen_random_uuid(), decode(md5($1 || n) || md5($1 || -n), 'hex'), 'n', '{}', false, '', "
    "now() - interval '30 days' - n * interval '1 hour' FROM unnest('{-1, 1, 2, 3}'::int[]) AS n"
)
SESSIONS = (
    "INSERT INTO ended_sessions SELECT $1, gen_random_uuid(), now() - interval '2 days' - n * interval '1 hour' "
    "FROM unnest('{-1, 1, 2, 3}'::int[]) AS n"
)


@pytest.mark.parametrize(
    ("table", "fill", "delete_expired", "count_expired"),
    [
        ("refresh_tokens", TOKENS, refresh_tokens.delete_expired, refresh_tokens.count_expired),
        ("one_time_tokens", LINKS, one_time_tokens.delete_expired, one_time_tokens.count_expired),
        ("personal_tokens", PERSONAL, personal_tokens.delete_expired, personal_tokens.count_expired),
        ("ended_sessions", SESSIONS, revocations.delete_expired, revocations.count_expired),
    ],
    ids=["refresh tokens", "links", "personal tokens", "ended sessions"],
)
async def test_the_oldest_go_first_and_no_more_than_asked_for(
    db: Connection,
    table: str,
    fill: str,
    delete_expired: Callable[..., Awaitable[int]],
    count_expired: Callable[[Any], Awaitable[int]],
) -> None:
    await delete_expired(db, at_most=100_000)
    ada = await new_user(db)
    await db.execute(fill, ada)
    assert await count_expired(db) == 3
    assert [await delete_expired(db, at_most=2) for _ in range(3)] == [2, 1, 0]
    assert await count_expired(db) == 0
    assert await db.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", ada) == 1
