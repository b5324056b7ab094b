"""A database of its own for tests that fill it with much."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.client import Api
from tests.conftest import make_settings, running_service, template_name, temporary_database


@pytest_asyncio.fixture
async def own_url(postgres_url: str) -> AsyncIterator[str]:
    async with temporary_database(postgres_url, template=template_name()) as url:
        yield url


@pytest_asyncio.fixture
async def own_api(own_url: str) -> AsyncIterator[Api]:
    async with running_service(make_settings(own_url)) as api:
        yield api
