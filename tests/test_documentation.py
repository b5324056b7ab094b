"""What the documents promise: the conversation of the README is held, its answers are as printed."""

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.conftest import make_settings, running_service, template_name, temporary_database
from todo_service import errors
from todo_service.settings import ROOT

README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"```(sh|json)\n(.*?)```", re.DOTALL)
VARYING = {"id", "user_id", "userId", "request_id", "version"}


def shape(value: Any) -> Any:
    """An answer without what differs from run to run: ids and moments."""
    if isinstance(value, dict):
        return {name: "…" if _varies(name, inner) else shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else value


def _varies(name: str, value: Any) -> bool:
    return isinstance(value, str) and (name in VARYING or name.endswith(("_at", "At")))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_first_conversation_goes_as_printed(postgres_url: str) -> None:
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        running_service(make_settings(url)) as api,
    ):
        said = []
        script = ["set -eu"]
        for kind, text in BLOCK.findall(README):
            if kind == "sh":
                script.append(text.replace("http://127.0.0.1:8000", api.base))
            else:
                script.append("echo; echo =====")
                said.append(json.loads(text))
        shell = await asyncio.create_subprocess_exec("sh", "-c", "\n".join(script), stdout=asyncio.subprocess.PIPE)
        output = (await asyncio.wait_for(shell.communicate(), 30))[0].decode()
    assert shell.returncode == 0
    answers = [part.strip().splitlines()[-1] for part in output.split("=====")[:-1]]
    for answer, printed in zip(answers, said, strict=True):
        assert shape(_last_document(answer)) == shape(printed)


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
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def anchors(document: Path) -> set[str]:
    """What links to a document's headings end in, as the usual viewers of Markdown make it."""
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_into_a_document_lead_to_a_heading() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
            named = document.parent / target if target else document
            assert anchor in anchors(named), f"{document.name} links to {target}#{anchor}"


def test_the_version_has_its_place_in_the_changelog() -> None:
    from todo_service import __version__

    assert f"## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_drawing_says_what_it_shows_and_shows_what_is_there() -> None:
    space = "{http://www.w3.org/2000/svg}"
    drawing = ElementTree.parse(ROOT / "docs/architecture.svg").getroot()  # noqa: S314 - a file of ours
    assert drawing.findtext(f"{space}title")
    assert drawing.findtext(f"{space}desc")
    named = [text.text for text in drawing.iter(f"{space}text") if text.get("class") == "file"]
    assert {"middleware/", "routes/table.py", "auth/", "wire/"} < set(named)
    assert all((ROOT / "todo_service" / str(name)).exists() for name in named)
