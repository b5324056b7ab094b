"""Lists of users for administrators, newest first: a page by its key, and a total that is exact up to `COUNTED`.

Nothing is read whose number grows with all users. A search looks at the newest `COUNTED` first, where a common text
fills the page; a rare one is found by an index on trigrams.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import product
from typing import NamedTuple

from todo_service.postgres.connection import Connection
from todo_service.queries.text import folded
from todo_service.queries.users import USER_COLUMNS, UserRow

COUNTED = 10_000  # users that are counted one by one; more are estimated


class Filter(NamedTuple):
    """The filters of a list: `text` is in email or name, or begins them if it is of one or two characters.

    Letter case aside; None leaves a filter out.
    """

    text: str | None = None
    role: str | None = None
    is_active: bool | None = None


class Position(NamedTuple):
    """The end of a page: when the last user of it was created, and the id."""

    created_at: datetime
    user_id: str


class Page(NamedTuple):
    """A page of a list: `total` matches on all pages, an estimate where there are more than `COUNTED` to look at."""

    users: list[UserRow]
    total: int
    is_estimate: bool
    has_more: bool


_ROLES = {None: "true", "user": "role = 'user'", "admin": "role = 'admin'"}
_ACTIVITIES = {None: "true", True: "is_active", False: "NOT is_active"}
_NAMES = {None: "", True: " active", False: " inactive"}
_BY = "ORDER BY created_at DESC, id DESC"
_AFTER = "(created_at, id) < (coalesce($3::timestamptz, 'infinity'), $4::text)"
_MOST = COUNTED + 1001  # the longest page after the most that are left out; a constant, so that the plan stops early
_TEXT = folded("$5::text")
_LITERAL = rf"replace(replace(replace({_TEXT}, '\', '\\'), '%', '\%'), '_', '\_')"
_PATTERN = f"(SELECT CASE WHEN length($5) > 2 THEN '%' ELSE '' END || {_LITERAL} || '%')"
_MATCHES = f"({folded('email')} LIKE {_PATTERN} OR {folded('full_name')} LIKE {_PATTERN})"


def _page(where: str, stored: str) -> str:
    return f"""
SELECT total.counted, total.counted, ({stored}), {USER_COLUMNS.of("page")}
FROM (SELECT count(*) AS counted FROM (SELECT 1 AS one FROM users WHERE {where} LIMIT {COUNTED + 1}) AS these) AS total
LEFT JOIN LATERAL (
    SELECT {USER_COLUMNS}
    FROM (SELECT {USER_COLUMNS} FROM users WHERE {where} AND {_AFTER} {_BY} LIMIT {_MOST}) AS newest
    {_BY} LIMIT $1::bigint OFFSET $2::bigint
) AS page ON true
ORDER BY page.created_at DESC, page.id DESC"""


def _search(where: str, stored: str) -> str:
    return f"""
SELECT total.matches, total.counted, ({stored}), {USER_COLUMNS.of("page")}
FROM (
    SELECT count(*) FILTER (WHERE {_MATCHES}) AS matches, count(*) AS counted
    FROM (SELECT email, full_name FROM users WHERE {where} {_BY} LIMIT {COUNTED + 1}) AS newest
) AS total
LEFT JOIN LATERAL (
    SELECT {USER_COLUMNS}
    FROM (SELECT {USER_COLUMNS} FROM users WHERE {where} AND {_AFTER} {_BY} LIMIT {COUNTED + 1}) AS newest
    WHERE {_MATCHES} {_BY} LIMIT $1::bigint OFFSET $2::bigint
) AS page ON true
ORDER BY page.created_at DESC, page.id DESC"""


def _search_all(where: str) -> str:
    return f"""
WITH found AS MATERIALIZED (
    SELECT {USER_COLUMNS} FROM users WHERE {where} AND {_MATCHES}
)
SELECT total.matches, 0, 0, {USER_COLUMNS.of("page")}
FROM (SELECT count(*) AS matches FROM found) AS total
LEFT JOIN LATERAL (
    SELECT {USER_COLUMNS} FROM found WHERE {_AFTER} {_BY} LIMIT $1::bigint OFFSET $2::bigint
) AS page ON true
ORDER BY page.created_at DESC, page.id DESC"""


def _stored(role: str | None, is_active: bool | None) -> str:
    """The number of rows that the last ANALYZE has found in the table, or in an index of the few that are wanted."""
    relation = "users_admins" if role == "admin" else "users_inactive" if is_active is False else "users"
    return f"SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('{relation}')"


_VARIANTS = {
    f"{role or 'any'}{_NAMES[is_active]}": (f"{_ROLES[role]} AND {_ACTIVITIES[is_active]}", _stored(role, is_active))
    for role, is_active in product(_ROLES, _ACTIVITIES)
}
SELECT_PAGE: Mapping[str, str] = {name: _page(where, stored) for name, (where, stored) in _VARIANTS.items()}
SEARCH: Mapping[str, str] = {name: _search(where, stored) for name, (where, stored) in _VARIANTS.items()}
SEARCH_ALL: Mapping[str, str] = {name: _search_all(where) for name, (where, _) in _VARIANTS.items()}


async def select_page(db: Connection, filters: Filter, *, after: Position | None, skip: int, limit: int) -> Page:
    """Return `limit` users (1,000 at most) after a position or from the start, without the first `skip` of them.

    Args:
        skip: At most `COUNTED`.
    """
    name = f"{filters.role or 'any'}{_NAMES[filters.is_active]}"
    arguments = (limit + 1, skip, *(after or (None, "")))
    if filters.text is None:
        rows = await db.fetch(SELECT_PAGE[name], *arguments)
    else:
        rows = await db.fetch(SEARCH[name], *arguments, filters.text)
        if rows[0][1] > COUNTED and len(rows) <= limit:
            rows = await db.fetch(SEARCH_ALL[name], *arguments, filters.text)
    matches, counted, stored, first_id = rows[0][:4]
    users = [UserRow(*row[3:]) for row in rows] if first_id else []
    is_estimate = counted > COUNTED
    total = max(matches, round(stored * matches / counted)) if is_estimate else matches
    return Page(users[:limit], total, is_estimate, has_more=len(users) > limit)
