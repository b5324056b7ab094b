"""The rules of Prometheus: valid, each alert shown firing and not firing, each explained to whoever is woken."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.programs import DEPLOY, load, program, run
from tests.test_documentation import anchors
from todo_service.config.settings import ROOT

FOLDER = DEPLOY / "prometheus"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
CASES = sorted((FOLDER / "tests").glob("*.yml"))


def rules(kind: str) -> list[dict[str, Any]]:
    """Every rule that records, or every one that alerts."""
    return [rule for path in RULES for group in load(path)["groups"] for rule in group["rules"] if kind in rule]


def test_prometheus_takes_the_configuration() -> None:
    done = run(program("promtool"), "check", "config", "prometheus.yml", cwd=FOLDER)
    assert done.returncode == 0, done.stdout
    assert "rule files found" in done.stdout


def test_prometheus_takes_the_rules() -> None:
    done = run(program("promtool"), "check", "rules", "--lint-fatal", *RULES)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_must_and_only_then(path: Path) -> None:
    done = run(program("promtool"), "test", "rules", path.name, cwd=path.parent)
    assert done.returncode == 0, done.stdout


def test_every_alert_is_shown_firing_and_not_firing() -> None:
    fire, silent = set(), set()
    for path in CASES:
        for case in load(path)["tests"]:
            firing = re.findall(r"Todo\w+", str(case["promql_expr_test"][0]["exp_samples"]))
            fire.update(firing)
            if not firing:
                silent.update(re.findall(r"Todo\w+", case["name"].partition(":")[0]))
    names = {rule["alert"] for rule in rules("alert")}
    assert fire == names
    assert silent == {name for name in names if "ErrorBudget" not in name}  # those are silent in the case of 0.09 %


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    said = rule["annotations"]
    assert set(said) == {"summary", "description", "runbook_url"}
    assert len(said["summary"]) < 60 < len(said["description"]) + 20
    document, _, anchor = said["runbook_url"].partition("#")
    assert anchor == rule["alert"].lower()
    assert anchor in anchors(ROOT / document), f"{document} has no heading for {rule['alert']}"


def test_every_runbook_has_its_alert() -> None:
    headings = set(re.findall(r"^### (Todo\w+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE))
    assert headings == {rule["alert"] for rule in rules("alert")}


def test_what_is_recorded_is_named_by_what_it_holds() -> None:
    for rule in rules("record"):
        assert re.fullmatch(r"[a-z_]+:todo_[a-z_]+:[a-z]\w*", rule["record"])
