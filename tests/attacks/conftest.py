"""The services under attack."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.auth_server import SHARED_SECRET
from tests.client import Api, User
from tests.conftest import as_serving_role, make_settings, running_service
from tests.routes.test_sessions import only_administrators, sign_in

SERVICE_TOKEN = "a-service-under-attack-0123456789-abcdef"
PAGE = "https://app.example.com"


@pytest_asyncio.fixture(scope="session")
async def service(database_url: str) -> AsyncIterator[Api]:
    """The service with every way in and a page of another origin, without rate limits."""
    settings = make_settings(
        as_serving_role(database_url), better_auth_secret=SHARED_SECRET, service_auth_token=SERVICE_TOKEN,
        cors_origins=PAGE,
    )  # fmt: skip
    async with running_service(settings) as api:
        yield api


@pytest_asyncio.fixture
async def eve(service: Api) -> User:
    return await service.new_user()


@pytest_asyncio.fixture
async def victim(service: Api) -> User:
    return await service.new_user()


@pytest_asyncio.fixture
async def root(service: Api, database_url: str) -> AsyncIterator[User]:
    """An administrator."""
    user = await service.new_user()
    async with only_administrators(database_url, user):
        yield User(user.id, user.email, (await sign_in(service, user))["access_token"])
