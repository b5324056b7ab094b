"""A client of delta sync, for tests: it follows the changes of a user and remembers what it was told."""

import base64
import struct
from dataclasses import dataclass, field
from typing import Any

from tests.client import Answer, Api, User
from todo_service.errors import FRESH_START_SECONDS

SYNC = "/api/v1/sync"
CURSOR = struct.Struct(">2s4sqqq")


def parts_of(cursor: str) -> list[Any]:
    """What a cursor is made of: kind, owner, epoch, position, base. Clients do not look into it."""
    return list(CURSOR.unpack(base64.urlsafe_b64decode(cursor)))


def made_of(parts: list[Any]) -> str:
    """The cursor that is made of these."""
    return base64.urlsafe_b64encode(CURSOR.pack(*parts)).decode()


def position(cursor: str) -> int:
    """The version a cursor stands at."""
    found: int = parts_of(cursor)[3]
    return found


@dataclass
class Replica:
    """A client that follows the changes of a user: the loop of docs/api.md, with its eyes open."""

    api: Api
    user: User
    cursor: str = ""
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    deletions: list[str] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    async def page(self, limit: int = 500) -> bool:
        """Take one page; returns whether there is another one."""
        answer = await self.api.get(f"{SYNC}?cursor={self.cursor}&limit={limit}", as_=self.user)
        assert answer.status == 200, answer.raw
        assert len(answer.body["changes"]) <= limit
        for change in answer.body["changes"]:
            self._apply(change)
        self.cursor = answer.body["cursor"]
        self.positions.append(position(self.cursor))
        return bool(answer.body["has_more"])

    async def catch_up(self, limit: int = 500) -> None:
        while await self.page(limit):
            pass

    def _apply(self, change: dict[str, Any]) -> None:
        if change["deleted"]:
            assert set(change) == {"id", "deleted"}
            self.deletions.append(change["id"])
            self.tasks.pop(change["id"], None)
        else:
            assert set(change) == {"id", "deleted", "task"}
            assert change["task"]["id"] == change["id"]
            self.versions.append(change["task"]["version"])
            self.tasks[change["id"]] = change["task"]


async def table(api: Api, user: User) -> dict[str, dict[str, Any]]:
    """What the list says the user has."""
    found: dict[str, dict[str, Any]] = {}
    for skip in range(0, 10_000, 1000):
        answer = await api.get(f"/api/v1/tasks?limit=1000&skip={skip}", as_=user)
        found |= {task["id"]: task for task in answer.body["tasks"]}
        if len(answer.body["tasks"]) < 1000:
            break
    return found


async def remove(api: Api, user: User, task: dict[str, Any]) -> None:
    assert (await api.delete(f"/api/v1/tasks/{task['id']}", as_=user)).status == 204


async def sync(api: Api, user: User, cursor: str = "", **parameters: object) -> Answer:
    more = "".join(f"&{name}={value}" for name, value in parameters.items())
    return await api.get(f"{SYNC}?cursor={cursor}{more}", as_=user)


async def refused(api: Api, user: User, cursor: str) -> bool:
    """Whether the cursor has expired; the answer says what to do."""
    answer = await sync(api, user, cursor)
    if answer.status == 200:
        return False
    assert (answer.status, answer.problem()) == (410, "cursor-expired")
    assert "Start over without a cursor" in answer.body["detail"]
    assert 1 <= int(answer.headers["Retry-After"]) <= FRESH_START_SECONDS
    return True
