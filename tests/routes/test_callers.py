"""Every route and every kind of caller: each row answers as it says, generated from the table."""

from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.client import Api, User
from tests.conftest import make_settings, running_service
from tests.routes.test_sessions import only_administrators, sign_in, until_refused
from tests.rows import path_of, rows
from todo_service.auth.access import Access
from todo_service.routes.table import Route

SERVICE_TOKEN = "a-service-for-tests-0123456789-abcdef"
KINDS = ("nobody", "user", "other user", "admin", "service", "revoked")
Callers = Mapping[str, Mapping[str, str]]


@pytest_asyncio.fixture
async def service(database_url: str) -> AsyncIterator[Api]:
    """The service with a trusted service beside it."""
    async with running_service(make_settings(database_url, service_auth_token=SERVICE_TOKEN)) as running:
        yield running


def expected(route: Route, kind: str) -> set[int]:
    """What the row says: a refusal of the authentication, or a later answer (a missing task, a wrong body)."""
    past_the_gate = {200, 204, 400, 404, 415, 422}
    if route.access is Access.PUBLIC:
        return past_the_gate
    if kind in {"nobody", "revoked"}:
        return {401}
    if route.access is Access.ADMIN and kind != "admin":
        return {403}
    if route.access in (Access.ACCOUNT, Access.PERSON) and kind == "service":
        return {403}
    if "{user_id}" in route.path and kind in {"other user", "admin"}:
        return {403}
    return past_the_gate


async def headers_of(service: Api, database_url: str, owner: User) -> dict[str, dict[str, str]]:
    other, admin, revoked = [await service.new_user() for _ in range(3)]
    async with only_administrators(database_url, admin):
        admins_token = (await sign_in(service, admin))["access_token"]
    await service.post("/api/v1/auth/logout", {"everywhere": True}, as_=revoked)
    await until_refused(service, revoked.token)
    tokens = {"user": owner.token, "other user": other.token, "admin": admins_token, "revoked": revoked.token}
    shown = {kind: {"Authorization": f"Bearer {token}"} for kind, token in tokens.items()}
    return shown | {"nobody": {}, "service": {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": owner.id}}


@pytest.mark.parametrize("slash", ["", "/"])
async def test_each_route_answers_each_kind_of_caller_as_its_row_says(
    service: Api, database_url: str, slash: str
) -> None:
    owner = await service.new_user()
    callers = await headers_of(service, database_url, owner)
    assert set(callers) == set(KINDS)
    for route in rows():
        path = path_of(route.path, owner.id, account_id=uuid4())
        for kind, headers in callers.items():
            answer = await service.send(route.method, path.rstrip("/") + slash, raw=b"[]", headers=headers)
            assert answer.status in expected(route, kind), (kind, route.method, route.path, answer.status)
            if answer.status >= 400:
                assert answer.problem()
            if answer.status == 401:
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
