"""Counting a request against a rate limit: of its user, or of the client's address while the user is unknown."""

from aiohttp import hdrs, web

from todo_service.config import trusted_proxies
from todo_service.config.settings import SETTINGS
from todo_service.errors import RateLimited
from todo_service.limits.rate import RATE_LIMITER, Limit, Usage

USAGE: web.RequestKey[Usage | None] = web.RequestKey("usage")  # None: no limit has counted the request


async def spend_for_user(request: web.Request, limit: Limit, user_id: str) -> None:
    """Count the request for a user, also if a service acts for them. Raises `RateLimited`."""
    await _spend(request, limit, f"user {user_id}")


async def spend_for_address(request: web.Request, limit: Limit) -> None:
    """Count the request for the client's address. Raises `RateLimited`."""
    if limit is not Limit.NONE:
        await _spend(request, limit, f"address {client_address(request)}")


async def spend_for_email(request: web.Request, email_key: str, *, act: str = "email") -> None:
    """Count an attempt at a secret for the account with this email, existing or not. Raises `RateLimited`.

    Args:
        act: Acts are counted apart: registrations with an email do not keep its owner from signing in.
    """
    if email_key:
        await _spend(request, Limit.AUTH, f"{act} {email_key}")


def client_address(request: web.Request) -> str:
    """Return the client's address, as seen past the trusted proxies."""
    forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, [])
    return trusted_proxies.client_address(request.remote, forwarded, request.app[SETTINGS].trusted_proxies)


async def _spend(request: web.Request, limit: Limit, subject: str) -> None:
    """Of several limits of one request, the answer reports the one with the fewest requests remaining."""
    usage = await request.app[RATE_LIMITER].spend(limit, subject)
    if usage is None:
        return
    reported = request[USAGE]
    if reported is None or usage.remaining <= reported.remaining:
        request[USAGE] = usage
    if not usage.admitted:
        raise RateLimited(usage.reset)
