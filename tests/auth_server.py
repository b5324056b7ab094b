"""An auth server as far as we know it: it signs JWTs, and publishes its keys on a real socket."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SHARED_SECRET = "shared-with-the-auth-server-0123456789"
ISSUER = "https://auth.test"

_MAKERS: dict[str, Callable[[], Any]] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
}


class Key:
    """A key pair with its id."""

    def __init__(self, algorithm: str, kid: str) -> None:
        self.algorithm, self.kid, self.private = algorithm, kid, _MAKERS[algorithm]()

    @property
    def pem(self) -> bytes:
        """The public key as a file has it."""
        pem: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem

    def published(self, **changes: Any) -> dict[str, Any]:
        """The public key as a key set has it."""
        jwk = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        jwk = {name: value for name, value in jwk.items() if name != "key_ops"}
        return jwk | {"kid": self.kid, "alg": self.algorithm} | changes

    def sign(self, *, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """A good token with these claims changed; `...` leaves one out."""
        claims = good_claims(iss=ISSUER, aud=ISSUER) | changes
        claims = {name: value for name, value in claims.items() if value is not ...}
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.kid} | (headers or {}))


def good_claims(**changes: Any) -> dict[str, Any]:
    """What a token of the server says."""
    now = int(time.time())
    claims = {"sub": "outsider", "email": "outsider@example.com", "iat": now, "exp": now + 900} | changes
    return {name: value for name, value in claims.items() if value is not ...}


def shared(
    *, secret: str = SHARED_SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any
) -> str:
    """A token under the shared secret with these claims changed; `...` leaves one out."""
    return jwt.encode(good_claims(**changes), secret, algorithm, headers=headers)


def by_hand(header: object, payload: bytes, secret: bytes = SHARED_SECRET.encode()) -> str:
    """A well-signed token no library would make."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (raw, payload))
    return (signed + b"." + base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")).decode()


def signed_session(token: str, secret: str = SHARED_SECRET) -> str:
    """A session token as the server's cookies have it."""
    return token + "." + base64.b64encode(hmac.new(secret.encode(), token.encode(), hashlib.sha256).digest()).decode()


class KeyServer:
    """Publishes keys, counts how often it is asked, and can misbehave: set `answer` to another handler."""

    def __init__(self, *keys: Key) -> None:
        self.keys = [key.published() for key in keys]
        self.fetches = 0
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self._publish
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        """Listen, after the first time on the same port again."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._count)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/jwks"

    async def stop(self) -> None:
        """Go away."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _count(self, request: web.Request) -> web.StreamResponse:
        self.fetches += 1
        return await self.answer(request)

    async def _publish(self, _: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return web.json_response({"keys": self.keys})


@asynccontextmanager
async def key_server(*keys: Key) -> AsyncIterator[KeyServer]:
    """A running key server."""
    server = KeyServer(*keys)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
