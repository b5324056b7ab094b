"""Lines under the names of the Elastic Common Schema, whoever writes them."""

import json
import re
from pathlib import Path
from typing import Any

from tests.conftest import template_name, temporary_database
from tests.process import served
from todo_service import __version__

RESERVED = {
    "@timestamp", "log.level", "message", "ecs.version", "service.name", "service.version", "event.action",
    "event.duration", "log.logger", "http.request.id", "http.request.method", "http.response.status_code", "user.id",
    "error.stack_trace", "trace.id", "span.id",
}  # fmt: skip


async def lines(postgres_url: str, file: Path) -> list[dict[str, Any]]:
    """The log of a service that has answered a few requests."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        with file.open("wb") as output:
            async with served(output=output, DATABASE_URL=url, LOG_FORMAT="ecs") as (process, api):
                user = await api.new_user()
                await api.get("/api/v1/tasks", as_=user)
                await api.get("/api/v1/tasks", token="nonsense")
                process.terminate()
                await process.wait()
    return [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]


async def test_every_field_is_of_the_schema_or_under_our_own_name(postgres_url: str, tmp_path: Path) -> None:
    found = await lines(postgres_url, tmp_path / "log")
    assert len(found) > 3
    for line in found:
        assert [*line][:3] == ["@timestamp", "log.level", "message"]
        assert (line["ecs.version"], line["service.version"]) == ("8.11.0", __version__)
        assert re.fullmatch(r"20[0-9-]{8}T[0-9:.]+Z", line["@timestamp"])
        assert all(name in RESERVED or name.startswith("todo_service.") for name in line), line
        assert None not in line.values()
    listed, refused = [line for line in found if line.get("todo_service.route") == "/api/v1/tasks"]
    assert (listed["event.action"], listed["message"], listed["http.request.method"]) == ("request", "request", "GET")
    assert (listed["http.response.status_code"], refused["http.response.status_code"]) == (200, 401)
    assert 10_000 < listed["event.duration"] < 10**9, "nanoseconds"
    assert listed["user.id"]
    assert listed["todo_service.statements"] >= 1
    assert refused["todo_service.problem"] == "unauthenticated"
