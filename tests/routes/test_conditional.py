"""Conditional requests (RFC 9110 section 13): nobody overwrites what they have not seen, or is sent what they have."""

import asyncio

import pytest

from tests.client import ABSENT, Answer, Api, User
from tests.conftest import make_settings, run_sql, running_service, template_name, temporary_database
from tests.families import DIALECTS, Dialect, in_every_family
from tests.process import NOT_MEASURED, served
from tests.routes.test_sessions import sign_in
from tests.routes.test_task_lists import next_path
from tests.routes.test_tasks import created
from tests.routes.test_users import admin as admin

FOREIGN = [
    '"0"', '"999"', '"abc"', '"1-2-3"', "1", "garbage", '"', '""', 'W/"', ",,,",
    '"' + "9" * 30 + '"', '"' + "x" * 7000 + '"',
    '"\u00ff\u00fe"', '"-1"', '"+1"', '"01"', '"\u0661"', "",
]  # fmt: skip


async def conditional(api: Api, method: str, path: str, user: User, header: str, value: str, **body: object) -> Answer:
    sent = body if method in {"PUT", "PATCH"} and body else ABSENT
    return await api.send(method, path, sent, as_=user, headers={header: value})


@in_every_family
async def test_every_task_and_list_has_a_strong_etag(api: Api, ada: User, family: Dialect) -> None:
    answer = await api.post(family.tasks(ada), {"title": "t"}, as_=ada)
    path = family.task(ada, answer.body["id"])
    for version, same in (
        (1, answer),
        (1, await api.get(path, as_=ada)),
        (2, await api.put(path, {"title": "u"}, as_=ada)),
        (2, await api.put(path, {"title": "u"}, as_=ada)),
        (3, await api.patch(path, {"title": "v"}, as_=ada)),
        (4, await api.patch(path + "/complete", as_=ada)),
        (4, await api.send("HEAD", path, as_=ada)),
    ):
        assert same.headers["ETag"] == f'"{version}"'
    tag = (await api.get(family.tasks(ada), as_=ada)).headers["ETag"]
    assert tag.startswith('"4-')
    assert (await api.get(family.tasks(ada), as_=ada)).headers["ETag"] == tag


async def test_a_lists_tag_says_which_list_of_whom(api: Api, ada: User, bob: User) -> None:
    """Another query, family, user or state: another tag. The same question in other words: the same."""
    for user in (ada, bob):
        await created(api, user)
    questions = [(family.tasks(user) + query, user) for family in DIALECTS for user in (ada, bob) for query in (
        "", "?limit=1", "?skip=1", "?status=TODO", "?tag=a", "?sort=title", "?q=a")]  # fmt: skip
    tags = [(await api.get(path, as_=user)).headers["ETag"] for path, user in questions]
    assert len(set(tags)) == len(tags)
    same = [
        await api.get(f"/api/v1/tasks?{query}", as_=ada) for query in ("", "limit=100", "sort=-created_at&x=1", "q=")
    ]
    assert len({answer.headers["ETag"] for answer in same}) == 1
    await created(api, ada)
    assert tags[0] != (await api.get("/api/v1/tasks", as_=ada)).headers["ETag"]
    assert (await api.get("/api/v1/tasks", as_=bob)).headers["ETag"] in tags, "ada's change is not bob's"


async def test_another_release_has_other_tags(
    api: Api, ada: User, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may write the same list in another way."""
    tag = (await api.get("/api/v1/tasks", as_=ada)).headers["ETag"]
    monkeypatch.setattr("todo_service.wire.task_lists.__version__", "99.0")
    async with running_service(make_settings(database_url)) as other:
        answer = await other.get("/api/v1/tasks", as_=ada, headers={"If-None-Match": tag})
    assert (answer.status, answer.headers["ETag"] != tag) == (200, True)


@in_every_family
async def test_if_none_match_is_304_without_a_body(api: Api, ada: User, family: Dialect) -> None:
    task = (await api.post(family.tasks(ada), {"title": "t"}, as_=ada)).body
    for path in (family.task(ada, task["id"]), family.tasks(ada), family.tasks(ada) + "?q=t&limit=1"):
        for method in ("GET", "HEAD"):
            fresh = await api.get(path, as_=ada)
            tag = fresh.headers["ETag"]
            weakened, zipped = f"W/{tag}", f'{tag[:-1]}-gzip"'
            for shown in (tag, weakened, zipped, "*", f'"a", {tag}', f'{weakened},"b"', f"  {tag}  ", f"W/{zipped}"):
                answer = await conditional(api, method, path, ada, "If-None-Match", shown)
                assert (answer.status, answer.raw) == (304, b""), shown
                assert answer.headers["ETag"] == tag
                assert answer.headers["Cache-Control"] == "private, no-cache"
            for foreign in FOREIGN:
                answer = await conditional(api, method, path, ada, "If-None-Match", foreign)
                assert answer.status == 200, foreign
                assert answer.headers["ETag"] == tag
    await api.put(family.task(ada, task["id"]), {"title": "u"}, as_=ada)
    for path, shown in ((family.task(ada, task["id"]), '"1"'), (family.tasks(ada), tag)):
        assert (await conditional(api, "GET", path, ada, "If-None-Match", shown)).status == 200


@in_every_family
async def test_a_tag_of_somebody_else_or_another_list_is_no_304(
    api: Api, ada: User, bob: User, family: Dialect
) -> None:
    for user in (ada, bob):
        await created(api, user)
    path = family.tasks(ada)
    others = [family.tasks(bob), *(other.tasks(bob) for other in DIALECTS)]
    tags = [(await api.get(other, as_=bob)).headers["ETag"] for other in others]
    tags += [(await api.get(path + query, as_=ada)).headers["ETag"] for query in ("?limit=1", "?q=a", "?sort=title")]
    tags += [(await api.get(d.tasks(ada), as_=ada)).headers["ETag"] for d in DIALECTS if d != family]
    for tag in tags:
        assert (await conditional(api, "GET", path, ada, "If-None-Match", tag)).status == 200


@in_every_family
async def test_if_match_lets_only_the_seen_version_be_changed(api: Api, ada: User, family: Dialect) -> None:
    """PUT, PATCH, complete, DELETE: 412 with the current ETag when stale, and nothing is changed."""
    for method, suffix in (("PUT", ""), ("PATCH", ""), ("PATCH", "/complete"), ("DELETE", "")):
        task = (await api.post(family.tasks(ada), {"title": "t"}, as_=ada)).body
        path = family.task(ada, task["id"])
        task = (await api.put(path, {"title": "changed"}, as_=ada)).body
        tag, stale = f'"{task["version"]}"', f'"{task["version"] - 1}"'
        body = {} if suffix or method == "DELETE" else {"title": "mine"}
        for shown in (stale, f"W/{stale}", f'{stale}, "7777"', *FOREIGN):
            answer = await conditional(api, method, path + suffix, ada, "If-Match", shown, **body)
            assert (answer.status, answer.problem()) == (412, "precondition-failed"), shown
            assert answer.headers["ETag"] == tag
            assert str(task["version"]) in answer.body["detail"]
        assert (await api.get(path, as_=ada)).body == task
        right = f'"x", W/{tag[:-1]}-gzip"' if method == "PUT" else tag if method == "PATCH" else "*"
        answer = await conditional(api, method, path + suffix, ada, "If-Match", right, **body)
        assert answer.status in {200, 204}


async def test_several_if_match_lines_are_one_list(api: Api, ada: User) -> None:
    task = await created(api, ada)
    lines = [("If-Match", '"77"'), ("If-Match", f'"{task["version"]}"'), ("Authorization", f"Bearer {ada.token}")]
    url = f"{api.base}/api/v1/tasks/{task['id']}"
    async with api.session.put(url, json={"title": "u"}, headers=lines) as response:
        assert response.status == 200


async def test_what_changes_nothing_needs_the_version_too(api: Api, ada: User) -> None:
    task = await created(api, ada)
    path = f"/api/v1/tasks/{task['id']}"
    assert (await conditional(api, "PUT", path, ada, "If-Match", '"0"', title=task["title"])).status == 412
    same = await conditional(api, "PUT", path, ada, "If-Match", '"1"', title=task["title"])
    assert (same.status, same.body) == (200, task)


async def test_a_missing_task_is_404_before_412(api: Api, ada: User, bob: User) -> None:
    task = await created(api, bob)
    for method in ("PUT", "PATCH", "DELETE"):
        answer = await conditional(api, method, f"/api/v1/tasks/{task['id']}", ada, "If-Match", '"1"', title="x")
        assert (answer.status, answer.problem()) == (404, "not-found")
    answer = await conditional(api, "PUT", f"/api/v1/tasks/{task['id']}", ada, "If-Match", "*", title="")
    assert answer.status == 422, "what was sent is looked at first"


async def test_no_increment_is_lost_by_50_clients_that_retry(api: Api, ada: User) -> None:
    """Each reads a number from the title, adds one, and writes it back with If-Match until that is accepted."""
    path = f"/api/v1/tasks/{(await created(api, ada, title='0'))['id']}"
    refusals = 0

    async def increment() -> None:
        nonlocal refusals
        while True:
            seen = await api.get(path, as_=ada)
            title = str(int(seen.body["title"]) + 1)
            answer = await conditional(api, "PATCH", path, ada, "If-Match", seen.headers["ETag"], title=title)
            if answer.status == 200:
                return
            assert answer.status == 412
            refusals += 1

    await asyncio.gather(*(increment() for _ in range(50)))
    task = (await api.get(path, as_=ada)).body
    assert (task["title"], task["version"]) == ("50", 51)
    assert refusals > 0, "they did get into each other's way"


async def test_of_50_with_the_same_if_match_one_is_let_through(api: Api, ada: User) -> None:
    for method, suffix in (("PUT", ""), ("PATCH", "/complete"), ("DELETE", "")):
        task = await created(api, ada)
        path = f"/api/v1/tasks/{task['id']}{suffix}"
        tag = f'"{task["version"]}"'
        answers = await asyncio.gather(
            *(conditional(api, method, path, ada, "If-Match", tag, title=str(n)) for n in range(50))
            if not suffix
            else (api.patch(path, as_=ada, headers={"If-Match": tag}) for _ in range(50))
        )
        statuses = sorted(answer.status for answer in answers)
        assert statuses == ([204] + [404] * 49 if method == "DELETE" else [200] + [412] * 49)


async def test_administrators_have_tags_and_conditions_too(api: Api, admin: User, ada: User) -> None:
    task = await created(api, ada)
    all_tasks = "/api/v1/tasks?limit=5&sort=created_at"
    whole = await api.get(all_tasks, as_=admin)
    again = await conditional(api, "GET", all_tasks, admin, "If-None-Match", whole.headers["ETag"])
    assert again.status == 304
    path = f"/api/v1/tasks/{task['id']}"
    assert (await conditional(api, "PUT", path, admin, "If-Match", '"9"', title="x")).status == 412
    assert (await conditional(api, "PUT", path, admin, "If-Match", '"1"', title="x")).status == 200
    listed = await api.get(f"/api/v1/tasks?user_id={ada.id}&sort=title", as_=admin)
    own = await api.get("/api/v1/tasks?sort=title", as_=ada)
    assert (listed.body, listed.headers["ETag"]) == (own.body, own.headers["ETag"])


async def test_administrators_page_through_everybodys_tasks(postgres_url: str) -> None:
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        running_service(make_settings(url)) as api,
    ):
        ada, bob, admin = await api.new_user(), await api.new_user(), await api.new_user()
        await run_sql(url, f"UPDATE users SET role = 'admin' WHERE id = '{admin.id}'")
        token = (await sign_in(api, admin))["access_token"]
        await page_through(api, User(admin.id, admin.email, token), ada, bob)


async def page_through(api: Api, admin: User, ada: User, bob: User) -> None:
    made = [(await created(api, user, title=f"{n}"))["id"] for n in range(4) for user in (ada, bob)]
    for sort, order in (("created_at", made), ("-created_at", made[::-1])):
        path, seen = f"/api/v1/tasks?limit=3&sort={sort}", []
        while path:
            answer = await api.get(path, as_=admin)
            assert (answer.body["total"], "total_is_estimate" in answer.body) == (8, False)
            seen += [task["id"] for task in answer.body["tasks"]]
            path = next_path(answer)
        assert seen == order
    cursor = (await api.get("/api/v1/tasks?limit=3", as_=admin)).body["next_cursor"]
    assert (await api.get(f"/api/v1/tasks?cursor={cursor}", as_=ada)).status == 422
    for of_one in ("q=x", "status=TODO", "tag=a", "due_after=2026-01-01", "sort=title", "sort=-updated_at"):
        refused = await api.get(f"/api/v1/tasks?{of_one}", as_=admin)
        assert (refused.status, [error["field"] for error in refused.body["errors"]]) == (422, ["user_id"]), of_one
        assert (await api.get(f"/api/v1/tasks?{of_one}&user_id={ada.id}", as_=admin)).status == 200
    refused = await api.get("/api/v1/tasks?skip=10001", as_=admin)
    assert (refused.status, [error["field"] for error in refused.body["errors"]]) == (422, ["skip"])


@pytest.mark.parametrize("rounds", [5_000])
async def test_no_answer_is_ever_stale_between_two_processes(database_url: str, rounds: int) -> None:
    """One process writes, the other reads right after each acknowledged write."""
    settings = {"DATABASE_URL": database_url, "LOG_LEVEL": "WARNING"} | NOT_MEASURED
    async with served(**settings) as (_, writer), served(**settings) as (_, reader):
        ada = await writer.new_user()
        task = await created(writer, ada)
        path = f"/api/v1/tasks/{task['id']}"
        tag, old = "", 0
        for n in range(rounds):
            written = await writer.put(path, {"title": str(n)}, as_=ada)
            shown = {"If-None-Match": tag} if n % 2 else {}
            read = await reader.get("/api/v1/tasks", as_=ada, headers=shown)
            old += read.status != 200 or read.body["tasks"] != [written.body]
            tag = read.headers["ETag"]
            if n % 10 == 0:
                again = await reader.get("/api/v1/tasks", as_=ada, headers={"If-None-Match": tag})
                assert (again.status, again.raw) == (304, b"")
                assert (await reader.get("/api/v1/tasks", as_=ada)).raw == read.raw, "kept, and the same"
        assert old == 0
