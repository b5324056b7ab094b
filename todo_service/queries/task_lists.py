"""Lists of tasks: a page in one of ten orders, with or without filters, from the start or after a position.

The default order has an index, so the cost of its page depends on its size only; the other orders sort the tasks of one
user, which are few. All statements are made at import: for each sort one from the start and one `after` a position,
each for all tasks and `filtered`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import NamedTuple
from uuid import UUID

from todo_service.postgres.connection import Connection
from todo_service.queries.task_filters import EVERYTHING, Filter, conditions, parameters
from todo_service.queries.task_rows import TASK_COLUMNS, TaskRow
from todo_service.queries.text import folded

PRIORITIES = ("URGENT", "HIGH", "MEDIUM", "LOW")
_RANK = "CASE priority WHEN 'URGENT' THEN 1 WHEN 'HIGH' THEN 2 WHEN 'MEDIUM' THEN 3 ELSE 4 END"
_DUE = "coalesce(due_at, due_on::timestamp AT TIME ZONE 'UTC'{})"


class _Order(NamedTuple):
    """An order of a list: its key, the expression of a position's value (`{}` is its parameter), and its comparison."""

    key: str
    position: str
    direction: str
    sign: str


def _orders(prefix: str, direction: str, sign: str, last: str) -> Mapping[str, _Order]:
    keys = {
        "created_at": ("created_at", "{}::timestamptz"),
        "updated_at": ("updated_at", "{}::timestamptz"),
        "due_date": (_DUE.format(f", {last}"), f"coalesce({{}}::timestamptz, {last})"),
        "priority": (_RANK, "{}::int"),
        "title": (folded("title"), "(SELECT " + folded("{0}::text") + ")"),
    }
    return {prefix + name: _Order(key, position, direction, sign) for name, (key, position) in keys.items()}


_ORDERS = {**_orders("", "ASC", ">", "'infinity'"), **_orders("-", "DESC", "<", "'-infinity'")}
SORTS = tuple(_ORDERS)


class Position(NamedTuple):
    """The end of a page: the last task's key in the order (None: no due date), and the last task."""

    key: datetime | int | str | None
    task_id: UUID
    user_id: str


class Stamp(NamedTuple):
    """The state of all tasks of a user: equal stamps mean equal tasks."""

    epoch: int
    version: int


@dataclass(frozen=True, slots=True)
class ListSpec:
    """The specification of a list: `limit` tasks (None: all) after the first `skip`, or after a position."""

    sort: str
    filter: Filter = EVERYTHING
    skip: int = 0
    limit: int | None = None
    after: Position | None = None

    @property
    def statement(self) -> str:
        return _variant(self.sort, after=self.after is not None, filtered=self.filter != EVERYTHING)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: `total` matches on all pages, read at `stamp` (None for a list of all users' tasks)."""

    tasks: list[TaskRow]
    total: int
    has_more: bool
    stamp: Stamp | None = None
    is_estimate: bool = False  # of the total


NO_TASKS = Stamp(0, 0)  # of a user without a row


def position(sort: str, task: TaskRow) -> Position:
    """Return the position of a task in a list of this order."""
    match sort.removeprefix("-"):
        case "due_date":
            due_on = datetime.combine(task.due_on, datetime.min.time(), UTC) if task.due_on else None
            key: datetime | int | str | None = task.due_at or due_on
        case "priority":
            key = PRIORITIES.index(task.priority) + 1
        case name:
            key = getattr(task, name)
    return Position(key, task.id, task.user_id)


def _variant(sort: str, *, after: bool, filtered: bool) -> str:
    return " ".join([sort, *["after"] * after, *["filtered"] * filtered])


def _by(order: _Order, *ties: str) -> str:
    return ", ".join(f"{part} {order.direction}" for part in (order.key, *ties))


_CHANGED = "(clock.epoch, clock.version) IS DISTINCT FROM ($2::bigint, $3::bigint)"


def _owners_page(sort: str, *, after: bool, filtered: bool) -> str:
    order = _ORDERS[sort]
    if filtered:
        return _owners_filtered_page(order, after=after)
    where = f"AND ({order.key}, id) {order.sign} ({order.position.format('$5')}, $6::uuid)" if after else ""
    return f"""
SELECT clock.epoch, clock.version, clock.task_count, {TASK_COLUMNS.of("page")}
FROM task_clocks AS clock
LEFT JOIN LATERAL (
    SELECT {TASK_COLUMNS} FROM tasks WHERE user_id = $1 AND {_CHANGED} {where}
    ORDER BY {_by(order, "id")} LIMIT $4::bigint {"" if after else "OFFSET $5::bigint"}
) AS page ON true
WHERE clock.user_id = $1
ORDER BY {_by(order, "id")}"""


def _owners_filtered_page(order: _Order, *, after: bool) -> str:
    """The filters are evaluated once for each task, since the total needs all of them anyway.

    Within one statement a row keeps its place (`ctid`), so the tasks of the page are fetched without an index.
    """
    by = f"key {order.direction}, id {order.direction}"
    where = f"WHERE (key, id) {order.sign} ({order.position.format('$5')}, $6::uuid)" if after else ""
    return f"""
WITH matching AS MATERIALIZED (
    SELECT tasks.ctid AS place, id, {order.key} AS key FROM task_clocks AS clock, tasks
    WHERE clock.user_id = $1 AND {_CHANGED} AND tasks.user_id = $1 AND {conditions(7 if after else 6)}
), wanted AS MATERIALIZED (
    SELECT place, id, key FROM matching {where} ORDER BY {by} LIMIT $4::bigint {"" if after else "OFFSET $5::bigint"}
)
SELECT clock.epoch, clock.version, (SELECT count(*) FROM matching), {TASK_COLUMNS.of("page")}
FROM task_clocks AS clock
LEFT JOIN (wanted JOIN tasks AS page ON page.user_id = $1 AND page.ctid = wanted.place) ON true
WHERE clock.user_id = $1
ORDER BY wanted.key {order.direction}, wanted.id {order.direction}"""


_VARIANTS = tuple(product(SORTS, (False, True), (False, True)))
SELECT_PAGE: Mapping[str, str] = {
    _variant(sort, after=after, filtered=filtered): _owners_page(sort, after=after, filtered=filtered)
    for sort, after, filtered in _VARIANTS
}


async def select_page(db: Connection, *, owner_id: str, spec: ListSpec, unless: Stamp | None = None) -> Page | None:
    """Return a page of the owner's tasks, with total and stamp of the same moment.

    None, without reading a task, if the stamp is still `unless`.
    """
    after = spec.after[:2] if spec.after else (spec.skip,)
    epoch, version = unless or (None, None)
    rows = await db.fetch(
        SELECT_PAGE[spec.statement], owner_id, epoch, version, _one_more(spec), *after, *parameters(spec.filter)
    )
    if not rows:
        return Page([], 0, has_more=False, stamp=NO_TASKS)
    stamp = Stamp(*rows[0][:2])
    return None if stamp == unless else _page(spec, rows[0][2], [row[3:] for row in rows], stamp)


def _one_more(spec: ListSpec) -> int | None:
    """One task beyond the page shows whether there is a next page."""
    return spec.limit and spec.limit + 1


def _page(spec: ListSpec, total: int, rows: list[tuple[object, ...]], stamp: Stamp | None = None) -> Page:
    tasks = [TaskRow(*row) for row in rows if row[0] is not None]  # type: ignore[arg-type]
    return Page(tasks[: spec.limit], total, has_more=len(tasks) > (spec.limit or len(tasks)), stamp=stamp)
