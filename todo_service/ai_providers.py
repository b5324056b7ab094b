"""AI providers: what a key of each looks like, and how it is asked whether one is good. A further provider is one row.

Where a provider is asked is the operator's choice alone; a key goes there in a header, never in an address.
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

SECONDS = 10.0  # that a provider has for its whole answer
MAX_BYTES = 64 * 1024  # of an answer

log = structlog.get_logger()


class Verdict(Enum):
    """What a provider says of a key: good, no key of anybody, or good but with nothing left to spend."""

    VALID = "valid"
    INVALID = "invalid"
    QUOTA_EXCEEDED = "quota_exceeded"


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider: the `form` of its keys, the `address` where a `question` that costs next to nothing is
    asked with the key in a `header`, and the word in its 400 that tells a bad key from another bad request.
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
    """An answer that says nothing of the key; the text says why and holds no word of the answer."""


class ApiKeyValidator:
    """Asks providers about keys, each within so many `seconds`. `open` and `close` it."""

    def __init__(self, settings: Settings, *, seconds: float = SECONDS) -> None:
        self._settings = settings
        self._seconds = seconds
        self._session: ClientSession | None = None

    async def open(self) -> None:
        """Be ready to ask. Nothing is connected before the first question."""
        self._session = ClientSession(
            connector=TCPConnector(force_close=True),  # none that the provider may have closed meanwhile
            timeout=ClientTimeout(total=self._seconds, ceil_threshold=math.inf),  # to the moment, not rounded up
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            trust_env=True,
        )

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    async def validate(self, provider: Provider, api_key: str) -> Verdict:
        """What the provider says of a key of its form. Raises `ProviderUnreachable` if it does not say it."""
        try:
            return await self._ask(provider, api_key)
        except AnswerError as error:
            reason = str(error)
        except (ClientError, OSError, TimeoutError, ValueError) as error:
            reason = type(error).__name__  # what it says may repeat headers
        log.warning("provider_unreachable", provider=provider.name, reason=reason)
        raise ProviderUnreachable(
            f"{provider.title} did not say whether the API key is good. {ProviderUnreachable.remedy}"
        )

    async def _ask(self, provider: Provider, api_key: str) -> Verdict:
        assert self._session is not None
        headers = {provider.header: api_key, "Content-Type": "application/json", "Accept-Encoding": "identity"}
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
    """The whole of an answer's body. Raises `AnswerError` for a longer one than is read."""
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
