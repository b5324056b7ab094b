"""The pages of the service in a real browser: whole, quiet, and asking nobody else."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.client import PASSWORD, Api, User
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
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        page.on("request", self._asked)

    def _said(self, said: Any) -> None:
        if said.type in {"error", "warning"}:
            self.wrong.append(f"console: {said.text}")

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
    paths = await watched.page.locator(".opblock-summary-path, .opblock-summary-path__deprecated").evaluate_all(
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
    await expect(watched.page.locator("img"), "the logo of its maker is left out").to_have_count(0)


async def tried(page: Page, method: str, path: str, body: Any = None) -> Any:
    """What an operation answers when it is tried out on the page; it must be 200."""
    operation = page.locator(f".opblock-{method}", has=page.locator(f"[data-path='{path}']"))
    await operation.locator(".opblock-summary-control").click()
    if body is not None:
        await operation.locator("textarea").fill(json.dumps(body))
    await operation.locator(".execute").click()
    answer = operation.locator(".live-responses-table tbody tr").first
    await expect(answer.locator(".response-col_status")).to_contain_text("200", timeout=SECONDS)
    return json.loads(await answer.locator(".response-col_description pre").first.inner_text())


async def list_titles(page: Page) -> list[str]:
    listed = await tried(page, "get", "/api/v1/tasks")
    return [task["title"] for task in listed["tasks"]]


async def test_a_newcomer_signs_in_and_lists_tasks_on_the_page(watched: Watched, service: Api) -> None:
    user: User = await service.new_user()
    await service.post("/api/v1/tasks", {"title": "Write to Charles"}, as_=user)
    page = watched.page
    await watched.open("/docs")
    await page.locator(".auth-wrapper .authorize").click()
    first = page.locator(".dialog-ux .auth-container").first
    await first.locator("#oauth_username").fill(user.email)
    await first.locator("#oauth_password").fill(PASSWORD)
    await first.locator("button.authorize").click()
    await expect(first.locator("h6").first).to_have_text("Authorized", timeout=SECONDS)
    await page.locator(".dialog-ux .close-modal").click()
    assert await list_titles(page) == ["Write to Charles"]


async def test_who_has_a_token_gives_it_to_the_page(watched: Watched, service: Api) -> None:
    user: User = await service.new_user()
    await service.post("/api/v1/tasks", {"title": "Write to Charles"}, as_=user)
    page = watched.page
    await watched.open("/docs")
    signed_in = await tried(page, "post", "/api/v1/auth/login", {"email": user.email, "password": PASSWORD})
    await page.locator(".auth-wrapper .authorize").click()
    token = page.locator(".dialog-ux .auth-container", has_text="accessToken").locator("input")
    await token.fill(signed_in["access_token"])
    await token.press("Enter")
    await page.locator(".dialog-ux .close-modal").click()
    assert await list_titles(page) == ["Write to Charles"]


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
