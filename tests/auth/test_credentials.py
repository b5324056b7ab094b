"""Who is calling is found out once: a token that was seen before is not checked again, as long as it holds."""

from collections.abc import Callable

import jwt
import pytest

from tests.auth_server import ISSUER, SHARED_SECRET, Key, key_server, shared
from tests.client import Api, User
from tests.conftest import make_settings, running_service
from todo_service.auth import token_cache


async def status(api: Api, token: str) -> int:
    return (await api.get("/api/v1/tasks", token=token)).status


def refuse_to_check(name: str) -> Callable[..., object]:
    return lambda *_, **__: pytest.fail(f"the signature was checked again, by {name}")


async def test_a_token_seen_before_is_not_checked_again_until_it_expires(
    database_url: str, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_service(make_settings(database_url, better_auth_secret=SHARED_SECRET)) as api:
        for token in (ada.token, shared(sub="again")):
            assert await status(api, token) == 200
            with monkeypatch.context() as patch:
                patch.setattr(jwt, "decode", refuse_to_check("decode"))
                patch.setattr(jwt, "decode_complete", refuse_to_check("decode_complete"))
                assert await status(api, token) == 200
            with monkeypatch.context() as patch:
                expires_at = jwt.decode(token, options={"verify_signature": False})["exp"]
                patch.setattr(token_cache, "time", Clock(expires_at + 1))
                patch.setattr(jwt, "decode", refuse(jwt.ExpiredSignatureError()))
                patch.setattr(jwt, "decode_complete", refuse(jwt.ExpiredSignatureError()))
                assert await status(api, token) == 401


class Clock:
    """Stands in for the module `time`."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


def refuse(error: Exception) -> Callable[..., object]:
    def decode(*_: object, **__: object) -> object:
        raise error

    return decode


async def test_a_withdrawn_key_ends_the_tokens_that_were_seen(database_url: str) -> None:
    first, second = Key("EdDSA", "first"), Key("EdDSA", "second")
    async with key_server(first) as server:
        settings = make_settings(database_url, jwks_url=server.url, jwt_issuer=ISSUER)
        async with running_service(settings) as api:
            old = first.sign()
            assert await status(api, old) == 200
            server.keys = [second.published()]
            assert await status(api, second.sign()) == 200
            assert await status(api, old) == 401
