"""V1 to V24: bodies, text, numbers, dates, media types."""

import asyncio
import gzip
import json
import time
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.raw import Reply, ask, exchange, post, request
from tests.client import Api, User
from tests.conftest import make_settings, running_service

TASKS = "/api/v1/tasks"
JSON = ("Content-Type", "application/json")
MALFORMED = {
    "V1": [
        b" ", b"{", b'{"title":"t"}x', b'{"title":"t",}', b'{"title":"t"}//', b"{'title':'t'}",
        b'\xef\xbb\xbf{"title":"t"}',
    ],
    "V2": [b'{"title":"a","title":"b"}', b'{"title":"a","tags":[],"tags":[]}'],
    "V3": [b'{"title":NaN}', b'{"title":"t","x":Infinity}', b'{"title":"t","x":-Infinity}'],
    "V4": [b"[" * 500 + b"]" * 500, b"[" * 30_000, b'{"a":' * 10_000],
    "V6": [b'{"title":"\xff"}', b'{"title":"\xc3"}', b'{"title":"\xed\xa0\x80"}'],
}  # fmt: skip


@pytest.mark.parametrize("row", MALFORMED)
async def test_v1_to_v6_what_is_not_json(service: Api, eve: User, row: str) -> None:
    for body in MALFORMED[row]:
        for path in (TASKS, "/api/tasks", f"/api/{eve.id}/tasks", f"{TASKS}/batch"):
            reply = await post(service, path, body, as_=eve)
            assert reply.status in {400, 422}, (path, body[:30])
            reply.problem()


async def test_v5_immense_numbers(service: Api, eve: User) -> None:
    for number in ("1" * 5000, "-" + "9" * 4000, "1e400", "1e-400", "0." + "1" * 5000):
        reply = await post(service, TASKS, f'{{"title":"t","version":{number},"x":{number}}}'.encode(), as_=eve)
        assert reply.status in {201, 400, 422}
        operations = f'{{"operations":[{{"op":"delete","id":"{uuid4()}","if_version":{number}}}]}}'
        assert (await post(service, f"{TASKS}/batch", operations.encode(), as_=eve)).status in {400, 404, 422}


async def test_v6_and_v7_lone_surrogates_and_nul(service: Api, eve: User) -> None:
    for text in ("\\ud800", "\\udfff", "a\\u0000b"):
        for body in (
            f'{{"title":"{text}"}}',
            f'{{"title":"t","description":"{text}"}}',
            f'{{"title":"t","tags":["{text}"]}}',
        ):
            assert (await post(service, TASKS, body.encode(), as_=eve)).status in {400, 422}, body
    for path in (f"{TASKS}?q=%00", f"{TASKS}?tag=a%00", f"{TASKS}?cursor=%00", f"{TASKS}/%00", f"{TASKS}?q=%ed%a0%80"):
        assert (await ask(service, "GET", path, as_=eve)).status in {200, 404, 422}


async def test_v8_any_other_text_comes_back_as_it_was(service: Api, eve: User) -> None:
    for title in ("\U0001f469\u200d\U0001f680", "\u202eabc", "e\u0301", "\U0001f600", "\u200b|", "‮̀"):
        made = await post(service, TASKS, {"title": title}, as_=eve)
        assert (made.status, made.json["title"]) == (201, title.strip())


async def test_v9_lengths_and_controls(service: Api, eve: User) -> None:
    for title, status in (
        ("", 422),
        ("   ", 422),
        ("x" * 255, 201),
        ("x" * 256, 422),
        ("\U0001f600" * 255, 201),
        ("a\nb\tc", 201),
    ):
        assert (await post(service, TASKS, {"title": title}, as_=eve)).status == status, title[:10]
    for tags, status in ((["x"] * 20, 201), ([str(n) for n in range(21)], 422), (["x" * 51], 422), ([" "], 422)):
        assert (await post(service, TASKS, {"title": "t", "tags": tags}, as_=eve)).status == status


async def test_v10_and_v11_types_are_not_guessed(service: Api, eve: User) -> None:
    guesses: list[Any] = ["yes", 1, 0, "true", None, []]
    titles: list[Any] = [5, None, [], {}, True]
    wrong: list[Any] = [{"title": "t", "completed": value} for value in guesses]
    wrong += [{"title": value} for value in titles]
    wrong += [{"title": "t", "priority": 5}, {"title": "t", "status": "done"}, {"title": "t", "tags": "a"}]
    wrong += [[], None, "x", 7]
    for body in wrong:
        assert (await post(service, TASKS, body, as_=eve)).status == 422, body


async def test_v12_null_and_absent(service: Api, eve: User) -> None:
    path = f"{TASKS}/{(await post(service, TASKS, {'title': 't', 'description': 'd'}, as_=eve)).json['id']}"
    absent = await ask(service, "PATCH", path, [JSON], b"{}", as_=eve)
    assert (absent.status, absent.json["description"]) == (200, "d")
    cleared = await ask(service, "PATCH", path, [JSON], b'{"description":null}', as_=eve)
    assert cleared.json["description"] is None
    for body in (b'{"title":null}', b'{"status":null}', b'{"priority":"medium-rare"}', b'{"tags":null}'):
        assert (await ask(service, "PATCH", path, [JSON], body, as_=eve)).status in {200, 422}


BAD_NUMBERS = ("-1", "2147483648000000000000", "1e9", "abc", "1_000", "%2B5", "%2012%20", "%D9%A1", "1.0", "", "0x1")


async def test_v13_numbers_in_queries(service: Api, eve: User) -> None:
    for name in ("limit", "skip"):
        for value in BAD_NUMBERS:
            reply = await ask(service, "GET", f"{TASKS}?{name}={value}", as_=eve)
            assert reply.status == 422 or (name, value) == ("skip", "2147483648"), (name, value)
    for query in ("limit=0", "limit=1001", "limit=1&limit=2", "skip=0&skip=1", "cursor=a&cursor=b", "sort=owner"):
        assert (await ask(service, "GET", f"{TASKS}?{query}", as_=eve)).status == 422, query
    assert (await ask(service, "GET", f"{TASKS}?limit[]=1", as_=eve)).status == 200, "an unknown name"


async def test_v14_a_deep_offset(service: Api, eve: User) -> None:
    began = time.monotonic()
    reply = await ask(service, "GET", f"{TASKS}?skip=1000000", as_=eve)
    assert (reply.status, reply.json["tasks"]) == (200, [])
    assert time.monotonic() - began < 0.5


async def test_v15_ids_in_other_spellings(service: Api, eve: User) -> None:
    task_id = (await post(service, TASKS, {"title": "t"}, as_=eve)).json["id"]
    for spelling in (
        "{" + task_id + "}", f"urn:uuid:{task_id}", task_id.replace("-", ""), task_id[:-1], task_id + "0", "1" * 40,
        "a%2fb", "%00", "..", "%2e%2e", task_id + "%20", task_id[:-1] + "g",
    ):  # fmt: skip
        assert (await ask(service, "GET", f"{TASKS}/{spelling}", as_=eve)).status in {404, 405}, spelling


GOOD_DATES = ("2026-12-24", "2026-12-24T10:00:00Z", "2026-12-24T10:00:00+02:00", "2026-12-24T10:00:00.123456Z")
BAD_DATES: tuple[Any, ...] = (
    "2026-01-01T00:00:00", 1700000000, 1700000000000, "1700000000", "2026-01-01T24:00:00Z", "2026-02-30", "tomorrow",
    "2026-01-01T00:00:60Z", "0000-01-01", "10000-01-01", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z",
    "1969-12-31", "2026-01-01T00:00:00+24:00", "2026-1-1", True, [], {},
)  # fmt: skip


async def test_v16_to_v18_due_dates(service: Api, eve: User) -> None:
    for value in GOOD_DATES:
        assert (await post(service, TASKS, {"title": "t", "due_date": value}, as_=eve)).status == 201, value
    for wrong in BAD_DATES:
        reply = await post(service, TASKS, {"title": "t", "due_date": wrong}, as_=eve)
        assert (reply.status, reply.json["errors"][0]["field"]) == (422, "due_date"), wrong
    assert (await ask(service, "GET", f"{TASKS}?limit=1000", as_=eve)).status == 200, "no row has poisoned the list"


@pytest.mark.parametrize(
    "media",
    [
        "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml",
        "nonsense",
        "application/json; charset=utf-16", "application/json; charset=nope", "application/json; charset=utf-7", "",
    ],
)  # fmt: skip
async def test_v19_media_types(service: Api, eve: User, media: str) -> None:
    reply = await ask(service, "POST", TASKS, [("Content-Type", media)], b'{"title":"t"}', as_=eve)
    assert (reply.status, reply.problem()) == (415, "unsupported-media-type")


async def test_v20_bodies_that_are_too_large_or_encoded(service: Api, eve: User) -> None:
    token = ("Authorization", f"Bearer {eve.token}")
    assert (await post(service, TASKS, b" " * 65_537, as_=eve)).status == 413
    began = time.monotonic()
    huge = request("POST", TASKS, [token, JSON, ("Content-Length", "7000000000")])
    assert (await exchange(service, huge))[0].status == 413
    chunked = (
        request("POST", TASKS, [token, JSON, ("Transfer-Encoding", "chunked")]) + b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    )
    endless = chunked + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 3
    assert (await exchange(service, endless))[0].status == 413
    assert time.monotonic() - began < 2, "at once"
    for encoding, body in (("gzip", gzip.compress(b" " * 10**6)), ("gzip", b"no gzip"), ("foo", b"{}"), ("br", b"x")):
        assert (await ask(service, "POST", TASKS, [JSON, ("Content-Encoding", encoding)], body, as_=eve)).status == 415


async def test_v21_text_of_other_languages_is_literal(service: Api, eve: User) -> None:
    for text in ("' OR '1'='1", "100%", "a_b", "back\\slash", "(((", "a & !b:*", "$1; DROP TABLE tasks", "[a-", "\\"):
        made = await post(service, TASKS, {"title": text}, as_=eve)
        assert made.status == 201
        found = await ask(service, "GET", f"{TASKS}?q={quote(text)}", as_=eve)
        titles = [task["title"] for task in found.json["tasks"]]
        assert text in titles
        assert all(text in title for title in titles)


async def test_v22_errors_do_not_repeat_what_was_sent(service: Api) -> None:
    reply = await post(service, "/api/v1/auth/register", {"email": "canary-email", "password": "canary1"})
    assert reply.status == 422
    assert b"canary" not in reply.body


async def test_v23_odd_names_and_very_many(service: Api, eve: User) -> None:
    for body in (
        {"title": "t", "__proto__": {"x": 1}, "constructor": 1},
        {f"k{n}": n for n in range(3000)} | {"title": "t"},
    ):
        assert (await post(service, TASKS, body, as_=eve)).status == 201
    assert (await post(service, TASKS, {"title": "t", "k" * 60_000: 1}, as_=eve)).status == 201


def test_v24_any_bytes_as_body_or_path_or_query(database_url: str) -> None:
    """Property: never a 5xx, always a document, whatever comes."""

    async def all_examples() -> None:
        async with running_service(make_settings(database_url)) as api:
            ada = await api.new_user()
            loop = asyncio.get_running_loop()
            token = ("Authorization", f"Bearer {ada.token}")

            async def check(method: str, path: str, query: str, body: bytes) -> None:
                data = request(method, f"{path}?{query}", [token, JSON] if body else [token], body)
                replies: list[Reply] = await exchange(api, data)
                assert replies
                assert replies[0].status < 500
                if replies[0].status >= 400 and replies[0].body:
                    json.loads(replies[0].body)

            paths = st.sampled_from(
                [TASKS, "/api/tasks", f"{TASKS}/batch", "/api/v1/import", "/api/v1/sync", f"{TASKS}/x"]
            )
            pieces = st.text(st.sampled_from("abq=&%0;+[]{}limt\"'\\.-_~"), max_size=40)

            @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
            @given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]), paths, pieces, st.binary(max_size=200))
            def one(method: str, path: str, query: str, body: bytes) -> None:
                asyncio.run_coroutine_threadsafe(check(method, path, query, body), loop).result(20)

            await asyncio.to_thread(one)

    asyncio.run(all_examples())
