"""What pages are made of: the files of others are as their packages have them, and all of them are delivered."""

import ast
import gzip
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from todo_service import static_files
from todo_service.config.settings import ROOT

VENDORED = static_files.FOLDER / "vendor"
FILES = sorted(path for path in static_files.FOLDER.rglob("*") if path.is_file())


def test_the_files_of_others_are_as_they_were_fetched() -> None:
    lines = [line for line in (VENDORED / "SHA256SUMS").read_text().splitlines() if not line.startswith("#")]
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    there = {path.relative_to(VENDORED).as_posix(): path for path in FILES if VENDORED in path.parents}
    del there["SHA256SUMS"]
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items()} == sums


def test_what_is_compressed_is_the_file_beside_it() -> None:
    compressed = [path for path in FILES if path.suffix == ".gz"]
    assert {path.stem for path in compressed} == {
        path.name for path in FILES if VENDORED in path.parents and path.suffix in static_files.TYPES
    }
    for path in compressed:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes()


def test_each_package_of_others_comes_with_its_license() -> None:
    assert "Apache License" in (VENDORED / "swagger-ui/LICENSE").read_text()
    assert "SmartBear" in (VENDORED / "swagger-ui/NOTICE").read_text()
    assert "MIT License" in (VENDORED / "redoc/LICENSE").read_text()
    for script in VENDORED.rglob("*.js"):
        assert script.with_name(script.name + ".LICENSE.txt").exists(), "its head refers to it"


def test_an_asset_is_its_file() -> None:
    for docs, count in ((True, 7), (False, 2)):
        found = static_files.by_path(docs=docs)
        assert len(found) == count
        for path, asset in found.items():
            assert path == asset.path
            assert asset.digest == hashlib.sha256(asset.body).hexdigest()[:16]
            assert asset.digest in path
            assert gzip.decompress(asset.gzipped) == asset.body


def test_the_package_has_every_file() -> None:
    keywords = (node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if isinstance(node, ast.keyword))
    (patterns,) = (ast.literal_eval(node.value) for node in keywords if node.arg == "package_data")
    package = ROOT / "todo_service"
    assert set(FILES) <= {path for pattern in patterns["todo_service"] for path in package.glob(pattern)}


def test_nobody_reads_the_files_of_others_in_a_diff() -> None:
    names = [path.relative_to(ROOT).as_posix() for path in FILES if VENDORED in path.parents]
    command = ["git", "-c", "safe.directory=*", "check-attr", "diff", "text", "linguist-vendored", "--", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this folder is not a git checkout that may be read")
    said = {line.partition(": ")[2] for line in done.stdout.splitlines()}
    assert said == {"diff: unset", "text: unset", "linguist-vendored: set"}


def test_fetching_them_again_gives_the_same() -> None:
    if shutil.which("npm") is None:
        _unavailable("npm is not installed")
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [ROOT / "bin/vendor-docs", "--check"], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if "cannot get" in done.stderr:
        _unavailable(done.stderr)
    assert (done.returncode, done.stderr) == (0, "")


def _unavailable(reason: str) -> None:
    """Skip the test; where CI is set, nothing may be left out, so fail it there."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def test_another_package_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    """npm is one that hands out something else; nothing is written."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "bin", project / "bin")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "npm").write_text("#!/bin/sh\necho other >swagger-ui-dist-5.35.0.tgz\n")
    (programs / "npm").chmod(0o755)
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed")
    environment = {"PATH": f"{programs}:{Path(node).parent}:/usr/bin:/bin"}
    done = subprocess.run(
        [project / "bin/vendor-docs"], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "swagger-ui-dist 5.35.0 is not the pinned one" in done.stderr
    assert not (project / "todo_service").exists()
