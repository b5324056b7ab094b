"""One Better Auth server for the tests of this folder, on a database it shares with the service."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.better_auth import install, peer
from tests.better_auth.peer import BetterAuth
from tests.conftest import template_name, temporary_database


@pytest.fixture(scope="package")
def node() -> str:
    """A Node.js that can run it; without one, the tests that ask for it are skipped."""
    return install.node()


@pytest.fixture(scope="package")
def program(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's program, its packages installed."""
    return install.assembled(tmp_path_factory.mktemp("better-auth"), install.installed())


@pytest_asyncio.fixture(scope="package")
async def shared_database_url(postgres_url: str) -> AsyncIterator[str]:
    """A database with the service's tables, to which the server adds its own."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        yield url


@pytest_asyncio.fixture(scope="package")
async def better_auth(node: str, program: Path, shared_database_url: str) -> AsyncIterator[BetterAuth]:
    """The server."""
    async with peer.running(node, program, shared_database_url) as server:
        yield server
