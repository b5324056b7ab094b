"""Metrics: every answer counts once, under names and labels that have a bound, in every format asked for."""

import asyncio
import json
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable

import pytest
import pytest_asyncio
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from tests.client import PASSWORD, Api, User
from tests.conftest import make_settings, running_service
from tests.process import served
from tests.proxy import free_port, until
from tests.sockets import connect, talk
from todo_service.observability.metrics import Metrics, accepted_format

NAMES = {
    "todo_http_requests", "todo_http_request_duration_seconds", "todo_http_requests_in_flight",
    "todo_http_requests_shed", "todo_worker_deaths",
    "todo_database_statement_duration_seconds", "todo_database_acquire_duration_seconds",
    "todo_database_pool_size", "todo_database_pool_free", "todo_database_pool_waiters",
    "todo_password_checks_waiting", "todo_auth_events", "todo_rate_limited", "todo_rate_limit_redis_errors",
    "todo_list_cache_requests", "todo_sync_resets", "todo_build_info", "todo_event_loop_lag_seconds",
    "todo_key_validations", "todo_mails", "todo_authenticated_requests",
    "todo_event_streams_open", "todo_events_sent", "todo_event_lag_seconds",
    "process_cpu_seconds", "process_resident_memory_bytes", "process_virtual_memory_bytes",
    "process_start_time_seconds", "process_open_fds", "process_max_fds", "python_info",
}  # fmt: skip


@pytest_asyncio.fixture
async def fresh(database_url: str) -> AsyncIterator[Api]:
    """A service that has counted nothing yet."""
    async with running_service(make_settings(database_url)) as api:
        yield api


def families(raw: bytes) -> list[Metric]:
    """The metrics in Prometheus's text."""
    read: Callable[[str], Iterable[Metric]] = text_string_to_metric_families
    return list(read(raw.decode()))


async def shown(api: Api) -> dict[str, float]:
    """Every sample by its name and labels, as `name{label=value,…}`."""
    answer = await api.get("/metrics")
    assert answer.status == 200
    return {
        sample.name + "{" + ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items())) + "}": value
        for family in families(answer.raw)
        for sample in family.samples
        for value in [sample.value]
    }


def requests(samples: dict[str, float]) -> dict[str, float]:
    prefix = "todo_http_requests_total{"
    return {name.removeprefix(prefix).rstrip("}"): n for name, n in samples.items() if name.startswith(prefix) and n}


async def test_failures_are_counted_from_zero_on(fresh: Api) -> None:
    """Prometheus sees how much a count grows, but not that it is born with fifty."""
    samples = await shown(fresh)
    for status in (500, 503):
        assert samples[f"todo_http_requests_total{{method=POST,route=/api/v1/tasks,status={status}}}"] == 0


async def test_the_text_has_every_metric(fresh: Api) -> None:
    answer = await fresh.get("/metrics", headers={"Accept": "text/html, */*;q=0.1"})
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in families(answer.raw)}
    assert names == NAMES
    assert "_created" not in answer.raw.decode()


async def test_openmetrics_is_given_to_who_asks_for_it(fresh: Api) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    answer = await fresh.get("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    read: Callable[[str], Iterable[Metric]] = openmetrics_families
    assert {family.name for family in read(answer.raw.decode())} == NAMES
    for hostile in ("application/openmetrics-text;version=x", "text/plain;version=" + "9" * 400, "\xff;version", ";=,"):
        assert (await fresh.get("/metrics", headers={"Accept": hostile})).status == 200


async def test_the_summary_is_of_the_same_counters(fresh: Api) -> None:
    for _ in range(9):
        await fresh.get("/health/live")
    await fresh.get("/nope")
    body = (await fresh.get("/metrics", headers={"Accept": "application/json"})).body
    assert (body["total_requests"], body["total_errors"], body["error_rate_percent"]) == (10, 1, 10.0)
    assert 0 < body["avg_response_time"] < 1
    assert 0 < body["p50_response_time"] <= body["p95_response_time"] <= body["p99_response_time"] < 1
    assert list(body["endpoint_stats"]) == ["GET /health/live", "GET unmatched"]
    assert body["endpoint_stats"]["GET /health/live"]["requests"] == 9
    assert body["endpoint_stats"]["GET unmatched"]["errors"] == 1


async def test_every_answer_counts_once_whatever_made_it(fresh: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await fresh.new_user()
    await fresh.get(f"/api/v1/tasks/{ada.id}", as_=ada)
    await fresh.get("/api/v1/tasks")
    await fresh.send("DELETE", "/api/v1/sync", as_=ada)
    await fresh.get(f"/api/{ada.id}/tasks/", as_=ada)
    monkeypatch.setattr("todo_service.routes.sync.changes.select_page", None)
    await fresh.get("/api/v1/sync", as_=ada)
    async with connect(fresh) as connection:
        await connection.send(b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await connection.answer())[0] == 400
    assert requests(await shown(fresh)) == {
        "method=POST,route=/api/auth/signup,status=201": 1,
        "method=GET,route=/api/v1/tasks/{task_id},status=404": 1,
        "method=GET,route=/api/v1/tasks,status=401": 1,
        "method=DELETE,route=unmatched,status=405": 1,
        "method=GET,route=/api/{user_id}/tasks,status=200": 1,
        "method=GET,route=/api/v1/sync,status=500": 1,
        "method=other,route=unmatched,status=400": 1,
    }


async def test_a_client_that_goes_away_is_499(fresh: Api) -> None:
    ada = await fresh.new_user()
    async with talk(fresh, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "14"}):
        await asyncio.sleep(0.1)

    async def is_counted() -> bool:
        return requests(await shown(fresh)).get("method=POST,route=/api/v1/tasks,status=499") == 1

    await until(is_counted, 5)


async def test_a_thousand_paths_and_methods_make_no_new_series(fresh: Api) -> None:
    dice = random.Random(1)  # noqa: S311
    await fresh.get("/nope")
    for method in ("PROPFIND", "ABCDEF"):
        await fresh.send(method, "/nope")
    before = set(await shown(fresh)) | set(await shown(fresh))
    for number in range(1000):
        method = dice.choice(["GET", "".join(dice.choices("ABCDEFGHIJK", k=6))])
        await fresh.send(method, f"/{number}/{dice.random()}?{number}")
    assert set(await shown(fresh)) == before


async def test_what_happens_to_credentials_is_counted(fresh: Api) -> None:
    ada = await fresh.new_user()
    await fresh.post("/api/auth/signup", {"email": ada.email, "password": PASSWORD})
    for password in (PASSWORD, "wrong horse 9"):
        await fresh.post("/api/v1/auth/login", {"email": ada.email, "password": password})
    for token in (ada.refresh_token, "x" * 43):
        await fresh.post("/api/v1/auth/refresh", {"refresh_token": token})
    await fresh.get("/api/v1/auth/me", token="not.a.token")
    await fresh.get("/api/v1/auth/me")
    samples = await shown(fresh)
    for event, outcome in (
        ("registration", "succeeded"), ("registration", "refused"), ("sign_in", "succeeded"), ("sign_in", "failed"),
        ("refresh", "succeeded"), ("refresh", "refused"), ("token", "refused"), ("token", "absent"),
    ):  # fmt: skip
        assert samples[f"todo_auth_events_total{{event={event},outcome={outcome}}}"] == 1, (event, outcome)


async def test_lists_and_statements_are_counted(fresh: Api) -> None:
    ada = await fresh.new_user()
    first = await fresh.get("/api/v1/tasks", as_=ada)
    await fresh.get("/api/v1/tasks", as_=ada)
    await fresh.get("/api/v1/tasks", as_=ada, headers={"If-None-Match": first.headers["ETag"]})
    samples = await shown(fresh)
    for outcome in ("miss", "hit", "not_modified"):
        assert samples[f"todo_list_cache_requests_total{{outcome={outcome}}}"] == 1
    assert samples["todo_database_statement_duration_seconds_count{statement=users.insert}"] == 1
    assert samples["todo_database_acquire_duration_seconds_count{}"] >= 4


async def test_every_statement_has_a_name(fresh: Api) -> None:
    for path in ("/health", "/health/ready"):
        assert (await fresh.get(path)).status == 200
    samples = await shown(fresh)
    assert samples["todo_database_statement_duration_seconds_count{statement=migrations.select_applied}"] == 1
    assert not any("unnamed" in name for name in samples)


async def test_gauges_say_what_is_now(fresh: Api) -> None:
    await asyncio.sleep(0.3)
    samples = await shown(fresh)
    assert samples["todo_database_pool_size{}"] >= samples["todo_database_pool_free{}"] >= 1
    assert samples["todo_http_requests_in_flight{}"] == 0, "scrapes are counted apart"
    assert samples["todo_event_loop_lag_seconds_count{}"] >= 1
    assert samples["todo_password_checks_waiting{}"] == samples["todo_database_pool_waiters{}"] == 0


async def test_two_services_in_one_process_count_apart(fresh: Api, database_url: str) -> None:
    async with running_service(make_settings(database_url)) as other:
        await other.get("/health/live")
        await fresh.get("/")
        assert set(requests(await shown(fresh))) == {"method=GET,route=/,status=200"}


def test_what_the_limits_will_count() -> None:
    metrics = Metrics()
    metrics.limited("read")
    metrics.redis_errors.inc()
    assert "todo_rate_limit_redis_up" not in metrics.text(accepted_format("")).decode()
    metrics.redis_up(False)
    text = metrics.text(accepted_format("")).decode()
    for line in ('todo_rate_limited_total{limit="read"} 1.0', "todo_rate_limit_redis_up 0.0"):
        assert line in text


async def test_no_series_is_looked_up_for_a_request(fresh: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's look-up costs more than the counting itself. What was never seen before is looked up once."""
    ada = await fresh.new_user()
    looked_up = []

    def labels(metric: MetricWrapperBase, *words: str) -> MetricWrapperBase:
        looked_up.append(words)
        return found(metric, *words)

    async def ask() -> None:
        for path, status in {"/api/v1/tasks": 200, "/api/v1/tasks/nothing": 404, "/nowhere": 404}.items():
            assert (await fresh.get(path, as_=ada)).status == status

    found = MetricWrapperBase.labels
    monkeypatch.setattr(MetricWrapperBase, "labels", labels)
    for _ in range(2):
        await ask()
    assert ("GET", "unmatched", "404") in looked_up
    looked_up.clear()
    await ask()
    assert looked_up == []


@pytest.mark.parametrize("count", ["1", "2"])
async def test_a_port_of_its_own(database_url: str, count: str) -> None:
    port = free_port()
    environment = {"METRICS_PORT": str(port), "WEB_CONCURRENCY": count, "DRAIN_SECONDS": "1"}
    async with served(DATABASE_URL=database_url, **environment) as (process, api):
        front, beside = [Api(api.session, base, as_described=False) for base in (api.base, f"http://127.0.0.1:{port}")]
        assert (await front.get("/metrics")).status == 404
        answer = await beside.get("/metrics")
        assert (answer.status, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert requests(await shown(beside))["method=GET,route=unmatched,status=404"] == 1
        for path in ("/", "/health/live", "/api/v1/tasks"):
            assert (await beside.get(path)).problem() == "not-found"
        process.terminate()
        await asyncio.sleep(0.5)
        assert (await beside.get("/metrics")).status == 200
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_promtool_finds_nothing(fresh: Api, ada: User) -> None:
    metrics = Metrics(version="1")
    metrics.redis_up(True)
    await fresh.get("/nope")
    await fresh.new_user()
    for text in ((await fresh.get("/metrics")).raw, metrics.text(accepted_format(""))):
        try:
            done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        except FileNotFoundError:
            if os.environ.get("CI"):
                raise
            pytest.skip("promtool is not installed: it comes with Debian's package prometheus")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_a_stall_is_logged(database_url: str) -> None:
    async with served(DATABASE_URL=database_url) as (process, api):
        await asyncio.sleep(0.3)
        process.send_signal(19)
        await asyncio.sleep(0.5)
        process.send_signal(18)
        await asyncio.sleep(0.3)
        samples = await shown(api)
        process.terminate()
        lines = [json.loads(line) for line in (await process.communicate())[0].splitlines()]
    assert any(line["event"] == "event_loop_stalled" and line["ms"] > 300 for line in lines)
    assert samples["todo_event_loop_lag_seconds_bucket{le=0.25}"] < samples["todo_event_loop_lag_seconds_count{}"]
