"""One's sessions: list them, and end one."""

from uuid import UUID

from aiohttp import web

from todo_service.auth import audit, refresh_tokens
from todo_service.auth.access import Access
from todo_service.auth.caller import CALLER, OWNER
from todo_service.errors import NotFound
from todo_service.postgres.database import DATABASE
from todo_service.queries import refresh_tokens as token_rows
from todo_service.queries import standbys
from todo_service.routes import responses
from todo_service.routes.auth import V1
from todo_service.routes.descriptions import describe
from todo_service.routes.table import Route
from todo_service.wire.auth import SessionList, session_entry

NO_SUCH_SESSION = "You have no session with this id. It may be over already."


@describe({200: SessionList})
async def list_sessions(request: web.Request) -> web.Response:
    """List your sessions: each is a sign-in that has not ended."""
    async with request.app[DATABASE].connection() as db:
        rows = await token_rows.select_sessions(db, user_id=request[OWNER])
    current = request[CALLER].session_id
    return responses.json(
        {"sessions": [session_entry(row, current=current) for row in rows]}, headers=responses.PRIVATE
    )


@describe({204: None}, errors=(NotFound,))
async def end_session(request: web.Request) -> web.Response:
    """End one of your sessions. Its access tokens are refused within 5 seconds."""
    entry = audit.entry_of(request, "session_ended")
    try:
        session_id = UUID(request.match_info["session_id"])
    except ValueError:
        raise NotFound(NO_SUCH_SESSION) from None
    if not await request.app[refresh_tokens.SESSIONS].end(request[OWNER], session_id, entry):
        async with request.app[DATABASE].connection() as db:
            await standbys.wait(db)  # it may have been ended a moment ago
        raise NotFound(NO_SUCH_SESSION)
    return responses.no_content()


SESSIONS = (
    Route("GET", f"{V1}/sessions", list_sessions, Access.ACCOUNT, "List my sessions"),
    Route("DELETE", f"{V1}/sessions/{{session_id}}", end_session, Access.ACCOUNT, "End one of my sessions"),
)
