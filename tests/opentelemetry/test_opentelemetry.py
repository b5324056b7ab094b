"""The service under `opentelemetry-instrument`: spans of its requests, their ids in the log, and no word of a user."""

import asyncio
import json
import re
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests import packages
from tests.conftest import ENCRYPTION_KEY, template_name, temporary_database
from tests.process import served
from tests.provider import GOOD, ai_provider

HERE = Path(__file__).parent
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
SECONDS = 30


def spans(output: str) -> list[dict[str, Any]]:
    """The spans that OpenTelemetry has written between the lines of the log."""
    return [json.loads(span) for span in re.findall(r"^\{\n.*?^\}$", output, re.MULTILINE | re.DOTALL)]


def log_lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"')]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_request_is_traced_from_its_caller_to_the_ai_provider(
    postgres_url: str, tmp_path: Path, workers: str
) -> None:
    programs = await asyncio.to_thread(packages.from_pip, HERE, "OpenTelemetry") / "bin"
    asked: list[str] = []
    async with temporary_database(postgres_url, template=template_name()) as url, ai_provider() as provider:

        async def answer(request: web.Request) -> web.StreamResponse:
            asked.append(request.headers["traceparent"])
            return await provider.judge(request)

        provider.answer = answer
        environment = {
            "PYTHONPATH": sysconfig.get_path("purelib"), "OTEL_TRACES_EXPORTER": "console",
            "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "100",
            "DATABASE_URL": url, "GEMINI_BASE_URL": provider.url, "ENCRYPTION_KEY": ENCRYPTION_KEY,
            "WEB_CONCURRENCY": workers,
        }  # fmt: skip
        command = (programs / "opentelemetry-instrument", programs / "python", "-m", "todo_service")
        with (tmp_path / "output").open("wb") as output:
            async with served(*command, output=output, **environment) as (process, api):
                user = await api.new_user()
                listed = await api.get("/api/v1/tasks?q=canary-search", as_=user, headers=TRACED)
                assert listed.status == 200
                stored = await api.post("/api/user-api-keys", {"api_key": GOOD}, as_=user, headers=TRACED)
                assert stored.status == 201
                for host in ("a:b:c", "x:99999"):
                    refused = await api.get("/api/v1/tasks", headers={"Host": host})
                    assert (refused.status, refused.problem()) == (400, "bad-request")
                await asyncio.sleep(0.5)
                process.terminate()
                await asyncio.wait_for(process.wait(), SECONDS)
    text = await asyncio.to_thread((tmp_path / "output").read_text)
    of_requests = {span["name"]: span for span in spans(text) if span["kind"] == "SpanKind.SERVER"}
    for method, path in (("GET", "/api/v1/tasks"), ("POST", "/api/user-api-keys")):
        span = of_requests[f"{method} {path}"]
        assert (span["context"]["trace_id"], span["parent_id"]) == (f"0x{TRACE}", f"0x{PARENT}")
        assert span["attributes"]["http.target"] == path
        (line,) = [line for line in log_lines(text) if line["event"] == "request" and line["route"] == path]
        assert (line["trace_id"], f"0x{line['span_id']}") == (TRACE, span["context"]["span_id"])
    assert "canary-search" not in text
    assert user.email not in text
    assert all(re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-01", traceparent) for traceparent in asked)
    assert asked
    assert [span for span in spans(text) if "db.system" in span["attributes"]], "asyncpg's statements"
