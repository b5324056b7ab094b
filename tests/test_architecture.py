"""The house keeps its floors: imports go downwards only, libraries and SQL keep to their rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from todo_service.config.settings import ROOT

PACKAGE = ROOT / "todo_service"
FLOORS = (
    "__main__ > commands > server > app > openapi > middleware > routes > auth > wire > queries > ai_providers > "
    "postgres > observability > limits > config > static_files > errors"
)
LEVEL = {room: level for level, room in enumerate(FLOORS.split(" > "))}
TOP = {"__init__", "__main__", "app", "errors", "ai_providers", "static_files"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
MAX_LINES = 250  # but for the catalogue of errors


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


def test_every_module_is_in_a_room() -> None:
    assert {room_of(path) for path in MODULES} == set(LEVEL)
    assert {path.stem for path in PACKAGE.glob("*.py")} == TOP


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_keep_to_their_rooms(path: Path) -> None:
    names = {imported.split(".")[0] for imported in imports(path)}
    room = room_of(path)
    if room in {"queries", "errors"}:
        assert "aiohttp" not in names
    if LEVEL[room] > LEVEL["auth"] and room != "ai_providers":
        web = {imported for imported in imports(path) if imported.startswith("aiohttp")}
        assert web <= {"aiohttp.web"}, "for the type of a key only"
        text = path.read_text()
        assert text.count("web.") == text.count("web.AppKey(") + text.count("web.RequestKey(")
    if room not in {"wire", "config"} and name_of(path) not in {
        "commands/command_settings.py", "commands/development.py",
    }:  # fmt: skip
        assert not names & {"pydantic", "pydantic_settings", "pydantic_core"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_belongs_in_it_and_is_short(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= MAX_LINES or name_of(path) == "errors.py"


def test_limits_and_postgres_take_values_and_not_settings() -> None:
    for path in MODULES:
        if room_of(path) in {"limits", "postgres"}:
            assert "todo_service.config.settings.Settings" not in imports(path)
            assert "todo_service.config.settings.SETTINGS" not in imports(path)


def test_sql_is_in_its_room() -> None:
    for path in MODULES:
        if room_of(path) not in {"queries", "postgres"}:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not node.value.lstrip().startswith(("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "))
