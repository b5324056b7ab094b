"""The description of the API: it is whole, it is valid, and it says of each row what the row says."""

import gzip
import json
import re
from collections import Counter
from dataclasses import replace
from keyword import iskeyword
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.client import Api
from tests.conftest import make_settings, running_service
from tests.openapi.described import ALL_ROUTES, Described
from todo_service import __version__, errors
from todo_service.auth.access import Access
from todo_service.openapi.document import document
from todo_service.openapi.operations import operation_id
from todo_service.openapi.security import SIGNED_IN
from todo_service.routes.table import Route

NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"
ELSEWHERE = make_settings(NO_DATABASE)


@pytest_asyncio.fixture(scope="session")
async def described(api: Api) -> Described:
    """What the running service says of itself."""
    return Described((await api.get("/openapi.json")).body)


async def test_it_is_served_to_everybody_and_v1_alone_under_v1(api: Api) -> None:
    first, second = await api.get("/openapi.json"), await api.get("/api/v1/openapi.json", token="nobody's")
    assert (first.status, second.status) == (200, 200)
    of_v1 = {path for path in first.body["paths"] if path.startswith("/api/v1/") or not path.startswith("/api/")}
    assert set(second.body["paths"]) == of_v1 < set(first.body["paths"])
    assert all(second.body["paths"][path] == first.body["paths"][path] for path in of_v1)
    assert list(OpenAPIV31SpecValidator(second.body).iter_errors()) == []
    assert len(second.raw) < 0.7 * len(first.raw)
    assert first.headers["Content-Type"].startswith("application/json")
    assert first.headers["Cache-Control"] == "public, no-cache"
    assert first.body["openapi"] == "3.1.0"
    assert first.body["info"]["version"] == __version__


async def test_it_is_compressed_on_request(api: Api) -> None:
    for path in ("/openapi.json", "/api/v1/openapi.json"):
        headers = {"Accept-Encoding": "gzip"}
        async with api.session.get(api.base + path, headers=headers, auto_decompress=False) as answer:
            assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding")
            raw, tag = await answer.read(), answer.headers["ETag"]
        plain = await api.get(path, headers={"Accept-Encoding": "identity"})
        assert gzip.decompress(raw) == plain.raw
        assert "Content-Encoding" not in plain.headers
        assert tag != plain.headers["ETag"]
        for accepted, known, status in (("gzip", tag, 304), ("identity", tag, 200)):
            again = await api.get(path, headers={"Accept-Encoding": accepted, "If-None-Match": known})
            assert again.status == status


async def test_whoever_has_it_is_told_so(api: Api) -> None:
    tag = (await api.get("/openapi.json")).headers["ETag"]
    again = await api.get("/openapi.json", headers={"If-None-Match": tag})
    assert (again.status, again.raw, again.headers["ETag"]) == (304, b"", tag)
    assert (await api.get("/openapi.json", headers={"If-None-Match": '"other"'})).status == 200


async def test_a_page_of_a_named_origin_may_read_it() -> None:
    settings = make_settings(NO_DATABASE, cors_origins="https://app.example.com")
    async with running_service(settings) as api:
        answer = await api.get("/openapi.json", headers={"Origin": "https://app.example.com"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "Origin" in answer.headers["Vary"]


def test_it_is_valid(described: Described) -> None:
    assert list(OpenAPIV31SpecValidator(described.whole).iter_errors()) == []


def test_every_row_is_in_it_and_nothing_else(described: Described) -> None:
    rows = {(route.path, route.method, operation_id(route)) for route in ALL_ROUTES}
    assert {(found.path, found.method, found.id) for found in described.operations} == rows


def test_every_row_says_what_it_answers() -> None:
    for route in ALL_ROUTES:
        answers = route.description.answers
        assert answers, route.path
        assert all(200 <= status < 300 or status == 503 for status in answers)


def test_each_operation_has_a_good_name_for_a_function(described: Described) -> None:
    names = Counter(found.id for found in described.operations)
    assert set(names.values()) == {1}
    for name in names:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
        assert not iskeyword(name)
    assert {"list_tasks", "app_list_tasks", "owner_list_tasks", "users_list_tasks", "complete_task"} <= names.keys()


def test_each_operation_is_explained(described: Described) -> None:
    tags = {tag["name"] for tag in described.whole["tags"] if tag["description"]}
    for found in described.operations:
        assert found.about["summary"]
        assert "caller" not in found.about["description"], found.id
        assert found.about["description"].endswith("."), found.id
        assert set(found.about["tags"]) <= tags
        assert all(parameter["description"] for parameter in found.about.get("parameters", [])), found.id


def test_no_two_operations_of_a_tag_have_one_summary(described: Described) -> None:
    said = Counter((found.about["tags"][0], found.about["summary"]) for found in described.operations)
    assert [one for one, count in said.items() if count > 1] == []


def test_the_families_are_told_apart(described: Described) -> None:
    text = described.whole["info"]["description"]
    assert "| `/api/users/{user_id}/tasks` | snake_case | an object `{tasks, count}` | all tasks | 400 |" in text
    assert "| `/api/tasks` | camelCase | an array | all tasks | 422 |" in text


def test_several_reasons_of_a_status_are_a_list(described: Described) -> None:
    refusal = described.response(described.operation("create_task"), 422)
    assert refusal["description"] == "One of: Some fields are not valid; Idempotency-Key used for another request"


def statuses(described: Described, name: str) -> set[int]:
    return {int(status) for status in described.operation(name).about["responses"]}


ANY = {400, 414, 417, 421, 429, 431, 500, 503}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("list_tasks", {200, 304, 401, 403, 422}),
        ("owner_list_tasks", {200, 304, 401, 403}),
        ("create_task", {200, 201, 401, 403, 408, 409, 413, 415, 422}),
        ("users_create_task", {200, 201, 401, 403, 408, 409, 413, 415, 422}),
        ("read_task", {200, 304, 401, 403, 404, 409}),
        ("app_read_task", {200, 304, 401, 403, 404}),
        ("update_task", {200, 401, 403, 404, 408, 409, 412, 413, 415, 422}),
        ("app_complete_task", {200, 401, 403, 404, 408, 412, 413, 415, 422}),
        ("owner_put_task", {200, 401, 403, 404, 408, 412, 413, 415}),
        ("users_delete_task", {204, 401, 403, 404, 412}),
        ("sync_tasks", {200, 401, 403, 410, 422}),
        ("run_batch", {200, 401, 403, 404, 408, 409, 412, 413, 415, 422}),
        ("register", {201, 408, 413, 415, 422}),
        ("log_in", {200, 401, 403, 408, 413, 415, 422}),
        ("list_users", {200, 401, 403, 422}),
        ("read_user", {200, 401, 403, 404}),
        ("delete_user", {204, 401, 403, 404, 409}),
        ("log_out", {204, 401, 403, 408, 413, 415, 422}),
        ("change_password", {204, 401, 403, 408, 413, 415, 422}),
        ("export_tasks", {200, 401, 403, 422}),
        ("import_tasks", {200, 401, 403, 408, 413, 415, 422}),
        ("store_api_key", {201, 401, 403, 408, 413, 415, 422, 502}),
        ("read_api_key", {200, 401, 403, 422}),
        ("read_root", {200}),
    ],
)
def test_the_statuses_of_an_operation(described: Described, name: str, expected: set[int]) -> None:
    assert statuses(described, name) == expected | ANY


def test_what_is_not_counted_or_always_answered_says_so(described: Described) -> None:
    assert statuses(described, "read_live") == {200, 400, 414, 417, 431, 500}
    assert statuses(described, "read_health") == {200, 400, 414, 417, 431, 500, 503}


def types(described: Described, name: str, status: int) -> set[str]:
    """The problem types that a status may have."""
    content = described.response(described.operation(name), status)["content"]
    schema = content["application/problem+json"]["schema"]
    kinds = [described.resolved(kind) for kind in schema.get("oneOf", [schema])]
    return {kind["properties"]["type"]["const"].removeprefix("/problems/") for kind in kinds}


def test_the_problem_types_of_a_status(described: Described) -> None:
    assert types(described, "create_task", 403) == {"account-inactive", "quota-exceeded", "insufficient-scope"}
    assert types(described, "owner_create_task", 403) - {"forbidden"} == types(described, "create_task", 403)
    assert "forbidden" in types(described, "owner_create_task", 403)
    assert types(described, "owner_create_task", 400) == {"bad-request", "malformed-body", "validation-error"}
    assert types(described, "create_task", 422) == {"validation-error", "idempotency-key-reused"}
    assert types(described, "read_task", 409) == {"ambiguous-task"}
    assert types(described, "log_in", 401) == {"wrong-email-or-password"}
    assert types(described, "log_out", 403) == {"account-inactive", "no-password-account"}
    assert "issuer-unavailable" in types(described, "log_out", 503)
    assert "issuer-unavailable" not in types(described, "log_in", 503)


def test_only_a_lack_of_a_role_or_a_scope_is_in_a_header_of_a_403(described: Described) -> None:
    for found in described.operations:
        refusal = described.response(found, 403)
        if refusal:
            is_told = "insufficient-scope" in types(described, found.id, 403)
            assert ("WWW-Authenticate" in refusal["headers"]) == is_told


def test_every_problem_type_that_a_row_can_meet_is_there(described: Described) -> None:
    known = {schema for schema in described.whole["components"]["schemas"] if schema.endswith("Problem")}
    of_no_row = {errors.MethodNotAllowed, errors.PreflightRefused}
    assert known - {"FieldProblem"} == {f"{kind.__name__}Problem" for kind in errors.kinds() if kind not in of_no_row}


def test_who_may_is_said(described: Described) -> None:
    for route in ALL_ROUTES:
        needed = described.operation(operation_id(route)).about["security"]
        assert needed in ([], [{}, *SIGNED_IN], SIGNED_IN), "generated clients take alternatives for requirements"
        assert (needed != SIGNED_IN) == (route.access is Access.PUBLIC)


def test_an_older_path_is_deprecated_and_comes_last(described: Described) -> None:
    older = [bool(found.about.get("deprecated")) for found in described.operations]
    assert older == sorted(older)
    for found in described.operations:
        has_another = found.path.startswith("/api/") and not found.path.startswith(("/api/v1/", "/api/user-api-keys"))
        assert bool(found.about.get("deprecated")) == (has_another and found.path != "/api/auth/verify"), found.path


def test_values_of_a_fixed_set_have_one_name(described: Described) -> None:
    schemas = described.whole["components"]["schemas"]
    for name in ("Status", "Priority", "Role", "Sort"):
        values = schemas[name]["enum"]
        assert json.dumps(described.whole).count(json.dumps(values)) == 1


def names_of(parameters: list[Any], place: str) -> set[str]:
    return {parameter["name"] for parameter in parameters if parameter["in"] == place}


def test_parameters_are_there_where_they_count(described: Described) -> None:
    listed = described.operation("list_tasks").about["parameters"]
    assert {"status", "tag", "q", "sort", "skip", "limit", "cursor", "user_id"} <= names_of(listed, "query")
    assert "user_id" not in names_of(described.operation("owner_list_tasks").about["parameters"], "query")
    changed = described.operation("owner_update_task").about["parameters"]
    assert names_of(changed, "path") == {"user_id", "task_id"}
    assert names_of(changed, "header") == {"If-Match"}
    assert names_of(described.operation("complete_task").about["parameters"], "header") == {
        "If-Match",
        "Idempotency-Key",
    }


def test_a_list_has_as_many_as_its_family_gives(described: Described) -> None:
    for name, expected in (("list_tasks", 100), ("app_list_tasks", None), ("owner_list_tasks", None)):
        parameters = described.operation(name).about["parameters"]
        (limit,) = [parameter for parameter in parameters if parameter["name"] == "limit"]
        assert limit["schema"].get("default") == expected
        assert ("without it: all" in limit["description"]) == (expected is None)


def test_the_names_of_a_family_are_its_own(described: Described) -> None:
    schemas = described.whole["components"]["schemas"]
    assert "dueDate" in schemas["AppTask"]["properties"]
    assert "due_date" in schemas["Task"]["properties"]
    body = described.operation("app_create_task").about["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/AppTaskCreate"}


def test_a_setting_is_in_it_as_it_is_set() -> None:
    settings = ELSEWHERE.model_copy(update={"password_min_length": 12, "app_name": "Ours"})
    found = document(ALL_ROUTES, settings)
    assert found["components"]["schemas"]["Registration"]["properties"]["password"]["minLength"] == 12
    assert found["info"]["title"] == "Ours"
    usual = document(ALL_ROUTES, ELSEWHERE)
    assert usual["components"]["schemas"]["Registration"]["properties"]["password"]["minLength"] == 8


def test_a_created_task_leads_to_what_can_be_done_with_it(described: Described) -> None:
    links = described.response(described.operation("users_create_task"), 201)["links"]
    assert links.keys() == {f"users_{verb}_task" for verb in ("read", "put", "update", "complete", "delete")}
    assert links["users_read_task"]["parameters"] == {
        "user_id": "$request.path.user_id",
        "task_id": "$response.body#/id",
    }


async def forget(request: web.Request) -> web.Response:
    """Forget one thing. Raises nothing that is told here."""
    return web.Response(status=204)


def test_a_new_row_is_described_by_what_it_is() -> None:
    """What follows from a row need not be said in it."""
    row = Route("DELETE", "/api/things/{thing_id}", forget, Access.USER, "Forget a thing", answers={204: None})
    found = document((*ALL_ROUTES, row), ELSEWHERE)
    assert list(OpenAPIV31SpecValidator(found).iter_errors()) == []
    operation = found["paths"]["/api/things/{thing_id}"]["delete"]
    assert (operation["operationId"], operation["description"]) == ("forget", "Forget one thing.")
    assert {int(status) for status in operation["responses"]} == {204, 401, 403, 404} | ANY
    assert operation["parameters"][0]["name"] == "thing_id"
    with pytest.raises(AssertionError, match="forget"):
        document((row, replace(row, path="/api/others/{thing_id}")), ELSEWHERE)
