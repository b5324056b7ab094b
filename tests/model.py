"""What the service must do, as a dictionary: the contract in plain Python, without a database, to compare with."""

from collections.abc import Callable, Mapping
from typing import Any

URGENCY = ("URGENT", "HIGH", "MEDIUM", "LOW")
DEFAULTS: Mapping[str, Any] = {
    "description": None, "status": "TODO", "completed": False, "priority": "MEDIUM", "due_date": None, "tags": [],
}  # fmt: skip
Task = dict[str, Any]


class Refused(Exception):
    """The status of a refusal."""

    def __init__(self, status: int) -> None:
        self.status = status


def outcome(act: Callable[[], int]) -> int:
    """The status of what is done, or of its refusal."""
    try:
        return act()
    except Refused as refused:
        return refused.status


class Model:
    """One user's tasks without their timestamps, by id; the counter; and what was deleted at which version."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.version = 0

    def copy(self) -> "Model":
        """The same state, to be thrown away or to be kept."""
        other = Model()
        other.tasks = {task_id: dict(task) for task_id, task in self.tasks.items()}
        other.version = self.version
        return other

    def create(self, task_id: str, fields: Mapping[str, Any]) -> int:
        """The status of a create: 201, or 200 for one that is there as it was sent."""
        there = self.tasks.get(task_id)
        wanted = changed({**DEFAULTS, "title": ""}, fields)
        if there is None:
            self.version += 1
            self.tasks[task_id] = {**wanted, "id": task_id, "version": self.version}
            return 201
        if any(there[name] != wanted[name] for name in fields):
            raise Refused(409)
        return 200

    def change(self, task_id: str, fields: Mapping[str, Any], if_version: int | None = None) -> int:
        """The status of an update; `completed: "toggle"` is a completion without a body."""
        before = self._seen(task_id, if_version)
        if fields.get("completed") == "toggle":
            fields = {"completed": not before["completed"]}
        after = changed(before, fields)
        if after != before:
            self.version += 1
            after["version"] = self.version
        self.tasks[task_id] = after
        return 200

    def delete(self, task_id: str, if_version: int | None = None) -> int:
        """The status of a deletion."""
        self._seen(task_id, if_version)
        self.version += 1
        del self.tasks[task_id]
        return 204

    def _seen(self, task_id: str, if_version: int | None) -> Task:
        if task_id not in self.tasks:
            raise Refused(404)
        if if_version not in {None, self.tasks[task_id]["version"]}:
            raise Refused(412)
        return self.tasks[task_id]

    def listed(self, query: Mapping[str, Any], created: Callable[[Task], str]) -> list[str]:
        """The ids of the tasks a list has, in its order. `created` tells when a task was made."""
        found = [
            task
            for task in self.tasks.values()
            if all(_MATCHES[name](task, query[name]) for name in query if name in _MATCHES)
        ]
        sort = query.get("sort", "-created_at")
        backwards = sort.startswith("-")

        def key(task: Task) -> tuple[bool, Any, str]:
            value = created(task) if sort.endswith("created_at") else _KEYS[sort.removeprefix("-")](task)
            return ((value is None) is not backwards, value or "", task["id"])

        return [task["id"] for task in sorted(found, key=key, reverse=backwards)]


def changed(task: Task, fields: Mapping[str, Any]) -> Task:
    """The task with these fields set, as the contract's rules on status and tags say."""
    after = {**task, **fields}
    after["tags"] = list(dict.fromkeys(after["tags"]))
    if "completed" in fields and "status" not in fields:
        reopened = "TODO" if task["status"] == "COMPLETED" else task["status"]
        after["status"] = "COMPLETED" if fields["completed"] else reopened
    after["completed"] = after["status"] == "COMPLETED"
    return after


def due(task: Task) -> str | None:
    """The due date as a moment in UTC that compares as text."""
    value: str | None = task["due_date"]
    return value and (value if "T" in value else value + "T00:00:00Z")


_KEYS: Mapping[str, Callable[[Task], Any]] = {
    "title": lambda task: task["title"].lower(),
    "due_date": due,
    "priority": lambda task: str(URGENCY.index(task["priority"])),
}
_MATCHES: Mapping[str, Callable[[Task, Any], bool]] = {
    "status": lambda task, wanted: task["status"] == wanted,
    "completed": lambda task, wanted: task["completed"] is (wanted == "true"),
    "priority": lambda task, wanted: task["priority"] == wanted.upper(),
    "tag": lambda task, wanted: set(wanted) <= set(task["tags"]),
    "q": lambda task, wanted: wanted.lower() in task["title"].lower() + "\0" + (task["description"] or "").lower(),
    "due_before": lambda task, wanted: due(task) is not None and str(due(task)) < wanted,
    "due_after": lambda task, wanted: due(task) is not None and str(due(task)) > wanted,
}
