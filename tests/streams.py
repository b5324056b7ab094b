"""A reader of server-sent events, as a front end has one: it keeps the tasks and the id of the last event."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse

from tests.client import Api

EVENTS = "/api/v1/events"


@dataclass
class Event:
    """One event, or only its fields without data."""

    kind: str = "message"
    id: str = ""
    data: str = ""
    retry: int | None = None

    @property
    def body(self) -> Any:
        return json.loads(self.data)


@dataclass
class Stream:
    """An open stream."""

    response: ClientResponse
    retries: list[int] = field(default_factory=list)
    comments: int = 0

    async def next(self, seconds: float = 10) -> Event | None:
        """The next event with data; None at the end of the stream."""
        async with asyncio.timeout(seconds):
            event = Event()
            async for raw in self.response.content:
                line = raw.decode().rstrip("\r\n")
                name, _, value = line.partition(": ")
                match name:
                    case "" if not line and event.data:
                        return event
                    case "" if value:
                        self.comments += 1
                    case "id":
                        event.id = value
                    case "event":
                        event.kind = value
                    case "data":
                        event.data += value
                    case "retry":
                        self.retries.append(int(value))
            return None


@asynccontextmanager
async def stream(
    api: Api, *, token: str | None = None, last_id: str = "", query: str = "", status: int = 200
) -> AsyncIterator[Stream]:
    """A stream, from after the event `last_id`."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if last_id:
        headers["Last-Event-ID"] = last_id
    async with api.session.get(f"{api.base}{EVENTS}{query}", headers=headers) as response:
        assert response.status == status, await response.text()
        if status == 200:
            assert response.content_type == "text/event-stream"
        yield Stream(response)
