"""The rows of all routes, walked: each says who may, each refuses who may not, in the one order."""

import time
from uuid import uuid4

import jwt
import pytest
from aiohttp import hdrs

from tests.client import Api, User
from tests.conftest import SECRET_KEY
from tests.families import DIALECTS
from tests.rows import path_of, private_rows, rows
from todo_service.auth.access import Access
from todo_service.routes.table import Route

ALL_ROUTES = rows()
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


def concrete(route: Route, user: User) -> str:
    return path_of(route.path, user.id)


def test_no_row_is_there_twice_and_each_says_what_it_does() -> None:
    assert len({(route.method, route.path) for route in ALL_ROUTES}) == len(ALL_ROUTES)
    assert all(route.summary and isinstance(route.access, Access) for route in ALL_ROUTES)


def test_only_these_routes_are_public() -> None:
    assert {route.path for route in ALL_ROUTES if route.access is Access.PUBLIC} == {
        "/", "/health", "/health/live", "/health/ready", "/metrics", "/problems", "/problems/{name}",
        "/assets/{digest}/{name}", "/favicon.ico",
        "/openapi.json", "/docs", "/redoc", "/api/v1/openapi.json", "/api/v1/docs", "/api/v1/redoc",
        "/api/v1/auth/register", "/api/auth/register", "/api/auth/signup",
        "/api/v1/auth/login", "/api/auth/login", "/api/auth/signin", "/api/v1/auth/token",
        "/api/v1/auth/refresh", "/api/auth/refresh", "/api/v1/auth/logout", "/api/auth/logout",
        "/api/v1/auth/password/forgot", "/api/v1/auth/password/reset", "/api/v1/auth/email/verify",
    }  # fmt: skip


@pytest.mark.parametrize("slash", ["", "/"])
async def test_every_private_route_is_401_without_a_token(api: Api, ada: User, slash: str) -> None:
    for route in private_rows():
        answer = await api.send(route.method, concrete(route, ada) + slash, raw=b"not json")
        assert (answer.status, answer.problem()) == (401, "unauthenticated"), route
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="todo-service"'


async def test_every_private_route_is_401_with_a_wrong_credential(api: Api, ada: User) -> None:
    wrong = [
        {"Authorization": ada.token}, {"Authorization": f"Basic {ada.token}"}, {"Authorization": "Bearer"},
        {"Authorization": "Bearer "}, {"Authorization": f"Bearer {ada.token}x"},
        {"Authorization": f"Token {ada.token}"}, {"Authorization": f"Bearer {ada.token} b"},
        {"Authorization": "Bearer \u00ff\u00fe"},
    ]  # fmt: skip
    for route in private_rows():
        for headers in wrong:
            answer = await api.send(route.method, concrete(route, ada), raw=b"{", headers=headers)
            assert (answer.status, answer.problem()) == (401, "unauthenticated"), (route, headers)
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_a_token_counts_in_the_authorization_header_only(api: Api, ada: User) -> None:
    for query in ("access_token", "token"):
        assert (await api.get(f"/api/v1/tasks?{query}={ada.token}")).status == 401
    assert (await api.get("/api/v1/tasks", headers={"Cookie": f"access_token={ada.token}"})).status == 401
    assert (await api.get("/api/v1/tasks", headers={"X-User-ID": ada.id})).status == 401
    for scheme in ("bearer", "BEARER", "Bearer ", "bEaReR"):
        assert (await api.get("/api/v1/tasks", headers={"Authorization": f"{scheme} {ada.token}"})).status == 200
    twice = [("Authorization", f"Bearer {ada.token}"), ("Authorization", f"Bearer {ada.token}")]
    async with api.session.get(api.base + "/api/v1/tasks", headers=twice) as response:
        assert response.status == 401


async def test_an_expired_token_says_so(api: Api, ada: User) -> None:
    claims = jwt.decode(ada.token, options={"verify_signature": False})
    now = int(time.time())
    old = jwt.encode(claims | {"iat": now - 99, "exp": now - 31}, SECRET_KEY, headers={"typ": "at+jwt"})
    answer = await api.get("/api/v1/tasks", token=old)
    assert (answer.status, answer.body["detail"]) == (401, "The token has expired; sign in again.")


async def test_the_order_of_refusals(api: Api, ada: User, bob: User) -> None:
    """401, 403, 413, 415, 400, 422, 404: each request has every fault from its own on."""
    missing = uuid4()
    foreign = f"/api/{bob.id}/tasks/{missing}"
    own = f"/api/v1/tasks/{missing}"
    large = b"x" * (64 * 1024 + 1)
    text = {"Content-Type": "text/plain"}
    for status, path, raw, headers, user in (
        (401, foreign, large, text, None),
        (403, foreign, large, text, ada),
        (413, own, large, text, ada),
        (415, own, b"{", text, ada),
        (400, own, b"{", {}, ada),
        (422, own, b'{"title": ""}', {}, ada),
        (404, own, b'{"title": "t"}', {}, ada),
    ):
        answer = await api.send("PUT", path, raw=raw, headers=headers, as_=user)
        assert (answer.status, bool(answer.problem())) == (status, True)


async def test_every_wrong_method_is_405_with_allow(api: Api, ada: User) -> None:
    allowed: dict[str, set[str]] = {}
    for route in ALL_ROUTES:
        methods = {route.method} | ({hdrs.METH_HEAD} if route.method == hdrs.METH_GET else set())
        allowed.setdefault(route.path, set()).update(methods)
    for path, methods in allowed.items():
        url = path_of(path, ada.id)
        for method in {*METHODS, "TRACE", "PROPFIND"} - methods:
            for slash in ("", "/") if path != "/" else ("",):
                answer = await api.send(method, url + slash)
                assert answer.status == 405, (method, url)
                assert set(answer.headers["Allow"].split(", ")) == methods | {"OPTIONS"}
                if method != "HEAD":
                    assert answer.problem() == "method-not-allowed"


@pytest.mark.parametrize(
    "path",
    ["/nope", "/api", "/api/", "/api/v1", "/api/v2/tasks", "//api/v1/tasks", "/api/v1/tasks//", "/API/v1/tasks",
     "/api/v1/tasks/x/y", "/api/users/tasks", "/api/auth/tasks",
     "/api/user-api-keys/tasks", "/api/a/b/tasks", "/.git/config", "/.env", "/api/v1/tasks;x=1",
     "/problems/nonsense", "/problems//", "/%00", "/%ff", "/api/%76%31/nothing"],
)  # fmt: skip
async def test_unknown_paths_are_404_for_everybody(api: Api, ada: User, path: str) -> None:
    for token in (None, ada.token, "wrong.token.shown"):
        answer = await api.get(path, token=token)
        assert (answer.status, answer.problem()) == (404, "not-found")


async def test_a_slash_at_the_end_makes_no_difference(api: Api, ada: User) -> None:
    for dialect in DIALECTS:
        created = await api.post(dialect.tasks(ada) + "/", {"title": "t"}, as_=ada)
        assert created.status == 201
        assert created.headers["Location"] == dialect.task(ada, created.body["id"])
        assert (await api.get(created.headers["Location"] + "/", as_=ada)).body == created.body
        assert (await api.patch(created.headers["Location"] + "/complete/", as_=ada)).status == 200


async def test_head_is_get_without_a_body(api: Api, ada: User) -> None:
    for path in ("/", "/health", "/api/v1/tasks", f"/api/{ada.id}/tasks"):
        got, head = await api.get(path, as_=ada), await api.send("HEAD", path, as_=ada)
        assert (head.status, head.raw) == (200, b"")
        assert head.headers["Content-Length"] == str(len(got.raw))


async def test_methods_cannot_be_overridden(api: Api, ada: User) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)).body
    tricks = {"X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/", "X-Rewrite-URL": "/"}
    path = f"/api/v1/tasks/{task['id']}"
    assert (await api.get(path + "?_method=DELETE", headers=tricks, as_=ada)).body == task
