"""The manifests for Kubernetes: valid, of one piece, and of nothing that is not there."""

import asyncio
import re
import secrets
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import packages
from tests.commands.test_users import run as operator
from tests.conftest import template_name, temporary_database
from tests.deploy.programs import DEPLOY, run
from todo_service import __version__
from todo_service.config.settings import CLEANED, ROOT, Settings
from todo_service.postgres import client_binaries, connector, migrations
from todo_service.routes.system import METRICS_ROUTES, SYSTEM
from todo_service.server import runner

FOLDER = DEPLOY / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
CUSTOM = {"Kustomization", "ServiceMonitor"}  # not of Kubernetes itself
SECRETS = "/run/secrets/todo-service/"


def manifests() -> Iterator[dict[str, Any]]:
    for path in FILES:
        yield from yaml.safe_load_all(path.read_text())


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in manifests() if manifest["kind"] == kind]


def pods() -> dict[str, dict[str, Any]]:
    """The templates of all pods by the names of their owners."""
    found = {}
    for manifest in manifests():
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "containers" in spec.get("template", {}).get("spec", {}):
            found[manifest["metadata"]["name"]] = spec["template"]
    return found


PODS = pods()
SERVICE = PODS["todo-service"]
SETTINGS: dict[str, str] = of_kind("ConfigMap")[0]["data"]


async def test_each_is_valid_for_the_oldest_and_the_newest_kubernetes() -> None:
    programs = await asyncio.to_thread(packages.from_pip, Path(__file__).parent / "kubernetes", "Kubernetes schemas")
    for version in ("1.29", "1.37"):
        command = [programs / "bin/kubernetes-validate", "-k", version, "--strict", *FILES]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert said.count("passed for resource") == len([*manifests()]) - len(CUSTOM)
        unknown = {line.split("for kind ")[1].split()[0] for line in said.splitlines() if "find schema" in line}
        assert unknown == CUSTOM


def test_every_file_is_applied() -> None:
    (kustomization,) = of_kind("Kustomization")
    assert sorted([*kustomization["resources"], "kustomization.yaml"]) == [path.name for path in FILES]
    (image,) = kustomization["images"]
    assert (image["name"], image["newTag"]) == ("todo-service", __version__)
    images = {container["image"] for pod in PODS.values() for container in pod["spec"]["containers"]}
    assert images == {"todo-service", "postgres:18"}


def variables() -> dict[str, str]:
    """Every variable that some container gets."""
    containers = [container for pod in PODS.values() for container in pod["spec"]["containers"]]
    return SETTINGS | {
        variable["name"]: variable.get("value", "") for one in containers for variable in one.get("env", ())
    }


def test_every_setting_exists() -> None:
    for name in variables():
        setting = name.removesuffix("_FILE").lower()
        assert setting in Settings.model_fields, name
        assert not name.endswith("_FILE") or setting in CLEANED


def test_what_is_kept_is_one_setting_for_the_service_and_for_the_purge() -> None:
    """A purge with another `HISTORY_DAYS` would delete what the service promises to keep."""
    (purge,) = [pod for pod in PODS.values() if pod["spec"]["containers"][0].get("command") == ["bin/purge"]]
    taken = {one["name"]: one["valueFrom"] for one in purge["spec"]["containers"][0]["env"] if "valueFrom" in one}
    assert taken == {
        name: {"configMapKeyRef": {"name": "todo-service", "key": name, "optional": True}}
        for name in ("HISTORY_DAYS", "AUDIT_RETENTION_DAYS")
    }


def test_the_service_starts_with_its_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {
        "database_url": "postgresql://todo_app:secret@database/todo", "secret_key": secrets.token_hex(32),
        "redis_url": "redis://redis:6379/0", "audit_key": secrets.token_hex(32),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("ENVIRONMENT", "production")
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value.replace(SECRETS, f"{tmp_path}/"))
    settings = Settings.load()
    ending = runner.SHUTDOWN_SECONDS + runner.LINGER_SECONDS + runner.MAIL_SECONDS + connector.CLOSE_SECONDS
    ports = {port["name"]: port["containerPort"] for port in SERVICE["spec"]["containers"][0]["ports"]}
    assert ports == {"http": settings.server_port, "metrics": settings.metrics_port}
    assert SERVICE["spec"]["terminationGracePeriodSeconds"] > settings.drain + ending


def test_secrets_are_files_of_one_secret() -> None:
    known = {"database_url", "owner_database_url", "secret_key", "redis_url", "audit_key"}
    assert "sslrootcert=" + SECRETS + "ca.crt" in (ROOT / "docs/deploy.md").read_text()
    read = set(re.findall(SECRETS + r"(\w+)", "".join(path.read_text() for path in FILES)))
    assert read == known
    documented = (ROOT / "docs/deploy.md").read_text()
    assert all(f"--from-file={name}" in documented or f"--from-literal={name}=" in documented for name in known)
    for pod in PODS.values():
        (volume,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "secrets"]
        assert (volume["secret"]["secretName"], volume["secret"]["defaultMode"]) == ("todo-service", 0o440)
        (mount,) = [one for one in pod["spec"]["containers"][0]["volumeMounts"] if one["name"] == "secrets"]
        assert (mount["mountPath"], mount["readOnly"]) == (SECRETS.rstrip("/"), True)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_the_secrets_that_it_reads_and_no_others(name: str) -> None:
    values = [variable.get("value", "") for one in PODS[name]["spec"]["containers"] for variable in one.get("env", ())]
    if PODS[name] is SERVICE:
        values += SETTINGS.values()
    text = str(PODS[name]["spec"]["containers"]) + " ".join(values)
    read = {*re.findall(SECRETS + r"(\w+)", text), "ca.crt"}  # the connection strings name it
    (volume,) = [volume for volume in PODS[name]["spec"]["volumes"] if volume["name"] == "secrets"]
    assert all(item["key"] == item["path"] for item in volume["secret"]["items"])
    assert {item["key"] for item in volume["secret"]["items"]} == read


@pytest.mark.parametrize("name", PODS)
def test_a_pod_can_do_nothing_but_its_work(name: str) -> None:
    spec = PODS[name]["spec"]
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    security = spec["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert container["resources"].keys() == {"requests", "limits"}
    script = container.get("command", ["bin/serve"])[0]
    assert script == "sh" or (ROOT / script).is_file()


async def test_the_backup_of_the_cron_job_is_one_that_restore_takes(database_url: str, tmp_path: Path) -> None:
    script = PODS["todo-service-backup"]["spec"]["containers"][0]["command"][-1]
    assert set(re.findall(r"--table=(\w+)", script)) == {*migrations.tables(migrations.find())}
    (tmp_path / "owner_database_url").write_text(f"{database_url}?sslmode=disable\n")
    script = script.replace(SECRETS, f"{tmp_path}/").replace("/backups", str(tmp_path))
    script = script.replace("pg_dump", shlex.quote(str(client_binaries.find("pg_dump").path)))
    done = await asyncio.to_thread(run, "sh", "-euc", script)
    assert done.returncode == 0, done.stdout
    (file,) = tmp_path.glob("todo-*.dump")
    async with temporary_database(database_url, template=template_name()) as url:
        restored = await operator("restore", str(file), "--replace", "--yes", DATABASE_URL=url)
        assert restored.returncode == 0, restored.stderr
    failing = script.replace("--format=custom", "--format=nonsense")
    assert (await asyncio.to_thread(run, "sh", "-euc", failing)).returncode != 0
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_what_selects_finds_what_it_means() -> None:
    labels = SERVICE["metadata"]["labels"]
    (deployment,) = of_kind("Deployment")
    (service,) = of_kind("Service")
    selectors = [deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]]
    selectors += [of_kind("PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"]]
    for selector in selectors:
        owners = [name for name, pod in PODS.items() if selector.items() <= pod["metadata"]["labels"].items()]
        assert owners == ["todo-service"], "no pod of a job gets requests"
    (policy,) = of_kind("NetworkPolicy")
    for pod in PODS.values():
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (monitor,) = of_kind("ServiceMonitor")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {end["port"] for end in monitor["spec"]["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]}
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "todo-service"
    target = of_kind("HorizontalPodAutoscaler")[0]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert labels["app.kubernetes.io/name"] == "todo-service"


def test_it_asks_for_addresses_that_there_are() -> None:
    paths = {route.path for route in (*SYSTEM, *METRICS_ROUTES)}
    container = SERVICE["spec"]["containers"][0]
    asked = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    (monitor,) = of_kind("ServiceMonitor")
    assert asked | {end["path"] for end in monitor["spec"]["endpoints"]} <= paths
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
