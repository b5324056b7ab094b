"""A Better Auth server in a process of its own, and the few things a browser would do with it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import ClientSession, DummyCookieJar

from tests.client import PASSWORD
from tests.conftest import run_sql

SECRET = "for-tests-only-better-auth-0123456789-zyxwv"
START_SECONDS = 60
PATIENCE = 10


@dataclass(frozen=True)
class Account:
    """Somebody who has just signed up there. `bearer` is what the `set-auth-token` header said."""

    id: str
    email: str
    session_token: str
    bearer: str


class BetterAuth:
    """The running server, spoken to over HTTP; what only time would do is done in its database."""

    def __init__(self, process: asyncio.subprocess.Process, http: ClientSession, database_url: str, port: int) -> None:
        self.process = process
        self.http = http
        self.database_url = database_url
        self.issuer = f"http://127.0.0.1:{port}"
        self.jwks_url = self._url("jwks")

    async def sign_up(self) -> Account:
        email = f"{uuid4().hex}@example.com"
        body = {"name": "Ada", "email": email, "password": PASSWORD}
        async with self.http.post(self._url("sign-up/email"), json=body) as answer:
            assert answer.status == 200, await answer.text()
            signed_up = await answer.json()
            bearer = answer.headers["set-auth-token"]
        return Account(signed_up["user"]["id"], email, signed_up["token"], bearer)

    async def jwt(self, account: Account) -> str:
        """A new JWT, under the newest key."""
        async with self.http.get(self._url("token"), headers=_bearer(account)) as answer:
            assert answer.status == 200, await answer.text()
            token: str = (await answer.json())["token"]
        return token

    async def sign_out(self, account: Account) -> None:
        async with self.http.post(self._url("sign-out"), json={}, headers=_bearer(account)) as answer:
            assert (answer.status, await answer.json()) == (200, {"success": True})

    async def verification_token(self, account: Account) -> str:
        """The token in the link of the mail that asks whether the address is the account's."""
        while True:
            line = await _next_line(self.process, PATIENCE)
            if line.get("email") == account.email:
                token: str = line["token"]
                return token

    async def verifies(self, token: str) -> bool:
        """Whether it takes this for the token of one of its mails."""
        async with self.http.get(self._url("verify-email"), params={"token": token}) as answer:
            return answer.status == 200

    async def kids(self) -> set[str]:
        """The names of the keys it publishes."""
        async with self.http.get(self.jwks_url) as answer:
            return {key["kid"] for key in (await answer.json())["keys"]}

    async def rotate_keys(self) -> None:
        """Let the newest key's time be over: the next JWT gets a new one, the old one stays published for 30 days."""
        await run_sql(self.database_url, """UPDATE jwks SET "expiresAt" = now() WHERE "expiresAt" IS NULL""")

    async def retire_keys(self) -> None:
        """Let those 30 days be over too."""
        await run_sql(self.database_url, """UPDATE jwks SET "expiresAt" = now() - interval '31 days'""")

    def _url(self, path: str) -> str:
        return f"{self.issuer}/api/auth/{path}"


@asynccontextmanager
async def running(
    node: str, program: Path, database_url: str, *, secret: str = SECRET, issuer: str = ""
) -> AsyncIterator[BetterAuth]:
    """Start a server on a database of its own, wait until it answers, and end it; it ends by itself if we die first."""
    given = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": secret, "JWT_ISSUER": issuer}
    process = await asyncio.create_subprocess_exec(
        node, program, env=os.environ | given, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        port = (await _next_line(process, START_SECONDS))["port"]
        async with ClientSession(cookie_jar=DummyCookieJar()) as http:
            yield BetterAuth(process, http, database_url, port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _next_line(process: asyncio.subprocess.Process, seconds: float) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(seconds):
        line = await process.stdout.readline()
    assert line, "the Better Auth server has ended; its last words are on standard error"
    said: dict[str, Any] = json.loads(line)
    return said


def _bearer(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.bearer}"}
