"""What the service says of itself."""

import asyncio

from tests.client import Api
from tests.conftest import make_settings, run_sql, running_service, template_name, temporary_database
from todo_service import __version__


async def test_the_root_names_service_and_links(api: Api) -> None:
    answer = await api.get("/")
    assert answer.status == 200
    assert (answer.body["name"], answer.body["version"]) == ("Todo Service", __version__)
    assert answer.body["links"]["health"] == "/health"


async def test_the_root_is_a_page_for_a_browser(api: Api) -> None:
    page = await api.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert (page.headers["Vary"], "style-src 'self'" in page.headers["Content-Security-Policy"]) == ("Accept", True)
    for path in (await api.get("/")).body["links"].values():
        assert f'href="{path}"' in page.raw.decode()


async def test_every_link_of_the_root_leads_somewhere(api: Api) -> None:
    links = (await api.get("/")).body["links"]
    assert {"docs", "redoc", "openapi", "tasks", "problems"} <= set(links)
    for path in links.values():
        assert (await api.get(path)).status in {200, 401, 405}, path


async def test_healthy(api: Api) -> None:
    answer = await api.get("/health", headers={"Authorization": "Basic x"})
    assert answer.status == 200
    expected = {"status": "healthy", "service": "todo-backend", "version": __version__, "checks": {"database": "up"}}
    assert answer.body == expected
    assert (await api.get("/health/live")).body == {"status": "alive"}
    assert (await api.get("/health/ready")).body == {"status": "ready"}


async def test_without_a_database_only_liveness_is_well() -> None:
    settings = make_settings("postgresql://nobody@127.0.0.1:1/nothing")
    async with running_service(settings) as api:
        health = await api.get("/health")
        assert (health.status, health.body["status"], health.body["checks"]) == (503, "unhealthy", {"database": "down"})
        ready = await api.get("/health/ready")
        assert (ready.status, ready.body["reason"], ready.headers["Retry-After"]) == (503, "database down", "2")
        assert (await api.get("/health/live")).status == 200
        login = await api.post("/api/v1/auth/login", {"email": "ada@example.com", "password": "x"})
        assert (login.status, login.problem(), login.headers["Retry-After"]) == (503, "database-unavailable", "2")


async def test_readiness_waits_for_migrations_and_says_so(postgres_url: str) -> None:
    async with temporary_database(postgres_url) as url, running_service(make_settings(url)) as api:
        async with asyncio.timeout(10):
            while (ready := await api.get("/health/ready")).body["reason"] == "database down":
                await asyncio.sleep(0.1)
        assert ready.status == 503
        assert "migrations pending: run bin/migrate up" in ready.body["reason"]
        assert (await api.get("/health")).status == 200
        login = await api.post("/api/v1/auth/login", {"email": "ada@example.com", "password": "x"})
        assert (login.status, login.problem()) == (503, "database-unavailable")


async def test_a_role_that_may_not_read_the_tables_is_no_defect(postgres_url: str) -> None:
    """As when the migrations were run by another one."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        await run_sql(url, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM CURRENT_USER")
        async with running_service(make_settings(url)) as api:
            ready = await api.get("/health/ready")
            assert (ready.status, "our role may not read them" in ready.body["reason"]) == (503, True)
            login = await api.post("/api/v1/auth/login", {"email": "ada@example.com", "password": "x"})
            assert (login.status, login.problem()) == (503, "database-unavailable")


async def test_a_defect_gives_nothing_away(postgres_url: str) -> None:
    """A real one: the counter does not count."""
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        running_service(make_settings(url)) as api,
    ):
        ada = await api.new_user()
        await run_sql(url, "ALTER TABLE task_clocks ALTER version DROP DEFAULT, ALTER version TYPE text")
        answer = await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)
        assert (answer.status, answer.problem()) == (500, "internal-error")
        assert answer.body["detail"].startswith("Something went wrong on our side.")
        assert not any(word in answer.raw.decode() for word in ("version", "text", "integer", "SELECT"))
