"""The pages of the service in a real browser: whole, quiet, and asking nobody else."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.client import Api, User
from tests.conftest import make_settings, running_service

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
SECONDS = 30_000


class Watched:
    """A page, and what went wrong on it: errors, words on the console, requests to others, violations of its policy."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.wrong: list[str] = []
        page.on("console", lambda said: self.wrong.append(f"console {said.type}: {said.text}"))
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base + "/", "data:", "blob:")):
            self.wrong.append(f"asked: {request.url}")

    async def open(self, path: str) -> None:
        await self.page.add_init_script(
            "addEventListener('securitypolicyviolation', event =>"
            " console.error('violation', event.violatedDirective, event.blockedURI))"
        )
        answer = await self.page.goto(self.base + path)
        assert answer is not None
        assert answer.status == 200


@pytest_asyncio.fixture(scope="module")
async def service(database_url: str) -> AsyncIterator[Api]:
    async with running_service(make_settings(database_url)) as running:
        yield running


@pytest_asyncio.fixture
async def watched(browser: Browser, service: Api) -> AsyncIterator[Watched]:
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(SECONDS)
    watched = Watched(page, service.base)
    yield watched
    await page.close()
    assert watched.wrong == []


async def operations(api: Api, path: str) -> list[tuple[str, str]]:
    """The operations of the document, as (method, path)."""
    document = (await api.get(path)).body
    return [(method.upper(), path) for path, item in document["paths"].items() for method in item if method in METHODS]


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_swagger_ui_shows_every_operation(watched: Watched, service: Api, prefix: str) -> None:
    documented = await operations(service, f"{prefix}/openapi.json")
    assert documented
    await watched.open(f"{prefix}/docs")
    await expect(watched.page.locator(".opblock")).to_have_count(len(documented), timeout=SECONDS)
    methods = await watched.page.locator(".opblock-summary-method").all_inner_texts()
    paths = await watched.page.locator(".opblock-summary-path").evaluate_all(
        "all => all.map(one => one.dataset.path)",
    )
    assert sorted(zip(methods, paths, strict=True)) == sorted(documented)


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_redoc_shows_every_operation(watched: Watched, service: Api, prefix: str) -> None:
    documented = await operations(service, f"{prefix}/openapi.json")
    await watched.open(f"{prefix}/redoc")
    await expect(watched.page.locator("[data-section-id*='/operation/']")).to_have_count(
        len(documented), timeout=SECONDS
    )
    assert await watched.page.locator("img").count() == 0, "the logo of its maker is left out"


async def test_a_newcomer_signs_in_and_lists_tasks_on_the_page(watched: Watched, service: Api) -> None:
    user: User = await service.new_user()
    await service.post("/api/v1/tasks", {"title": "Write to Charles"}, as_=user)
    page = watched.page
    await watched.open("/docs")
    await page.locator(".auth-wrapper .authorize").click()
    dialog = page.locator(".dialog-ux .auth-container", has_text="bearer").first
    await dialog.locator("input").first.fill(user.token)
    await dialog.locator("input").first.press("Enter")
    await page.locator(".dialog-ux .close-modal").click()
    listing = page.locator(".opblock-get", has=page.locator("[data-path='/api/v1/tasks']")).first
    await listing.locator(".opblock-summary-control").click()
    await listing.locator(".execute").click()
    answer = listing.locator(".live-responses-table tbody tr").first
    await expect(answer.locator(".response-col_status")).to_contain_text("200", timeout=SECONDS)
    shown = json.loads(await answer.locator(".response-col_description pre").first.inner_text())
    assert [task["title"] for task in shown["tasks"]] == ["Write to Charles"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_problem_is_a_readable_page(watched: Watched, scheme: Any) -> None:
    await watched.page.emulate_media(color_scheme=scheme)
    await watched.open("/problems")
    await watched.page.get_by_role("link", name="precondition-failed").click()
    await expect(watched.page.locator("h1")).to_have_text("The task has changed")
    assert "The task has changed" in await watched.page.title()
    dark = await watched.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert dark == (scheme == "dark")
    width = await watched.page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth")
    assert width.endswith("px"), "the file with its style was let in"
