"""The keys an auth server publishes (a JWK Set, RFC 7517): fetched without blocking anybody, kept while it is away.

The set is fetched at the start, every `REFRESH_SECONDS`, and for a key id that is not in it. However many requests ask
for unknown ids, one fetch serves them all, and the next one has to wait `REFETCH_SECONDS`.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, web

from todo_service.errors import IssuerUnavailable

ALGORITHMS = frozenset({"EdDSA", "ES256", "RS256"})
FETCH_SECONDS = 5
PATIENCE_SECONDS = 2.5  # how long a request waits for a fetch
REFETCH_SECONDS = 30  # between two fetches for unknown ids
COLD_SECONDS = 2  # the same while no key is known at all
REFRESH_SECONDS = 600  # after which a key the issuer withdrew is no longer trusted
MAX_BYTES = 64 * 1024
MAX_KEYS = 100
RSA_BITS = range(2048, 8193)
_BY_TYPE = {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256", ("RSA", None): "RS256"}

log = structlog.get_logger()


class KeySetError(Exception):
    """An answer of the issuer that is no key set; the text says why."""


class KeySet:
    """The keys at `url`. `open` and `close` it; `withdrawn` counts the fetches in which a key had gone."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[tuple[str, str], Any] = {}
        self._raw: dict[tuple[str, str], Any] = {}
        self._session: ClientSession | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._away = False
        self.withdrawn = 0

    async def open(self) -> None:
        """Begin to follow the issuer; one that is away is tried again."""
        self._session = ClientSession(timeout=ClientTimeout(total=FETCH_SECONDS))
        self._following = asyncio.create_task(self._follow(), name="key set")

    async def close(self) -> None:
        """Stop following."""
        tasks = [task for task in (self._following, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._session is not None:
            await self._session.close()

    async def find(self, kid: str, algorithm: str) -> Any | None:
        """The key of this id for this algorithm, None if the issuer has none.

        Raises `IssuerUnavailable` if that is not known and cannot be learnt now.
        """
        wanted = (kid, algorithm)
        if wanted not in self._keys:
            await self._learn()
        if wanted not in self._keys and (self._away or not self._keys):
            raise IssuerUnavailable
        return self._keys.get(wanted)

    async def _learn(self) -> None:
        """Wait for the fetch that is going on, or for a new one if it is time for one."""
        if self._fetching is None:
            if time.monotonic() < self._not_before:
                return
            if self._keys:
                self._not_before = time.monotonic() + REFETCH_SECONDS
        done, _ = await asyncio.wait({self._fetch_once()}, timeout=PATIENCE_SECONDS)
        if not done:
            raise IssuerUnavailable

    async def _follow(self) -> None:
        while True:
            await asyncio.wait({self._fetch_once()})
            await asyncio.sleep(REFRESH_SECONDS if not self._away else REFETCH_SECONDS)

    def _fetch_once(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name="key set fetch")
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None
        if not self._keys:
            self._not_before = time.monotonic() + COLD_SECONDS

    async def _fetch(self) -> None:
        try:
            keys = dict(_usable(await self._download()))
        except (ClientError, OSError, TimeoutError, KeySetError) as error:
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
        if any(keys.get(wanted, (None,))[0] != raw for wanted, raw in self._raw.items()):
            self.withdrawn += 1
        self._raw = {wanted: raw for wanted, (raw, _) in keys.items()}
        self._keys = {wanted: key for wanted, (_, key) in keys.items()}
        self._away = False

    async def _download(self) -> Any:
        assert self._session is not None
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._session.get(self._url, allow_redirects=False, headers=headers) as response:
            if response.status != 200:
                raise KeySetError(f"answered {response.status}; JWKS_URL must be the address of the key set itself")
            try:
                await response.content.readexactly(MAX_BYTES + 1)
            except asyncio.IncompleteReadError as error:
                raw = error.partial
            else:
                raise KeySetError(f"answered more than {MAX_BYTES} bytes")
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise KeySetError("answered something that is not JSON") from None


def _usable(document: Any) -> Iterator[tuple[tuple[str, str], tuple[Any, Any]]]:
    """Each key for signatures we know: its id and algorithm, then how it was written and the key itself."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise KeySetError("answered JSON without a list of `keys`")
    for jwk in listed[:MAX_KEYS]:
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
    """What a key is good for; None if not for checking signatures of a kind we take."""
    curve = jwk.get("crv")
    if not isinstance(jwk.get("kid"), str) or not isinstance(jwk.get("kty"), str) or isinstance(curve, list | dict):
        return None
    algorithm = _BY_TYPE.get((jwk["kty"], curve))
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        return None
    return algorithm if isinstance(operations, list) and "verify" in operations and "d" not in jwk else None


KEY_SET = web.AppKey("key_set", KeySet)
