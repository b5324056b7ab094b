"""The audit log for administrators."""

from aiohttp import hdrs, web

from todo_service.auth import audit
from todo_service.auth.access import Access
from todo_service.postgres.database import DATABASE
from todo_service.queries import audit_log
from todo_service.routes import responses
from todo_service.routes.descriptions import describe
from todo_service.routes.public_paths import public_path
from todo_service.routes.table import Route
from todo_service.wire.audit import AuditLogPage, AuditQuery, entry


@describe({200: AuditLogPage}, response_headers=(hdrs.LINK,))
async def list_audit_log(request: web.Request, query: AuditQuery) -> web.Response:
    """List who did what to whom, newest first: sign-ins and their failures, ended sessions, passwords, roles, API keys
    read by services, and all that administrators read and change of others. That you read it is an entry too.
    """
    async with request.app[DATABASE].connection() as db:
        rows = await audit_log.select_page(db, query.filter(), before=query.cursor, limit=query.limit + 1)
        await audit_log.insert(db, audit.entry_of(request, "audit_log_read"), subject_id=audit.EVERYONE)
    page, headers, cursor = rows[: query.limit], dict(responses.PRIVATE), None
    if len(rows) > query.limit:
        cursor = str(page[-1].id)
        next_page = request.rel_url.update_query(cursor=cursor, limit=query.limit)
        headers[hdrs.LINK] = f'<{public_path(request, next_page.raw_path_qs)}>; rel="next"'
    document = {"entries": [entry(row) for row in page], "next_cursor": cursor}
    return responses.json(document, headers=headers)


AUDIT = (Route("GET", "/api/v1/audit", list_audit_log, Access.ADMIN, "Read the audit log", query=AuditQuery),)
