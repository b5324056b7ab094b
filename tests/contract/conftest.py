"""The conversations are held twice: with the statements for one server, and with those for a cluster."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.client import Api
from tests.conftest import as_serving_role, make_settings, running_service, template_name, temporary_database
from todo_service.postgres import citus


@pytest_asyncio.fixture(params=["one server", "a cluster"])
async def api(postgres_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """The service on a database of its own, since a conversation has an email that is taken once."""
    if request.param == "a cluster":
        monkeypatch.setattr(citus, "SELECT_IS_PRESENT", "SELECT true")
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        running_service(make_settings(as_serving_role(url))) as running,
    ):
        yield running
