"""One's personal access tokens: make, list, end."""

from uuid import UUID

from aiohttp import web

from todo_service.auth import audit, personal_tokens
from todo_service.auth.access import Access
from todo_service.auth.caller import CALLER, OWNER
from todo_service.errors import NotFound, QuotaExceeded
from todo_service.postgres.database import DATABASE
from todo_service.queries import personal_tokens as token_rows
from todo_service.queries import standbys
from todo_service.routes import responses
from todo_service.routes.auth import V1
from todo_service.routes.descriptions import describe
from todo_service.routes.table import Route
from todo_service.wire.personal_tokens import NewPersonalToken, PersonalTokenCreate, PersonalTokens, document

NO_SUCH_TOKEN = "You have no personal access token with this id. It may have been ended already."  # noqa: S105


@describe({201: NewPersonalToken}, errors=(QuotaExceeded,))
async def create_personal_token(request: web.Request, body: PersonalTokenCreate) -> web.Response:
    """Make a token for a script or an agent that acts for you within its scopes. The token is shown this once."""
    token, row = await request.app[personal_tokens.PERSONAL_TOKENS].create(
        request[CALLER],
        name=body.name,
        scopes=body.scopes,
        days=body.expires_in_days,
        is_strict=body.strict,
        audit=audit.entry_of(request, "personal_token_created"),
    )
    return responses.json(document(row) | {"token": token}, status=201, headers=responses.SECRET)


@describe({200: PersonalTokens})
async def list_personal_tokens(request: web.Request) -> web.Response:
    """List your tokens, newest first, without the tokens themselves."""
    async with request.app[DATABASE].connection() as db:
        rows = await token_rows.select_all(db, user_id=request[OWNER])
    return responses.json({"tokens": [document(row) for row in rows]}, headers=responses.SECRET)


@describe({204: None}, errors=(NotFound,))
async def end_personal_token(request: web.Request) -> web.Response:
    """End a token. Every worker refuses it within 5 seconds."""
    entry = audit.entry_of(request, "personal_token_ended")
    token_id = _token_id(request)
    if not await request.app[personal_tokens.PERSONAL_TOKENS].end(request[OWNER], token_id, entry):
        async with request.app[DATABASE].connection() as db:
            await standbys.wait(db)  # it may have been ended a moment ago
        raise NotFound(NO_SUCH_TOKEN)
    return responses.no_content()


def _token_id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["token_id"])
    except ValueError:
        raise NotFound(NO_SUCH_TOKEN) from None


TOKENS = f"{V1}/tokens"
PERSONAL_TOKENS = (
    Route("GET", TOKENS, list_personal_tokens, Access.PERSON, "List my personal access tokens"),
    Route(
        "POST",
        TOKENS,
        create_personal_token,
        Access.PERSON,
        "Make a personal access token",
        body=PersonalTokenCreate,
    ),
    Route("DELETE", f"{TOKENS}/{{token_id}}", end_personal_token, Access.PERSON, "End a personal access token"),
)
