"""A real browser: Debian's Chromium, driven by Playwright; and pages of two origins for it to open."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, async_playwright

PROGRAM = "chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


def unavailable(reason: str) -> NoReturn:
    """Skip the test; where CI is set, nothing may be left out, so fail it there."""
    if os.environ.get("CI"):
        pytest.fail(f"no browser: {reason}", pytrace=False)
    pytest.skip(f"no browser: {reason}")


@pytest.fixture(scope="package")
def chromium() -> str:
    """The path of a Chromium; without one, the tests that ask for it are skipped."""
    program = shutil.which(PROGRAM)
    if program is None:
        unavailable(f"{PROGRAM} is not installed (Debian, Ubuntu: apt install chromium)")
    return program


@pytest_asyncio.fixture(scope="package")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """The browser."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        await running.close()


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """A site with one empty page, on an origin of its own; yields the origin."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>a page</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
