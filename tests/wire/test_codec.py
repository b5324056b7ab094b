"""Strict JSON, over HTTP as it arrives: what is not one clean document is 400 and says why."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client import Api, User
from tests.families import Dialect, in_every_family
from todo_service.errors import MalformedBody, ValidationFailed
from todo_service.wire import codec

MALFORMED = [
    b"{", b"}", b"not json", b'{"title": "a"} x', b'{"title": "a"}{"title": "b"}', b'{"title": "a",}',
    b"{'title': 'a'}",     b'{"title": "a" /* no */}', b"\xef\xbb\xbf{}", b'{"title": "\xff"}',
    b'{"title": "\xed\xa0\x80"}', b"\x00", b" ",
    b'{"title": "a", "title": "b"}', b'{"title": "a", "x": {"y": 1, "y": 1}}', b'{"title": "a", "x": NaN}',
    b'{"title": "a", "x": Infinity}', b'{"title": "a", "x": -Infinity}', b'{"title": "a\nb"}', b'{"title": "\\x"}',
    b'{"x": ' + b"9" * 5000 + b"}", b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}", b"[" * 60_000,
    '{"title": "a"}'.encode("utf-16"), '{"title": "é"}'.encode("latin-1"),
]  # fmt: skip
NOT_AN_OBJECT = [b"[]", b"null", b'"title"', b"5", b"true", b'[{"title": "a"}]']


@in_every_family
async def test_what_is_not_json_is_400(api: Api, ada: User, family: Dialect) -> None:
    for raw in MALFORMED:
        answer = await api.post(family.tasks(ada), raw=raw, as_=ada)
        assert (answer.status, answer.problem()) == (400, "malformed-body"), raw[:40]
    empty = await api.post(family.tasks(ada), as_=ada)
    assert (empty.status, empty.problem()) == (400, "malformed-body")
    assert family.unwrap((await api.get(family.tasks(ada), as_=ada)).body) == []


@in_every_family
async def test_what_is_not_an_object_is_a_validation_error(api: Api, ada: User, family: Dialect) -> None:
    for raw in NOT_AN_OBJECT:
        answer = await api.post(family.tasks(ada), raw=raw, as_=ada)
        assert (answer.status, answer.failing()) == (family.invalid, {"body": "object_expected"}), raw


async def test_numbers_beyond_all_measure_harm_nobody(api: Api, ada: User) -> None:
    for number in ("1e400", "-1e400", "1" + "0" * 30, "1.7976931348623157e+308", "0" * 1 + ".1"):
        answer = await api.post("/api/v1/tasks", raw=b'{"title": "a", "x": %s}' % number.encode(), as_=ada)
        assert answer.status == 201
        answer = await api.post("/api/v1/tasks", raw=b'{"title": %s}' % number.encode(), as_=ada)
        assert (answer.status, answer.failing()) == (422, {"title": "string_type"})


async def test_strange_keys_are_unknown_fields(api: Api, ada: User) -> None:
    body = {"title": "t", "__proto__": {}, "constructor": 1, "model_config": {}, "": 0, "\ud800": 1, "\0": 2}
    assert (await api.post("/api/v1/tasks", body, as_=ada)).status == 201
    many = {"title": "t", **{f"key{n}": n for n in range(3000)}}
    assert (await api.post("/api/v1/tasks", many, as_=ada)).status == 201


async def test_an_error_never_repeats_what_was_sent(api: Api, ada: User) -> None:
    canary = "c4n4ry-5ecret"
    for body in ({"title": [canary]}, {"title": canary * 100}, {"title": "t", "status": canary, "due_date": canary}):
        assert canary not in (await api.post("/api/v1/tasks", body, as_=ada)).raw.decode()


SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_whatever_json_can_say_is_read(value: object) -> None:
    assert codec.load(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_malformed(raw: bytes) -> None:
    try:
        value = codec.load(raw)
    except MalformedBody:
        return
    assert json.loads(raw) == value


@pytest.mark.parametrize("raw", [b'{"a": 1, "\\u0061": 2}', b'[{"b": {"a": 1, "a": 1}}]'])
def test_a_repeated_key_is_found_in_any_spelling_and_depth(raw: bytes) -> None:
    with pytest.raises(MalformedBody, match="the same key twice"):
        codec.load(raw)


def test_a_large_body_may_hold_20_000_values() -> None:
    at_most = b"[" + b"{}," * 9_999 + b"[]]"
    assert codec.load_large(at_most) == [*[{}] * 9_999, []]
    named = json.dumps({f'"\\{n}': "[,{" for n in range(20_000)}).encode()
    assert codec.load_large(named) == json.loads(named)
    for crowded in (at_most.replace(b"[]", b"[[]]"), b"[" * 1_000_000, b"[" + b'"",' * 300_000, b"1," * 500_000):
        with pytest.raises(ValidationFailed):
            codec.load_large(crowded)
    with pytest.raises(MalformedBody):
        codec.load_large(b'"' + b'\\"[' * 300_000)
    text = '[{"\\,' * 50_000
    assert codec.load_large(json.dumps(text).encode()) == text
