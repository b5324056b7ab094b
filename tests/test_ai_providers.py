"""What an AI provider's answers mean, and that none of them costs more than its seconds and its 64 KiB."""

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest
import pytest_asyncio
from aiohttp import web

from tests import provider as misbehaviour
from tests.certificates import certificate_for
from tests.conftest import make_settings
from tests.provider import BAD, GOOD, KEYS, PATH, REFUSED, SPENT, AiProvider, ai_provider, always, problem
from tests.proxy import refusing_port
from todo_service import ai_providers
from todo_service.ai_providers import DEFAULT, PROVIDERS, ApiKeyValidator, Verdict
from todo_service.errors import ProviderUnreachable

HERE = "postgresql://u@127.0.0.1/unused"
GEMINI = PROVIDERS["gemini"]
PATIENCE = 0.5  # seconds, in place of the 10 of the service


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[AiProvider]:
    async with ai_provider() as running:
        yield running


@asynccontextmanager
async def asking(url: str, seconds: float = PATIENCE) -> AsyncIterator[ApiKeyValidator]:
    validator = ApiKeyValidator(make_settings(HERE, gemini_base_url=url), seconds=seconds)
    await validator.open()
    try:
        yield validator
    finally:
        await validator.close()


async def refusal(url: str, key: str = GOOD, seconds: float = PATIENCE) -> str:
    """What is said where nothing could be learnt."""
    async with asking(url, seconds) as validator:
        with pytest.raises(ProviderUnreachable) as raised:
            await validator.validate(GEMINI, key)
    assert raised.value.__cause__ is None
    return raised.value.detail


def test_the_first_row_is_what_is_meant_without_a_name() -> None:
    assert DEFAULT == "gemini"
    assert all(row.name == name and row.title and row.refusal for name, row in PROVIDERS.items())


@pytest.mark.parametrize("key", ["", "short", "x" * 19, "x" * 257, "a key with spaces 0123456789", "é" * 30,
                                 GOOD + "\n", GOOD + "\r\nX-Evil: 1", "\x00" * 30, "\ud800" * 30])  # fmt: skip
def test_what_is_no_key_of_gemini(key: str) -> None:
    assert not GEMINI.form.fullmatch(key)


@pytest.mark.parametrize("key", [*KEYS, "x" * 20, "~" * 256])
def test_what_may_be_one(key: str) -> None:
    assert GEMINI.form.fullmatch(key)


async def test_good_spent_and_wrong_keys(provider: AiProvider) -> None:
    async with asking(provider.url) as validator:
        assert await validator.validate(GEMINI, GOOD) is Verdict.VALID
        assert await validator.validate(GEMINI, SPENT) is Verdict.QUOTA_EXCEEDED
        assert await validator.validate(GEMINI, BAD) is Verdict.INVALID
    assert provider.asked == [GOOD, SPENT, BAD]


@pytest.mark.parametrize("status", [401, 403])
async def test_other_ways_to_say_that_a_key_is_wrong(provider: AiProvider, status: int) -> None:
    provider.answer = always(status, "not JSON at all")
    async with asking(provider.url) as validator:
        assert await validator.validate(GEMINI, GOOD) is Verdict.INVALID


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, "{}"), (502, "<html>"), (503, "{}"), (599, "{}"), (404, "{}"), (405, "{}"), (407, "{}"), (408, "{}"),
        (418, "{}"), (400, "{}"), (400, '{"error": {"status": "FAILED_PRECONDITION"}}'), (204, ""), (201, "{}"),
        (200, ""), (200, "<html>Sign in to the network</html>"), (200, "[]"), (200, '"yes"'), (200, "[" * 60_000),
        (200, '{"a": "' + "a" * 65536 + '"}'), (400, "a" * 65537 + "API_KEY_INVALID"),
    ],
)  # fmt: skip
async def test_answers_that_say_nothing_of_the_key(provider: AiProvider, status: int, text: str) -> None:
    provider.answer = always(status, text)
    assert "did not say whether" in await refusal(provider.url)
    assert provider.asked == [GOOD], "asked once"


async def test_an_answer_of_exactly_64_kib_is_read(provider: AiProvider) -> None:
    provider.answer = always(200, '{"a": "' + "a" * (ai_providers.MAX_BYTES - 9) + '"}')
    async with asking(provider.url) as validator:
        assert await validator.validate(GEMINI, GOOD) is Verdict.VALID


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(provider: AiProvider, status: int) -> None:
    async with ai_provider() as target:
        provider.answer = always(status, location=target.url + PATH)
        await refusal(provider.url)
        provider.answer = always(status, location="/here")
        await refusal(provider.url)
        assert (target.asked, target.elsewhere, provider.elsewhere) == ([], 0, 0)


@pytest.mark.parametrize("way", ["slow", "endless", "flood", "dropped", "cut", "bomb"])
async def test_no_misbehaviour_costs_more_than_the_seconds(provider: AiProvider, way: str) -> None:
    provider.answer = getattr(misbehaviour, way)
    if way == "bomb":
        packed = await misbehaviour.bomb(None)  # type: ignore[arg-type]
        provider.answer = lambda _: asyncio.sleep(0, packed)
        assert isinstance(packed, web.Response)
        assert isinstance(packed.body, bytes)
        assert len(packed.body) < ai_providers.MAX_BYTES < 64 * 1024 * 1024
    tracemalloc.start()
    started = time.monotonic()
    await refusal(provider.url)
    assert time.monotonic() - started < PATIENCE + 0.5
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


async def test_nobody_is_there() -> None:
    with refusing_port() as port:
        for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid", "http://" + "a" * 70 + ".test"):
            await refusal(url)


async def test_the_service_waits_ten_seconds_in_total() -> None:
    assert ai_providers.SECONDS == 10
    validator = ApiKeyValidator(make_settings(HERE))
    await validator.open()
    assert validator._session is not None
    assert validator._session.timeout.total == 10
    await validator.close()


async def test_cookies_are_not_kept(provider: AiProvider) -> None:
    seen = []

    async def bake(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Cookie"))
        assert request.headers["Accept-Encoding"] == "identity"
        assert request.headers["Connection"] == "close"
        return web.json_response({}, headers={"Set-Cookie": "a=b; Path=/"})

    provider.answer = bake
    async with asking(provider.url) as validator:
        for _ in range(2):
            await validator.validate(GEMINI, GOOD)
    assert seen == [None, None]


async def test_a_proxy_of_the_environment_is_used(provider: AiProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", provider.url)
    monkeypatch.setenv("no_proxy", "")
    asked = []

    async def forward(request: web.Request) -> web.StreamResponse:
        asked.append(request.host)
        return problem(400, "INVALID_ARGUMENT", details=[REFUSED])

    provider.answer = forward
    async with asking("http://gemini.example:8080/base/") as validator:
        assert await validator.validate(GEMINI, GOOD) is Verdict.VALID
    assert (provider.elsewhere, provider.asked) == (1, []), "below the base's path"
    async with asking("http://gemini.example:8080") as validator:
        assert await validator.validate(GEMINI, GOOD) is Verdict.INVALID
    assert asked == ["gemini.example"]


async def test_a_certificate_that_is_not_trusted_ends_it(tmp_path: Path) -> None:
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate_for(tmp_path, "127.0.0.1"))
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({})

    app = web.Application()
    app.router.add_post(PATH, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    await refusal(f"https://127.0.0.1:{runner.addresses[0][1]}", seconds=3)
    await runner.cleanup()
    assert asked == []


@pytest.mark.parametrize("status", [400, 500, 200])
async def test_a_key_that_is_repeated_is_not_told(
    provider: AiProvider, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    provider.answer = misbehaviour.echo(status)
    if status == 200:
        async with asking(provider.url) as validator:
            assert await validator.validate(GEMINI, GOOD) is Verdict.VALID
    else:
        assert GOOD not in await refusal(provider.url)
    assert GOOD not in "".join(capfd.readouterr())


async def test_what_is_logged_is_the_kind_alone(provider: AiProvider, capfd: pytest.CaptureFixture[str]) -> None:
    provider.answer = always(503)
    await refusal(provider.url)
    told = capfd.readouterr().out
    assert "provider_unreachable" in told
    assert "answered 503" in told
    provider.answer = misbehaviour.dropped
    await refusal(provider.url)
    assert "ServerDisconnectedError" in capfd.readouterr().out
