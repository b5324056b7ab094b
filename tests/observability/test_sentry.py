"""Defects reach Sentry with their place and kind, and with nothing that a user has written."""

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.conftest import make_settings, run_sql, template_name, temporary_database
from tests.process import served
from tests.proxy import until
from todo_service import __version__
from todo_service.config.settings import ROOT, SettingsError
from todo_service.observability import sentry

LEFT_OUT = "(what it says may be data and is left out)"


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, list[dict[str, Any]], list[bytes]]]:
    """A server that takes what Sentry's client sends: its DSN, the events, and every byte."""
    events: list[dict[str, Any]] = []
    raw: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        envelope = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        raw.append(envelope)
        lines = envelope.splitlines()
        for header, payload in zip(lines[1::2], lines[2::2], strict=False):
            if json.loads(header)["type"] == "event":
                events.append(json.loads(payload))
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/api/42/envelope/", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://key@127.0.0.1:{runner.addresses[0][1]}/42", events, raw
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_defect_is_reported_without_data(postgres_url: str, workers: str) -> None:
    async with temporary_database(postgres_url, template=template_name()) as url, collector() as (dsn, events, raw):
        await run_sql(url, "ALTER TABLE tasks ADD CONSTRAINT surprise CHECK (title NOT LIKE 'canary%') NOT VALID")
        async with served(DATABASE_URL=url, SENTRY_DSN=dsn, WEB_CONCURRENCY=workers) as (_, api):
            user = await api.new_user()
            task = {"title": "canary-title", "description": "canary-description"}
            answer = await api.post("/api/v1/tasks?canary=query", task, as_=user)
            assert (answer.status, answer.problem()) == (500, "internal-error")
            await until(lambda: _any(events))
    (event,) = events
    (error,) = event["exception"]["values"]
    assert (error["type"], error["module"]) == ("CheckViolationError", "asyncpg.exceptions")
    assert "constraint_name=surprise" in error["value"]
    frames = error["stacktrace"]["frames"]
    assert any(frame["module"] == "todo_service.queries.tasks" for frame in frames)
    assert not any("vars" in frame for frame in frames)
    assert event["release"] == f"todo-service@{__version__}"
    assert event["tags"] == {"event": "defect", "request_id": answer.headers["X-Request-ID"]}
    assert not {"request", "user", "breadcrumbs", "extra", "contexts", "modules"} & event.keys()
    for secret in (b"canary", user.email.encode(), user.token.encode()):
        assert all(secret not in envelope for envelope in raw)


async def _any(events: list[Any]) -> bool:
    return bool(events)


def test_without_its_package_the_start_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    settings = make_settings("postgresql://nobody@127.0.0.1/todo", sentry_dsn="https://key@sentry.example.com/42")
    with pytest.raises(SettingsError, match="sentry-sdk"):
        sentry.reporter(settings)


def test_the_words_of_every_error_in_a_chain_are_left_out() -> None:
    try:
        try:
            int("canary")
        except ValueError as error:
            raise KeyError("canary too") from error
    except KeyError as error:
        failure: BaseException = error
    event = {
        "exception": {"values": [{"type": "ValueError", "value": str(failure.__cause__)}, {"value": str(failure)}]},
        "request": {"url": "canary"},
    }
    assert "canary" not in json.dumps(sentry.without_data(event, {"exc_info": (KeyError, failure, None)}))


@pytest.mark.parametrize("dsn", ["https://key@host:port/42", "https://key@[::1/42", "https://key@:1/1"])
def test_a_dsn_that_sentry_does_not_take_is_a_wrong_setting(dsn: str) -> None:
    settings = make_settings("postgresql://nobody@127.0.0.1/todo", sentry_dsn=dsn)
    with pytest.raises(SettingsError, match="SENTRY_DSN: must be a DSN"):
        sentry.reporter(settings)


PROGRAM = """
import logging, structlog
from tests.conftest import make_settings
from todo_service.observability import logs, sentry
logs.configure(make_settings("postgresql://nobody@127.0.0.1/todo", sentry_dsn={dsn!r}))
try:
    int("canary")
except ValueError as error:
    structlog.get_logger().exception("ours")
    structlog.get_logger().error("ours_too", exc_info=error)
    logging.getLogger("library").exception("theirs")
    logging.getLogger("library").warning("no error", exc_info=True)
sentry.flush()
"""


async def test_every_error_with_a_traceback_is_reported_before_the_process_ends() -> None:
    async with collector() as (dsn, events, _):
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM.format(dsn=dsn), cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        assert await asyncio.wait_for(program.wait(), 30) == 0
    tags = [event["tags"] for event in events]
    assert tags == [{"event": "ours"}, {"event": "ours_too"}, {"logger": "library"}]
    errors = [event["exception"]["values"][0] for event in events]
    assert {(error["type"], error["value"]) for error in errors} == {("ValueError", LEFT_OUT)}
