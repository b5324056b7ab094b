"""Every row of the service, and which of them the settings turn on."""

from todo_service.config.settings import Settings
from todo_service.routes.accounts import ACCOUNTS
from todo_service.routes.audit import AUDIT
from todo_service.routes.auth import AUTH
from todo_service.routes.batch import BATCH
from todo_service.routes.docs import DOCS, FILES
from todo_service.routes.events import EVENTS
from todo_service.routes.history import HISTORY
from todo_service.routes.oauth2 import OAUTH2
from todo_service.routes.openapi import OPENAPI
from todo_service.routes.personal_tokens import PERSONAL_TOKENS
from todo_service.routes.problems import PROBLEMS
from todo_service.routes.recovery import RECOVERY_ROUTES
from todo_service.routes.sessions import SESSIONS
from todo_service.routes.sync import SYNC
from todo_service.routes.system import METRICS_ROUTES, SYSTEM
from todo_service.routes.table import Route, expand
from todo_service.routes.tasks import TASKS
from todo_service.routes.transfers import TRANSFERS
from todo_service.routes.user_api_keys import USER_API_KEYS
from todo_service.routes.users import USERS
from todo_service.routes.well_known import CHANGE_PASSWORD, SECURITY_TXT

ROUTES: tuple[Route, ...] = (
    *AUTH,
    *ACCOUNTS,
    *OAUTH2,
    *RECOVERY_ROUTES,
    *SESSIONS,
    *PERSONAL_TOKENS,
    *expand(TASKS),
    *BATCH,
    *HISTORY,
    *SYNC,
    *EVENTS,
    *TRANSFERS,
    *USER_API_KEYS,
    *USERS,
    *AUDIT,
    *PROBLEMS,
    *OPENAPI,
    *SYSTEM,
)
PAGES: tuple[Route, ...] = (*DOCS, *FILES)


def api_routes(settings: Settings) -> tuple[Route, ...]:
    """Return the rows of the API, which its description lists."""
    routes = ROUTES if settings.docs_enabled else tuple(route for route in ROUTES if route not in OPENAPI)
    return routes if settings.metrics_port else (*routes, *METRICS_ROUTES)


def page_routes(settings: Settings) -> tuple[Route, ...]:
    """Return the rows of pages and their files, which are for people and not in the description."""
    pages = PAGES if settings.docs_enabled else FILES
    if settings.security_contact:
        pages += (SECURITY_TXT,)
    if settings.change_password_url:
        pages += (CHANGE_PASSWORD,)
    return pages
