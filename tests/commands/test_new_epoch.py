"""`bin/new-epoch`: every user's history begins anew."""

import json

from tests.commands.test_users import run
from tests.conftest import as_serving_role, make_settings, run_sql, running_service, template_name, temporary_database
from tests.routes.test_sessions import rows, until_refused
from todo_service.commands import epochs

EPOCHS = "SELECT user_id, epoch, version, task_count, sync_floor FROM task_clocks ORDER BY user_id"
USERS = 2 * epochs.BATCH + 1


async def test_every_user_gets_a_new_epoch_and_versions_that_were_never_given(postgres_url: str) -> None:
    async with temporary_database(postgres_url, template=template_name()) as url:
        none = await run("new-epoch", "--yes", DATABASE_URL=url)
        assert (none.returncode, none.stdout) == (0, "0 users have a new epoch; every session has ended\n")
        await run_sql(url, f"INSERT INTO users (id) SELECT 'Üser ' || n FROM generate_series(1, {USERS}) AS n")
        await run_sql(url, "INSERT INTO task_clocks (user_id, version, sync_floor) SELECT id, 7, 3 FROM users")
        seen, before = set(), await rows(url, EPOCHS)
        for times in (1, 2):
            done = await run("new-epoch", "--yes", DATABASE_URL=url)
            assert (done.returncode, done.stdout) == (0, f"{USERS} users have a new epoch; every session has ended\n")
            after = await rows(url, EPOCHS)
            assert {(*row[2:],) for row in after} == {(7 + times * 1_000_000, 0, 3)}
            seen |= {row[1] for row in after}
        assert len(seen | {row[1] for row in before}) == 3 * USERS


async def test_without_yes_nothing_is_done(database_url: str) -> None:
    done = await run("new-epoch", DATABASE_URL=database_url)
    assert (done.returncode, "--yes" in done.stderr) == (2, True)
    explained = await run("new-epoch", "--help", DATABASE_URL=database_url)
    assert (explained.returncode, "backup" in explained.stdout) == (0, True)


async def test_without_the_right_nothing_ends(postgres_url: str) -> None:
    async with temporary_database(postgres_url, template=template_name()) as url:
        async with running_service(make_settings(as_serving_role(url))) as api:
            await api.new_user()
        refused = await run("new-epoch", "--yes", DATABASE_URL=as_serving_role(url))
        assert (refused.returncode, "token_epochs" in refused.stderr) == (1, True)
        assert len(await rows(url, "SELECT FROM refresh_tokens")) == 1


async def test_personal_tokens_and_links_end(postgres_url: str) -> None:
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        running_service(make_settings(url)) as api,
    ):
        ada = await api.new_user()
        body = {"name": "n", "scopes": ["tasks:read"]}
        token = (await api.post("/api/v1/auth/tokens", body, as_=ada)).body["token"]
        link = json.loads((await run("users", "reset-link", "--json", ada.id, DATABASE_URL=url)).stdout)["link"]
        assert (await api.get("/api/v1/tasks", token=token)).status == 200
        assert (await run("new-epoch", "--yes", DATABASE_URL=url)).returncode == 0
        await until_refused(api, token)
        used = await api.post("/api/v1/auth/password/reset", {"token": link, "new_password": "better horse 10"})
        assert used.problem() == "invalid-one-time-token"
