"""The published keys of an auth server (a JWK Set, RFC 7517): fetched asynchronously, kept while the server is down.

The set is fetched at the start, every `REFRESH_SECONDS`, and for an unknown key id. One fetch serves all requests with
unknown ids, and there are at most `REFETCHES` of them in `REFETCH_SECONDS`; beyond that the answer is not known.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, web

from todo_service.errors import IssuerUnavailable

ALGORITHMS = frozenset({"EdDSA", "ES256", "RS256"})
FETCH_SECONDS = 5
PATIENCE_SECONDS = 2.5  # how long a request waits for a fetch
REFETCHES, REFETCH_SECONDS = 6, 60  # for unknown ids: a made-up one must not keep a new key waiting
RETRY_SECONDS = 30  # while the issuer is away
COLD_SECONDS = 2  # the same while there are no keys at all
REFRESH_SECONDS = 600  # after which a withdrawn key is no longer trusted
MAX_BYTES = 64 * 1024
MAX_KEYS = 100
RSA_BITS = range(2048, 8193)
_BY_TYPE = {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256", ("RSA", None): "RS256"}

log = structlog.get_logger()


class JwksError(Exception):
    """The issuer's answer is not a key set; the text is the reason."""


class JwksClient:
    """The keys at `url`, between `open` and `close`. `on_withdrawal` is called when a key has been withdrawn."""

    def __init__(self, url: str, *, on_withdrawal: Callable[[], None] = lambda: None) -> None:
        self._url = url
        self._on_withdrawal = on_withdrawal
        self._keys: dict[tuple[str, str], Any] = {}
        self._raw: dict[tuple[str, str], Any] = {}
        self._session: ClientSession | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._refetched: deque[float] = deque(maxlen=REFETCHES)
        self._away = False

    async def open(self) -> None:
        """Begin to fetch the keys; a server that is down is tried again."""
        self._session = ClientSession(timeout=ClientTimeout(total=FETCH_SECONDS))
        self._refreshing = asyncio.create_task(self._refresh(), name="key set")

    async def close(self) -> None:
        """Stop fetching."""
        tasks = [task for task in (self._refreshing, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._session is not None:
            await self._session.close()

    async def find(self, kid: str, algorithm: str) -> Any | None:
        """Return the key of this id for this algorithm, or None if the issuer has none.

        Raises:
            IssuerUnavailable: The key is unknown and cannot be fetched now, or not again so soon.
        """
        key_name = (kid, algorithm)
        if key_name not in self._keys:
            await self._fetch_unknown()
        if key_name not in self._keys and (self._away or not self._keys):
            raise IssuerUnavailable
        return self._keys.get(key_name)

    async def _fetch_unknown(self) -> None:
        """Wait for the running fetch, or for a new one if the pause is over."""
        if self._fetching is None:
            now = time.monotonic()
            if now < self._not_before:
                return
            if self._keys:
                if len(self._refetched) == REFETCHES and now - self._refetched[0] < REFETCH_SECONDS:
                    raise IssuerUnavailable
                self._refetched.append(now)
        done, _ = await asyncio.wait({self._fetch_task()}, timeout=PATIENCE_SECONDS)
        if not done:
            raise IssuerUnavailable

    async def _refresh(self) -> None:
        while True:
            await asyncio.wait({self._fetch_task()})
            await asyncio.sleep(REFRESH_SECONDS if not self._away else RETRY_SECONDS)

    def _fetch_task(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name="key set fetch")
            self._fetching.add_done_callback(self._on_fetched)
        return self._fetching

    def _on_fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None
        if not self._keys:
            self._not_before = time.monotonic() + COLD_SECONDS

    async def _fetch(self) -> None:
        try:
            keys = dict(_usable(await self._download()))
        except (ClientError, OSError, TimeoutError, JwksError) as error:
            if not self._away:
                log.warning("issuer_unreachable", reason=str(error) or type(error).__name__, keys=len(self._keys))
            self._away = True
            return
        except Exception:
            log.exception("issuer_not_understood")
            self._away = True
            return
        if self._away:
            log.info("issuer_reachable_again", keys=len(keys))
        if any(keys.get(key_name, (None,))[0] != raw for key_name, raw in self._raw.items()):
            self._on_withdrawal()
        self._raw = {key_name: raw for key_name, (raw, _) in keys.items()}
        self._keys = {key_name: key for key_name, (_, key) in keys.items()}
        self._away = False

    async def _download(self) -> Any:
        assert self._session is not None
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._session.get(self._url, allow_redirects=False, headers=headers) as response:
            if response.status != 200:
                raise JwksError(f"answered {response.status}; JWKS_URL must be the address of the key set itself")
            try:
                await response.content.readexactly(MAX_BYTES + 1)
            except asyncio.IncompleteReadError as error:
                raw = error.partial
            else:
                raise JwksError(f"answered more than {MAX_BYTES} bytes")
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise JwksError("answered something that is not JSON") from None


def _usable(document: Any) -> Iterator[tuple[tuple[str, str], tuple[Any, Any]]]:
    """Yield each supported signature key: its id and algorithm, then its JWK and the key object."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise JwksError("answered JSON without a list of `keys`")
    for jwk in keys[:MAX_KEYS]:
        algorithm = _algorithm(jwk) if isinstance(jwk, dict) else None
        if algorithm is None:
            continue
        try:
            key = jwt.PyJWK(jwk, algorithm=algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            log.warning("issuer_key_ignored", algorithm=algorithm)
            continue
        if algorithm != "RS256" or getattr(key, "key_size", 0) in RSA_BITS:
            yield (jwk["kid"], algorithm), (jwk, key)


def _algorithm(jwk: dict[str, Any]) -> str | None:
    """Return the algorithm of a key, or None if it does not verify signatures that we accept."""
    curve = jwk.get("crv")
    if not isinstance(jwk.get("kid"), str) or not isinstance(jwk.get("kty"), str) or isinstance(curve, list | dict):
        return None
    algorithm = _BY_TYPE.get((jwk["kty"], curve))
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        return None
    return algorithm if isinstance(operations, list) and "verify" in operations and "d" not in jwk else None


JWKS = web.AppKey("jwks", JwksClient)
