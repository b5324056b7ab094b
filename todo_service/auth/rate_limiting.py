"""Counting a request against its limit: its caller's, or while nobody is known that of the address it comes from."""

from aiohttp import hdrs, web

from todo_service.config import trusted_proxies
from todo_service.config.settings import SETTINGS
from todo_service.errors import RateLimited
from todo_service.limits.rate import LIMITS, Limit, Usage

USAGE = web.RequestKey("usage", Usage)


async def charge_user(request: web.Request, limit: Limit, user_id: str) -> None:
    """Count it for a user, whoever acts for them. Raises `RateLimited`."""
    await _charge(request, limit, f"user {user_id}")


async def charge_address(request: web.Request, limit: Limit) -> None:
    """Count it for the client's address. Raises `RateLimited`."""
    if limit is not Limit.NONE:
        forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, [])
        client = trusted_proxies.client(request.remote, forwarded, request.app[SETTINGS].trusted_proxies)
        await _charge(request, limit, f"address {client}")


async def charge_email(request: web.Request, email_key: str) -> None:
    """Count a try of a secret for the account it is about, there or not; "" is no email. Raises `RateLimited`."""
    if email_key:
        await _charge(request, Limit.AUTH, f"email {email_key}")


async def _charge(request: web.Request, limit: Limit, who: str) -> None:
    """Of several limits of one request the answer tells of the one that is nearer to its end."""
    usage = await request.app[LIMITS].spend(limit, who)
    if usage is None:
        return
    if USAGE not in request or usage.remaining <= request[USAGE].remaining:
        request[USAGE] = usage
    if not usage.admitted:
        raise RateLimited(usage.reset)
