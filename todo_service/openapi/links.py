"""Links from an answer that creates a resource to the operations on it."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from todo_service.routes.table import Route

STATUSES = {"201"}


def of(route: Route, routes: Sequence[Route], name: Callable[[Route], str]) -> dict[str, Any]:
    """Return the links of a row that creates a resource: to every row about one of them, with the answer's id."""
    if route.method != "POST" or 201 not in route.description.answers:
        return {}
    one = re.compile(re.escape(route.path) + r"/{(\w+)}(/.*)?")
    outer = {variable: f"$request.path.{variable}" for variable in re.findall(r"{(\w+)}", route.path)}
    links = {}
    for other in routes:
        if match := one.fullmatch(other.path):
            parameters = outer | {match[1]: "$response.body#/id"}
            links[name(other)] = {"operationId": name(other), "parameters": parameters, "description": other.summary}
    return links
