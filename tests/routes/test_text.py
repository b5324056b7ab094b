"""Text is the same text whatever its letter case and its composition, in a database of every locale."""

from collections.abc import AsyncIterator
from unicodedata import normalize
from urllib.parse import quote

import asyncpg
import pytest
import pytest_asyncio

from tests.client import PASSWORD, Api
from tests.conftest import make_settings, running_service, temporary_database
from tests.families import DIALECTS
from todo_service.postgres import migrations
from todo_service.postgres.migrations import MigrationError

C_LOCALE = "ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'"
CAFE, CAFE_APART = "Café", normalize("NFD", "Café")
FOUND = [
    ("МИР И ТРУД", "мир"), ("Straße", "STRASSE"), ("ΟΔΥΣΣΕΥΣ", "οδυσσεύς"[:6]), ("ΟΔΟΣ", "οδος"), ("ÅNGSTRÖM", "ångs"),
    (CAFE, CAFE_APART), (CAFE_APART, CAFE.upper()), ("plain", "PLA"), ("Ⅳ", "ⅳ"), ("100 % é", "% É"), ("ﬁne", "FINE"),
]  # fmt: skip


@pytest_asyncio.fixture(params=["", C_LOCALE], ids=["default", "C"], scope="module")
async def api_of_locale(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[Api]:
    template = "template0" if request.param else "template1"
    async with temporary_database(postgres_url, template=template, options=request.param) as url:
        db = await asyncpg.connect(url)
        await migrations.up(db, migrations.find())
        await db.close()
        async with running_service(make_settings(url)) as api:
            yield api


@pytest.mark.parametrize(("title", "text"), FOUND)
async def test_q_folds_case_as_unicode_does(api_of_locale: Api, title: str, text: str) -> None:
    api = api_of_locale
    user = await api.new_user()
    await api.post("/api/v1/tasks", {"title": title}, as_=user)
    await api.post("/api/v1/tasks", {"title": "other", "description": title}, as_=user)
    await api.post("/api/v1/tasks", {"title": "none of it"}, as_=user)
    assert (await api.get(f"/api/v1/tasks?q={quote(text)}", as_=user)).body["total"] == 2


async def test_titles_are_in_the_same_order_everywhere(api_of_locale: Api) -> None:
    api = api_of_locale
    user = await api.new_user()
    titles = ["апельсин", "Яблоко", "яблоко 2", "Éclair", "éclair 2", "a", "B", "c"]
    for title in titles:
        await api.post("/api/v1/tasks", {"title": title}, as_=user)
    expected = ["a", "B", "c", "Éclair", "éclair 2", "апельсин", "Яблоко", "яблоко 2"]
    whole = await api.get("/api/v1/tasks?sort=title", as_=user)
    assert [task["title"] for task in whole.body["tasks"]] == expected
    seen, cursor = [], ""
    while cursor is not None:
        page = (await api.get(f"/api/v1/tasks?sort=title&limit=3&cursor={cursor}", as_=user)).body
        seen += [task["title"] for task in page["tasks"]]
        cursor = page["next_cursor"]
    assert seen == expected


async def test_tags_are_compared_composed_and_kept_as_sent(api: Api) -> None:
    user = await api.new_user()
    for tags in ([CAFE], [CAFE_APART], ["cafe"]):
        await api.post("/api/v1/tasks", {"title": "x", "tags": tags}, as_=user)
    for tag in (CAFE, CAFE_APART):
        assert (await api.get(f"/api/v1/tasks?tag={quote(tag)}", as_=user)).body["total"] == 2
    both = await api.post("/api/v1/tasks", {"title": "x", "tags": [CAFE_APART, "a", CAFE]}, as_=user)
    assert both.body["tags"] == [CAFE_APART, "a"], "of two tags that are the same text the first stays"


@pytest.mark.parametrize("title", ["\u200b", "\u2800", "\u3164\ufe0f", " \u00ad\u2060 ", "\x07", "\U000e0061"])
async def test_a_title_of_which_nothing_can_be_seen_is_blank(api: Api, title: str) -> None:
    user = await api.new_user()
    for family in DIALECTS:
        answer = await api.post(family.tasks(user), {"title": title}, as_=user)
        assert (answer.status, answer.failing()) == (family.invalid, {"title": "invisible"})
    seen = await api.post("/api/v1/tasks", {"title": f"{title}."}, as_=user)
    assert seen.status == 201


async def test_a_password_is_the_same_in_either_composition(api: Api) -> None:
    for registered, typed in ((CAFE, CAFE_APART), (CAFE_APART, CAFE)):
        account = {"email": (await api.new_user()).email.replace("@", "+x@"), "password": f"{registered} und Kuchen 7"}
        assert (await api.post("/api/v1/auth/register", account)).status == 201
        for spelling in (registered, typed):
            body = account | {"password": f"{spelling} und Kuchen 7"}
            assert (await api.post("/api/v1/auth/login", body)).status == 200
        assert (await api.post("/api/v1/auth/login", account | {"password": PASSWORD})).status == 401


async def test_a_database_of_another_encoding_is_refused_in_one_sentence(postgres_url: str) -> None:
    options = "ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'"
    async with temporary_database(postgres_url, template="template0", options=options) as url:
        db = await asyncpg.connect(url)
        with pytest.raises(MigrationError, match="SQL_ASCII: it must be UTF8"):
            await migrations.up(db, migrations.find())
        assert (await migrations.state(db, migrations.find())).applied == {}
        await db.close()
        async with running_service(make_settings(url)) as api:
            ready = await api.get("/health/ready")
            assert (ready.status, "must be UTF8" in ready.body["reason"]) == (503, True)
