"""Addresses that tools look for at every site (RFC 8615), where the operator has set them."""

from datetime import UTC, datetime, time, timedelta

from aiohttp import hdrs, web

from todo_service.auth.access import Access
from todo_service.config.settings import SETTINGS
from todo_service.routes.table import Route

SECURITY_TXT_DAYS = 180  # RFC 9116 advises less than a year


async def read_security_txt(request: web.Request) -> web.Response:
    """Where to report a vulnerability (RFC 9116)."""
    contact = request.app[SETTINGS].security_contact
    expires = datetime.combine(datetime.now(UTC).date() + timedelta(days=SECURITY_TXT_DAYS), time.min, UTC)
    return web.Response(text=f"Contact: {contact}\nExpires: {expires:%Y-%m-%dT%H:%M:%SZ}\nPreferred-Languages: en\n")


async def find_change_password(request: web.Request) -> web.Response:
    """Send the browser to the page where a user changes a password (W3C: A Well-Known URL for Changing Passwords)."""
    address = request.app[SETTINGS].change_password_url
    assert address is not None
    return web.Response(status=302, headers={hdrs.LOCATION: address})


SECURITY_TXT = Route(
    "GET", "/.well-known/security.txt", read_security_txt, Access.PUBLIC, "Where to report a vulnerability"
)
CHANGE_PASSWORD = Route(
    "GET", "/.well-known/change-password", find_change_password, Access.PUBLIC, "Where to change a password"
)
