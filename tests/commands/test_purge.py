"""`bin/purge`: what has expired goes, what holds stays, also with two at once."""

import asyncio

from tests.client import Api, User
from tests.commands.test_users import run
from tests.conftest import run_sql
from tests.routes.test_sessions import refresh, rows


async def test_only_what_has_expired_is_deleted(api: Api, ada: User, bob: User, database_url: str) -> None:
    await run_sql(
        database_url,
        f"""INSERT INTO refresh_tokens (token_hash, user_id, family_id, expires_at)
        SELECT sha256(n::text::bytea), '{bob.id}', gen_random_uuid(), now() - interval '1 s'
        FROM generate_series(1, 2500) AS n""",
    )
    done = await asyncio.gather(*(run("purge", "--batch", "100", DATABASE_URL=database_url) for _ in range(2)))
    assert [one.returncode for one in done] == [0, 0]
    assert sum(int(one.stdout.split()[0]) for one in done) == 2500
    assert len(await rows(database_url, "SELECT FROM refresh_tokens WHERE user_id = $1", bob.id)) == 1
    assert (await refresh(api, ada.refresh_token)).status == 200
    again = await run("purge", DATABASE_URL=database_url)
    assert (again.returncode, again.stdout) == (0, "0 expired refresh tokens deleted\n")


async def test_misuse_is_2(database_url: str) -> None:
    assert (await run("purge", "--batch", "0", DATABASE_URL=database_url)).returncode == 2
