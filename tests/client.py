"""A small HTTP client that reads like a conversation: `await api.post("/api/tasks", {"title": "Milk"}, as_=ada)`."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from aiohttp import ClientSession
from multidict import CIMultiDict, CIMultiDictProxy

from tests.openapi.described import described

PASSWORD = "correct horse 9"
ABSENT = object()
LARGE = 2**20 - 1  # bytes


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: CIMultiDictProxy[str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    def problem(self) -> str:
        """The problem's name; the answer must be a whole problem document."""
        body = self.body
        assert self.headers["Content-Type"] == "application/problem+json"
        assert set(body) - {"errors", "index", "tasks"} == {"type", "title", "status", "detail", "request_id"}
        assert body["status"] == self.status
        assert body["request_id"] == self.headers["X-Request-ID"]
        assert isinstance(body["detail"], str)
        assert len(body["detail"]) > 10
        name: str = body["type"].removeprefix("/problems/")
        return name

    def failing(self) -> dict[str, str]:
        """Each failing field with its code."""
        assert self.problem() == "validation-error"
        return {error["field"]: error["code"] for error in self.body["errors"]}


@dataclass(frozen=True)
class User:
    """Somebody with an account and a good access token."""

    id: str
    email: str
    token: str
    refresh_token: str = ""


class Api:
    """The running service, spoken to over real sockets. Every answer must be as the API's description says, unless
    something stands between (`as_described`).
    """

    def __init__(self, session: ClientSession, base: str, *, as_described: bool = True) -> None:
        self.session = session
        self.base = base
        self.as_described = as_described

    async def send(
        self,
        method: str,
        path: str,
        body: Any = ABSENT,
        *,
        raw: bytes | None = None,
        as_: User | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request: `body` as JSON or `raw` as it is, as a user or with a token."""
        sent = CIMultiDict(headers or {})
        if body is not ABSENT:
            raw = json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        bearer = as_.token if as_ else token
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        data = io.BytesIO(raw) if raw and len(raw) > LARGE else raw  # aiohttp warns of large bytes
        async with self.session.request(method, self.base + path, data=data, headers=sent) as response:
            is_stream = response.content_type == "text/event-stream"  # which has no end: tests of it read it themselves
            answer = Answer(response.status, response.headers, b"" if is_stream else await response.read())
        if self.as_described:
            objections = described().objections(method, path, answer.status, answer.headers, answer.raw)
            assert not objections, objections
        return answer

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.send("GET", path, **options)

    async def post(self, path: str, body: Any = ABSENT, **options: Any) -> Answer:
        return await self.send("POST", path, body, **options)

    async def put(self, path: str, body: Any = ABSENT, **options: Any) -> Answer:
        return await self.send("PUT", path, body, **options)

    async def patch(self, path: str, body: Any = ABSENT, **options: Any) -> Answer:
        return await self.send("PATCH", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.send("DELETE", path, **options)

    async def new_user(self) -> User:
        """Somebody who has just signed up."""
        email = f"{uuid4().hex}@example.com"
        answer = await self.post("/api/auth/signup", {"email": email, "password": PASSWORD})
        assert answer.status == 201, answer.raw
        return User(answer.body["user_id"], email, answer.body["token"], answer.body["refresh_token"])
