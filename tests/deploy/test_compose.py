"""`compose.yaml`: whole, without a secret, closed to the outside, in the right order, as the image wants to be run."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.programs import DEPLOY, load, program, run
from todo_service.config.settings import ROOT, Settings

COMPOSE = ROOT / "compose.yaml"
EXAMPLE = DEPLOY / "compose.env.example"
TEXT = COMPOSE.read_text()
SERVICES: dict[str, dict[str, Any]] = load(COMPOSE)["services"]
OURS = ("service", "migrate")
SECRETS = ("POSTGRES_PASSWORD", "SERVING_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY")
ComposeConfig = Callable[[str], tuple[int, str]]


@pytest.fixture
def config(tmp_path: Path) -> ComposeConfig:
    """What `podman-compose config` answers with these variables. It wants to know podman's version, and no more."""
    tool = program("podman-compose")
    if "config" not in run(tool, "--help").stdout:
        pytest.skip("podman-compose is older than 1.0.6")
    (tmp_path / "podman").write_text("#!/bin/sh\necho podman version 4.3.1\n")
    (tmp_path / "podman").chmod(0o755)

    def ask(variables: str) -> tuple[int, str]:
        (tmp_path / "env").write_text(variables)
        arguments = ("--env-file", tmp_path / "env", "--file", COMPOSE, "config")
        done = run(tool, *arguments, PATH=f"{tmp_path}:/usr/bin:/bin")
        return done.returncode, done.stdout

    return ask


def variables() -> dict[str, str]:
    """Each variable of the file with what follows its name: `-default`, `:?message` or nothing."""
    return dict(re.findall(r"\$\{(\w+)([^}]*)\}", TEXT))


def example() -> set[str]:
    return set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))


def test_a_compose_program_takes_it(config: ComposeConfig) -> None:
    filled = re.sub(r"=$", "=0123456789abcdef", EXAMPLE.read_text(), flags=re.MULTILINE)
    status, said = config(filled)
    assert status == 0, said
    assert "WARN" not in said
    assert "postgresql://todo_app:0123456789abcdef@database:5432/todo" in said
    assert "postgresql://todo:0123456789abcdef@database:5432/todo" in said


def test_without_a_secret_nothing_starts(config: ComposeConfig) -> None:
    status, said = config(EXAMPLE.read_text())
    assert status != 0
    assert "set it in .env" in said


def test_every_variable_has_a_default_or_must_be_set_and_is_in_the_example() -> None:
    for name, rest in variables().items():
        assert rest.startswith(":?" if name in SECRETS else ":-"), name
    assert set(variables()) == example()


def test_no_secret_is_in_the_file_or_the_example() -> None:
    for name in SECRETS:
        assert re.search(rf"^{name}=$", EXAMPLE.read_text(), re.MULTILINE)
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY|DATABASE_URL", name) and not name.startswith("GF_"):
                assert "${" in value, name
    assert "*" not in re.sub(r"&\w+|: \*\w+|#.*", "", TEXT)


def test_every_setting_is_passed_on_but_those_of_the_image() -> None:
    """Else a line of `.env` would change nothing, and nobody would say so."""
    of_the_image = {"ENVIRONMENT", "DEBUG", "DATA_DIR", "SERVER_HOST", "SERVER_PORT", "METRICS_PORT"}
    of_the_image |= {"SENTRY_DSN"}  # its package is not in the image
    names = {name.upper() for name in Settings.model_fields}
    assert set(load(COMPOSE)["x-service"]["environment"]) == names - of_the_image


def test_what_is_left_empty_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in load(COMPOSE)["x-service"]["environment"].items():
        if value == f"${{{name}:-}}":
            monkeypatch.setenv(name, "")
    settings = Settings(_env_file=None)
    assert (settings.rate_limit_read, settings.drain_seconds, settings.log_level) == (100, None, "INFO")


def test_only_this_machine_can_connect() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")


def test_the_service_waits_for_the_schema_and_the_schema_for_the_database() -> None:
    conditions = {name: {on: how["condition"] for on, how in SERVICES[name]["depends_on"].items()} for name in OURS}
    assert conditions["service"]["migrate"] == "service_completed_successfully"
    assert conditions["migrate"] == {"database": "service_healthy"}
    assert SERVICES["migrate"]["command"][-1].startswith("bin/migrate up; ")


def test_the_role_that_serves_owns_nothing() -> None:
    urls = {name: SERVICES[name]["environment"]["DATABASE_URL"] for name in OURS}
    assert urls["service"].startswith("postgresql://todo_app:${SERVING_PASSWORD:?")
    assert urls["migrate"].startswith("postgresql://todo:${POSTGRES_PASSWORD:?")
    assert "bin/migrate grants todo_app --password-file" in SERVICES["migrate"]["command"][-1]
    assert "POSTGRES_PASSWORD" not in str(SERVICES["service"])


def test_database_and_redis_are_out_of_reach_of_everything_but_the_service() -> None:
    assert load(COMPOSE)["networks"]["data"] == {"internal": True}
    networks = {name: service.get("networks", ["default"]) for name, service in SERVICES.items()}
    assert {name for name, of in networks.items() if "data" in of} == {"service", "migrate", "database", "redis"}
    assert networks["database"] == networks["redis"] == ["data"]
    assert SERVICES["redis"]["command"][-2:] == ["--requirepass", "${REDIS_PASSWORD:?set it in .env}"]
    assert "REDIS_PASSWORD" in SERVICES["service"]["environment"]["REDIS_URL"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_is_closed_in_restarted_and_looked_after(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["pids_limit"] <= 300
    if name == "migrate":
        assert service["restart"] == "no"
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"
    if name in OURS:
        assert "cap_add" not in service
    else:
        (image,) = re.findall(r"\$\{[A-Z]+_IMAGE:-(.+)\}", service["image"])
        assert re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+)?:\d+|(prom|grafana)/[a-z]+:v?\d+\.\d+\.\d+", image)


def test_the_image_is_built_once_and_never_looked_for_elsewhere() -> None:
    assert [name for name, service in SERVICES.items() if "build" in service] == ["service"]
    assert SERVICES["migrate"]["pull_policy"] == "never"
    assert SERVICES["migrate"]["image"] == SERVICES["service"]["image"]


def test_named_volumes_and_files_are_there() -> None:
    named = set(load(COMPOSE)["volumes"])
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).is_dir() and volume.endswith(":ro") if source.startswith(".") else source in named


def test_two_workers_and_patience_at_the_end() -> None:
    assert load(COMPOSE)["x-service"]["environment"]["WEB_CONCURRENCY"] == "${WEB_CONCURRENCY:-2}"
    assert SERVICES["service"]["stop_grace_period"] == "35s"


def test_prometheus_finds_the_service_by_its_name() -> None:
    assert load(DEPLOY / "prometheus/targets.yml") == [{"targets": ["service:8000"]}]
    source = load(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    (managers,) = load(DEPLOY / "prometheus/prometheus.yml")["alerting"]["alertmanagers"]
    assert managers["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    assert {"service", "prometheus", "alertmanager"} <= set(SERVICES)


def test_alertmanager_takes_its_configuration() -> None:
    done = run(program("amtool"), "check-config", DEPLOY / "alertmanager/alertmanager.yml")
    assert done.returncode == 0, done.stdout
