"""The same users and tasks for every server, and the requests of each user."""

import hashlib
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import jwt

from tests.conftest import SECRET_KEY
from todo_service.auth.tokens import AccessTokens
from todo_service.postgres import migrations

PEER_SECRET = "a-secret-of-the-peers-0123456789abcdef"
SCHEMA = Path(__file__).parent / "apps" / "schema.sql"
CREATE = {
    "title": "Buy milk and eggs",
    "description": "A description of the usual length of the task that has to be done today",
    "priority": "HIGH",
    "due_date": "2026-06-01T10:00:00Z",
    "tags": ["home", "errand"],
}

# $1: group, $2: users, $3: tasks of each. The id of a task is a digest of its group, user and number.
ROWS = """
SELECT
    md5($1 || ' ' || u || ' ' || n)::uuid AS id,
    $1 || ' ' || u AS user_id,
    'Task number ' || n || ': buy milk, call Ana' AS title,
    'A description of the usual length for task ' || n || ', with "quotes" and a caf' || chr(233) AS description,
    (ARRAY['TODO', 'IN_PROGRESS', 'COMPLETED'])[1 + n % 3] AS status,
    (ARRAY['LOW', 'MEDIUM', 'HIGH'])[1 + n % 3] AS priority,
    CASE WHEN n % 2 = 0 THEN timestamptz '2026-06-01Z' + n * interval '67.123 s' END AS due_at,
    CASE n % 3 WHEN 0 THEN '{}'::text[] WHEN 1 THEN '{home}' ELSE '{home,errand}' END AS tags,
    timestamptz '2026-01-01Z' + n * interval '63.456 s' AS created_at,
    timestamptz '2026-02-01Z' + n * interval '63.456 s' AS updated_at,
    CASE WHEN n % 3 = 2 THEN timestamptz '2026-03-01Z' END AS completed_at,
    n AS version
FROM generate_series(0, $2::int - 1) AS u, generate_series(1, $3::int) AS n
ORDER BY hashint4(u * 7919 + n)"""


@dataclass(frozen=True)
class Group:
    """So many users with so many tasks each."""

    name: str
    users: int
    tasks: int

    def user_id(self, user: int) -> str:
        return f"{self.name} {user}"

    def task_id(self, user: int) -> UUID:
        """One of the user's tasks, the same at each call."""
        number = random.Random(user).randint(1, self.tasks)  # noqa: S311
        return UUID(hashlib.md5(f"{self.name} {user} {number}".encode()).hexdigest())  # noqa: S324


SHORT, MEDIUM, LONG = Group("short", 2000, 20), Group("medium", 500, 100), Group("long", 50, 1000)
GROUPS = (SHORT, MEDIUM, LONG)


async def fill_product(url: str, groups: tuple[Group, ...]) -> None:
    """Migrate an empty database and write the groups into it."""
    db = await asyncpg.connect(url)
    await migrations.up(db, migrations.find())
    for group in groups:
        await db.execute("INSERT INTO users (id) SELECT $1 || ' ' || u FROM generate_series(0, $2::int - 1) AS u",
                         group.name, group.users)  # fmt: skip
        await db.execute("INSERT INTO task_clocks (user_id, version, task_count) "
                         "SELECT $1 || ' ' || u, $3, $3 FROM generate_series(0, $2::int - 1) AS u",
                         group.name, group.users, group.tasks)  # fmt: skip
        await db.execute(f"INSERT INTO tasks (id, user_id, title, description, status, priority, due_at, tags, "
                         f"created_at, updated_at, completed_at, version) {ROWS}",
                         group.name, group.users, group.tasks, timeout=600)  # fmt: skip
    await db.execute("VACUUM ANALYZE")
    await db.close()


async def fill_peers(url: str, groups: tuple[Group, ...]) -> None:
    """The same tasks for the peers."""
    db = await asyncpg.connect(url)
    await db.execute(SCHEMA.read_text())
    for group in groups:
        await db.execute(f"INSERT INTO tasks SELECT id, user_id, title, description, status, priority, due_at, tags, "
                         f"created_at, updated_at, completed_at FROM ({ROWS}) AS rows",
                         group.name, group.users, group.tasks, timeout=600)  # fmt: skip
    await db.execute("VACUUM ANALYZE")
    await db.close()


def product_token(user_id: str) -> str:
    """An access token that the product takes."""
    tokens = AccessTokens([SECRET_KEY], algorithm="HS256", lifetime=24 * 3600)
    return tokens.issue(user_id=user_id, email=None, role="user", generation=1, session_id=uuid4())


def peer_token(user_id: str) -> str:
    """A token of the same kind for the peers."""
    return jwt.encode({"sub": user_id, "exp": int(time.time()) + 24 * 3600}, PEER_SECRET, algorithm="HS256")


def request(method: str, path: str, token: str, *, body: object = None, headers: str = "") -> bytes:
    """The bytes of a request."""
    content = b"" if body is None else json.dumps(body).encode()
    about = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n" if body is not None else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{headers}{about}\r\n"
    return head.encode() + content


def shuffled(requests: Iterator[bytes] | list[bytes]) -> list[bytes]:
    """The requests in an order that is the same in each run."""
    ordered = list(requests)
    random.Random(42).shuffle(ordered)  # noqa: S311
    return ordered
