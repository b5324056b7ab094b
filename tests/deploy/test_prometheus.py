"""A real Prometheus scrapes the real service: every rule and every query of the dashboard is valid and finds series."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientError, ClientSession

from tests.client import PASSWORD, Api
from tests.conftest import template_name, temporary_database
from tests.deploy.programs import DEPLOY, load, program, running
from tests.deploy.test_rules import RULES, rules
from tests.process import served
from todo_service.config.settings import ROOT
from todo_service.server import runner

DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/todo-service.json").read_text())
SECONDS = 60
# A service without Redis says nothing of it, and nothing is over a limit that no client has reached.
ABSENT_FEATURES = ("todo_rate_limit_redis_up", "todo_rate_limit_redis_errors_total", "todo_rate_limited_total")
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$job": "todo-service"}


def queries() -> Iterable[tuple[str, str]]:
    """Each query of the dashboard with its panel's title."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            yield panel["title"], text


def metrics_of(expression: str) -> set[str]:
    """The names of series in a query: the service's own, recorded ones, `up`."""
    return set(re.findall(r"[a-z_]*:?todo_[a-z_]+(?::\w+)?|\bup\b", expression))


def may_be_absent(expression: str) -> bool:
    return any(name in expression for name in ABSENT_FEATURES)


class Prometheus:
    """A running one, asked through its API."""

    def __init__(self, session: ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def ask(self, path: str, **parameters: str) -> Any:
        async with self.session.get(f"{self.base}/api/v1/{path}", params=parameters) as response:
            answer = await response.json()
        assert answer["status"] == "success", f"{parameters}: {answer['error']}"
        return answer["data"]

    async def found(self, query: str) -> list[Any]:
        """The series a query finds now."""
        result: list[Any] = (await self.ask("query", query=query))["result"]
        return result

    async def until_found(self, query: str) -> None:
        async with asyncio.timeout(SECONDS):
            while True:
                with suppress(ClientError):  # while it starts
                    if await self.found(query):
                        return
                await asyncio.sleep(0.2)


@asynccontextmanager
async def watching(folder: Path, target: str) -> AsyncIterator[Prometheus]:
    """Prometheus with our configuration, in a hurry: it scrapes the target and works out its rules every second."""
    configuration = load(DEPLOY / "prometheus/prometheus.yml")
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(path) for path in RULES]
    (folder / "targets.yml").write_text(yaml.safe_dump([{"targets": [target]}]))
    del configuration["alerting"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with runner.bind("127.0.0.1", 0) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = (program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data")
    async with running(*command, f"--web.listen-address={address}"), ClientSession() as session:
        yield Prometheus(session, f"http://{address}")


async def traffic(api: Api) -> None:
    """A little of everything that is counted."""
    ada = await api.new_user()
    for password in (PASSWORD, "wrong horse 9"):
        await api.post("/api/v1/auth/login", {"email": ada.email, "password": password})
    for n in range(3):
        await api.post("/api/v1/tasks", {"title": f"task {n}"}, as_=ada)
        await api.get("/api/v1/tasks", as_=ada)
        await api.get("/api/v1/tasks", as_=ada)
    await api.get("/api/v1/sync?cursor=nonsense", as_=ada)
    await api.get("/api/v1/tasks", token="nonsense")
    await api.get("/nowhere")


async def check_everything(prometheus: Prometheus) -> None:
    """Every rule is healthy; each record, each series an alert asks for and each panel has something to show."""
    await prometheus.until_found('job:todo_slo_errors:ratio_rate30d{job="todo-service"} >= 0')
    for group in (await prometheus.ask("rules"))["groups"]:
        for rule in group["rules"]:
            assert (rule["health"], rule.get("lastError", "")) == ("ok", ""), rule["name"]
    expressions = [rule["expr"] for rule in rules("alert")]
    wanted = {name for expression in expressions for name in metrics_of(expression)} | {
        rule["record"] for rule in rules("record")
    }
    asked = [*((f"rule {name}", name) for name in sorted(wanted)), *queries()]
    missing = [
        f"{what}: {query}" for what, query in asked if not (await prometheus.found(query) or may_be_absent(query))
    ]
    assert missing == []


@pytest.mark.prometheus
async def test_every_rule_and_every_panel_finds_what_the_service_tells(tmp_path: Path, postgres_url: str) -> None:
    program("prometheus")
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        served(DATABASE_URL=url) as (_, api),
        watching(tmp_path, api.base.removeprefix("http://")) as prometheus,
    ):
        await prometheus.until_found('up{job="todo-service"} == 1')
        await traffic(api)
        await asyncio.sleep(3)
        await traffic(api)
        await check_everything(prometheus)
        assert await prometheus.found('ALERTS{alertstate="firing"}') == []


@pytest.mark.prometheus
async def test_prometheus_sees_an_instance_that_does_not_answer(tmp_path: Path) -> None:
    with runner.bind("127.0.0.1", 0) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    async with watching(tmp_path, address) as prometheus:
        await prometheus.until_found(f'up{{job="todo-service", instance="{address}"}} == 0')
        await prometheus.until_found('ALERTS{alertname="TodoInstanceDown", alertstate="pending"}')


def test_the_dashboard_is_found_and_names_its_panels_apart() -> None:
    provider = load(DEPLOY / "grafana/provisioning/dashboards/todo-service.yml")["providers"][0]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert load(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"][0]["type"] == "prometheus"
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(list(queries())) > 40
    assert not [text for _, text in queries() if "$" in text]
    assert 'job="todo' not in json.dumps(DASHBOARD), "its job may have another name"
    for panel in panels:
        assert panel["type"] == "row" or len(panel["description"]) > 20, panel["title"]


def test_every_metric_that_is_asked_for_is_explained() -> None:
    explained = set(re.findall(r"`(todo_[a-z_]+)", (ROOT / "docs/operations.md").read_text()))
    expressions = [rule["expr"] for rule in (*rules("record"), *rules("alert"))] + [text for _, text in queries()]
    asked = {name for expression in expressions for name in metrics_of(expression) if name.startswith("todo_")}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in asked} <= explained
