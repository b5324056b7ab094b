"""AI providers: the form of their API keys, and how to validate one. Another provider is one more row.

Only the operator chooses the address of a provider; a key is sent in a header, never in the address.
"""

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, StreamReader, TCPConnector, web

from todo_service.config.settings import Settings
from todo_service.errors import ProviderUnreachable
from todo_service.observability import tracing

SECONDS = 10.0  # for the whole answer of a provider
MAX_BYTES = 64 * 1024  # of an answer

log = structlog.get_logger()


class Verdict(Enum):
    """A provider's verdict on a key: valid, invalid, or valid with an exhausted quota."""

    VALID = "valid"
    INVALID = "invalid"
    QUOTA_EXCEEDED = "quota_exceeded"


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider.

    Attributes:
        form: The form of its keys.
        address: The address of a request that costs next to nothing.
        header: The header for the key.
        question: The body of that request.
        refusal: A word in its 400 that marks an invalid key, as opposed to another bad request.
    """

    name: str
    title: str
    form: re.Pattern[str]
    address: Callable[[Settings], str]
    header: str
    question: bytes
    refusal: bytes


_ROWS = (
    Provider(
        name="gemini",
        title="Google Gemini",
        form=re.compile(r"[!-~]{20,256}"),
        address=lambda settings: f"{settings.gemini_base_url}/v1beta/models/gemini-2.5-flash:generateContent",
        header="x-goog-api-key",
        question=b'{"contents": [{"parts": [{"text": "hi"}]}]}',
        refusal=b"API_KEY_INVALID",
    ),
)
PROVIDERS: Mapping[str, Provider] = {row.name: row for row in _ROWS}
DEFAULT = _ROWS[0].name


class AnswerError(Exception):
    """An answer without a verdict; the text is the reason and holds no part of the answer."""


class ApiKeyValidator:
    """Validates keys with their providers, each within `seconds`, between `open` and `close`."""

    def __init__(self, settings: Settings, *, seconds: float = SECONDS) -> None:
        self._settings = settings
        self._seconds = seconds
        self._session: ClientSession | None = None

    async def open(self) -> None:
        """Create the client. No connection is opened before the first request."""
        self._session = ClientSession(
            connector=TCPConnector(force_close=True),  # a kept connection may have been closed by the provider
            timeout=ClientTimeout(total=self._seconds, ceil_threshold=math.inf),  # exact, not rounded up
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            trust_env=True,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def validate(self, provider: Provider, api_key: str) -> Verdict:
        """Return the provider's verdict on a key of its form. Raises `ProviderUnreachable` if there is none."""
        try:
            return await self._ask(provider, api_key)
        except AnswerError as error:
            reason = str(error)
        except (ClientError, OSError, TimeoutError, ValueError) as error:
            reason = type(error).__name__  # the message may repeat headers
        log.warning("provider_unreachable", provider=provider.name, reason=reason)
        raise ProviderUnreachable(
            f"{provider.title} did not say whether the API key is good. {ProviderUnreachable.remedy}"
        )

    async def _ask(self, provider: Provider, api_key: str) -> Verdict:
        assert self._session is not None
        headers = {provider.header: api_key, "Content-Type": "application/json", "Accept-Encoding": "identity"}
        headers |= tracing.headers()
        address = provider.address(self._settings)
        asking = self._session.post(address, data=provider.question, headers=headers, allow_redirects=False)
        async with asking as response:
            match response.status:
                case 401 | 403:
                    return Verdict.INVALID
                case 429:
                    return Verdict.QUOTA_EXCEEDED
                case 400 if provider.refusal in await _body(response.content):
                    return Verdict.INVALID
                case 200 if _is_document(await _body(response.content)):
                    return Verdict.VALID
                case status:
                    raise AnswerError(f"answered {status} in a way that says nothing of the key")


async def _body(content: StreamReader) -> bytes:
    """Return the body of an answer. Raises `AnswerError` if it is too large."""
    try:
        await content.readexactly(MAX_BYTES + 1)
    except asyncio.IncompleteReadError as error:
        return error.partial
    raise AnswerError(f"answered more than {MAX_BYTES} bytes")


def _is_document(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


API_KEY_VALIDATOR = web.AppKey("validator", ApiKeyValidator)
