"""The documents keep their promises: their commands and programs run, the answers are as printed.

A block marked `sh` or `python` is run. One marked `console` needs more than a test has, such as root or Docker: a shell
parses it, and the scripts it calls must exist and have its options.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import asyncpg
import pytest

from tests.client import PASSWORD, Api
from tests.conftest import make_settings, running_service, template_name, temporary_database
from tests.provider import ai_provider, always
from todo_service import errors
from todo_service.config.settings import ROOT
from todo_service.queries import clocks

DOCUMENTS = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
RUN = {"sh", "python", "sql"}
READ = {"console", "json", "js", "ts", "yaml", "text"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SCRIPT = re.compile(r"(?<!venv/)\bbin/([a-z-]+)((?: +[^\s|;&<>#)]+)*)")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
VARYING = {"id", "user_id", "userId", "request_id", "version", "last_four"}


def shape(value: Any) -> Any:
    """An answer without what differs from run to run: ids and moments."""
    if isinstance(value, dict):
        return {name: "…" if _varies(name, inner) else shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else value


def _varies(name: str, value: Any) -> bool:
    return isinstance(value, str) and (name in VARYING or name.endswith(("_at", "At")))


def blocks(document: Path, *kinds: str) -> list[str]:
    """The texts of a document's blocks of these kinds."""
    return [text for kind, text in BLOCK.findall(document.read_text()) if kind in kinds]


@asynccontextmanager
async def own_service(postgres_url: str, **settings: object) -> AsyncIterator[tuple[Api, str]]:
    """The service on a database of its own, whose URL is the second, with a provider that takes every API key."""
    async with temporary_database(postgres_url, template=template_name()) as url, ai_provider() as provider:
        provider.answer = always(200)
        async with running_service(make_settings(url, gemini_base_url=provider.url, **settings)) as api:
            yield api, url


async def said_by(script: str, **environment: str) -> str:
    """What a shell says that ends at the first command that fails, as it must not."""
    shell = await asyncio.create_subprocess_exec(
        "sh", "-euc", script, stdout=asyncio.subprocess.PIPE, cwd=ROOT, env=os.environ | environment
    )
    output = (await asyncio.wait_for(shell.communicate(), 60))[0].decode()
    assert shell.returncode == 0, output
    return output


@needs_curl
@pytest.mark.parametrize("document", ["README.md", "docs/tutorial.md"])
async def test_a_conversation_goes_as_printed(document: str, postgres_url: str, tmp_path: Path) -> None:
    said, script = [], []
    async with own_service(postgres_url, data_dir=tmp_path) as (api, _):
        for kind, text in BLOCK.findall((ROOT / document).read_text()):
            if kind == "sh":
                text = text.replace("http://127.0.0.1:8000", api.base).replace("token.json", f"{tmp_path}/token.json")
                script.append(text.replace(".data/mail", f"{tmp_path}/mail"))
            elif kind == "json":
                script.append("echo; echo =====")
                said.append(json.loads(text))
        output = await said_by("\n".join(script))
    answers = [part.strip().splitlines()[-1] for part in output.split("=====")[:-1]]
    for answer, printed in zip(answers, said, strict=True):
        assert shape(_last_document(answer)) == shape(printed)


@needs_curl
async def test_the_commands_of_the_api_document_are_answered(postgres_url: str) -> None:
    strict = 'curl() { command curl --fail-with-body "$@"; }'
    async with own_service(postgres_url) as (api, _):
        ada = await api.new_user()
        task = (await api.post("/api/v1/tasks", {"title": "Write to Charles"}, as_=ada)).body
        script = "\n".join([strict, *blocks(ROOT / "docs/api.md", "sh")])
        await said_by(script, API=api.base, TOKEN=ada.token, ID=task["id"])
        task = (await api.get(f"/api/v1/tasks/{task['id']}", as_=ada)).body
    assert (task["title"], task["completed"]) == ("Call Charles", True)


async def test_the_commands_of_the_operators_document_work(postgres_url: str) -> None:
    async with own_service(postgres_url) as (api, url):
        body = {"email": "ada@example.com", "password": PASSWORD}
        assert (await api.post("/api/v1/auth/register", body)).status == 201
        for script in blocks(ROOT / "docs/operations.md", "sh"):
            await said_by(script, DATABASE_URL=url)


async def test_the_sync_client_of_the_api_document_keeps_up(postgres_url: str) -> None:
    (program,) = [text for text in blocks(ROOT / "docs/api.md", "python") if "class Mirror" in text]
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - it is ours
    async with own_service(postgres_url) as (api, url):
        ada = await api.new_user()
        waited: list[int] = []
        names["time"] = SimpleNamespace(sleep=waited.append)
        mirror = names["Mirror"](api.base, ada.token)

        async def check(count: int) -> None:
            await asyncio.to_thread(mirror.pull)
            listed = (await api.get("/api/v1/tasks?limit=1000", as_=ada)).body["tasks"]
            assert len(listed) == count
            assert mirror.tasks == {task["id"]: task for task in listed}

        await check(0)
        creates = [{"op": "create", "task": {"title": f"task {number}"}} for number in range(100)]
        for _ in range(6):
            answer = await api.post("/api/v1/tasks/batch", {"operations": creates}, as_=ada)
        first, second, *_ = (result["id"] for result in answer.body["results"])
        await check(600)
        await api.delete(f"/api/v1/tasks/{first}", as_=ada)
        await api.patch(f"/api/v1/tasks/{second}", {"title": "another"}, as_=ada)
        await check(599)
        db = await asyncpg.connect(url)
        await clocks.update_epochs(db, after="", at_most=10)
        await db.close()
        mirror.tasks["gone"] = {}
        await check(599)
        assert len(waited) == 1


async def test_the_sql_of_the_documents_is_taken(database_url: str) -> None:
    db = await asyncpg.connect(database_url)
    for document in DOCUMENTS:
        for text in blocks(document, "sql"):
            transaction = db.transaction()
            await transaction.start()
            await db.execute(text)
            await transaction.rollback()
    await db.close()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.relative_to(ROOT).as_posix())
def test_every_block_says_what_it_is(document: Path) -> None:
    kinds = {kind for kind, _ in BLOCK.findall(document.read_text())}
    assert kinds <= RUN | READ
    assert not [text for text in blocks(document, "text") if re.search(r"^(bin/|curl|docker)", text, re.MULTILINE)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.relative_to(ROOT).as_posix())
def test_what_a_shell_is_told_is_well_formed_and_calls_what_is_there(document: Path) -> None:
    for text in blocks(document, "console"):
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), text
    for text in blocks(document, "console", "text"):
        for script, arguments in SCRIPT.findall(text):
            for option in re.findall(r"--[a-z-]+", arguments):
                assert option in help_of(script), f"bin/{script} has no {option}"


@cache
def help_of(script: str) -> str:
    """What `bin/script --help` says."""
    path = ROOT / "bin" / script
    assert path.exists(), f"there is no bin/{script}"
    return subprocess.run([path, "--help"], capture_output=True, text=True, check=True).stdout


def _last_document(text: str) -> Any:
    """Answers carry no line end, so the last of several stands right behind the others."""
    decoder, position, value = json.JSONDecoder(), 0, None
    while position < len(text):
        value, position = decoder.raw_decode(text, position)
    return value


def test_every_problem_type_is_in_the_api_document() -> None:
    document = (ROOT / "docs/api.md").read_text()
    for kind in errors.kinds():
        assert f"`{kind.name}`" in document


def test_the_documents_link_to_what_is_there() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https:)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def anchors(document: Path) -> set[str]:
    """What links to a document's headings end in, as the usual viewers of Markdown make it."""
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_into_a_document_lead_to_a_heading() -> None:
    for document in DOCUMENTS:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
            named = document.parent / target if target else document
            assert anchor in anchors(named), f"{document.name} links to {target}#{anchor}"


def test_the_version_has_its_place_in_the_changelog() -> None:
    from todo_service import __version__

    headings = re.findall(r"^## .*", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "## [Unreleased]"
    assert re.fullmatch(rf"## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", headings[1])


def test_the_drawing_says_what_it_shows_and_shows_what_is_there() -> None:
    space = "{http://www.w3.org/2000/svg}"
    drawing = ElementTree.parse(ROOT / "docs/architecture.svg").getroot()  # noqa: S314 - a file of ours
    assert drawing.findtext(f"{space}title")
    assert drawing.findtext(f"{space}desc")
    named = [text.text for text in drawing.iter(f"{space}text") if text.get("class") == "file"]
    assert {"middleware/", "routes/table.py", "auth/", "wire/"} < set(named)
    assert all((ROOT / "todo_service" / str(name)).exists() for name in named)
