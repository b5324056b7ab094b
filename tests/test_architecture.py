"""The house keeps its floors: imports go downwards only, and each module has its test."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from todo_service.config.settings import ROOT

PACKAGE = ROOT / "todo_service"
FLOORS = (
    {"__main__"},
    {"commands"},
    {"workers"},
    {"server", "app"},
    {"shedding"},
    {"openapi"},
    {"middleware"},
    {"routes"},
    {"auth", "wire"},
    {"cache", "archives", "demo"},
    {"queries"},
    {"migrations", "development"},
    {"database", "embedded"},
    {"connect", "logs", "postgres_programs", "limits", "providers", "pulse"},
    {"embedded_programs"},
    {"settings", "metrics", "metric_files", "pieces", "assets"},
    {"tls", "keys", "life", "shares", "shared_windows"},
    {"refusals"},
    {"allowed", "dsn", "errors", "outages", "tracebacks", "windows", "client_address", "watchdog"},
    {"dsn_parameters", "strict_json"},
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
WITHOUT_AIOHTTP = (
    "queries/",
    "allowed.py",
    "errors.py",
    "migrations.py",
    "dsn.py",
    "dsn_parameters.py",
    "outages.py",
    "tracebacks.py",
    "tls.py",
    "embedded.py",
    "embedded_programs.py",
    "windows.py",
    "shared_windows.py",
    "refusals.py",
    "client_address.py",
    "watchdog.py",
    "auth/passwords.py",
    "auth/tokens.py",
    "auth/verified.py",
    "auth/jose.py",
    "keys.py",
)
TESTED_ELSEWHERE = {
    "__main__.py": "tests/commands/test_interrupts.py",
    "commands/__main__.py": "tests/commands/test_interrupts.py",
    "app.py": "tests/routes/test_table.py",
    "development.py": "tests/test_development.py",
    "errors.py": "tests/routes/test_problems.py",
    "dsn_parameters.py": "tests/test_dsn.py",
    "embedded_programs.py": "tests/test_embedded.py",
    "auth/caller.py": "tests/routes/test_table.py",
    "auth/charges.py": "tests/routes/test_limits.py",
    "auth/gates.py": "tests/routes/test_table.py",
    "auth/administration.py": "tests/routes/test_users.py",
    "auth/credentials.py": "tests/routes/test_identities.py",
    "auth/jose.py": "tests/auth/test_issuers.py",
    "queries/sessions.py": "tests/auth/test_session_tokens.py",
    "keys.py": "tests/test_settings.py",
    "auth/accounts.py": "tests/routes/test_sessions.py",
    "auth/sessions.py": "tests/routes/test_sessions.py",
    "queries/audit_log.py": "tests/routes/test_sessions.py",
    "auth/sign_in.py": "tests/routes/test_auth.py",
    "commands/migrate.py": "tests/test_migrations.py",
    "strict_json.py": "tests/wire/test_codec.py",
    "limits.py": "tests/routes/test_limits.py",
    "life.py": "tests/test_server.py",
    "shedding.py": "tests/test_overload.py",
    "pieces.py": "tests/middleware/test_chain.py",
    "middleware/in_flight.py": "tests/test_overload.py",
    "middleware/metrics.py": "tests/test_metrics.py",
    "pulse.py": "tests/test_metrics.py",
    "wire/metrics.py": "tests/test_metrics.py",
    "commands/create_admin.py": "tests/commands/test_users.py",
    "commands/epochs.py": "tests/commands/test_new_epoch.py",
    "commands/serve.py": "tests/test_serve.py",
    "allowed.py": "tests/test_settings.py",
    "demo.py": "tests/commands/test_seed_demo.py",
    "queries/demo.py": "tests/commands/test_seed_demo.py",
    "queries/catalog.py": "tests/test_archives.py",
    "middleware/errors.py": "tests/middleware/test_chain.py",
    "middleware/pace.py": "tests/middleware/test_chain.py",
    "middleware/request_id.py": "tests/middleware/test_chain.py",
    "middleware/request_log.py": "tests/test_server.py",
    "queries/idempotency_keys.py": "tests/routes/test_once.py",
    "wire/cursors.py": "tests/routes/test_task_lists.py",
    "wire/etags.py": "tests/routes/test_conditional.py",
    "wire/task_lists.py": "tests/routes/test_task_lists.py",
    "routes/openapi.py": "tests/openapi/test_document.py",
    "routes/events.py": "tests/test_logs.py",
    "openapi/headers.py": "tests/openapi/test_document.py",
    "openapi/links.py": "tests/openapi/test_document.py",
    "openapi/operations.py": "tests/openapi/test_document.py",
    "openapi/parameters.py": "tests/openapi/test_document.py",
    "openapi/responses.py": "tests/openapi/test_document.py",
    "openapi/security.py": "tests/openapi/test_document.py",
    "queries/clocks.py": "tests/queries/test_tasks.py",
    "routes/reply.py": "tests/routes/test_tasks.py",
    "wire/calendar_imports.py": "tests/routes/test_imports.py",
    "wire/calendars.py": "tests/wire/test_transfers.py",
    "wire/imported_tasks.py": "tests/routes/test_imports.py",
    "wire/json_files.py": "tests/wire/test_transfers.py",
    "wire/batch.py": "tests/routes/test_batch.py",
    "wire/families.py": "tests/contract/test_v1.py",
    "wire/new_passwords.py": "tests/routes/test_auth.py",
    "wire/problems.py": "tests/routes/test_problems.py",
    "wire/pages.py": "tests/routes/test_problems.py",
    "wire/tasks.py": "tests/routes/test_tasks.py",
    "wire/schemas.py": "tests/openapi/test_document.py",
    "wire/system.py": "tests/openapi/test_answers.py",
    "wire/sync.py": "tests/routes/test_sync.py",
    "wire/text.py": "tests/routes/test_auth.py",
    "wire/user_api_keys.py": "tests/routes/test_user_api_keys.py",
    "wire/auth.py": "tests/routes/test_auth.py",
    "wire/users.py": "tests/routes/test_auth.py",
}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downwards_only(path: Path) -> None:
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] == "todo_service" and parts[1] in LEVEL and parts[1] != room_of(path):
            assert LEVEL[parts[1]] > LEVEL[room_of(path)], f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_keep_to_their_rooms(path: Path) -> None:
    names = {imported.split(".")[0] for imported in imports(path)}
    if name_of(path).startswith(WITHOUT_AIOHTTP):
        assert "aiohttp" not in names
    if room_of(path) not in {"wire", "settings", "development"}:
        assert not names & {"pydantic", "pydantic_settings", "pydantic_core"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_belongs_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_every_module_has_its_test() -> None:
    for path in MODULES:
        name = name_of(path)
        if path.name != "__init__.py":
            beside = f"tests/{Path(name).parent.as_posix()}/test_{path.name}".replace("/./", "/")
            assert (ROOT / TESTED_ELSEWHERE.get(name, beside)).exists(), name
    assert set(TESTED_ELSEWHERE) <= {name_of(path) for path in MODULES}


def test_sql_is_in_its_room() -> None:
    for path in MODULES:
        if room_of(path) not in {"queries", "migrations", "embedded", "database", "connect"}:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not node.value.lstrip().startswith(("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "))
