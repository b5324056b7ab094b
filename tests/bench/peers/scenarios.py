"""The scenarios: for each server its requests, and the statuses of good answers."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession

from tests.bench.peers.data import CREATE, LONG, MEDIUM, SHORT, Group, peer_token, product_token, request, shuffled

PRODUCT, USUAL, TUNED, FLOOR = "product", "usual", "tuned", "floor"


@dataclass(frozen=True)
class Scenario:
    """One kind of load.

    Attributes:
        requests: The requests of each server.
        compared: Paths whose answers must hold the same tasks on every server, each with its user.
    """

    name: str
    title: str
    requests: Mapping[str, list[bytes]]
    expected: frozenset[int] = frozenset({200})
    compared: tuple[tuple[str, str, str], ...] = ()


def all_scenarios(tags: Mapping[str, str], cursors: Mapping[str, str]) -> Iterator[Scenario]:
    """Yield the scenarios; those that add tasks come last.

    Args:
        tags: The tag of each user's list.
        cursors: The cursor of each user's sync.
    """
    floor = {FLOOR: [request("GET", "/", "none")]}
    lists = _each(SHORT, "GET", _path(SHORT, "/api/tasks"), _path(SHORT, "/tasks"))
    gets = _each(SHORT, "GET", _path(SHORT, "/api/v1/tasks/{}"), _path(SHORT, "/tasks/{}"))
    toggles = _each(SHORT, "PATCH", _path(SHORT, "/api/v1/tasks/{}/complete"), _path(SHORT, "/tasks/{}/complete"))
    creates = _each(SHORT, "POST", _path(SHORT, "/api/v1/tasks"), _path(SHORT, "/tasks"), body=CREATE)
    yield Scenario("live", "/health/live", {PRODUCT: [request("GET", "/health/live", "none")]} | floor)
    yield Scenario("list20", "list of 20, unchanged", lists | floor, compared=_lists(SHORT))
    for name, title, group in (("list100", "list of 100", MEDIUM), ("list1000", "list of 1,000", LONG)):
        requests = _each(group, "GET", _path(group, "/api/tasks"), _path(group, "/tasks"))
        yield Scenario(name, f"{title}, unchanged", requests | floor, compared=_lists(group))
    yield Scenario("get", "read one", gets | floor, compared=_single(SHORT))
    tagged = [_conditional(user, tag) for user, tag in tags.items()]
    title = "list of 20, conditional (304)"  # the peers send it again
    yield Scenario("not_modified", title, lists | {PRODUCT: shuffled(tagged)} | floor, frozenset({200, 304}))
    synced = [request("GET", f"/api/v1/sync?cursor={cursor}", product_token(user)) for user, cursor in cursors.items()]
    yield Scenario("sync", "sync with nothing new", {PRODUCT: shuffled(synced)} | floor)
    yield Scenario("toggle", "complete or reopen", toggles)
    pairs = {name: [one for pair in zip(toggles[name], lists[name], strict=True) for one in pair] for name in toggles}
    yield Scenario("after_write", "a write, then the list of 20", pairs)
    mixed = {name: shuffled([*lists[name] * 2, *gets[name] * 2, *toggles[name][::2], *creates[name][::2]])
             for name in toggles}  # fmt: skip
    yield Scenario("mixed", "mixed day, 4 reads to 1 write", mixed, frozenset({200, 201}))
    yield Scenario("create", "create", creates, frozenset({201}))


def _conditional(user_id: str, tag: str) -> bytes:
    return request("GET", "/api/tasks", product_token(user_id), headers=f"If-None-Match: {tag}\r\n")


def _path(group: Group, path: str) -> Callable[[int], str]:
    """The path for each user, with one of the user's tasks in the place of `{}`."""
    return lambda user: path.format(group.task_id(user))


def _each(
    group: Group, method: str, path: Callable[[int], str], peer_path: Callable[[int], str], *, body: object = None
) -> dict[str, list[bytes]]:
    """One request of each user of a group, for the product and for both peers, in the same order."""
    users = [(user, group.user_id(user)) for user in range(group.users)]
    ours = [request(method, path(user), product_token(user_id), body=body) for user, user_id in users]
    theirs = [request(method, peer_path(user), peer_token(user_id), body=body) for user, user_id in users]
    return {PRODUCT: shuffled(ours), USUAL: shuffled(theirs), TUNED: shuffled(theirs)}


def _lists(group: Group) -> tuple[tuple[str, str, str], ...]:
    return tuple((group.user_id(user), "/api/tasks", "/tasks") for user in range(3))


def _single(group: Group) -> tuple[tuple[str, str, str], ...]:
    paths = ((user, f"tasks/{group.task_id(user)}") for user in range(3))
    return tuple((group.user_id(user), f"/api/v1/{path}", f"/{path}") for user, path in paths)


async def differences(scenario: Scenario, ports: Mapping[str, int]) -> list[str]:
    """Return what differs between the answers of the servers: the tasks, in their order, field by field."""
    found = []
    async with ClientSession() as session:
        for user, path, peer_path in scenario.compared:
            answers = {}
            for name in scenario.requests:
                if name == FLOOR or name not in ports:
                    continue
                token = product_token(user) if name == PRODUCT else peer_token(user)
                url = f"http://127.0.0.1:{ports[name]}{path if name == PRODUCT else peer_path}"
                async with session.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
                    answers[name] = _tasks(await answer.json())
            found += [f"{scenario.name}: {name} answers {path} of {user} otherwise than the product"
                      for name, tasks in answers.items() if tasks != answers[PRODUCT]]  # fmt: skip
    return found


def _tasks(body: Any) -> list[dict[str, Any]]:
    """The fields of tasks that every server has, however it wraps, names and orders them."""
    tasks = body["tasks"] if isinstance(body, dict) and "tasks" in body else body if isinstance(body, list) else [body]
    names = ("id", "title", "description", "status", "priority", "tags")
    assert tasks, json.dumps(body)[:200]
    return sorted(({name: task[name] for name in names} for task in tasks), key=lambda task: str(task["id"]))


async def conditions(port: int) -> tuple[dict[str, str], dict[str, str]]:
    """Ask the product for the tag of each user's list, and for the cursor of each user's sync."""
    tags: dict[str, str] = {}
    cursors: dict[str, str] = {}
    async with ClientSession(f"http://127.0.0.1:{port}") as session:
        for user in map(SHORT.user_id, range(SHORT.users)):
            headers = {"Authorization": f"Bearer {product_token(user)}"}
            async with session.get("/api/tasks", headers=headers) as answer:
                tags[user] = answer.headers["ETag"]
            async with session.get("/api/v1/sync", headers=headers) as answer:
                cursors[user] = (await answer.json())["cursor"]
    return tags, cursors
