"""Lists over HTTP: filters, order, pages, tags; the tests are named after the contract."""

import asyncio
import base64
import json
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.client import Answer, Api, User
from tests.conftest import fill
from tests.families import DIALECTS, Dialect, in_every_family
from tests.routes.test_tasks import created

HOSTILE = [
    "%",
    "_",
    "\\",
    "'",
    '"',
    "--",
    ";",
    "%%",
    "a_b",
    "50 %",
    "x\\y",
    "O'Hara",
    "😀",
    "\u202e",
    "Ä",
    "a' OR '1'='1",
]


def next_path(answer: Answer) -> str:
    """Where `Link` leads, "" if nowhere."""
    return answer.headers.get("Link", "").removeprefix("<").removesuffix('>; rel="next"')


async def titles(api: Api, user: User, family: Dialect, query: str = "") -> list[str]:
    answer = await api.get(family.tasks(user) + query, as_=user)
    assert answer.status == 200, answer.raw
    found = [task["title"] for task in family.unwrap(answer.body)]
    assert answer.headers["X-Total-Count"] == str(len(found)), "these lists are whole"
    return found


async def made(api: Api, user: User, **fields: dict[str, Any]) -> None:
    """A task for each keyword, which is its title."""
    for title, others in fields.items():
        await created(api, user, title=title, **others)


@in_every_family
async def test_each_filter_alone_and_all_together(api: Api, ada: User, family: Dialect) -> None:
    await made(
        api,
        ada,
        one={"status": "TODO", "priority": "LOW", "tags": ["a", "b"], "description": "Über"},
        two={"status": "IN_PROGRESS", "priority": "HIGH", "tags": ["b"]},
        three={"status": "COMPLETED", "priority": "LOW", "tags": ["A"], "description": "one"},
    )
    for query, expected in (
        ("status=TODO", ["one"]),
        ("status=COMPLETED", ["three"]),
        ("completed=true", ["three"]),
        ("completed=false", ["two", "one"]),
        ("priority=low", ["three", "one"]),
        ("priority=HIGH", ["two"]),
        ("tag=b", ["two", "one"]),
        ("tag=b&tag=a", ["one"]),
        ("tag=a&tag=a", ["one"]),
        ("tag=nothing", []),
        ("q=ONE", ["three", "one"]),
        ("q=über", ["one"]),
        ("q=%C3%9CBER", ["one"]),
        ("q=", ["three", "two", "one"]),
        ("status=TODO&completed=true", []),
        ("status=TODO&completed=false&priority=Low&tag=a&tag=b&q=on", ["one"]),
        ("sort=title&completed=false", ["one", "two"]),
    ):
        assert await titles(api, ada, family, f"?{query}") == expected, query


@in_every_family
async def test_updated_after_is_exclusive(api: Api, ada: User, family: Dialect) -> None:
    first = await created(api, ada, title="first")
    await created(api, ada, title="second")
    for moment, expected in (
        (first["updated_at"], ["second"]),
        (first["created_at"].replace("Z", "%2B00:00"), ["second"]),
        ("2020-01-01", ["second", "first"]),
        ("2020-01-01T00:00:00+01:00", ["second", "first"]),
        ("2999-01-01T00:00:00Z", []),
    ):
        assert await titles(api, ada, family, f"?updated_after={moment}") == expected


@in_every_family
async def test_due_filters_and_sort_go_across_both_kinds(api: Api, ada: User, family: Dialect) -> None:
    """A whole day is due at its beginning in UTC; before and after are exclusive; tasks without a due date are last."""
    await made(
        api,
        ada,
        never={},
        evening={"due_date": "2026-12-24T23:00:00+01:00"},
        day={"due_date": "2026-12-24"},
        midnight={"due_date": "2026-12-25T01:00:00+01:00"},
        next_day={"due_date": "2026-12-25"},
    )
    in_order = ["day", "evening", "midnight", "next_day", "never"]
    ascending = await titles(api, ada, family, "?sort=due_date")
    assert [*ascending[:2], *sorted(ascending[2:4]), ascending[4]] == in_order
    assert await titles(api, ada, family, "?sort=-due_date") == [*reversed(ascending[:4]), "never"]
    for query, expected in (
        ("due_before=2026-12-25", ["day", "evening"]),
        ("due_before=2026-12-24", []),
        ("due_after=2026-12-24", ["evening", "midnight", "next_day"]),
        ("due_after=2026-12-24T22:00:00Z", ["midnight", "next_day"]),
        ("due_after=2026-12-24T23:00:00%2B01:00&due_before=2026-12-25T00:00:01Z", ["midnight", "next_day"]),
        ("due_after=2026-12-23T23:59:59.999999Z&due_before=2026-12-24T00:00:00.000001Z", ["day"]),
    ):
        assert sorted(await titles(api, ada, family, f"?{query}")) == sorted(expected), query


@in_every_family
async def test_both_kinds_of_due_dates_round_trip_unchanged(api: Api, ada: User, family: Dialect) -> None:
    for sent, answered in (
        ("2026-12-24", "2026-12-24"),
        ("1970-01-01", "1970-01-01"),
        ("9998-12-31", "9998-12-31"),
        ("2026-12-24T23:30:00-05:00", "2026-12-25T04:30:00Z"),
        ("2026-12-24T10:00:00.123456Z", "2026-12-24T10:00:00.123456Z"),
        (None, None),
    ):
        name = family.field("due_date")
        task = (await api.post(family.tasks(ada), {"title": "t", name: sent}, as_=ada)).body
        assert task[name] == answered
        again = (await api.put(family.task(ada, task["id"]), {name: task[name]}, as_=ada)).body
        assert again == task
        listed = family.unwrap((await api.get(family.tasks(ada), as_=ada)).body)
        assert listed[0] == task


@in_every_family
async def test_sorts_each_with_minus_for_descending(api: Api, ada: User, family: Dialect) -> None:
    await made(
        api,
        ada,
        delta={"priority": "MEDIUM"},
        Alpha={"priority": "URGENT"},
        bravo={"priority": "LOW"},
        Charlie={"priority": "HIGH"},
    )
    listed = family.unwrap((await api.get(family.tasks(ada) + "?sort=created_at", as_=ada)).body)
    await api.put(family.task(ada, listed[0]["id"]), {"description": "changed last"}, as_=ada)
    by_name = ["Alpha", "bravo", "Charlie", "delta"]
    by_urgency = ["Alpha", "Charlie", "delta", "bravo"]
    by_creation = ["delta", "Alpha", "bravo", "Charlie"]
    by_update = ["Alpha", "bravo", "Charlie", "delta"]
    orders = {"title": by_name, "priority": by_urgency, "created_at": by_creation, "updated_at": by_update}
    for sort, expected in orders.items():
        assert await titles(api, ada, family, f"?sort={sort}") == expected
        assert await titles(api, ada, family, f"?sort=-{sort}") == expected[::-1]
    assert await titles(api, ada, family) == by_creation[::-1], "the newest first, unless asked otherwise"


@in_every_family
async def test_q_takes_every_character_literally(api: Api, ada: User, family: Dialect) -> None:
    for text in HOSTILE:
        await created(api, ada, title=f"<{text}>")
        await created(api, ada, title="other", description=f"({text})")
    for text in HOSTILE:
        found = await titles(api, ada, family, f"?q={quote('<' + text + '>')}")
        assert found == [f"<{text}>"], text
        found = await titles(api, ada, family, f"?q={quote('(' + text + ')')}")
        assert found == ["other"], text
        assert await titles(api, ada, family, f"?tag={quote(text)}") == []


@in_every_family
async def test_a_time_zone_says_whose_day_is_meant(api: Api, ada: User, family: Dialect) -> None:
    for title, due in (
        ("day", "2026-12-24"), ("next day", "2026-12-25"), ("late", "2026-12-24T23:30:00Z"), ("none", None),
    ):  # fmt: skip
        await created(api, ada, title=title, due_date=due)
    for query, expected in (
        ("due_before=2026-12-25", ["day", "late"]),
        ("due_before=2026-12-25&time_zone=Europe/Berlin", ["day"]),
        ("due_before=2026-12-24T23:00:00Z&time_zone=Europe/Berlin", ["day"]),
        ("due_before=2026-12-24T23:00:00.000001Z&time_zone=europe/berlin", ["day", "next day"]),
        ("due_after=2026-12-24T22:59:59Z&time_zone=Europe/Berlin", ["next day", "late"]),
        ("due_after=2026-12-24T23:00:00Z&time_zone=Europe/Berlin", ["late"]),
        ("due_after=2026-12-24&due_before=2026-12-25&time_zone=America/New_York", ["late"]),
        ("due_before=2026-12-24T04:00:00Z&time_zone=Asia/Tokyo", ["day"]),
        ("time_zone=Asia/Tokyo", ["day", "next day", "late", "none"]),
    ):
        assert await titles(api, ada, family, f"?{query}&sort=created_at") == expected, query


@in_every_family
async def test_a_form_with_nothing_chosen_lists_everything(api: Api, ada: User, family: Dialect) -> None:
    await created(api, ada, title="one")
    assert await titles(api, ada, family, "?status=&priority=&completed=&q=") == ["one"]


@in_every_family
async def test_an_order_may_be_named_in_camel_case(api: Api, ada: User, family: Dialect) -> None:
    for title in ("one", "two"):
        await created(api, ada, title=title)
    assert await titles(api, ada, family, "?sort=-createdAt") == ["two", "one"]
    assert await titles(api, ada, family, "?sort=createdAt") == ["one", "two"]


@in_every_family
async def test_wrong_filters_are_validation_errors(api: Api, ada: User, family: Dialect) -> None:
    far = "9" * 30
    for query, field in (
        ("status=todo", "status"), ("status=TODO&status=TODO", "status"),
        ("completed=1", "completed"), ("completed=True", "completed"), ("priority=5", "priority"),
        ("time_zone=Mars", "time_zone"),
        ("tag=", "tag[0]"), ("tag=%00", "tag[0]"), ("tag=a&tag=" + "b" * 51, "tag[1]"), ("&tag=a" * 21, "tag"),
        ("due_before=tomorrow", "due_before"), ("due_before=", "due_before"), (f"due_before={far}", "due_before"),
        ("due_after=2026-12-24T10:00:00", "due_after"), ("due_after=1969-12-31", "due_after"),
        ("due_after=2026-02-30", "due_after"), ("due_before=10000-01-01", "due_before"),
        ("updated_after=1700000000", "updated_after"), ("updated_after=%00", "updated_after"),
        ("q=%00", "q"), ("q=" + "x" * 256, "q"), ("q=a&q=b", "q"),
        ("sort=owner", "sort"), ("sort=", "sort"), ("sort=--title", "sort"), ("sort=TITLE", "sort"),
        ("sort=title&sort=title", "sort"), ("sort=title;drop", "sort"), ("sort=user_id", "sort"),
        ("limit=0", "limit"), ("limit=1001", "limit"), (f"limit={far}", "limit"), ("skip=-1", "skip"),
        (f"skip={far}", "skip"), ("cursor=abc", "cursor"), ("cursor=%00", "cursor"),
    ):  # fmt: skip
        answer = await api.get(f"{family.tasks(ada)}?{query}", as_=ada)
        assert answer.status == family.invalid, query
        assert set(answer.failing()) == {field}, query
    several = await api.get(f"{family.tasks(ada)}?limit=0&sort=x&q=%00", as_=ada)
    assert set(several.failing()) == {"limit", "sort", "q"}, "all failing parameters at once"
    without_offset = await api.get(f"{family.tasks(ada)}?due_after=2026-12-24T10:00:00", as_=ada)
    assert "offset" in without_offset.body["detail"]


@in_every_family
async def test_no_filter_widens_the_list_to_others(api: Api, ada: User, bob: User, family: Dialect) -> None:
    await created(api, bob, title="bob's")
    await created(api, ada, title="mine")
    for query in (f"user_id={bob.id}", f"userId={bob.id}", f"owner={bob.id}", "q=bob", "user_id=' OR 1=1 --"):
        assert set(await titles(api, ada, family, f"?{query}")) <= {"mine"}


@in_every_family
async def test_lists_are_newest_first_in_pages(api: Api, ada: User, family: Dialect) -> None:
    named = [f"task {n}" for n in range(5)]
    for title in named:
        await created(api, ada, title=title)
    for query, expected in (
        ("", named[::-1]),
        ("?limit=2", ["task 4", "task 3"]),
        ("?skip=3&limit=2", ["task 1", "task 0"]),
        ("?skip=4", ["task 0"]),
        ("?skip=5", []),
        ("?skip=900&limit=1000", []),
        ("?unknown=1&unknown=2", named[::-1]),
        ("?cursor=", named[::-1]),
    ):
        answer = await api.get(family.tasks(ada) + query, as_=ada)
        assert [task["title"] for task in family.unwrap(answer.body)] == expected
        assert answer.headers["X-Total-Count"] == "5"
        if isinstance(answer.body, dict):
            assert answer.body.get("total", answer.body.get("count")) == 5


@in_every_family
async def test_total_is_the_number_of_matches(api: Api, ada: User, family: Dialect) -> None:
    for n in range(6):
        await created(api, ada, title=f"task {n}", completed=n % 2 == 0)
    for query, total in (("limit=1", 6), ("completed=true&limit=1", 3), ("completed=true&skip=9", 3), ("q=task 0", 1)):
        answer = await api.get(f"{family.tasks(ada)}?{query}", as_=ada)
        assert answer.headers["X-Total-Count"] == str(total)
        if isinstance(answer.body, dict):
            assert answer.body.get("total", answer.body.get("count")) == total


@in_every_family
async def test_next_links_lead_through_the_whole_list(api: Api, ada: User, family: Dialect) -> None:
    for n in range(5):
        await created(api, ada, title=f"täsk {n}", tags=["a", "b"])
    for query in ("limit=2", "limit=2&sort=title&tag=a&tag=b&q=T%C3%84SK&x=%2F", "skip=0&limit=2", "skip=1&limit=1"):
        path, seen = f"{family.tasks(ada)}?{query}", []
        while path:
            answer = await api.get(path, as_=ada)
            seen += [task["title"] for task in family.unwrap(answer.body)]
            path = next_path(answer)
        assert len(seen) == (4 if "skip=1" in query else 5)
        assert len(set(seen)) == len(seen)
        assert seen == sorted(seen, reverse="sort" not in query)
    whole = await api.get(family.tasks(ada) + "?limit=5", as_=ada)
    assert "Link" not in whole.headers, "there is no next page"


async def test_only_v1_has_pages_of_100_by_default(api: Api, ada: User) -> None:
    await asyncio.gather(*(created(api, ada) for _ in range(103)))
    answer = await api.get("/api/v1/tasks", as_=ada)
    assert (len(answer.body["tasks"]), answer.body["total"], answer.body["skip"], answer.body["limit"]) == (
        100,
        103,
        0,
        100,
    )
    cursor = answer.body["next_cursor"]
    assert answer.headers["Link"] == f'</api/v1/tasks?cursor={cursor}&limit=100>; rel="next"'
    rest = (await api.get(f"/api/v1/tasks?cursor={cursor}", as_=ada)).body
    assert (len(rest["tasks"]), rest["total"], rest["next_cursor"]) == (3, 103, None)
    for family in DIALECTS[1:]:
        whole = await api.get(family.tasks(ada), as_=ada)
        assert len(family.unwrap(whole.body)) == 103
        assert "Link" not in whole.headers


@pytest.mark.parametrize(
    "sort", ["created_at", "-created_at", "due_date", "-due_date", "priority", "-title", "-updated_at"]
)
async def test_no_task_is_skipped_or_repeated_while_others_come_and_go(api: Api, ada: User, sort: str) -> None:
    """Between any two pages a task is created and one of those already seen, or not yet, is deleted."""
    staying: list[str] = []
    passing: list[str] = []
    for n in range(30):
        fields = {"due_date": f"2026-12-{1 + n % 7:02}"} if n % 3 else {}
        task = await created(api, ada, title=f"t {n % 4}", priority=["LOW", "HIGH"][n % 2], **fields)
        (passing if n % 3 == 1 else staying).append(task["id"])
    path, seen = f"/api/v1/tasks?limit=4&sort={sort}", []
    while path:
        answer = await api.get(path, as_=ada)
        seen += [task["id"] for task in answer.body["tasks"]]
        await created(api, ada, title="t 2", due_date="2026-12-04")
        if passing:
            await api.delete(f"/api/v1/tasks/{passing.pop()}", as_=ada)
        path = next_path(answer)
    assert len(seen) == len(set(seen)), "none is repeated"
    assert set(staying) <= set(seen), "none is skipped"


@in_every_family
async def test_a_cursor_of_another_question_is_a_validation_error(
    api: Api, ada: User, bob: User, family: Dialect
) -> None:
    for user in (ada, bob):
        for n in range(3):
            await created(api, user, title=f"t {n}", tags=["a"])
    path = family.tasks(ada)
    answer = await api.get(f"{path}?limit=1&sort=title&tag=a", as_=ada)
    cursor = next_path(answer).partition("cursor=")[2].partition("&")[0]
    right = f"?sort=title&tag=a&cursor={cursor}"
    assert await titles_of(api, ada, family, right) == ["t 1", "t 2"], "the limit may be another one"
    bobs_path = family.tasks(bob)
    for wrong, user in (
        (f"{path}?sort=-title&tag=a&cursor={cursor}", ada),
        (f"{path}?sort=title&cursor={cursor}", ada),
        (f"{path}?sort=title&tag=a&tag=b&cursor={cursor}", ada),
        (f"{path}?sort=title&tag=a&q=t&cursor={cursor}", ada),
        (f"{path}?cursor={cursor}", ada),
        (f"{path}{right}&skip=1", ada),
        (f"{path}{right}&cursor={cursor}", ada),
        (f"{bobs_path}{right}", bob),
    ):
        refused = await api.get(wrong, as_=user)
        assert (refused.status, set(refused.failing())) == (family.invalid, {"cursor"}), wrong


async def titles_of(api: Api, user: User, family: Dialect, query: str) -> list[str]:
    answer = await api.get(family.tasks(user) + query, as_=user)
    assert answer.status == 200, answer.raw
    return [task["title"] for task in family.unwrap(answer.body)]


def forged(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


async def test_forged_cursors_are_validation_errors(api: Api, ada: User) -> None:
    """With the right digest too, which anybody can make: nothing but a position of the right kind is read."""
    for _ in range(2):
        await created(api, ada)
    cursors = {}
    for sort in ("created_at", "title", "priority", "due_date"):
        cursor = (await api.get(f"/api/v1/tasks?limit=1&sort={sort}", as_=ada)).body["next_cursor"]
        cursors[sort] = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    task_id = str(uuid4())
    wrong = ["x", "=", "é", "AAAA", "a" * 10_000, "-" * 5000, *map(forged, ([], {}, "x", [1] * 9999))]
    keys: dict[str, list[Any]] = {
        "created_at": [
            None,
            1,
            "x",
            "2026-01-01T00:00:00",
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00+14:00",
            "infinity",
        ],
        "title": [None, 1, "\0", "\ud800", "x" * 256, ["a"]],
        "priority": [None, "1", 0, 5, 10**30, 1.5, True],
        "due_date": [1, "2026-12-24", "9999-12-31T23:59:59Z", ""],
    }
    for sort, (digest, key, _, user_id) in cursors.items():
        sound = await api.get(f"/api/v1/tasks?sort={sort}&cursor={forged([digest, key, task_id, user_id])}", as_=ada)
        assert sound.status == 200
        documents = [[digest, bad, task_id, user_id] for bad in keys[sort]]
        documents += [[digest, key, bad, user_id] for bad in (None, 1, "x", "\0")]
        documents += [[digest, key, task_id, bad] for bad in (None, "\0", "\ud800", "x" * 256)]
        documents += [["0" * 16, key, task_id, user_id], [digest, key, task_id], [digest, key, task_id, user_id, 1]]
        for cursor in [*wrong, *map(forged, documents)]:
            answer = await api.get(f"/api/v1/tasks?sort={sort}&cursor={quote(cursor)}", as_=ada)
            if answer.status == 414:
                assert answer.problem() == "uri-too-long", "a request line of 8 KB is too long"
                continue
            assert (answer.status, answer.failing()) == (422, {"cursor": "cursor"}), cursor[:100]


async def test_reading_is_one_round_trip(api: Api, ada: User, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        await created(api, ada)
    for query in ("", "limit=20", "q=task&limit=1", "sort=due_date&status=TODO"):
        for _ in range(2):
            capfd.readouterr()
            await api.get(f"/api/v1/tasks?{query}", as_=ada)
            assert "statements=1 " in capfd.readouterr().out


@in_every_family
async def test_10_000_tasks_are_listed_by_limit_or_whole(
    api: Api, ada: User, family: Dialect, database_url: str
) -> None:
    await created(api, ada)
    await fill(database_url, ada.id, count=9_999)
    page = await api.get(family.tasks(ada) + "?limit=7", as_=ada)
    assert len(family.unwrap(page.body)) == 7
    whole = await api.get(family.tasks(ada) + ("?limit=1000" if family.name == "v1" else ""), as_=ada)
    assert len(family.unwrap(whole.body)) == (1000 if family.name == "v1" else 10_000)
