"""The service's transactions say their level: a stricter default of the role or the database changes nothing."""

import asyncio

from tests.conftest import make_settings, run_sql, running_service, template_name, temporary_database


async def test_a_serializable_default_does_not_make_concurrent_changes_fail(postgres_url: str) -> None:
    async with temporary_database(postgres_url, template=template_name()) as url:
        name = url.rpartition("/")[2].partition("?")[0]
        await run_sql(url, f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
        async with running_service(make_settings(url)) as api:
            ada = await api.new_user()
            keys = [{"Idempotency-Key": f"key {n}"} if n % 2 else {} for n in range(40)]
            answers = await asyncio.gather(
                *(api.post("/api/v1/tasks", {"title": "x"}, as_=ada, headers=headers) for headers in keys)
            )
            assert [answer.status for answer in answers] == [201] * 40
            assert (await api.get("/api/v1/tasks", as_=ada)).body["total"] == 40
