"""Published keys: one fetch for many questions, old keys while the issuer is away, nothing believed too easily."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.auth_server import Key, KeyServer, key_server
from todo_service.auth import jwks
from todo_service.auth.jwks import JwksClient
from todo_service.errors import IssuerUnavailable

ONE, TWO = Key("EdDSA", "one"), Key("EdDSA", "two")


@asynccontextmanager
async def key_set(url: str, on_withdrawal: Callable[[], None] = lambda: None) -> AsyncIterator[JwksClient]:
    keys = JwksClient(url, on_withdrawal=on_withdrawal)
    await keys.open()
    try:
        yield keys
    finally:
        await keys.close()


async def test_a_key_is_fetched_once_and_kept() -> None:
    async with key_server(ONE, Key("ES256", "e"), Key("RS256", "r")) as server, key_set(server.url) as keys:
        for kid, algorithm in (("one", "EdDSA"), ("e", "ES256"), ("r", "RS256")) * 5:
            assert await keys.find(kid, algorithm) is not None
        assert server.fetches == 1


async def test_a_key_serves_its_own_algorithm_alone() -> None:
    async with key_server(ONE) as server, key_set(server.url) as keys:
        assert await keys.find("one", "ES256") is None
        assert await keys.find("one", "RS256") is None
        assert await keys.find("one", "EdDSA") is not None


async def test_a_rotated_key_is_known_at_its_first_token_and_the_old_one_ends() -> None:
    withdrawals: list[str] = []
    async with key_server(ONE) as server, key_set(server.url, lambda: withdrawals.append("a key")) as keys:
        assert await keys.find("one", "EdDSA") is not None
        server.keys = [TWO.published()]
        assert await keys.find("two", "EdDSA") is not None
        assert (server.fetches, len(withdrawals)) == (2, 1)
        assert await keys.find("one", "EdDSA") is None


async def test_many_unknown_ids_cost_one_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    async with key_server(ONE) as server, key_set(server.url) as keys:
        await keys.find("one", "EdDSA")
        found = await asyncio.gather(*(keys.find(f"unknown {n}", "EdDSA") for n in range(200)))
        assert set(found) == {None}
        assert server.fetches == 2
        for n in range(jwks.REFETCHES - 1):
            assert await keys.find(f"another {n}", "EdDSA") is None
        assert server.fetches == 1 + jwks.REFETCHES
        with pytest.raises(IssuerUnavailable) as refused:
            await keys.find("one more", "EdDSA")
        assert (refused.value.status, "Retry-After" in refused.value.headers) == (503, True)
        assert server.fetches == 1 + jwks.REFETCHES
        assert await keys.find("one", "EdDSA") is not None
        keys._refetched[0] -= jwks.REFETCH_SECONDS
        server.keys.append(TWO.published())
        assert await keys.find("two", "EdDSA") is not None


async def test_keys_survive_the_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with key_server(ONE) as server, key_set(server.url) as keys:
        await keys.find("one", "EdDSA")
        await server.stop()
        with pytest.raises(IssuerUnavailable):
            await keys.find("two", "EdDSA")
        assert await keys.find("one", "EdDSA") is not None
        server.keys.append(TWO.published())
        await server.start()
        keys._not_before = 0
        assert await keys.find("two", "EdDSA") is not None


async def test_cold_and_unreachable_is_503_at_once_and_heals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "COLD_SECONDS", 0.05)
    async with key_server(ONE) as server:
        await server.stop()
        async with key_set(server.url) as keys:
            for _ in range(3):
                with pytest.raises(IssuerUnavailable) as refused:
                    await asyncio.wait_for(keys.find("one", "EdDSA"), 1)
            assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "5")
            await server.start()
            await asyncio.sleep(0.06)
            assert await keys.find("one", "EdDSA") is not None


async def test_a_slow_issuer_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.3)

    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1)
        return web.Response()

    async with key_server(ONE) as server:
        server.answer = slow
        async with key_set(server.url) as keys:
            with pytest.raises(IssuerUnavailable):
                await asyncio.wait_for(keys.find("one", "EdDSA"), 0.25)
            await asyncio.sleep(0.4)
            assert (keys._away, server.fetches) == (True, 1)


async def _redirecting(request: web.Request) -> web.StreamResponse:
    if request.path == "/elsewhere":
        return web.json_response({"keys": [ONE.published()]})
    raise web.HTTPFound("/elsewhere")


async def _huge(_: web.Request) -> web.StreamResponse:
    return web.json_response({"keys": [ONE.published()], "more": "x" * jwks.MAX_BYTES})


async def _text(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>")


async def _deep(_: web.Request) -> web.StreamResponse:
    return web.Response(text="[" * 60_000)


async def _list(_: web.Request) -> web.StreamResponse:
    return web.json_response([ONE.published()])


async def _failing(_: web.Request) -> web.StreamResponse:
    return web.json_response({"keys": [ONE.published()]}, status=500)


async def _broken_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"keys": [')
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.mark.parametrize("answer", [_redirecting, _huge, _text, _deep, _list, _failing, _broken_off])
async def test_an_answer_that_is_no_key_set_is_not_believed(answer: Any) -> None:
    async with key_server(ONE) as server:
        good, server.answer = server.answer, answer
        async with key_set(server.url) as keys:
            with pytest.raises(IssuerUnavailable):
                await keys.find("one", "EdDSA")
            server.answer, keys._not_before = good, 0
            assert await keys.find("one", "EdDSA") is not None
            server.answer, keys._not_before = answer, 0
            with pytest.raises(IssuerUnavailable):
                await keys.find("two", "EdDSA")
            assert await keys.find("one", "EdDSA") is not None, "the old keys stay"


OF_NO_USE: dict[str, Any] = {
    "encryption": ONE.published(use="enc"),
    "signing only": ONE.published(key_ops=["sign"]),
    "key_ops no list": ONE.published(key_ops="verify"),
    "another alg": ONE.published(alg="ES256"),
    "alg none": ONE.published(alg="none"),
    "another curve": ONE.published(crv="Ed448"),
    "curve a list": ONE.published(crv=["Ed25519"]),
    "type a list": ONE.published(kty=["OKP"]),
    "no id": {name: value for name, value in ONE.published().items() if name != "kid"},
    "id a number": ONE.published(kid=1),
    "private": ONE.published(d="AAAA"),
    "point missing": ONE.published(x=None),
    "point too short": ONE.published(x="AAAA"),
    "a secret": {"kty": "oct", "k": "AAAA", "kid": "one", "alg": "HS256"},
    "a string": "key",
    "null": None,
}


@pytest.mark.parametrize("name", OF_NO_USE)
async def test_keys_of_no_use_are_ignored(name: str) -> None:
    async with key_server(TWO) as server:
        server.keys.insert(0, OF_NO_USE[name])
        async with key_set(server.url) as keys:
            assert await keys.find("two", "EdDSA") is not None
            for algorithm in ("EdDSA", "ES256", "RS256", "HS256"):
                assert await keys.find("one", algorithm) is None


async def test_short_rsa_keys_are_ignored() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    weak = Key("RS256", "weak")
    weak.private = rsa.generate_private_key(65537, 1024)  # noqa: S505
    async with key_server(weak, TWO) as server, key_set(server.url) as keys:
        assert await keys.find("weak", "RS256") is None
        assert await keys.find("two", "EdDSA") is not None


async def test_the_set_is_read_again_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "REFRESH_SECONDS", 0.05)
    server: KeyServer
    withdrawals: list[str] = []
    async with key_server(ONE) as server, key_set(server.url, lambda: withdrawals.append("a key")) as keys:
        await keys.find("one", "EdDSA")
        server.keys = [TWO.published()]
        async with asyncio.timeout(5):
            while not withdrawals:
                await asyncio.sleep(0.02)
        assert await keys.find("one", "EdDSA") is None
