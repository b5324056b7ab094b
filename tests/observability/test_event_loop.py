"""Nothing blocks the event loop: asyncio's own check, at 100 ms, over every kind of request."""

import json

from tests.client import PASSWORD, Api, User
from tests.conftest import fill
from tests.families import DIALECTS
from tests.process import served

ROUNDS = 8
MARKS = "a" + "\u0300\u0327" * 14_000  # takes a second to normalize


async def test_no_callback_takes_100_ms(database_url: str) -> None:
    """With the password cost of production, whose checks would stall the loop for twice that.

    The clock of a busy machine stalls too, but what blocks does so in every round.
    """
    for _ in range(ROUNDS):
        async with served(DATABASE_URL=database_url, DEBUG="true", BCRYPT_ROUNDS="12") as (process, api):
            await every_kind_of_request(api, database_url)
            process.terminate()
            lines = [json.loads(line) for line in (await process.communicate())[0].splitlines()]
        assert len(lines) > 30
        slow = [line for line in lines if line.get("logger") == "asyncio" and " took " in line["event"]]
        if not slow:
            return
    raise AssertionError(slow)


async def big_imports(api: Api) -> None:
    """A thousand tasks in each format, and what is wrong ten thousand times."""
    rows = [{"title": f"task {n}", "tags": ["a", "b"]} for n in range(1000)]
    todos = "".join(f"BEGIN:VTODO\nUID:{n}\nSUMMARY:task {n}\nEND:VTODO\n" for n in range(1000))
    files = {
        "application/json": json.dumps(rows),
        "text/csv": "title\n" + "".join(f"task {n}\n" for n in range(1000)),
        "text/calendar": f"BEGIN:VCALENDAR\n{todos}END:VCALENDAR\n",
    }
    bob = await api.new_user()
    for media_type, text in files.items():
        answer = await api.post("/api/v1/import", raw=text.encode(), as_=bob, headers={"Content-Type": media_type})
        assert (answer.status, answer.body["created"]) == (200, 1000)
    for wrong in ("{}", '{"title":1,"status":1}'):
        raw = f"[{','.join([wrong] * 10_000)}]".encode()
        assert (await api.post("/api/v1/import", raw=raw, as_=bob)).status == 422


async def every_kind_of_request(api: Api, database_url: str) -> None:
    ada = await api.new_user()
    await api.post("/api/v1/auth/login", {"email": ada.email, "password": PASSWORD})
    await api.post("/api/v1/auth/login", {"email": "nobody@example.com", "password": PASSWORD})
    for family in DIALECTS:
        body = {"title": "t" * 255, "description": "d" * 5000, "tags": [f"tag {n}" for n in range(20)]}
        task_id = (await api.post(family.tasks(ada), body, as_=ada)).body["id"]
        for method, suffix in (("GET", ""), ("PATCH", "/complete"), ("DELETE", "")):
            assert (await api.send(method, family.task(ada, task_id) + suffix, as_=ada)).status < 300
        assert (await api.post(family.tasks(ada), raw=b"[" * 64_000, as_=ada)).status == 400
        assert (await api.post(family.tasks(ada), {"x" * 60_000: 1}, as_=ada)).status == family.invalid
    for hostile in (MARKS + "@x.com", "a@" + MARKS + ".com", "\ufdfa" * 20_000):
        raw = json.dumps({"email": hostile, "password": PASSWORD}, ensure_ascii=False).encode()
        assert (await api.post("/api/v1/auth/login", raw=raw)).status == 401
        assert (await api.post("/api/v1/auth/register", raw=raw)).status == 422
    many = await api.post("/api/v1/tasks", {"title": "t", "tags": [1] * 20_000}, as_=ada)
    assert (many.status, len(many.raw) < 1000) == (422, True)
    await every_kind_of_batch(api, await api.new_user())
    await fill(database_url, ada.id, description="d" * 5000)
    for family in DIALECTS:
        listed = await api.get(family.tasks(ada) + "?limit=1000", as_=ada)
        assert len(family.unwrap(listed.body)) == 1000
    assert len((await api.get("/api/tasks", as_=ada)).body) == 10_000
    for name in ("json", "csv", "ics"):
        assert (await api.get(f"/api/v1/export?format={name}", as_=ada)).status == 200
    await big_imports(api)
    for path in ("/", "/health", "/health/ready", "/nope", "/api/v1/auth/me"):
        await api.get(path, as_=ada)


async def every_kind_of_batch(api: Api, user: User) -> None:
    task = {"title": "t" * 255, "description": "d" * 5000, "tags": [f"tag {n}" for n in range(20)]}
    few_tags = ["a", "b"] * 50
    right = ({"op": "create", "task": task}, {"op": "create", "task": {"title": "t", "tags": few_tags}})
    for operation in right:
        answer = await api.post("/api/v1/tasks/batch", {"operations": [operation] * 100}, as_=user)
        assert (answer.status, len(answer.body["results"])) == (200, 100)
    wrong = {"op": "update", "id": "x", "if_version": -1, "task": dict.fromkeys(task, 1) | {"due_date": "x"}}
    answer = await api.post("/api/v1/tasks/batch", {"operations": [wrong] * 100}, as_=user)
    assert (answer.status, len(answer.raw) < 150_000) == (422, True)
    for element, count in ((b"1", 520_000), (b'"["', 260_000), (b"[]", 340_000), (b"{}", 340_000)):
        raw = b'{"operations": [' + b",".join([element] * count) + b"]}"
        assert (await api.post("/api/v1/tasks/batch", raw=raw, as_=user)).status == 422
