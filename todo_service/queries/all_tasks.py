"""The tasks of all users together, for administrators: in the order of their creation, the only one with an index."""

from collections.abc import Mapping
from itertools import product

from todo_service.postgres.connection import Connection
from todo_service.queries.task_lists import ListSpec, Page
from todo_service.queries.task_rows import TASK_COLUMNS, TaskRow
from todo_service.queries.user_lists import COUNTED

SORTS = ("created_at", "-created_at")
_MOST = COUNTED + 1001  # the longest page after the most that are left out; a constant, so that the plan stops early


def _page(sort: str, *, after: bool) -> str:
    direction, sign = ("DESC", "<") if sort.startswith("-") else ("ASC", ">")
    by = ", ".join(f"{column} {direction}" for column in ("created_at", "id", "user_id"))
    # The first condition is for the index.
    position = f"created_at {sign}= $2::timestamptz AND (created_at, id, user_id) {sign} ($2, $3::uuid, $4::text)"
    return f"""
SELECT
    total.counted, (SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('tasks')), {TASK_COLUMNS.of("page")}
FROM (SELECT count(*) AS counted FROM (SELECT 1 AS one FROM tasks LIMIT {COUNTED + 1}) AS these) AS total
LEFT JOIN LATERAL (
    SELECT {TASK_COLUMNS}
    FROM (SELECT {TASK_COLUMNS} FROM tasks {f"WHERE {position}" if after else ""} ORDER BY {by} LIMIT {_MOST}) AS these
    ORDER BY {by} LIMIT $1::bigint {"" if after else "OFFSET $2::bigint"}
) AS page ON true
ORDER BY {by}"""


SELECT_PAGE: Mapping[str, str] = {
    f"{sort}{' after' * after}": _page(sort, after=after) for sort, after in product(SORTS, (False, True))
}


async def select_page(db: Connection, *, spec: ListSpec) -> Page:
    """Return a page of every user's tasks, without a stamp.

    The total is exact up to `COUNTED`. The specification has no filter, one of `SORTS`, at most `COUNTED` that are left
    out, and a limit of at most 1,000.
    """
    assert spec.limit is not None
    arguments = spec.after or (spec.skip,)
    rows = await db.fetch(SELECT_PAGE[f"{spec.sort}{' after' * bool(spec.after)}"], spec.limit + 1, *arguments)
    counted, stored = rows[0][:2]
    tasks = [TaskRow(*row[2:]) for row in rows if row[2] is not None]
    is_estimate = counted > COUNTED
    total = max(COUNTED, stored) if is_estimate else counted
    return Page(tasks[: spec.limit], total, has_more=len(tasks) > spec.limit, is_estimate=is_estimate)
