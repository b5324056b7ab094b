"""What a real browser lets pages do: those of `CORS_ORIGINS` work with the service, others read nothing."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser.conftest import site
from tests.client import PASSWORD, Api, User
from tests.conftest import make_settings, running_service
from todo_service.middleware.cors import EXPOSED

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

CALL = """
async ([method, url, body, headers, mode, credentials]) => {
    try {
        const init = {method, headers, mode, credentials};
        if (body !== null) init.body = JSON.stringify(body);
        const answer = await fetch(url, init);
        const text = answer.type === 'opaque' ? '' : await answer.text();
        return {status: answer.status, type: answer.type, headers: Object.fromEntries(answer.headers), text};
    } catch (error) {
        return {failed: error.name};
    }
}
"""
FAILED = {"failed": "TypeError"}  # all that a script gets to know


class Script:
    """A script on a page of some origin that calls the service."""

    def __init__(self, page: Page, api: Api) -> None:
        self.page = page
        self.api = api

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        mode: str = "cors",
        credentials: str = "omit",
        **headers: str,
    ) -> Any:
        """What `fetch` gives the script."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and mode == "cors":
            sent["Content-Type"] = "application/json"
        return await self.page.evaluate(CALL, [method, self.api.base + path, body, sent, mode, credentials])


@pytest_asyncio.fixture(scope="module")
async def origins() -> AsyncIterator[tuple[str, str]]:
    """Two sites, of which the service knows the first."""
    async with site() as ours, site() as foreign:
        yield ours, foreign


@pytest_asyncio.fixture(scope="module")
async def service(database_url: str, origins: tuple[str, str]) -> AsyncIterator[Api]:
    """The service; the same host on another port is another origin for a browser."""
    async with running_service(make_settings(database_url, cors_origins=origins[0])) as running:
        yield running


@pytest_asyncio.fixture
async def ours(browser: Browser, origins: tuple[str, str], service: Api) -> AsyncIterator[Script]:
    """A page the service knows."""
    page = await browser.new_page()
    await page.goto(origins[0])
    yield Script(page, service)
    await page.close()


@pytest_asyncio.fixture
async def foreign(browser: Browser, origins: tuple[str, str], service: Api) -> AsyncIterator[Script]:
    """A page it does not know."""
    page = await browser.new_page()
    await page.goto(origins[1])
    yield Script(page, service)
    await page.close()


@pytest_asyncio.fixture
async def user(service: Api) -> User:
    return await service.new_user()


async def signed_in(script: Script, user: User) -> str:
    answer = await script.call("POST", "/api/v1/auth/login", {"email": user.email, "password": PASSWORD})
    assert answer["status"] == 200
    body = await script.page.evaluate("JSON.parse", answer["text"])
    return str(body["access_token"])


async def test_a_known_page_signs_in_and_works(ours: Script, user: User) -> None:
    token = await signed_in(ours, user)
    created = await ours.call("POST", "/api/v1/tasks", {"title": "t"}, token=token, Idempotency_Key="k")
    assert created["status"] == 201
    headers = created["headers"]
    assert headers["etag"] == '"1"'
    assert headers["x-request-id"]
    path = headers["location"]
    changed = await ours.call("PATCH", path, {"title": "u"}, token=token, If_Match=headers["etag"])
    assert (changed["status"], changed["headers"]["etag"]) == (200, '"2"')
    stale = await ours.call("PATCH", path, {"title": "v"}, token=token, If_Match='"1"')
    assert (stale["status"], stale["headers"]["etag"]) == (412, '"2"')
    listed = await ours.call("GET", "/api/v1/tasks?limit=1", token=token, X_Request_ID="of-the-page")
    assert (listed["status"], listed["headers"]["x-total-count"]) == (200, "1")
    assert listed["headers"]["x-request-id"] == "of-the-page"
    again = await ours.call("POST", "/api/v1/tasks", {"title": "t"}, token=token, Idempotency_Key="k")
    assert again["headers"]["idempotency-replayed"] == "true"
    exported = await ours.call("GET", "/api/v1/export?format=csv", token=token)
    assert "attachment" in exported["headers"]["content-disposition"]
    assert (await ours.call("DELETE", path, token=token))["status"] == 204
    assert set(listed["headers"]) <= {name.lower() for name in EXPOSED} | {
        "cache-control",
        "content-type",
        "content-length",
    }


async def test_a_known_page_reads_refusals_too(ours: Script, user: User) -> None:
    for method, path, body, token, status in (
        ("GET", "/api/v1/tasks", None, "wrong.token.shown", 401),
        ("GET", "/api/somebody/tasks", None, user.token, 403),
        ("GET", "/nope", None, None, 404),
        ("POST", "/health", None, None, 405),
        ("POST", "/api/v1/tasks", {"title": "d" * 70_000}, user.token, 413),
        ("POST", "/api/v1/tasks", {"title": ""}, user.token, 422),
    ):
        answer = await ours.call(method, path, body, token=token)
        assert (answer["status"], answer["headers"]["content-type"]) == (status, "application/problem+json")
        assert answer["headers"]["x-request-id"] in answer["text"]


async def test_a_known_page_may_ask_with_credentials(ours: Script, user: User) -> None:
    answer = await ours.call("GET", "/api/v1/tasks", token=user.token, credentials="include")
    assert (answer["status"], answer["type"]) == (200, "cors")


async def test_the_browsers_cache_gives_nobody_what_is_anothers(ours: Script, user: User) -> None:
    """Two users of one browser, whose counters stand at the same version, ask the same addresses in turn."""
    other = await ours.api.new_user()
    for somebody in (user, other):
        await ours.api.post("/api/v1/tasks", {"title": f"of {somebody.id}"}, as_=somebody)
    for somebody in (user, other, user, user):
        for path in ("/api/v1/tasks", "/api/tasks", "/api/v1/sync", "/api/v1/auth/me", "/api/v1/export"):
            read = await ours.call("GET", path, token=somebody.token)
            assert read["status"] == 200
            assert somebody.id in read["text"]
            assert ({user.id, other.id} - {somebody.id}).pop() not in read["text"]


async def test_another_page_reads_nothing(foreign: Script, user: User) -> None:
    for method, path, body, token in (
        ("GET", "/", None, None),
        ("GET", "/health", None, None),
        ("GET", "/nope", None, None),
        ("GET", "/api/v1/tasks", None, user.token),
        ("POST", "/api/v1/auth/login", {"email": user.email, "password": PASSWORD}, None),
        ("POST", "/api/v1/tasks", {"title": "t"}, user.token),
        ("DELETE", "/api/v1/auth/me", {"password": PASSWORD}, user.token),
    ):
        for credentials in ("omit", "include"):
            assert await foreign.call(method, path, body, token=token, credentials=credentials) == FAILED
    listed = await foreign.api.get("/api/v1/tasks", as_=user)
    assert (listed.status, listed.body["total"]) == (200, 0), "no preflight was granted, so nothing was sent"


async def test_another_page_cannot_send_a_body_without_asking(foreign: Script, user: User) -> None:
    """Without CORS a script may send plain text; the service reads none. Nor does it get to see that."""
    answer = await foreign.call("POST", "/api/v1/auth/register", {"email": "x"}, mode="no-cors")
    assert answer == FAILED, "Cross-Origin-Resource-Policy keeps even the opaque answer"
    assert await foreign.call("GET", "/", mode="no-cors") == FAILED


async def test_a_sandboxed_page_is_another_page(ours: Script, user: User) -> None:
    """Its origin is `null`."""
    failed = await ours.page.evaluate(
        """async url => {
            const frame = document.createElement('iframe');
            frame.sandbox = 'allow-scripts';
            frame.srcdoc = `<script>fetch('${url}').then(() => parent.postMessage('read', '*'),
                                                         () => parent.postMessage('failed', '*'))</script>`;
            const said = new Promise(tell => addEventListener('message', event => tell(event.data)));
            document.body.append(frame);
            return await said;
        }""",
        ours.api.base + "/",
    )
    assert failed == "failed"


async def test_the_service_is_shown_in_no_frame(ours: Script) -> None:
    frame = await ours.page.evaluate_handle(
        """async url => {
            const frame = document.createElement('iframe');
            const loaded = new Promise(tell => { frame.onload = tell; });
            frame.src = url;
            document.body.append(frame);
            await loaded;
            return frame;
        }""",
        ours.api.base + "/",
    )
    element = frame.as_element()
    assert element is not None
    content = await element.content_frame()
    assert content is not None
    assert "Todo Service" not in await content.content()
