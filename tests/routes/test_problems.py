"""The addresses that the `type` of an error names: for programs and for people."""

from http import HTTPStatus
from types import SimpleNamespace
from typing import cast

import pytest

from tests.client import Api
from todo_service.errors import ApiError, kinds
from todo_service.wire import pages

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'self'; img-src 'self'"
)


async def test_every_problem_is_explained_at_its_address(api: Api) -> None:
    for kind in kinds():
        answer = await api.get(f"/problems/{kind.name}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.headers["Vary"] == "Accept"
        assert answer.body == {
            "type": f"/problems/{kind.name}",
            "title": kind.title,
            "status": kind.status,
            "meaning": kind.meaning,
            "when": kind.when,
            "what_to_do": kind.remedy,
        }


async def test_people_get_a_page(api: Api) -> None:
    for kind in kinds():
        answer = await api.get(f"/problems/{kind.name}", headers=BROWSER)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert (answer.headers["Vary"], answer.headers["Content-Security-Policy"]) == ("Accept", POLICY)
        text = answer.raw.decode()
        assert f"<title>{kind.title} · Todo Service</title>" in text
        assert f"{kind.status} {HTTPStatus(kind.status).phrase}" in text
        assert "`" not in text
        assert not any(mark in text for mark in ("<script", "<style", "style=", "onload"))


async def test_all_are_listed(api: Api) -> None:
    names = {kind.name for kind in kinds()}
    listed = (await api.get("/problems")).body["problems"]
    assert {problem["type"] for problem in listed} == {f"/problems/{name}" for name in names}
    assert [problem["status"] for problem in listed] == sorted(problem["status"] for problem in listed)
    page = await api.get("/problems", headers=BROWSER)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert all(f'href="/problems/{name}"' in page.raw.decode() for name in names)


async def test_head_tells_of_the_page(api: Api) -> None:
    got = await api.get("/problems/not-found", headers=BROWSER)
    head = await api.send("HEAD", "/problems/not-found", headers=BROWSER)
    assert (head.raw, head.headers["Content-Length"]) == (b"", str(len(got.raw)))


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html;q=0.1, */*", "nonsense", "text/html;q=x"])
async def test_programs_get_json(api: Api, accept: str) -> None:
    answer = await api.get("/problems/not-found", headers={"Accept": accept})
    assert answer.headers["Content-Type"] == "application/json"


async def test_an_unknown_problem_is_a_problem_for_people_too(api: Api) -> None:
    answer = await api.get("/problems/%3Cscript%3E", headers=BROWSER)
    assert (answer.status, answer.problem()) == (404, "not-found")
    assert "validation-error" in answer.body["detail"]


def test_every_text_is_escaped() -> None:
    odd = SimpleNamespace(
        name="<odd>", title="<script>1</script>", status=404, meaning="`<b>` & <i>", when="\"'", remedy="\"'"
    )
    kind = cast(type[ApiError], odd)  # a real one would be in kinds() from then on
    site = pages.Site("<svc>", '/"x', icon="/", style='/"x')
    text = pages.problem(site, kind)
    assert "<code>&lt;b&gt;</code> &amp; &lt;i&gt;" in text
    assert not any(mark in text for mark in ("<script", "<svc", "<odd", "<i>", '"x'))
    text = pages.problems(site, [kind])
    assert not any(mark in text for mark in ("<script", "<svc", "<odd", '"x'))
