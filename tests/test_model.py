"""The real service against a dictionary: random conversations in random families, with retries, without a difference.

Every answer is compared with what `tests/model.py` says, and a client that follows delta sync must always hold what the
list has.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic.alias_generators import to_camel

from tests.client import ABSENT, Answer, Api, User
from tests.conftest import make_settings, running_service
from tests.families import DIALECTS, Dialect
from tests.model import Model, Task, outcome

STEPS = 2000
SORTS = [sign + name for sign in ("", "-") for name in ("created_at", "title", "due_date", "priority")]
IDS = [str(UUID(int=n)) for n in range(1, 8)]
TEXTS = ["a", "b", "Milk", "milk 2%", "x_y", "Ünï", "50 \\ %"]
MOMENTS = ["2026-12-24T00:00:00Z", "2026-12-24T12:30:00Z", "2026-12-25T00:00:01Z"]
DUE_DATES = [None, "2026-12-24", "2026-12-25", *MOMENTS[:2]]
TAGS = st.lists(st.sampled_from(["home", "work", "a,b"]), max_size=3)
FIELDS = {
    "description": st.none() | st.sampled_from(TEXTS),
    "priority": st.sampled_from(["URGENT", "HIGH", "MEDIUM", "LOW"]),
    "due_date": st.sampled_from(DUE_DATES),
    "tags": TAGS,
}
STATE: st.SearchStrategy[Task] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"completed": st.booleans()}),
    st.fixed_dictionaries({"status": st.sampled_from(["TODO", "IN_PROGRESS", "COMPLETED"])}),
)
TITLES = st.sampled_from(TEXTS)
MORE = st.fixed_dictionaries({}, optional=FIELDS)
CREATES = st.builds(lambda title, more, state: {"title": title, **more, **state}, TITLES, MORE, STATE)
UPDATES = st.builds(
    lambda title, more, state: {**title, **more, **state},
    st.fixed_dictionaries({}, optional={"title": TITLES}),
    MORE,
    STATE,
)
FAMILIES = st.sampled_from(DIALECTS)
SOME_ID = st.sampled_from(IDS)
SEEN = st.sampled_from([None, None, "now", "stale"])
REPEATS = st.integers(0, 2)
OPERATIONS = st.one_of(
    st.tuples(st.just("create"), SOME_ID, CREATES, st.none()),
    st.tuples(st.just("update"), SOME_ID, UPDATES, SEEN),
    st.tuples(st.just("complete"), SOME_ID, st.sampled_from([True, False, "toggle"]), SEEN),
    st.tuples(st.just("delete"), SOME_ID, st.none(), SEEN),
)
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["TODO", "IN_PROGRESS", "COMPLETED"]),
        "completed": st.sampled_from(["true", "false"]),
        "priority": st.sampled_from(["low", "HIGH"]),
        "tag": st.lists(st.sampled_from(["home", "a,b"]), min_size=1, max_size=2, unique=True),
        "q": st.sampled_from(["a", "MILK", "%", "_", "\\", "nï"]),
        "due_before": st.sampled_from(MOMENTS),
        "due_after": st.sampled_from(MOMENTS),
        "sort": st.sampled_from(SORTS),
    },
)  # fmt: skip


class Conversation(RuleBasedStateMachine):
    """One user's conversation with the service."""

    api: Api
    loop: asyncio.AbstractEventLoop
    steps = 0

    def run(self, asking: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(asking, self.loop).result(20)

    def send(self, method: str, path: str, body: Any = ABSENT, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.run(self.api.send(method, path, body, as_=self.user, headers=named))

    @initialize()
    def begin(self) -> None:
        self.user: User = asyncio.run_coroutine_threadsafe(self.api.new_user(), self.loop).result(20)
        self.model = Model()
        self.documents: dict[str, Task] = {}  # as last answered, timestamps and all
        self.held: dict[str, Task] = {}
        self.cursor = ""

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.follow(1000)

    @rule(family=FAMILIES, task_id=st.none() | SOME_ID, fields=CREATES, repeats=REPEATS)
    def create(self, family: Dialect, task_id: str | None, fields: Task, repeats: int) -> None:
        body = spelled(family, fields) | ({"id": task_id} if task_id else {})
        answer = self.keyed("POST", family.tasks(self.user), body, repeats)
        expected = outcome(lambda: self.model.create(task_id or answer.body.get("id", ""), fields))
        assert answer.status == expected
        if expected < 300:
            self.note(family, answer.body)

    @rule(family=FAMILIES, method=st.sampled_from(["PUT", "PATCH"]), task_id=SOME_ID, fields=UPDATES, seen=SEEN)
    def update(self, family: Dialect, method: str, task_id: str, fields: Task, seen: str | None) -> None:
        headers, version = self.condition(task_id, seen)
        answer = self.send(method, family.task(self.user, task_id), spelled(family, fields), **headers)
        self.changed(family, answer, task_id, fields, version)

    @rule(
        family=FAMILIES, task_id=SOME_ID, completed=st.sampled_from([True, False, "toggle"]), seen=SEEN, repeats=REPEATS
    )
    def complete(self, family: Dialect, task_id: str, completed: Any, seen: str | None, repeats: int) -> None:
        headers, version = self.condition(task_id, seen)
        body = ABSENT if completed == "toggle" else {"completed": completed}
        path = family.task(self.user, task_id) + "/complete"
        answer = self.keyed("PATCH", path, body, repeats, **headers)
        self.changed(family, answer, task_id, {"completed": completed}, version)

    @rule(family=FAMILIES, task_id=SOME_ID, seen=SEEN)
    def delete(self, family: Dialect, task_id: str, seen: str | None) -> None:
        headers, version = self.condition(task_id, seen)
        answer = self.send("DELETE", family.task(self.user, task_id), **headers)
        assert answer.status == outcome(lambda: self.model.delete(task_id, version))
        if answer.status == 204:
            del self.documents[task_id]

    @rule(operations=st.lists(OPERATIONS, min_size=1, max_size=6), repeats=REPEATS)
    def batch(self, operations: list[tuple[str, str, Any, str | None]], repeats: int) -> None:
        after, statuses, bodies, failed = self.model.copy(), [], [], None
        for index, (op, task_id, what, seen) in enumerate(operations):
            version = self.condition(task_id, seen)[1]
            bodies.append(operation(op, task_id, what, version))
            if failed is None:
                statuses.append(outcome(lambda: apply(after, op, task_id, what, version)))  # noqa: B023
                failed = (index, statuses[-1]) if statuses[-1] >= 400 else None
        answer = self.keyed("POST", "/api/v1/tasks/batch", {"operations": bodies}, repeats)
        if failed is not None:
            assert (answer.body["index"], answer.status) == failed
            return
        assert [result["status"] for result in answer.body["results"]] == statuses
        self.model = after
        gone = self.documents.keys() - after.tasks.keys()
        for result in answer.body["results"]:
            if "task" in result and result["id"] in after.tasks:
                self.documents[result["id"]] = result["task"]
        for task_id in gone:
            del self.documents[task_id]

    @rule(family=FAMILIES, query=QUERIES, limit=st.none() | st.integers(1, 3))
    def read(self, family: Dialect, query: dict[str, Any], limit: int | None) -> None:
        parameters = query | ({"limit": limit} if limit else {})
        path, found = f"{family.tasks(self.user)}?{urlencode(parameters, doseq=True)}", []
        expected = self.model.listed(query, lambda task: str(self.documents[task["id"]]["created_at"]))
        while path:
            answer = self.send("GET", path)
            assert answer.status == 200
            assert answer.headers["X-Total-Count"] == str(len(expected))
            again = self.send("GET", path, If_None_Match=answer.headers["ETag"])
            assert (again.status, again.raw) == (304, b"")
            found += [unspelled(task) for task in family.unwrap(answer.body)]
            path = answer.headers.get("Link", "").removeprefix("<").removesuffix('>; rel="next"')
        assert [task["id"] for task in found] == expected
        assert found == [self.documents[task_id] for task_id in expected]

    @rule(limit=st.integers(1, 3))
    def follow(self, limit: int) -> None:
        """Go on with delta sync to its end; what the client then holds is what there is."""
        more = True
        while more:
            answer = self.send("GET", f"/api/v1/sync?{urlencode({'cursor': self.cursor, 'limit': limit})}")
            assert answer.status == 200
            for change in answer.body["changes"]:
                if change["deleted"]:
                    self.held.pop(change["id"], None)
                else:
                    self.held[change["id"]] = change["task"]
            self.cursor, more = answer.body["cursor"], answer.body["has_more"]
        assert self.held == self.documents

    @precondition(lambda self: self.documents)
    @rule(data=st.data(), family=FAMILIES)
    def read_one(self, data: st.DataObject, family: Dialect) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.documents)))
        answer = self.send("GET", family.task(self.user, task_id))
        assert unspelled(answer.body) == self.documents[task_id]
        assert answer.headers["ETag"] == f'"{self.documents[task_id]["version"]}"'

    @invariant()
    def documents_are_as_the_model_says(self) -> None:
        type(self).steps += 1
        if hasattr(self, "model"):
            assert {task_id: without_times(task) for task_id, task in self.documents.items()} == self.model.tasks

    def keyed(self, method: str, path: str, body: Any, repeats: int, **headers: str) -> Answer:
        """The answer to a request; sent again under the same key, if it was accepted, it must be the same."""
        headers["Idempotency_Key"] = str(uuid4())
        first = self.send(method, path, body, **headers)
        for _ in range(repeats if first.status < 300 else 0):
            again = self.send(method, path, body, **headers)
            assert (again.status, again.raw) == (first.status, first.raw)
        return first

    def condition(self, task_id: str, seen: str | None) -> tuple[dict[str, str], int | None]:
        """The header and the version of a condition that holds now, or does not, or of none."""
        if seen is None or task_id not in self.model.tasks:
            return {}, None
        version = int(self.model.tasks[task_id]["version"]) - (seen == "stale")
        return {"If_Match": f'"{version}"'}, version

    def changed(self, family: Dialect, answer: Answer, task_id: str, fields: Task, version: int | None) -> None:
        assert answer.status == outcome(lambda: self.model.change(task_id, fields, version))
        if answer.status == 200:
            self.note(family, answer.body)

    def note(self, family: Dialect, body: Task) -> None:
        """Remember a task as answered; its moments tell of the change, if there was one, and of nothing else."""
        task = unspelled(body)
        before = self.documents.get(task["id"])
        if before is None:
            assert task["created_at"] == task["updated_at"]
        elif before["version"] == task["version"]:
            assert task == before
        else:
            assert task["created_at"] == before["created_at"]
            assert task["updated_at"] > before["updated_at"]
            if before["completed"] and task["completed"]:
                assert task["completed_at"] == before["completed_at"]
        assert (task["completed_at"] is not None) is task["completed"]
        self.documents[task["id"]] = task


def operation(op: str, task_id: str, what: Any, version: int | None) -> dict[str, Any]:
    """One operation of a batch as it is sent."""
    body: dict[str, Any] = {"op": op, "id": task_id} | ({} if version is None else {"if_version": version})
    match op:
        case "create":
            return {"op": op, "task": {**what, "id": task_id}}
        case "update":
            return {**body, "task": what}
        case "complete" if what != "toggle":
            return {**body, "completed": what}
    return body


def apply(model: Model, op: str, task_id: str, what: Any, version: int | None) -> int:
    """The status of one operation of a batch."""
    match op:
        case "create":
            return model.create(task_id, what)
        case "delete":
            return model.delete(task_id, version)
    return model.change(task_id, what if op == "update" else {"completed": what}, version)


def spelled(family: Dialect, fields: Task) -> Task:
    """The fields as the family's clients write them."""
    return {family.field(name): value for name, value in fields.items()}


def unspelled(task: Task) -> Task:
    """A task of any family as v1 has it."""
    return {snake: task[snake if snake in task else to_camel(snake)] for snake in SNAKE}


SNAKE = (
    "id", "user_id", "title", "description", "status", "completed", "priority", "due_date", "tags", "created_at",
    "updated_at", "completed_at", "version",
)  # fmt: skip


def without_times(task: Task) -> Task:
    """What the model knows of a task."""
    return {name: value for name, value in task.items() if not name.endswith("_at") and name != "user_id"}


def test_2_000_steps_without_a_difference(database_url: str) -> None:
    """Drives its own event loop: hypothesis calls plain functions."""

    async def converse() -> None:
        async with running_service(make_settings(database_url)) as api:
            Conversation.api, Conversation.loop, Conversation.steps = api, asyncio.get_running_loop(), 0
            quiet = settings(
                max_examples=STEPS // 40, stateful_step_count=60, deadline=None, database=None,
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            while Conversation.steps < STEPS:
                await asyncio.to_thread(run_state_machine_as_test, Conversation, settings=quiet)

    asyncio.run(converse())
    assert Conversation.steps >= STEPS
