"""What the description says is so: every operation is asked with its own example, every answer is as described.

The same is asked of every answer in all other tests, by `tests/client.py`.
"""

import json
from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import jwt
import pytest
import pytest_asyncio
from multidict import CIMultiDict

from tests.client import ABSENT, PASSWORD, Answer, Api, User
from tests.conftest import DATA_DIR, make_settings, running_service
from tests.mailbox import written_token
from tests.openapi.described import Operation, described
from tests.provider import GOOD, ai_provider
from tests.routes.test_sessions import only_administrators, sign_in
from tests.rows import path_of

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
DESCRIBED = described()
PAGES = {"text/html", "text/plain", "application/openmetrics-text", "text/event-stream"}
OPERATIONS = [pytest.param(operation, id=operation.id) for operation in DESCRIBED.operations]


@pytest_asyncio.fixture(scope="module")
async def api(database_url: str) -> AsyncIterator[Api]:
    """The service, with a provider that looks at API keys."""
    async with (
        ai_provider() as provider,
        running_service(make_settings(database_url, gemini_base_url=provider.url)) as api,
    ):
        yield api


@pytest_asyncio.fixture(scope="module")
async def admin(api: Api, database_url: str) -> AsyncIterator[User]:
    """An administrator."""
    user = await api.new_user()
    async with only_administrators(database_url, user):
        yield User(user.id, user.email, (await sign_in(api, user))["access_token"])


def example(operation: Operation, caller: User) -> Any:
    """The example of an operation's body, with what only its caller can know."""
    if "requestBody" not in operation.about:
        return ABSENT
    content = operation.about["requestBody"]["content"]
    schema = (content.get(JSON) or content[FORM])["schema"]
    schema = schema.get("anyOf", [schema])[0]
    body = deepcopy(DESCRIBED.resolved(schema)["examples"][0])
    known = {"email": caller.email, "username": caller.email, "refresh_token": caller.refresh_token, "api_key": GOOD}
    if body.keys() >= {"email", "full_name"}:
        known["email"] = f"{uuid4().hex}@example.com"
    return body | {name: value for name, value in known.items() if name in body}


async def link_token(api: Api, user: User, purpose: str) -> str:
    """The token of a link that was sent to the user."""
    if purpose == "password":
        await api.post("/api/v1/auth/password/forgot", {"email": user.email})
        return await written_token(DATA_DIR, user.email, "password-reset")
    await api.post("/api/v1/auth/email", {"new_email": user.email, "password": PASSWORD}, as_=user)
    return await written_token(DATA_DIR, user.email, "email-verification")


async def asked(api: Api, operation: Operation, admin: User, **others: Any) -> Answer:
    """The answer to an operation's example, asked by somebody new or by the administrator."""
    somebody = await api.new_user()
    caller = admin if operation.path.startswith(("/api/v1/users", "/api/v1/audit")) else somebody
    task = (await api.post("/api/v1/tasks", {"title": "t"}, as_=somebody)).body
    if operation.path.startswith("/api/user-api-keys"):
        await api.post("/api/user-api-keys", {"api_key": GOOD}, as_=somebody)
    token = await api.post("/api/v1/auth/tokens", {"name": "n", "scopes": ["tasks:read"]}, as_=somebody)
    session = jwt.decode(somebody.token, options={"verify_signature": False})["sid"]
    ids = {"task_id": task["id"], "token_id": token.body["id"], "session_id": session}
    path = path_of(operation.path, somebody.id, **ids)
    body = example(operation, caller)
    if isinstance(body, dict) and "token" in body:
        body["token"] = await link_token(api, somebody, "password" if "new_password" in body else "email")
    if FORM in operation.about.get("requestBody", {}).get("content", {}):
        headers = {"Content-Type": FORM}
        return await api.send(operation.method, path, raw=urlencode(body).encode(), as_=caller, headers=headers)
    return await api.send(operation.method, path, body, as_=caller, **others)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_each_operation_does_what_its_example_asks(api: Api, admin: User, operation: Operation) -> None:
    answer = await asked(api, operation, admin)
    expected = {int(status) for status in operation.about["responses"] if status in {"200", "201", "202", "204"}}
    assert answer.status == max(expected), answer.raw


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_each_operation_with_a_tag_answers_304(api: Api, admin: User, operation: Operation) -> None:
    if "304" not in operation.about["responses"]:
        assert "If-None-Match" not in str(operation.about)
        return
    answer = await asked(api, operation, admin, headers={"If-None-Match": "*"})
    assert (answer.status, answer.raw) == (304, b"")


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_each_example_of_an_operation_is_of_its_schema(operation: Operation) -> None:
    for media in operation.about.get("requestBody", {}).get("content", {}).values():
        schema = DESCRIBED.resolved(media["schema"])
        for one in schema.get("examples", []):
            assert DESCRIBED.faults(media["schema"], one) == []


def examples(value: Any) -> list[tuple[Any, Any]]:
    """Each schema with an example of it."""
    if isinstance(value, list):
        return [found for inner in value for found in examples(inner)]
    if not isinstance(value, dict):
        return []
    own = value.get("examples", [])
    found = [(value, one) for one in own] if isinstance(own, list) else []
    return found + [deeper for inner in value.values() for deeper in examples(inner)]


def test_every_example_is_of_its_schema() -> None:
    found = examples(DESCRIBED.whole["components"])
    assert len(found) > 60
    for schema, one in found:
        assert DESCRIBED.faults(schema, one) == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_document_has_an_example(operation: Operation) -> None:
    """So that nobody is shown `"string"`."""
    answers = [DESCRIBED.resolved(answer) for answer in operation.about["responses"].values()]
    for whole in (operation.about.get("requestBody", {}), *answers):
        for media, shown in whole.get("content", {}).items():
            schema = DESCRIBED.resolved(shown["schema"])
            schema = DESCRIBED.resolved(schema.get("items", schema.get("oneOf", [schema])[0]))
            assert "example" in shown or "examples" in schema or media in PAGES, (media, schema)


@pytest.mark.parametrize("media", [JSON, "text/csv", "text/calendar"])
async def test_the_example_of_a_file_is_taken_over(api: Api, ada: User, media: str) -> None:
    one = DESCRIBED.operation("import_tasks").about["requestBody"]["content"][media]["example"]
    raw = one.encode() if isinstance(one, str) else json.dumps(one).encode()
    taken = await api.post("/api/v1/import", raw=raw, headers={"Content-Type": media}, as_=ada)
    assert taken.body["created"] == 1
    (task,) = (await api.get("/api/v1/tasks", as_=ada)).body["tasks"]
    assert (task["title"], task["due_date"]) == ("Write to Charles", "2026-12-24")


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_every_value_that_a_query_may_have_is_answered(api: Api, admin: User, operation: Operation) -> None:
    for parameter in operation.about.get("parameters", []):
        if parameter["in"] == "query" and operation.method == "GET":
            for value in parameter["schema"].get("enum", []):
                path = operation.path.format(user_id=admin.id)
                assert (await api.get(f"{path}?{parameter['name']}={value}", as_=admin)).status == 200, value


async def test_a_bound_is_where_it_is_said(api: Api, ada: User) -> None:
    """One more than the most is refused."""
    schemas = DESCRIBED.whole["components"]["schemas"]
    create = DESCRIBED.operation("create_task").about["parameters"]
    longest_key = next(one["schema"]["maxLength"] for one in create if one["name"] == "Idempotency-Key")
    most_tags = schemas["TaskCreate"]["properties"]["tags"]["maxItems"]
    longest_email = schemas["Registration"]["properties"]["email"]["maxLength"]
    for more, expected in ((0, 201), (1, 422)):
        key = {"Idempotency-Key": "k" * (longest_key + more)}
        assert (await api.post("/api/v1/tasks", {"title": "t"}, as_=ada, headers=key)).status == expected
        tags = [str(number) for number in range(most_tags + more)]
        assert (await api.post("/api/v1/tasks", {"title": "t", "tags": tags}, as_=ada)).status == expected
        labels = ("." + "d" * 48) * 3 + ".example.com"
        email = f"{uuid4().hex}@" + labels.rjust(longest_email + more - 33, "d")
        assert len(email) == longest_email + more
        body = {"email": email, "password": "correct horse 9"}
        assert (await api.post("/api/v1/auth/register", body)).status == expected, email


async def test_what_a_create_answers_the_second_time(api: Api, ada: User) -> None:
    for operation in ("create_task", "app_create_task", "owner_create_task", "users_create_task"):
        path = DESCRIBED.operation(operation).path.format(user_id=ada.id)
        body = {"id": str(uuid4()), "title": "t"}
        assert [(await api.post(path, body, as_=ada)).status for _ in range(2)] == [201, 200]


async def test_a_toggle_needs_no_body(api: Api, ada: User) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)).body
    assert (await api.patch(f"/api/v1/tasks/{task['id']}/complete", as_=ada)).body["completed"] is True
    assert DESCRIBED.operation("complete_task").about["requestBody"]["required"] is False


@pytest.mark.parametrize(("name", "media"), [("json", JSON), ("csv", "text/csv"), ("ics", "text/calendar")])
async def test_files_are_of_the_media_types_described(api: Api, ada: User, name: str, media: str) -> None:
    await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)
    file = await api.get(f"/api/v1/export?format={name}", as_=ada)
    assert file.headers["Content-Type"].startswith(media)
    taken = await api.post("/api/v1/import", raw=file.raw, headers={"Content-Type": media}, as_=ada)
    assert taken.body["imported"] == 1
    assert media in DESCRIBED.operation("import_tasks").about["requestBody"]["content"]


@pytest.mark.parametrize("media", ["text/plain", "application/openmetrics-text", JSON])
async def test_metrics_are_of_the_media_types_described(api: Api, media: str) -> None:
    assert (await api.get("/metrics", headers={"Accept": media})).headers["Content-Type"].startswith(media)


async def test_a_change_of_every_kind_is_as_described(api: Api, ada: User) -> None:
    tasks = [(await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)).body for _ in range(2)]
    first = (await api.get("/api/v1/sync", as_=ada)).body
    await api.patch(f"/api/v1/tasks/{tasks[0]['id']}/complete", as_=ada)
    await api.delete(f"/api/v1/tasks/{tasks[1]['id']}", as_=ada)
    page = (await api.get(f"/api/v1/sync?cursor={first['cursor']}", as_=ada)).body
    assert [change["deleted"] for change in page["changes"]] == [False, True]


def test_an_answer_that_is_not_as_described_is_noticed() -> None:
    """The check itself: each kind of difference is one."""
    task = DESCRIBED.whole["components"]["schemas"]["Task"]["examples"][0]
    headers = {"x-request-id": "a", "etag": '"1"', "Content-Type": JSON}
    path = f"/api/v1/tasks/{task['id']}"
    assert objections(path, 200, headers, task) == []
    assert "color" in objections(path, 200, headers, task | {"color": "red"})[0]
    assert "title" in objections(path, 200, headers, {name: task[name] for name in task if name != "title"})[0]
    assert "date-time" in objections(path, 200, headers, task | {"created_at": "today"})[0]
    assert "etag is missing" in objections(path, 200, {"x-request-id": "a", "Content-Type": JSON}, task)[0]
    assert "link is not described" in objections(path, 200, headers | {"link": "x"}, task)[0]
    assert "text/html" in objections(path, 200, headers | {"Content-Type": "text/html"}, task)[0]
    assert objections(path, 418, headers, task) == ["read_task is not described to answer 418"]


def objections(path: str, status: int, headers: dict[str, str], body: Any) -> list[str]:
    return DESCRIBED.objections("GET", path, status, CIMultiDict(headers), json.dumps(body).encode())


def test_a_request_is_found_in_the_description() -> None:
    for method, path, name in (
        ("POST", "/api/v1/tasks/batch", "run_batch"),
        ("HEAD", "/api/v1/tasks/?limit=1", "list_tasks"),
        ("PATCH", "/api/ab%20c/tasks/x/complete", "owner_complete_task"),
        ("GET", "/api/users/x/tasks", "users_list_tasks"),
        ("GET", "/api/v1/users/x", "read_user"),
    ):
        found = DESCRIBED.of_request(method, path)
        assert found is not None
        assert found.id == name
    assert DESCRIBED.of_request("GET", "/api/auth/tasks") is None
