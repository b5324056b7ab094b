"""The bill of materials has every package of the image and every library of the pages, with version and license."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests import packages
from todo_service import __version__
from todo_service.config.settings import ROOT


@pytest.mark.parametrize("arguments", [[], ["--nonsense"], ["a", "b"]])
def test_wrong_usage(arguments: list[str]) -> None:
    done = subprocess.run([ROOT / "bin/sbom", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "--help" in done.stderr) == (2, True)


def test_everything_in_the_image_is_in_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "bin/sbom", "bom.json"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280
    )
    if "could not install" in done.stderr:
        packages.unavailable("package", done.stderr[-2000:])
    assert done.returncode == 0, done.stderr
    bom = json.loads((tmp_path / "bom.json").read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    root = bom["metadata"]["component"]
    assert (root["name"], root["version"]) == ("todo-service", __version__)
    pinned = re.findall(r"^([a-z0-9-]+)(?:\[\w+\])?==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    found = {(re.sub("[._]", "-", one["name"].lower()), one["version"]) for one in bom["components"]}
    first = (ROOT / "todo_service/static/vendor/SHA256SUMS").read_text().splitlines()[0]
    vendored = re.findall(r"([a-z-]+) (\d+\.\d+\.\d+)", first)
    assert len(vendored) == 2
    assert found == {*pinned, *vendored}
    for component in bom["components"]:
        assert component["licenses"]
        assert component["purl"].startswith(("pkg:pypi/", "pkg:npm/"))
    (needs,) = [one["dependsOn"] for one in bom["dependencies"] if one["ref"] == root["bom-ref"]]
    assert {*(f"pkg:npm/{name}@{version}" for name, version in vendored)} < set(needs)
    refs = {component["bom-ref"] for component in bom["components"]}
    assert all(ref in refs for one in bom["dependencies"] for ref in one.get("dependsOn", ()))
