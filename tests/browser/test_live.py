"""The example page, in two windows of a real browser at once."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from tests.client import PASSWORD, Api, User
from tests.conftest import make_settings, running_service
from todo_service.config.settings import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
PAGE = ROOT / "docs" / "examples" / "live.html"


@pytest_asyncio.fixture
async def address() -> AsyncIterator[str]:
    """The page on an origin of its own."""
    app = web.Application()
    app.router.add_static("/", PAGE.parent)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def window(browser: Browser, address: str, api: Api, user: User) -> Page:
    """A window in which the user has signed in."""
    page = await (await browser.new_context()).new_page()
    await page.goto(f"{address}/{PAGE.name}?api={api.base}")
    await page.get_by_label("Email").fill(user.email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=20_000)
    return page


async def titles(page: Page, *expected: str) -> None:
    await expect(page.locator("#tasks li span")).to_have_text([*expected], timeout=20_000)


async def test_two_windows_see_each_other_s_changes_and_one_takes_its_own_back(
    browser: Browser, address: str, database_url: str
) -> None:
    async with running_service(make_settings(database_url, cors_origins=[address])) as api:
        ada = await api.new_user()
        one, other = [await window(browser, address, api, ada) for _ in range(2)]
        await one.get_by_label("New task").fill("buy <b>milk</b>")
        await one.get_by_role("button", name="Add").click()
        for page in (one, other):
            await titles(page, "buy <b>milk</b>")
        await other.get_by_role("checkbox").check()
        await expect(one.locator("li.done")).to_have_count(1, timeout=20_000)
        await other.get_by_role("button", name="Delete: buy").click()
        for page in (one, other):
            await titles(page)
        await other.get_by_role("button", name="Undo").click()
        for page in (one, other):
            await titles(page, "buy <b>milk</b>")
            await expect(page.locator("li.done")).to_have_count(1)
        await other.get_by_role("button", name="Undo").click()
        await expect(one.locator("li.done")).to_have_count(0, timeout=20_000)
        await expect(other.get_by_role("button", name="Undo")).to_be_disabled()
        for page in (one, other):
            await expect(page.get_by_role("alert")).to_be_empty()


async def test_a_wrong_password_is_said(browser: Browser, address: str, database_url: str) -> None:
    async with running_service(make_settings(database_url, cors_origins=[address])) as api:
        page = await (await browser.new_context()).new_page()
        await page.goto(f"{address}/{PAGE.name}?api={api.base}")
        await page.get_by_label("Email").fill("nobody@example.com")
        await page.get_by_label("Password").fill("wrong horse 9")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("password", ignore_case=True)


def test_the_page_is_short_and_needs_nothing_else() -> None:
    text = PAGE.read_text()
    assert len(text.splitlines()) <= 200
    assert "<script src" not in text
    assert "<link" not in text
