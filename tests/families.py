"""The four families as a test walks over them: where each has its tasks and how it writes names and lists."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from tests.client import User


@dataclass(frozen=True)
class Dialect:
    """One family from outside."""

    name: str
    path: str
    invalid: int
    unwrap: Callable[[Any], list[dict[str, Any]]]

    def tasks(self, user: User) -> str:
        return self.path.format(user_id=user.id)

    def task(self, user: User, task_id: str) -> str:
        return f"{self.tasks(user)}/{task_id}"

    def field(self, name: str) -> str:
        return to_camel(name) if self.name == "app" else name


DIALECTS = [
    Dialect("v1", "/api/v1/tasks", 422, lambda body: list(body["tasks"])),
    Dialect("app", "/api/tasks", 422, lambda body: list(body)),
    Dialect("owner", "/api/{user_id}/tasks", 400, lambda body: list(body)),
    Dialect("users", "/api/users/{user_id}/tasks", 400, lambda body: list(body["tasks"])),
]
in_every_family = pytest.mark.parametrize("family", DIALECTS, ids=lambda family: family.name)
